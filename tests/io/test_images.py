"""Image files of every kind become upright RGB of 8 bits; what is none is one line."""

import contextlib
import struct
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from unveil.io.images import ImageError, ImageWarning, decode_image, read_image
from unveil.types import Image

pillow = pytest.importorskip("PIL.Image")


@pytest.fixture
def ramp() -> Image:
    """Smooth, and different in every corner and channel."""
    y, x = np.mgrid[0:48, 0:64]
    return np.dstack([x * 3, y * 4, 255 - x * 2]).astype(np.uint8)


def encoded(suffix: str, image: np.ndarray) -> bytes:
    good, data = cv2.imencode(suffix, image)
    assert good
    return bytes(data.tobytes())


def saved(image: Any, kind: str, **options: object) -> bytes:
    """An array or a Pillow image as a file that Pillow writes."""
    if kind == "HEIF":
        pytest.importorskip("pillow_heif").register_heif_opener()
    if kind == "AVIF" and not pytest.importorskip("PIL.features").check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    file = BytesIO()
    (pillow.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".jpg", ".ppm"])
def test_an_image_comes_back_as_rgb_in_every_format(ramp: Image, suffix: str) -> None:
    options = {".webp": [cv2.IMWRITE_WEBP_QUALITY, 101], ".jpg": [cv2.IMWRITE_JPEG_QUALITY, 100]}
    _, data = cv2.imencode(suffix, ramp[..., ::-1], options.get(suffix, []))
    read = decode_image(data.tobytes())
    assert read.shape == ramp.shape
    assert read.dtype == np.uint8
    assert read.flags["C_CONTIGUOUS"]
    assert np.abs(read.astype(int) - ramp).mean() < (2 if suffix == ".jpg" else 0.01)


def test_a_grey_image_becomes_rgb(ramp: Image) -> None:
    grey = ramp[..., 0]
    np.testing.assert_array_equal(decode_image(encoded(".png", grey)), np.dstack([grey] * 3))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bits_become_8(ramp: Image, suffix: str) -> None:
    deep = ramp.astype(np.uint16) * 257
    np.testing.assert_array_equal(decode_image(encoded(suffix, deep[..., ::-1])), ramp)
    np.testing.assert_array_equal(decode_image(encoded(suffix, deep[..., 0])), np.dstack([ramp[..., 0]] * 3))


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".jp2"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14])
def test_fewer_than_16_bits_in_a_deep_file_are_scaled_by_their_values(ramp: Image, suffix: str, bits: int) -> None:
    deep = np.round(ramp * ((2**bits - 1) / 255)).astype(np.uint16)
    with pytest.warns(ImageWarning, match=rf"a: 16-bit values up to \d+ were scaled from 0-{2**bits - 1} to 0-255"):
        read = decode_image(encoded(suffix, deep[..., ::-1]), "a")
    assert np.abs(read.astype(int) - ramp).max() <= 1


@pytest.mark.parametrize("largest", [1, 255, 65535, 3000])
@pytest.mark.parametrize("grey", [False, True])
def test_floating_point_values_are_scaled_by_what_they_are(ramp: Image, largest: float, grey: bool) -> None:
    values = ramp.astype(np.float32) / 255 * largest
    values = values[..., 0] / values[..., 0].max() * largest if grey else values
    expected = np.dstack([np.round(values * (255 / largest))] * 3) if grey else ramp
    warnings: list[str] = []
    with_nan = values.copy()
    with_nan[0, 0] = np.nan
    limit = 4095 if largest == 3000 else largest
    for content in (values, with_nan):
        read = decode_image(encoded(".tiff", content if grey else content[..., ::-1]), "a.tiff", warnings.append)
        assert np.abs(read[1:].astype(float) - expected[1:] * (largest / limit)).max() <= 1
    assert f"a.tiff: floating-point values up to {largest:g} were scaled from 0-{limit:g}" in warnings[0]
    assert warnings[1].endswith("those that are not finite set to 0")


def test_a_pnm_file_is_scaled_by_its_largest_value(ramp: Image) -> None:
    dark = ramp // 4
    values = np.round(dark * (1023 / 255)).astype(">u2").tobytes()
    read = decode_image(b"P6\n# from a camera\n64 48\n1023\n" + values, warn=lambda _: None)
    assert np.abs(read.astype(int) - dark).max() <= 1
    few = np.round(ramp * (15 / 255)).astype(np.uint8)
    assert np.abs(decode_image(b"P6\n64 48\n15\n" + few.tobytes()).astype(int) - ramp).max() <= 9


def test_an_alpha_channel_is_dropped(ramp: Image) -> None:
    rgba = np.dstack([ramp[..., ::-1], np.full(ramp.shape[:2], 128, np.uint8)])
    np.testing.assert_array_equal(decode_image(encoded(".png", rgba)), ramp)


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_an_alpha_channel_that_is_not_premultiplied_leaves_the_colours(ramp: Image, kind: str) -> None:
    alpha = np.where(np.arange(64) < 32, 0, 90).astype(np.uint8) + np.zeros((48, 1), np.uint8)
    assert np.array_equal(decode_image(saved(np.dstack([ramp, alpha]), kind)), ramp)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF"])
def test_a_palette_image_becomes_rgb(ramp: Image, kind: str) -> None:
    palette = pillow.fromarray(ramp).quantize(64)
    np.testing.assert_array_equal(decode_image(saved(palette, kind)), np.asarray(palette.convert("RGB")))


def test_a_palette_image_with_a_transparent_colour_becomes_rgb(ramp: Image) -> None:
    palette = pillow.fromarray(ramp).quantize(64)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(decode_image(saved(palette, "PNG", transparency=3)), expected)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(ramp: Image, kind: str) -> None:
    cmyk = pillow.fromarray(ramp).convert("CMYK")
    read = decode_image(saved(cmyk, kind, **({"quality": 100} if kind == "JPEG" else {})))
    assert np.abs(read.astype(int) - ramp).mean() < 4


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


def exif(orientation: int) -> bytes:
    made = pillow.Exif()
    made[0x0112] = orientation
    return bytes(made.tobytes())


CONTAINERS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 100, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_lzw"},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "HEIF": {"quality": -1, "chroma": 444},
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", CONTAINERS)
def test_the_orientation_of_every_container_is_applied(ramp: Image, kind: str, orientation: int) -> None:
    data = saved(ramp, kind, exif=exif(orientation), **CONTAINERS[kind])
    read = decode_image(data)
    expected = TURNS[orientation](ramp)
    assert read.shape == expected.shape
    assert np.abs(read.astype(int) - expected).mean() < (0 if kind in ("PNG", "WEBP", "TIFF") else 3) + 1e-9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("orientation", [3, 6, 7])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_the_orientation_of_every_kind_of_tiff_is_applied(
    ramp: Image, dtype: Any, orientation: int, order: str, big: bool
) -> None:
    tifffile = pytest.importorskip("tifffile")
    scale: float = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    file = BytesIO()
    tag = (274, 3, 1, orientation, True)
    values: np.ndarray = (ramp.astype(np.float64) * scale).astype(dtype)
    tifffile.imwrite(file, values, photometric="rgb", extratags=[tag], byteorder=order, bigtiff=big)
    read = decode_image(file.getvalue(), warn=lambda _: None)
    np.testing.assert_array_equal(read, TURNS[orientation](ramp))


def test_tiff_whose_zero_is_white_or_whose_channels_lie_apart_is_not_misread(ramp: Image) -> None:
    tifffile = pytest.importorskip("tifffile")
    for scale, dtype in ((1, np.uint8), (257, np.uint16)):
        white, planar = BytesIO(), BytesIO()
        deep: np.ndarray = (ramp.astype(np.int64) * scale).astype(dtype)
        tifffile.imwrite(white, ~deep[..., 0], photometric="miniswhite")
        np.testing.assert_array_equal(decode_image(white.getvalue()), np.dstack([ramp[..., 0]] * 3))
        tifffile.imwrite(planar, np.moveaxis(deep, 2, 0), photometric="rgb", planarconfig="separate")
        if dtype is np.uint8:
            np.testing.assert_array_equal(decode_image(planar.getvalue()), ramp)
    with pytest.raises(ImageError, match="a: 16-bit TIFF with its channels in separate planes, which OpenCV cannot"):
        decode_image(planar.getvalue(), "a")


def test_an_orientation_beside_other_metadata_or_out_of_range_does_no_harm(ramp: Image) -> None:
    jpeg = encoded(".jpg", ramp[..., ::-1])
    block = b"http://ns.adobe.com/xap/1.0/\0<x/>"
    xmp = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    for value, expected in ((6, 6), (0, 1), (9, 1)):
        for damage in (b"", b"\xff"):
            tags = exif(value).removeprefix(b"Exif\0\0")
            body = b"Exif\0\0" + damage + tags
            segment = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
            read = decode_image(jpeg[:2] + xmp + segment + jpeg[2:])
            np.testing.assert_array_equal(read, TURNS[1 if damage else expected](decode_image(jpeg)))


@pytest.mark.parametrize(
    ("kind", "frames", "options"),
    [
        ("GIF", "frames", {}),
        ("WEBP", "frames", {"lossless": True}),
        ("PNG", "frames", {}),
        ("TIFF", "pages", {}),
        ("AVIF", "frames", {"quality": 95}),
    ],
)
def test_the_first_frame_of_several_is_read_and_that_is_stated(
    ramp: Image, kind: str, frames: str, options: dict[str, object]
) -> None:
    first, *others = (pillow.fromarray(image) for image in (ramp, 255 - ramp, ramp // 2))
    data = saved(first, kind, save_all=True, append_images=others, **options)
    messages: list[str] = []
    read = decode_image(data, "a", messages.append)
    assert messages == [f"a: 3 {frames}; the first is used"]
    assert np.abs(read.astype(int) - ramp).mean() < 5
    with pytest.warns(ImageWarning, match="the first is used"):
        decode_image(data)


def test_a_deep_avif_and_a_heic_become_8_bits(ramp: Image) -> None:
    dark = ramp // 4
    deep = np.round(dark * (1023 / 255)).astype(np.uint16)
    options = [cv2.IMWRITE_AVIF_DEPTH, 10, cv2.IMWRITE_AVIF_QUALITY, 100]
    _, data = cv2.imencode(".avif", deep[..., ::-1], options)
    assert np.abs(decode_image(data.tobytes(), warn=lambda _: None).astype(int) - dark).mean() < 2
    heif = pytest.importorskip("pillow_heif")
    file = BytesIO()
    heif.from_bytes(mode="RGB;16", size=(64, 48), data=(dark.astype(np.uint16) * 257).tobytes()).save(file, quality=-1)
    assert np.abs(decode_image(file.getvalue()).astype(int) - dark).mean() < 3


def test_a_heic_without_the_plugin_is_one_line_that_names_it(ramp: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(ramp, "HEIF")
    with pytest.raises(ImageError, match=r"a\.heic: the HEIC is damaged or cut short"):
        decode_image(data[: len(data) // 2], "a.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"a\.heic: HEIC needs pillow-heif; pip install .*heif.*, or save"):
        decode_image(data, "a.heic")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp"])
@pytest.mark.parametrize("fraction", [0.3, 0.7, 0.98])
def test_a_cut_file_is_an_error_that_names_it(ramp: Image, suffix: str, fraction: float, tmp_path: Path) -> None:
    data = encoded(suffix, ramp)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(fraction * len(data))])
    with pytest.raises(ImageError, match=rf"cut\{suffix}: the .*(cut short|damaged)"):
        read_image(path)


def test_a_jpeg_whose_end_was_filled_with_zeros_is_cut(ramp: Image) -> None:
    data = encoded(".jpg", ramp)
    with pytest.raises(ImageError, match="cut short"):
        decode_image(data[: len(data) // 2] + bytes(len(data)))


def test_the_end_of_an_embedded_thumbnail_is_not_the_end_of_the_image(ramp: Image) -> None:
    data = encoded(".jpg", ramp)
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + len(data)) + data
    whole = data[:2] + thumbnail + data[2:]
    assert decode_image(whole).shape == ramp.shape
    with pytest.raises(ImageError, match="cut short"):
        decode_image(whole[:-100])


def test_bytes_after_a_jpeg_do_no_harm(ramp: Image) -> None:
    assert decode_image(encoded(".jpg", ramp) + b"a phone's video").shape == ramp.shape


@pytest.mark.parametrize("kind", [*CONTAINERS, "GIF", "JPEG2000", "PPM", "BMP"])
def test_damaged_bytes_give_an_image_or_an_image_error(ramp: Image, kind: str) -> None:
    has_exif = kind in CONTAINERS
    data, rng = saved(ramp, kind, **({"exif": exif(6)} if has_exif else {})), np.random.default_rng(0)
    for _ in range(30):
        damaged = bytearray(data[: int(rng.integers(len(data) // 2, len(data) + 1))])
        for place in rng.integers(0, min(len(damaged), 300), 3):
            damaged[place] = int(rng.integers(256))
        with contextlib.suppress(ImageError):
            assert decode_image(bytes(damaged), warn=lambda _: None).dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty"),
        (b"not a picture at all", "not an image"),
        (b"\xff\xd8\xff\xe0 nonsense \xff\xd9", "damaged|cut short"),
        (encoded(".png", np.zeros((1, 1, 3), np.uint8)), "1x1 pixels"),
    ],
)
def test_what_is_no_image_is_one_line_that_names_the_file(tmp_path: Path, content: bytes, complaint: str) -> None:
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


def test_opencv_writes_nothing_to_stderr(ramp: Image, capfd: pytest.CaptureFixture[str]) -> None:
    data = encoded(".tiff", ramp)
    with pytest.raises(ImageError):
        decode_image(data[:200])
    assert capfd.readouterr().err == ""
