"""Event examples: ``tf.train.Example``, named lists of bytes, floats or ints, without importing TensorFlow.

Format: tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from hepml_core.errors import DataError

Value = bytes | str | int | float | Sequence[int] | Sequence[float]


def encode_example(features: Mapping[str, Value]) -> bytes:
    """Serialize a ``tf.train.Example``, byte for byte as TensorFlow does deterministically.

    Text becomes UTF-8 bytes; ints and floats become lists of one.
    """
    example = _example_type()()
    feature = example.features.feature
    for name, value in features.items():
        items = [value] if isinstance(value, (bytes, str, int, float)) else value
        if isinstance(items[0], (bytes, str)):
            encoded = (item.encode() if isinstance(item, str) else item for item in items)
            feature[name].bytes_list.value.extend(encoded)
        elif isinstance(items[0], float):
            feature[name].float_list.value.extend(items)
        else:
            feature[name].int64_list.value.extend(items)
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def decode_example(payload: bytes) -> dict[str, list[Any]]:
    """Parse a ``tf.train.Example`` into lists of bytes, floats or ints.

    Raises:
        DataError: The payload is no Example.
    """
    try:
        example = _example_type().FromString(payload)
    except DecodeError as error:
        raise DataError(f"the record is not a tf.train.Example: {error}") from error
    features = example.features.feature
    decoded = {}
    for name in features:
        kind = features[name].WhichOneof("kind")
        decoded[name] = list(getattr(features[name], kind).value) if kind else []
    return decoded


def bytes_features(payload: bytes, names: Sequence[str]) -> list[bytes]:
    """Return bytes features of a ``tf.train.Example``, each of one value.

    Raises:
        DataError: The payload is no Example, or has no such feature.
    """
    try:
        feature = _example_type().FromString(payload).features.feature
    except DecodeError as error:
        raise DataError(f"the record is not a tf.train.Example: {error}") from error
    lists = [feature[name].bytes_list.value for name in names]
    for name, values in zip(names, lists, strict=True):
        if len(values) != 1:
            raise DataError(f"the record has {len(values)} values of the feature {name!r}, not one")
    return [values[0] for values in lists]


@functools.cache
def _example_type() -> Any:
    """Build the message type of ``tf.train.Example`` in a pool of its own, beside TensorFlow's where that is loaded."""
    file = descriptor_pb2.FileDescriptorProto(name="hepml/example.proto", package="hepml", syntax="proto3")
    kinds = {
        "bytes_list": ("BytesList", "BYTES"),
        "float_list": ("FloatList", "FLOAT"),
        "int64_list": ("Int64List", "INT64"),
    }
    field = descriptor_pb2.FieldDescriptorProto
    for message, kind in kinds.values():
        values = file.message_type.add(name=message).field.add(name="value", number=1, label=field.LABEL_REPEATED)
        values.type = field.Type.Value(f"TYPE_{kind}")
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, (message, _)) in enumerate(kinds.items(), 1):
        feature.field.add(
            name=name,
            number=number,
            type="TYPE_MESSAGE",
            type_name=f".hepml.{message}",
            oneof_index=0,
            label="LABEL_OPTIONAL",
        )
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type="TYPE_STRING", label="LABEL_OPTIONAL")
    entry.field.add(name="value", number=2, type="TYPE_MESSAGE", type_name=".hepml.Feature", label="LABEL_OPTIONAL")
    entry_type = ".hepml.Features.FeatureEntry"
    features.field.add(name="feature", number=1, type="TYPE_MESSAGE", type_name=entry_type, label="LABEL_REPEATED")
    example = file.message_type.add(name="Example")
    example.field.add(
        name="features", number=1, type="TYPE_MESSAGE", type_name=".hepml.Features", label="LABEL_OPTIONAL"
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("hepml.Example"))
