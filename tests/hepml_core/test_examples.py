"""Event examples, whole and hostile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepml_core.errors import DataError
from hepml_core.examples import Value, bytes_features, decode_example, encode_example
from tests.shards import FEATURES


@given(st.binary(max_size=200))
def test_random_bytes_are_an_example_or_a_data_error(content: bytes) -> None:
    for read in (decode_example, lambda one: bytes_features(one, ("image", "key"))):
        try:
            read(content)
        except DataError as error:
            assert str(error)  # noqa: PT017 - most random bytes are refused, a few are an Example


@given(st.data())
def test_a_changed_example_is_an_example_or_a_data_error(data: st.DataObject) -> None:
    example = bytearray(encode_example(FEATURES[0]))
    for _ in range(data.draw(st.integers(1, 4))):
        example[data.draw(st.integers(0, len(example) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert all(isinstance(values, list) for values in decode_example(bytes(example)).values())
        assert all(isinstance(value, bytes) for value in bytes_features(bytes(example), ("image", "key")))
    except DataError as error:
        assert str(error)  # noqa: PT017 - many changes are harmless


@pytest.mark.parametrize(
    ("features", "values"), [({}, 0), ({"image": 5}, 0), ({"image": [1.5]}, 0), ({"image": [b"a", b"b"]}, 2)]
)
def test_an_example_without_the_one_value_that_is_needed_is_refused(features: dict[str, Value], values: int) -> None:
    with pytest.raises(DataError, match=f"the record has {values} values of the feature 'image', not one"):
        bytes_features(encode_example(features), ["image"])


def test_decoding_and_encoding_again_changes_no_byte() -> None:
    for features in FEATURES:
        example = encode_example(features)
        assert encode_example(decode_example(example)) == example
