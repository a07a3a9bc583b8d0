import struct
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest

from unveil.io.images import ImageError, decode_image, read_image
from unveil.types import Image


@pytest.fixture
def ramp() -> Image:
    """Smooth, and different in every corner and channel."""
    y, x = np.mgrid[0:48, 0:64]
    return np.dstack([x * 3, y * 4, 255 - x * 2]).astype(np.uint8)


def encoded(suffix: str, image: np.ndarray) -> bytes:
    good, data = cv2.imencode(suffix, image)
    assert good
    return bytes(data.tobytes())


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".jpg", ".ppm"])
def test_a_picture_comes_back_as_rgb_in_every_format(ramp: Image, suffix: str) -> None:
    options = {".webp": [cv2.IMWRITE_WEBP_QUALITY, 101], ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 100]}
    _, data = cv2.imencode(suffix, ramp[..., ::-1], options.get(suffix, []))
    read = decode_image(data.tobytes())
    assert read.shape == ramp.shape
    assert read.dtype == np.uint8
    assert read.flags["C_CONTIGUOUS"]
    assert np.abs(read.astype(int) - ramp).mean() < (2 if suffix == ".jpg" else 0.01)


def test_a_grey_picture_becomes_rgb(ramp: Image) -> None:
    grey = ramp[..., 0]
    np.testing.assert_array_equal(decode_image(encoded(".png", grey)), np.dstack([grey] * 3))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bits_become_8(ramp: Image, suffix: str) -> None:
    deep = ramp.astype(np.uint16) * 257
    np.testing.assert_array_equal(decode_image(encoded(suffix, deep[..., ::-1])), ramp)
    np.testing.assert_array_equal(decode_image(encoded(suffix, deep[..., 0])), np.dstack([ramp[..., 0]] * 3))


def test_an_alpha_channel_is_dropped(ramp: Image) -> None:
    rgba = np.dstack([ramp[..., ::-1], np.full(ramp.shape[:2], 128, np.uint8)])
    np.testing.assert_array_equal(decode_image(encoded(".png", rgba)), ramp)


def test_a_cmyk_jpeg_becomes_rgb(ramp: Image) -> None:
    pillow = pytest.importorskip("PIL.Image")
    file = BytesIO()
    pillow.fromarray(ramp).convert("CMYK").save(file, "JPEG", quality=100)
    assert np.abs(decode_image(file.getvalue()).astype(int) - ramp).mean() < 4


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image),
}


@pytest.mark.parametrize("orientation", TURNS)
def test_exif_orientation_is_applied(ramp: Image, orientation: int) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + b"\0" * 4
    jpeg = encoded(".jpg", ramp[..., ::-1])
    turned = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]
    expected = TURNS[orientation](decode_image(jpeg))
    np.testing.assert_array_equal(decode_image(turned), expected)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp"])
@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_a_cut_file_is_an_error_that_names_it(ramp: Image, suffix: str, share: float, tmp_path: Path) -> None:
    data = encoded(suffix, ramp)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ImageError, match=rf"cut\{suffix}: the .*(cut short|damaged)"):
        read_image(path)


def test_a_jpeg_whose_end_was_filled_with_zeros_is_cut(ramp: Image) -> None:
    data = encoded(".jpg", ramp)
    with pytest.raises(ImageError, match="cut short"):
        decode_image(data[: len(data) // 2] + bytes(len(data)))


def test_the_end_of_an_embedded_thumbnail_is_not_the_end_of_the_picture(ramp: Image) -> None:
    data = encoded(".jpg", ramp)
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(data)) + data
    whole = data[:2] + thumbnail + data[2:]
    assert decode_image(whole).shape == ramp.shape
    with pytest.raises(ImageError, match="cut short"):
        decode_image(whole[:-100])


def test_bytes_after_a_jpeg_do_no_harm(ramp: Image) -> None:
    assert decode_image(encoded(".jpg", ramp) + b"a phone's video").shape == ramp.shape


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty"),
        (b"not a picture at all", "not an image"),
        (b"\xff\xd8\xff\xe0 nonsense \xff\xd9", "damaged|cut short"),
        (encoded(".png", np.zeros((1, 1, 3), np.uint8)), "1x1 pixels"),
    ],
)
def test_what_is_no_picture_is_one_line_that_names_the_file(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "face.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=complaint) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(ImageError, match="a folder, not an image"):
        read_image(tmp_path)


def test_opencv_says_nothing_on_stderr(ramp: Image, capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded(".tiff", ramp)
    with pytest.raises(ImageError):
        decode_image(data[:200])
    assert capfd.readouterr().err == ""
