"""Pictures in: whatever OpenCV decodes becomes upright RGB, anything else one line that says why not."""

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from unveil.io.files import DataError
from unveil.io.opencv_log import quiet_opencv
from unveil.types import Image

IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff"),
        *(".bmp", ".gif", ".avif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"),
    )
)
MIN_SIDE = 8  # a face is some 16 pixels wide before its landmarks mean anything; less than half of that cannot hold one

SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"RIFF", "WebP"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x00\x00\x0cjP", "JPEG 2000"),
)
JPEG_MARKER = re.compile(rb"\xff([^\x00\xff])")
JPEG_END, JPEG_STANDALONE = 0xD9, frozenset((0x01, *range(0xD0, 0xD9)))


class ImageError(DataError):
    """A picture that cannot be read; the message is one line that names the file and the mend."""


def read_image(path: str | Path) -> Image:
    """The picture in `path` as RGB, (H, W, 3) of uint8, turned as its EXIF data say. ImageError if there is none.

    Grey, palette, 16-bit and CMYK pictures become RGB of 8 bits; an alpha channel is dropped.
    """
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: a folder, not an image") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    return decode_image(data, str(path))


def decode_image(data: bytes | NDArray[np.uint8], name: str = "image") -> Image:
    """The picture in `data`, as `read_image` gives it; `name` is what an ImageError calls it."""
    data = bytes(data)
    if not data:
        raise ImageError(f"{name}: the file is empty (0 bytes); copy or download it again")
    kind = next((kind for magic, kind in SIGNATURES if data.startswith(magic)), None)
    if (kind == "JPEG" and not _jpeg_ends(data)) or (kind == "PNG" and b"IEND\xaeB`\x82" not in data):
        raise ImageError(f"{name}: the {kind} is cut short after {len(data)} bytes; copy or download it again")
    with quiet_opencv():
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        except (cv2.error, MemoryError) as error:
            raise ImageError(
                f"{name}: OpenCV cannot decode it ({_first_line(error)}); save it as PNG or JPEG"
            ) from error
    if image is None and kind:
        raise ImageError(
            f"{name}: the {kind} is damaged, cut short or of an unknown kind; save it again as PNG or JPEG"
        )
    if image is None:
        raise ImageError(f"{name}: not an image that OpenCV knows; save it as JPEG, PNG, WebP, TIFF or BMP")
    height, width = image.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ImageError(
            f"{name}: {width}x{height} pixels cannot hold a face; use a picture of at least {MIN_SIDE}x{MIN_SIDE}"
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _jpeg_ends(data: bytes) -> bool:
    """Whether a JPEG reaches its end marker: OpenCV may paint what is missing grey and say nothing.

    Marker segments are stepped over by their length, so that the end of an embedded thumbnail does not count; inside
    the entropy-coded data the pattern finds the next marker, since a data byte of 255 is always followed by 0.
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


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode an image as PNG, without loss.

    Args:
        pixels: RGB (H, W, 3) or grey (H, W).

    Returns:
        The content of the file.

    Raises:
        PngError: If OpenCV cannot encode it.
    """
    ordered = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    encoded, data = cv2.imencode(".png", ordered, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not encoded:
        raise PngError("OpenCV could not encode the image as PNG")
    return data.tobytes()


def write_png(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write RGB (H, W, 3) or grey (H, W) pixels as a PNG file. PngError, naming the file, if that is not possible."""
    try:
        path.write_bytes(encode_png(pixels))
    except PngError as error:
        raise PngError(f"{path}: {error}") from None
