"""Buckets of Google Cloud Storage; the only door to google-cloud-storage."""

from __future__ import annotations

import functools
import io
import os
import re
from typing import Any, ClassVar
from urllib.parse import quote

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


class GoogleBucket(Bucket):
    """A bucket of Google Cloud Storage, or of its emulator at STORAGE_EMULATOR_HOST."""

    scheme = "gs"
    remedies: ClassVar[dict[Fault, str]] = {
        "passing": "check the network and the store, then run again",
        "no bucket": "check its name or create it: gcloud storage buckets create gs://{bucket}",
        "no credentials": "run 'gcloud auth application-default login' or run as a service account",
        "refused": "ask for the role 'Storage Object User' on the bucket {bucket!r}",
    }

    def head(self, key: str) -> ObjectHead:
        blob = self._blob(key)
        blob.reload(timeout=TIMEOUT_SECONDS, retry=None)
        return _head_of(blob)

    def get(self, key: str, start: int = 0, stop: int | None = None, version: str | None = None) -> bytes:
        from google.api_core.exceptions import RequestRangeNotSatisfiable

        try:
            # Raw: as it is stored, so that sizes and checksums hold for gzip-encoded objects, too.
            content: bytes = self._blob(key).download_as_bytes(
                start=start or None,
                end=None if stop is None else stop - 1,
                if_generation_match=None if version is None else int(version),
                raw_download=True,
                single_shot_download=True,
                checksum="crc32c",
                timeout=TIMEOUT_SECONDS,
                retry=None,
            )
        except RequestRangeNotSatisfiable:
            return b""
        return content

    def put(self, key: str, content: bytes, new_by: str = "") -> None:
        blob = self._blob(key)
        if new_by:
            blob.metadata = {WRITER_TAG: new_by}
        blob.upload_from_file(
            io.BytesIO(content),
            size=len(content),
            content_type=content_type_of(key),
            if_generation_match=0 if new_by else None,
            checksum="crc32c",
            timeout=TIMEOUT_SECONDS,
            retry=None,
        )

    def page(self, prefix: str, after: str) -> list[ObjectHead]:
        blobs = _client().list_blobs(
            self.name,
            prefix=prefix,
            start_offset=after or None,
            max_results=1000,
            fields="items(name,size,generation,crc32c),nextPageToken",
            timeout=TIMEOUT_SECONDS,
            retry=None,
        )
        return [_head_of(blob) for blob in blobs if blob.name != after]

    def delete(self, key: str) -> None:
        self._blob(key).delete(timeout=TIMEOUT_SECONDS, retry=None)

    # Uploads in parts have only an XML API, which the client library wraps without a bound in time.

    def start_parts(self, key: str, crc32c: int) -> str:  # noqa: ARG002 - Google computes it itself
        answer = self._xml("POST", key, "uploads", {"Content-Type": content_type_of(key)})
        found = re.search("<UploadId>(.+)</UploadId>", answer.text)
        if not found:
            raise DamagedError(f"no upload id in {answer.text[:200]!r}")
        return found[1]

    def put_part(self, key: str, upload: str, number: int, content: bytes) -> str:
        headers = {"X-Goog-Hash": f"crc32c={to_base64(extend_crc32c(content))}"}
        answer = self._xml("PUT", key, f"partNumber={number}&uploadId={quote(upload)}", headers, content)
        return str(answer.headers["ETag"])

    def finish_parts(self, key: str, upload: str, tags: list[str]) -> None:
        parts = (f"<Part><PartNumber>{i}</PartNumber><ETag>{tag}</ETag></Part>" for i, tag in enumerate(tags, 1))
        body = f"<CompleteMultipartUpload>{''.join(parts)}</CompleteMultipartUpload>"
        self._xml("POST", key, f"uploadId={quote(upload)}", {}, body.encode())

    def drop_parts(self, key: str, upload: str) -> None:
        self._xml("DELETE", key, f"uploadId={quote(upload)}", {})

    def fault_of(self, error: Exception) -> Fault | None:
        import requests  # type: ignore[import-untyped]
        import urllib3
        from google.api_core.exceptions import GoogleAPICallError
        from google.auth import exceptions as auth
        from google.cloud.storage.exceptions import DataCorruption

        if isinstance(error, (auth.DefaultCredentialsError, auth.RefreshError)):
            return "passing" if error.retryable else "no credentials"
        if isinstance(error, GoogleAPICallError):
            words = self.words_of(error)
            codes: dict[str, Fault] = {"bucket does not exist": "no bucket", "NoSuchBucket": "no bucket"}
            codes |= {"CRC32C does not match": "passing", "BadDigest": "passing"}  # damaged on its way to the store
            return next((codes[code] for code in codes if code in words), fault_of_status(int(error.code or 0)))
        passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
        if isinstance(error, (*passing, urllib3.exceptions.HTTPError, auth.TransportError, DataCorruption)):
            return fault_of_line(error)
        if isinstance(error, (requests.RequestException, auth.GoogleAuthError)):
            return "other"
        return fault_of_line(error) if isinstance(error, (ConnectionError, TimeoutError, DamagedError)) else None

    def words_of(self, error: Exception) -> str:
        from google.api_core.exceptions import GoogleAPICallError

        if not isinstance(error, GoogleAPICallError) or error.response is None:
            return super().words_of(error)
        # The library's text repeats the request; the answer is JSON, XML or plain text.
        found = re.search(r'"message": *"(.+?)"|<Message>(.+?)</Message>', error.response.text)
        return (found[1] or found[2]) if found else error.response.text[:300] or super().words_of(error)

    def _blob(self, key: str) -> Any:
        return _client().bucket(self.name).blob(key)

    def _xml(self, method: str, key: str, query: str, headers: dict[str, str], body: bytes = b"") -> Any:
        from google.api_core.exceptions import from_http_response

        client = _client()
        address = f"{client.api_endpoint}/{self.name}/{quote(key, safe='/~')}?{query}"
        session = client._http  # noqa: SLF001 - the session with the credentials, which has no public name
        answer = session.request(method, address, headers=headers, data=body, timeout=TIMEOUT_SECONDS)
        if not answer.ok:
            raise from_http_response(answer)  # type: ignore[no-untyped-call]
        return answer


def _client() -> Any:
    return _make_client(os.getpid(), os.environ.get("STORAGE_EMULATOR_HOST"))


@functools.cache
def _make_client(process: int, emulator: str | None) -> Any:  # noqa: ARG001 - processes cannot share sockets
    try:
        from google.cloud import storage
    except ModuleNotFoundError as error:
        raise DependencyError("google-cloud-storage", "gcs", "a gs:// folder") from error
    # Else the library asks for the bucket's metadata in the background, for traces that nobody collects.
    os.environ.setdefault("DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA", "true")
    return storage.Client(project=None)  # a project is only needed to make buckets


def _head_of(blob: Any) -> ObjectHead:
    crc32c = from_base64(blob.crc32c) if blob.crc32c else None
    return ObjectHead(blob.name, blob.size, str(blob.generation), crc32c, (blob.metadata or {}).get(WRITER_TAG, ""))
