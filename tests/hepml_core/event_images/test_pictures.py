"""Picture files: what is whole, what is damaged, and what becomes of each kind."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from PIL import Image

from hepml_core.errors import DataError
from hepml_core.event_images.pictures import Encoded, Picture, check_whole, decode_into, prepare, read_header
from tests.class_folders import jpeg, picture, png, png_of, with_pillow

MANY = 10**6
PNG, JPEG = png(picture(1)), jpeg(1)


def read(content: bytes, channels: int = 3, size: int = 0) -> Encoded:
    """Do with a file what convert does."""
    header = read_header(content, MANY)
    check_whole(content, header)
    return prepare(content, header, channels, size)


def pixels(encoded: Encoded) -> Picture:
    """Decode a prepared file."""
    out_yxc = np.empty((encoded.height, encoded.width, encoded.channels), f"uint{encoded.bits}")
    decode_into(encoded.content, out_yxc)
    return out_yxc


@pytest.mark.parametrize("cut", [1, 4, 8, 16, 30, 40, len(PNG) // 2, len(PNG) - 13, len(PNG) - 12, len(PNG) - 1])
def test_a_png_cut_anywhere_is_refused(cut: int) -> None:
    with pytest.raises(DataError, match=r"cut|neither PNG nor JPEG"):
        read(PNG[:cut])


@pytest.mark.parametrize("cut", [1, 2, 3, 20, 100, len(JPEG) // 2, len(JPEG) - 60, len(JPEG) - 5])
def test_a_jpeg_cut_anywhere_is_refused_in_the_same_words_every_time(cut: int) -> None:
    with pytest.raises(DataError, match="JPEG") as first:
        read(JPEG[:cut])
    assert "0x" not in str(first.value)  # an address in memory would differ from run to run


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"not a picture", "neither PNG nor JPEG"),
        (b"GIF89a" + bytes(50), "neither PNG nor JPEG"),
        (PNG[:60] + bytes([PNG[60] ^ 1]) + PNG[61:], "checksum"),
        (PNG[:23] + bytes([PNG[23] ^ 1]) + PNG[24:], "checksum"),
        (png_of(0, 5, b""), "header is invalid"),
        (PNG[:33] + PNG[-12:], "no pixels"),
    ],
)
def test_what_is_no_whole_picture_is_refused_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read(content)


def test_too_few_pixels_behind_right_checksums_are_found_when_decoding() -> None:
    kept = read(png_of(8, 8, bytes(25 * 3)))
    with pytest.raises(DataError, match="does not decode"):
        pixels(kept)
    with pytest.raises(DataError, match="does not decode"):
        read(kept.content, channels=1)


def jpeg_bomb() -> bytes:
    start = JPEG.find(b"\xff\xc0")
    return JPEG[: start + 5] + b"\xff\xdc\xff\xdc" + JPEG[start + 9 :]


@pytest.mark.parametrize("content", [png_of(100_000, 100_000, bytes(10)), jpeg_bomb()])
def test_a_decompression_bomb_is_refused_by_its_header_and_costs_no_memory(content: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"pixels, more than max_pixels=1000000"):
            read(content)
        assert tracemalloc.get_traced_memory()[1] < 10**6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_of_the_asked_kind_keeps_its_bytes_and_bits(channels: int, bits: int) -> None:
    original = picture(2, size=(5, 7), channels=channels, bits=bits)
    kept = read(png(original), channels)
    assert kept.content == png(original)
    assert (kept.height, kept.width, kept.channels, kept.bits) == (5, 7, channels, bits)
    assert np.array_equal(pixels(kept), original)


def test_a_jpeg_keeps_its_bytes() -> None:
    assert read(JPEG).content == JPEG
    assert pixels(read(JPEG)).shape == (8, 8, 3)


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_becomes_three_equal_channels_and_colour_its_luma(bits: int) -> None:
    grey = picture(3, channels=1, bits=bits)
    assert np.array_equal(pixels(read(png(grey), 3)), grey.repeat(3, -1))
    colour = picture(3, bits=bits)
    luma = colour @ [0.299, 0.587, 0.114]
    assert np.abs(pixels(read(png(colour), 1))[..., 0] - luma).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("colours", [1, 3])
def test_transparency_is_laid_over_black(colours: int, bits: int) -> None:
    original = picture(4, channels=colours + 1, bits=bits)
    alpha = original[..., -1:] / (2**bits - 1)
    shown = pixels(read(png(original), colours))
    assert shown.shape == (8, 8, colours)
    assert np.abs(shown - original[..., :-1] * alpha).max() <= 0.5 + 1e-9


def test_a_palette_comes_out_as_its_colours() -> None:
    indexed = Image.fromarray(picture(5)).quantize(7)
    assert np.array_equal(pixels(read(with_pillow(indexed))), np.asarray(indexed.convert("RGB")))


def test_the_transparent_colour_of_a_palette_is_black() -> None:
    indexed = Image.fromarray(picture(5)).quantize(7)
    expected = np.asarray(indexed.convert("RGB")).copy()
    expected[np.asarray(indexed) == 2] = 0
    assert np.array_equal(pixels(read(with_pillow(indexed, transparency=2))), expected)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_transparent_colour_of_a_header_is_black(mode: str) -> None:
    image = Image.fromarray(picture(6)).convert(mode)
    first = image.getpixel((0, 0))
    shown = pixels(read(with_pillow(image, transparency=first), 3 if mode == "RGB" else 1))
    expected = np.asarray(image).reshape(shown.shape).copy()
    expected[(expected == first).all(-1)] = 0
    assert np.array_equal(shown, expected)


def test_one_bit_becomes_black_and_white() -> None:
    original = picture(7, channels=1)[..., 0] > 127
    shown = pixels(read(with_pillow(Image.fromarray(original)), 1))
    assert np.array_equal(shown[..., 0], original * np.uint8(255))


def test_a_cmyk_jpeg_becomes_colour() -> None:
    image = Image.fromarray(np.full((8, 8, 3), (255, 0, 0), np.uint8)).convert("CMYK")
    shown = pixels(read(with_pillow(image, "JPEG", quality=100)))
    assert np.abs(shown.astype(int) - (255, 0, 0)).max() <= 3


def test_a_grey_jpeg_becomes_colour() -> None:
    content = with_pillow(Image.fromarray(picture(8, channels=1)[..., 0]), "JPEG")
    shown = pixels(read(content))
    assert np.array_equal(shown[..., 0], shown[..., 2])
    assert read(content, 1).content == content


@pytest.mark.parametrize("bits", [8, 16])
def test_a_picture_of_one_pixel_is_a_picture(bits: int) -> None:
    one = picture(9, size=(1, 1), bits=bits)
    assert np.array_equal(pixels(read(png(one))), one)
    assert np.array_equal(pixels(read(png(one), size=4)), np.broadcast_to(one, (4, 4, 3)))


@pytest.mark.parametrize("bits", [8, 16])
def test_resizing_keeps_bits_and_mean(bits: int) -> None:
    original = picture(10, size=(16, 16), bits=bits)
    small = read(png(original), size=8)
    assert (small.height, small.width, small.bits) == (8, 8, bits)
    assert pixels(small).mean() == pytest.approx(original.mean(), rel=0.05)


def test_a_lit_pixel_does_not_fall_through_when_a_picture_shrinks() -> None:
    for place in range(8):
        dark = np.zeros((8, 8, 3), np.uint8)
        dark[place, place] = 255
        assert pixels(read(png(dark), size=2)).any()


def test_eight_bits_fill_sixteen_to_the_same_fraction_of_full_scale() -> None:
    original = picture(11)
    wide = np.empty((8, 8, 3), np.uint16)
    decode_into(png(original), wide)
    assert np.array_equal(wide / 65535, original / 255)


def test_sixteen_bits_do_not_go_into_eight() -> None:
    with pytest.raises(DataError, match="promises"):
        decode_into(png(picture(12, bits=16)), np.empty((8, 8, 3), np.uint8))


@pytest.mark.parametrize("whole", [PNG, JPEG, with_pillow(Image.fromarray(picture(5)).quantize(7), transparency=2)])
def test_no_damage_gives_another_error_than_ours(whole: bytes) -> None:
    chance = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in chance.integers(0, len(whole), chance.integers(1, 4)):
            damaged[place] = chance.integers(0, 256)
        try:
            pixels(read(bytes(damaged)))
        except DataError as error:
            assert str(error)  # noqa: PT017 - either outcome is right
