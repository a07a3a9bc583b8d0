"""Image files: every format becomes upright RGB of 8 bits. H and W the size of an image."""

import re
import struct
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.installation import install_command
from unveil.io.files import DataError, write_file
from unveil.io.image_metadata import ImageMetadata, read_metadata
from unveil.io.opencv_log import quiet_opencv
from unveil.types import Image

IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff"),
        *(".bmp", ".gif", ".avif", ".heic", ".heif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"),
    )
)
"""Lower-case suffixes of the files that count as images in a folder."""

PNG_HEADER = 33  # bytes of a PNG file: signature and IHDR
MIN_SIDE = 8  # pixels; landmarks need a face of about twice that
DECODE_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
UNCHANGED_FLAGS = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
BIT_DEPTHS = (8, 10, 12, 14, 16)  # of values in a container of 16 bits
UNIT_LIMIT = 1.5  # floating-point values up to this are taken as 0 to 1, with some overshoot
JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")
JPEG_END, JPEG_STANDALONE = 0xD9, frozenset((0x01, *range(0xD0, 0xD9)))

Warn: TypeAlias = Callable[[str], None]
"""Takes a warning of one line that names the file."""


class ImageError(DataError):
    """An image that cannot be read. The message is one line that names the file and the fix."""


class ImageWarning(UserWarning):
    """A warning about an image that was read: its values were scaled by a guess, or it has several frames."""


def read_image(path: str | Path, warn: Warn | None = None) -> Image:
    """Return the image of a file as upright RGB of 8 bits, (H, W, 3).

    The EXIF orientation is applied. Grey, palette and CMYK images become RGB, an alpha channel is dropped. Of an
    animation or a file of several pages, the first is read. Values of more than 8 bits are scaled to 0 to 255.

    Args:
        path: The file.
        warn: Called with one line if the values had to be scaled by a guess or there are several frames. Without it
            the line is issued as an `ImageWarning`.

    Raises:
        ImageError: If the file cannot be read.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: a folder, not an image") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    return decode_image(data, str(path), warn)


def decode_image(data: bytes | NDArray[np.uint8], name: str = "image", warn: Warn | None = None) -> Image:
    """Return the image in the content of a file, (H, W, 3), as `read_image` does.

    Args:
        data: The content of the file.
        name: The name of the image in messages.
        warn: As in `read_image`.

    Raises:
        ImageError: If the data cannot be decoded.
    """
    data = bytes(data)
    if not data:
        raise ImageError(f"{name}: the file is empty (0 bytes); copy or download it again")
    metadata = read_metadata(data)
    kind = metadata.format
    if (kind == "JPEG" and not _jpeg_ends(data)) or (kind == "PNG" and b"IEND\xaeB`\x82" not in data):
        raise ImageError(f"{name}: the {kind} is cut short after {len(data)} bytes; copy or download it again")
    if metadata.undecodable:
        raise ImageError(f"{name}: {metadata.undecodable}, which OpenCV cannot decode; save it as PNG")
    image_rgb, orientation = _decode(data, metadata, name)
    height, width = image_rgb.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ImageError(
            f"{name}: {width}x{height} pixels cannot hold a face; use an image of at least {MIN_SIDE}x{MIN_SIDE}"
        )
    notes = []
    if metadata.frames > 1:
        frames = "pages" if kind == "TIFF" else "frames"
        notes.append(f"{metadata.frames} {frames}; the first is used")
    image_rgb, note = _to_8_bits(image_rgb, metadata.max_value)
    if metadata.white_is_zero:
        image_rgb = 255 - image_rgb
    for text in (*notes, *([note] if note else [])):
        (warn or _issue_warning)(f"{name}: {text}")
    return np.ascontiguousarray(_upright(image_rgb, orientation))


def _decode(data: bytes, metadata: ImageMetadata, name: str) -> tuple[NDArray[Any], int]:
    """Return the pixels of the first frame, RGB in the file's own depth, and the orientation still to be applied."""
    kind = metadata.format
    if kind == "HEIC":
        return _decode_heif(data, name), 1
    if metadata.patches:
        patched = bytearray(data)
        for offset, value in metadata.patches:
            patched[offset : offset + len(value)] = value
        data = bytes(patched)
    buffer, problem = np.frombuffer(data, np.uint8), None
    image = None
    with quiet_opencv():
        for flags in (DECODE_FLAGS, UNCHANGED_FLAGS):  # the second reads grey TIFF of floating-point numbers
            try:
                image = cv2.imdecode(buffer, flags)
            except (cv2.error, MemoryError) as error:
                problem = error
            if image is not None or kind != "TIFF":
                break
    if image is None and kind == "AVIF":
        return _decode_avif(data, name), 1
    if image is None and problem is not None:
        message = f"{name}: OpenCV cannot decode it ({_first_line(problem)}); save it as PNG or JPEG"
        raise ImageError(message) from problem
    if image is None and kind:
        raise ImageError(
            f"{name}: the {kind} is damaged, cut short or of an unsupported kind; save it again as PNG or JPEG"
        )
    if image is None:
        raise ImageError(f"{name}: not an image that OpenCV can decode; save it as JPEG, PNG, WebP, TIFF or BMP")
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    return image[..., 2::-1], metadata.orientation


def _decode_heif(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode HEIC by pillow-heif, which applies the orientation and scales to 8 bits."""
    try:
        import pillow_heif
    except ImportError:
        raise ImageError(f"{name}: HEIC needs pillow-heif; {install_command('heif')}, or save it as JPEG") from None
    try:
        return np.asarray(pillow_heif.open_heif(data).to_pillow().convert("RGB"), np.uint8)
    except Exception as error:  # the errors of the plug-in have no common class
        raise ImageError(f"{name}: the HEIC is damaged or cut short; save it again as PNG or JPEG") from error


def _decode_avif(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode AVIF by Pillow, for a build of OpenCV without AVIF; Pillow states the orientation as EXIF."""
    try:
        from io import BytesIO

        from PIL import Image as PillowImage
        from PIL import ImageOps, features

        if not features.check("avif"):
            raise ImportError
    except ImportError:
        problem = (
            f"the AVIF is damaged, or this OpenCV has no AVIF decoder; {install_command('heif')}, or save it as JPEG"
        )
        raise ImageError(f"{name}: {problem}") from None
    try:
        with PillowImage.open(BytesIO(data)) as opened:
            return np.asarray(ImageOps.exif_transpose(opened).convert("RGB"), np.uint8)
    except Exception as error:  # the errors of the plug-in have no common class
        raise ImageError(f"{name}: the AVIF is damaged or cut short; save it again as PNG or JPEG") from error


def _to_8_bits(pixels: NDArray[Any], max_value: int | None) -> tuple[Image, str | None]:
    """Scale the values to 0 to 255.

    Args:
        pixels: The pixels, of any number type.
        max_value: The largest possible value, if the header states it.

    Returns:
        The pixels as uint8, and what was done unless it is certain.
    """
    if pixels.dtype == np.uint8:
        if max_value is None or max_value >= 255:
            return pixels, None
        scaled: Image = np.minimum(np.round(pixels * (255 / max_value)), 255).astype(np.uint8)
        return scaled, None
    floating = np.issubdtype(pixels.dtype, np.floating)
    finite = bool(np.isfinite(pixels).all())
    values = pixels if finite else np.nan_to_num(pixels, nan=0, posinf=0, neginf=0)
    largest = float(values.max())
    if floating and largest <= UNIT_LIMIT:
        limit = 1.0
    elif max_value is not None and not floating and largest <= max_value < 65535:
        limit = float(max_value)
    else:
        depths = (*BIT_DEPTHS[:-1], 15) if pixels.dtype == np.int16 else BIT_DEPTHS
        limit = next((float(2**bits - 1) for bits in depths if largest < 2**bits), largest)
        limit = 255.0 if floating and largest < 256 else limit
    scaled = np.clip(np.round(values * (255 / limit)), 0, 255).astype(np.uint8)
    if not floating and limit == 65535:
        return scaled, None
    kind = "floating-point" if floating else f"{pixels.dtype.itemsize * 8}-bit"
    lost = "" if finite else ", those that are not finite set to 0"
    return scaled, f"{kind} values up to {largest:g} were scaled from 0-{limit:g} to 0-255{lost}"


def _upright(image: Image, orientation: int) -> Image:
    """Apply an EXIF orientation, 1 to 8."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return image[:, ::-1] if orientation in (2, 3, 6, 7) else image


def _issue_warning(message: str) -> None:
    warnings.warn(message, ImageWarning, stacklevel=4)


def _jpeg_ends(data: bytes) -> bool:
    """Return whether a JPEG reaches its end marker; OpenCV may fill what is missing with grey and report no error.

    Marker segments are skipped by their length, so that the end of an embedded thumbnail does not count. Inside the
    entropy-coded data the pattern matches the next marker, because a data byte of 255 is always followed by 0.
    """
    at = 2
    while marker := JPEG_MARKER.search(data, at):
        code, at = marker[1][0], marker.end()
        if code == JPEG_END:
            return True
        if code not in JPEG_STANDALONE:
            at += int.from_bytes(data[at : at + 2], "big")
    return False


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


class PngError(OSError):
    """An image that OpenCV cannot encode as PNG."""


def encode_png(pixels: NDArray[np.uint8], text: Mapping[str, str] | None = None) -> bytes:
    """Return an image as the content of a PNG file, without loss.

    Args:
        pixels: RGB (H, W, 3) or grey (H, W).
        text: Keywords and texts, in ASCII, for the file's text chunks.

    Raises:
        PngError: If OpenCV cannot encode it.
    """
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    encoded, data = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not encoded:
        raise PngError("OpenCV could not encode the image as PNG")
    content = data.tobytes()
    chunks = b"".join(_text_chunk(keyword, value) for keyword, value in (text or {}).items())
    return content[:PNG_HEADER] + chunks + content[PNG_HEADER:]


def _text_chunk(keyword: str, value: str) -> bytes:
    body = b"tEXt" + keyword.encode("ascii") + b"\0" + value.encode("ascii")
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def write_png(path: Path, pixels: NDArray[np.uint8], text: Mapping[str, str] | None = None) -> None:
    """Write an image as a PNG file, atomically.

    Args:
        path: The file. Missing folders are created.
        pixels: RGB (H, W, 3) or grey (H, W).
        text: Keywords and texts, in ASCII, for the file's text chunks.

    Raises:
        PngError: If OpenCV cannot encode it. The message names the file.
    """
    try:
        write_file(path, encode_png(pixels, text))
    except PngError as error:
        raise PngError(f"{path}: {error}") from None
