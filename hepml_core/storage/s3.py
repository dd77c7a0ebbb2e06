"""Buckets of Amazon S3 and of stores that speak its language (MinIO, Ceph); the only door to boto3."""

from __future__ import annotations

import functools
import os
from typing import Any, ClassVar

from crc32c import crc32c as extend_crc32c

from hepml_core.errors import DependencyError
from hepml_core.storage.buckets import (
    TIMEOUT_SECONDS,
    WRITER_TAG,
    Bucket,
    DamagedError,
    Fault,
    ObjectHead,
    content_type_of,
    fault_of_line,
    fault_of_status,
    from_base64,
    to_base64,
)

CRC32C_TAG = "hepml-crc32c"
"""Metadata of an object: its CRC32C, as S3 keeps none of a whole object that came in parts."""
FAULTS: dict[str, Fault] = {
    "SlowDown": "passing",
    "RequestTimeout": "passing",
    "BadDigest": "passing",
    "ConditionalRequestConflict": "passing",  # two writers at once: the next try meets the other's object
    "NoSuchBucket": "no bucket",
    "NoSuchUpload": "other",
    "InvalidAccessKeyId": "no credentials",
    "SignatureDoesNotMatch": "no credentials",
    "ExpiredToken": "no credentials",
    "InvalidToken": "no credentials",
}
"""Error codes that say more than their HTTP status."""


class S3Bucket(Bucket):
    """A bucket of Amazon S3, or of a store like it at AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL."""

    scheme = "s3"
    remedies: ClassVar[dict[Fault, str]] = {
        "passing": "check the network and the store (AWS_ENDPOINT_URL), then run again",
        "no bucket": "check its name and AWS_ENDPOINT_URL or create it: aws s3 mb s3://{bucket}",
        "no credentials": "run 'aws configure' or set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "refused": "ask for s3:ListBucket, s3:GetObject, s3:PutObject and s3:DeleteObject on the bucket {bucket!r}",
    }

    def head(self, key: str) -> ObjectHead:
        from botocore.exceptions import ClientError

        try:
            found = _client().head_object(Bucket=self.name, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if _status_of(error) == 404:  # an answer without a body does not tell what is missing
                _client().head_bucket(Bucket=self.name)
            raise
        writer = found["Metadata"].get(WRITER_TAG, "")
        return ObjectHead(key, found["ContentLength"], found["ETag"].strip('"'), _crc32c_of(found), writer)

    def get(self, key: str, start: int = 0, stop: int | None = None, version: str | None = None) -> bytes:
        from botocore.exceptions import ClientError

        options = {"IfMatch": f'"{version}"'} if version else {}
        if start or stop is not None:
            options["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        try:
            found = _client().get_object(Bucket=self.name, Key=key, ChecksumMode="ENABLED", **options)
        except ClientError as error:
            if _status_of(error) == 416:
                return b""
            raise
        content: bytes = found["Body"].read()
        if "Range" not in options and _crc32c_of(found) not in (None, extend_crc32c(content)):
            raise DamagedError("it arrived damaged")
        return content

    def put(self, key: str, content: bytes, new_by: str = "") -> None:
        crc32c = to_base64(extend_crc32c(content))
        _client().put_object(
            Bucket=self.name,
            Key=key,
            Body=content,
            ContentType=content_type_of(key),
            ChecksumAlgorithm="CRC32C",
            ChecksumCRC32C=crc32c,
            Metadata={CRC32C_TAG: crc32c} | ({WRITER_TAG: new_by} if new_by else {}),
            **({"IfNoneMatch": "*"} if new_by else {}),
        )

    def page(self, prefix: str, after: str) -> list[ObjectHead]:
        found = _client().list_objects_v2(Bucket=self.name, Prefix=prefix, StartAfter=after)
        return [ObjectHead(item["Key"], item["Size"], item["ETag"].strip('"')) for item in found.get("Contents", ())]

    def delete(self, key: str) -> None:
        _client().delete_object(Bucket=self.name, Key=key)

    def start_parts(self, key: str, crc32c: int) -> str:
        answer = _client().create_multipart_upload(
            Bucket=self.name,
            Key=key,
            ContentType=content_type_of(key),
            ChecksumAlgorithm="CRC32C",
            Metadata={CRC32C_TAG: to_base64(crc32c)},
        )
        return str(answer["UploadId"])

    def put_part(self, key: str, upload: str, number: int, content: bytes) -> str:
        place = {"Bucket": self.name, "Key": key, "UploadId": upload, "PartNumber": number}
        crc32c = to_base64(extend_crc32c(content))
        answer = _client().upload_part(**place, Body=content, ChecksumCRC32C=crc32c)
        return f"{answer['ETag']} {crc32c}"  # the end of the upload must name both

    def finish_parts(self, key: str, upload: str, tags: list[str]) -> None:
        pairs = enumerate((tag.split() for tag in tags), 1)
        parts = [{"PartNumber": number, "ETag": etag, "ChecksumCRC32C": crc32c} for number, (etag, crc32c) in pairs]
        _client().complete_multipart_upload(
            Bucket=self.name, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
        )

    def drop_parts(self, key: str, upload: str) -> None:
        _client().abort_multipart_upload(Bucket=self.name, Key=key, UploadId=upload)

    def fault_of(self, error: Exception) -> Fault | None:
        from botocore import exceptions as aws

        if isinstance(error, aws.ClientError):
            if error.operation_name == "HeadBucket" and _status_of(error) == 404:
                return "no bucket"
            return FAULTS.get(error.response["Error"].get("Code", ""), fault_of_status(_status_of(error)))
        if isinstance(error, (aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError)):
            return "no credentials"
        if isinstance(
            error, (aws.HTTPClientError, aws.IncompleteReadError, ConnectionError, TimeoutError, DamagedError)
        ):
            return fault_of_line(error)
        return "other" if isinstance(error, aws.BotoCoreError) else None


def _client() -> Any:
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return _make_client(os.getpid(), endpoint)


@functools.cache
def _make_client(process: int, endpoint: str | None) -> Any:  # noqa: ARG001 - processes cannot share sockets
    try:
        import boto3
        from botocore.config import Config
    except ModuleNotFoundError as error:
        raise DependencyError("boto3", "s3", "an s3:// folder") from error
    connect_timeout, read_timeout = TIMEOUT_SECONDS
    config = Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        retries={"total_max_attempts": 1},
        # We send and check CRC32C; the library's own choice of checksums is not understood by every store.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.session.Session().client("s3", endpoint_url=endpoint, config=config)  # a session for each thread


def _status_of(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _crc32c_of(answer: dict[str, Any]) -> int | None:
    """Return the CRC32C of a whole object: the one we noted, else S3's own if it is not one of checksums of parts."""
    own = answer.get("ChecksumCRC32C") if answer.get("ChecksumType") == "FULL_OBJECT" else None
    text = answer["Metadata"].get(CRC32C_TAG, own)
    return from_base64(text) if text else None
