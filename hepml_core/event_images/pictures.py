"""Pictures of events as bytes and as arrays.

Axes: y row, x column, c channel (red, green, blue). A picture is a ``uint8`` or ``uint16`` array (y, x, c); its full
scale is the largest number of its type.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from hepml_core.errors import DataError

Picture = NDArray[Any]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
LUMA_C = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in a grey picture (ITU-R BT.601)."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture file says of itself before its pixels."""

    format: str
    width: int
    height: int
    channels: int
    """As stored: 1 grey, 2 grey and alpha, 3 colour, 4 colour and alpha; 0 for what has others (palette, CMYK)."""
    bits: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """A picture ready for a record: an encoded file whose pixels are exactly (height, width, channels)."""

    content: bytes
    height: int
    width: int
    channels: int
    bits: int


def read_header(content: bytes, max_pixels: int) -> Header:
    """Read a PNG or JPEG header.

    Raises:
        DataError: The content is empty, no PNG or JPEG, cut within its header, or has more than ``max_pixels`` pixels.
    """
    if not content:
        raise DataError("the file is empty")
    if content.startswith(PNG_SIGNATURE):
        header = _read_png_header(content)
    elif content.startswith(JPEG_SIGNATURE):
        header = _read_jpeg_header(content)
    else:
        raise DataError(f"the file is neither PNG nor JPEG (it starts with {content[:8]!r})")
    if header.width * header.height > max_pixels:
        raise DataError(f"the picture has {header.width}x{header.height} pixels, more than max_pixels={max_pixels}")
    return header


def check_whole(content: bytes, header: Header) -> None:
    """Make sure that a file is whole: a PNG by the checksums of its chunks, a JPEG by decoding it.

    Raises:
        DataError: It is not; the message says what is missing.
    """
    if header.format == "png":
        _check_png_chunks(content)
    else:
        _decode_jpeg(content)


def prepare(content: bytes, header: Header, channels: int, size: int) -> Encoded:
    """Bring a whole file to the asked channels and size; what has them already keeps its bytes.

    Args:
        content: The file.
        header: Its header.
        channels: 1 for grey or 3 for colour; transparency is laid over black.
        size: Height and width in pixels; 0 keeps the file's own.
    """
    fits = size in (0, header.height) and size in (0, header.width)
    if fits and header.channels == channels:
        return Encoded(content, header.height, header.width, channels, header.bits)
    picture_yxc = _to_channels(_decode_as_stored(content, header), channels)
    if not fits:
        picture_yxc = _resize(picture_yxc, size)
    height, width, _ = picture_yxc.shape
    return Encoded(encode_png(picture_yxc), height, width, channels, picture_yxc.dtype.itemsize * 8)


def decode_into(content: bytes, out_yxc: Picture) -> None:
    """Decode a prepared picture into an array of its shape.

    8-bit pictures fill a ``uint16`` array to the same fraction of full scale.

    Raises:
        DataError: The content does not decode to the array's shape.
    """
    decode = imagecodecs.png_decode if content.startswith(PNG_SIGNATURE) else imagecodecs.jpeg8_decode
    target = out_yxc[..., 0] if out_yxc.shape[-1] == 1 else out_yxc
    try:
        picture = decode(content)
    except Exception as error:  # the codecs' errors have no common base
        raise DataError(f"the picture does not decode: {error}") from error
    if picture.shape != target.shape or picture.dtype.itemsize > target.dtype.itemsize:
        raise DataError(
            f"the picture is {picture.shape} {picture.dtype}, its folder promises {target.shape} {target.dtype}"
        )
    target[...] = picture if picture.dtype == target.dtype else picture.astype(np.uint16) * 257


def encode_png(picture_yxc: Picture) -> bytes:
    """Encode a picture (y, x, c) with 1 or 3 channels as PNG.

    Run lengths without a filter suit black pictures with points: they take a quarter of the default's time and hardly
    more bytes.
    """
    stored = picture_yxc[..., 0] if picture_yxc.shape[-1] == 1 else picture_yxc
    strategy, no_filter = imagecodecs.PNG.STRATEGY.RLE, imagecodecs.PNG.FILTER.NO
    return bytes(imagecodecs.png_encode(stored, level=1, strategy=strategy, filter=no_filter))


def _read_png_header(content: bytes) -> Header:
    if len(content) < 33 or content[12:16] != b"IHDR":
        raise DataError("the PNG is cut within its header")
    width, height, bits, colour = struct.unpack(">IIBB", content[16:26])
    channels = {0: 1, 2: 3, 3: 0, 4: 2, 6: 4}.get(colour)
    if channels is None or not width or not height or bits not in (1, 2, 4, 8, 16):
        raise DataError(f"the PNG header is invalid ({width}x{height} pixels, {bits} bits, colour type {colour})")
    if bits < 8 or b"tRNS" in content[33 : content.find(b"IDAT")]:
        channels = 0
    return Header("png", width, height, channels, max(bits, 8))


def _read_jpeg_header(content: bytes) -> Header:
    image = _open_jpeg(content)
    channels = {"L": 1, "RGB": 3}.get(image.mode, 0)
    return Header("jpeg", image.width, image.height, channels, 8)


def _check_png_chunks(content: bytes) -> None:
    """Walk the chunks; a PNG is whole if each one's checksum holds, pixels are among them and the end is there."""
    position, pixels = len(PNG_SIGNATURE), False
    while True:
        head = content[position : position + 8]
        if len(head) < 8:
            raise DataError(f"the PNG is cut: no end after its {len(content)} bytes")
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        end = position + 8 + length
        if end + 4 > len(content):
            raise DataError(f"the PNG is cut within a chunk at byte {position}")
        if zlib.crc32(content[position + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            raise DataError(f"the PNG is damaged: the checksum of its chunk at byte {position} does not match")
        pixels = pixels or kind == b"IDAT"
        if kind == b"IEND":
            break
        position = end + 4
    if not pixels:
        raise DataError("the PNG has no pixels")


def _open_jpeg(content: bytes) -> JpegImageFile:
    """Read a JPEG up to its pixels, past Pillow's own guard against large ones, which is not one of our errors."""
    try:
        return JpegImageFile(io.BytesIO(content))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"the JPEG header is invalid: {error}") from error


def _decode_jpeg(content: bytes) -> Image.Image:
    image = _open_jpeg(content)
    try:
        image.load()
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"the JPEG is cut or damaged: {error}") from error
    return image


def _decode_as_stored(content: bytes, header: Header) -> NDArray[Any]:
    """Decode to (y, x), or (y, x, c) with up to 4 channels; palettes and CMYK come out as colour."""
    if header.format == "jpeg":
        image = _decode_jpeg(content)
        return np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    try:
        return np.asarray(imagecodecs.png_decode(content))
    except Exception as error:  # the codecs' errors have no common base
        raise DataError(f"the PNG does not decode: {error}") from error


def _to_channels(decoded: NDArray[Any], channels: int) -> Picture:
    """Lay transparency over black; turn grey to colour or colour to grey."""
    picture_yxc = decoded[..., None] if decoded.ndim == 2 else decoded
    dtype, full = picture_yxc.dtype, np.iinfo(picture_yxc.dtype).max
    if picture_yxc.shape[-1] in (2, 4):
        alpha = picture_yxc[..., -1:].astype(np.float64) / full
        picture_yxc = np.rint(picture_yxc[..., :-1] * alpha).astype(dtype)
    if picture_yxc.shape[-1] == 3 and channels == 1:
        return np.asarray(np.rint(picture_yxc @ LUMA_C), dtype)[..., None]
    if picture_yxc.shape[-1] == 1 and channels == 3:
        return np.repeat(picture_yxc, 3, axis=-1)
    return picture_yxc


def _resize(picture_yxc: Picture, size: int) -> Picture:
    """Resize by a triangle filter over the whole area of each new pixel, so that single hits do not fall through."""
    full = np.iinfo(picture_yxc.dtype).max
    resized = [
        np.asarray(Image.fromarray(plane_yx.astype(np.float32)).resize((size, size), Image.Resampling.BILINEAR))
        for plane_yx in np.moveaxis(picture_yxc, -1, 0)
    ]
    return np.asarray(np.clip(np.rint(np.stack(resized, axis=-1)), 0, full), picture_yxc.dtype)
