"""The header of an image file: format, orientation, bit depth and number of frames.

OpenCV applies the orientation of some formats only, and which ones depends on its version. It is read here instead, for
every format that can have one.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"RIFF", "WebP"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\x00\x00\x00\x0cjP", "JPEG 2000"),
)
"""The first bytes of a file and the name of its format."""

HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
HEIF_BRANDS: Mapping[bytes, str] = dict.fromkeys(HEIC_BRANDS, "HEIC") | {b"avif": "AVIF", b"avis": "AVIF"}
SUBFILE, BITS, PHOTOMETRIC, ORIENTATION = 0x00FE, 0x0102, 0x0106, 0x0112
PLANAR, EXTRA_SAMPLES = 0x011C, 0x0152
TIFF_TAGS = (SUBFILE, BITS, PHOTOMETRIC, ORIENTATION, PLANAR, EXTRA_SAMPLES)
UNASSOCIATED, ASSOCIATED = 2, 1  # alpha: colours as they are, colours multiplied by alpha
TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
MAX_FRAMES = 10_000
PNM_LIMIT = 200  # bytes within which the header of a PNM file must end
# HEIF: mirror (None, 0 top-bottom, 1 left-right) -> EXIF orientation after 0 to 3 quarter turns counter-clockwise
HEIF_ORIENTATION = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """The header of an image file.

    Args:
        format: The format, for example "JPEG"; None if it is unknown.
        orientation: EXIF orientation, 1 to 8.
        max_value: The largest possible value of a channel; None if the header does not state it.
        frames: The number of frames or pages.
        patches: Offset and replacement of bytes with which the decoder would alter the pixels.
        white_is_zero: Whether 0 is white, in a TIFF of more than 8 bits. OpenCV ignores this property there.
        undecodable: A property of the file that OpenCV decodes wrongly without an error; None if there is none.
    """

    format: str | None
    orientation: int = 1
    max_value: int | None = None
    frames: int = 1
    patches: tuple[tuple[int, bytes], ...] = ()
    white_is_zero: bool = False
    undecodable: str | None = None


def image_format(data: bytes) -> str | None:
    """Return the format of an image file, None if it is unknown.

    Args:
        data: The content of the file, or its first 256 bytes.
    """
    if data[4:8] == b"ftyp":
        size = min(int.from_bytes(data[:4], "big"), 256)
        brands = [data[8:12], *(data[i : i + 4] for i in range(16, size, 4))]
        return next((HEIF_BRANDS[brand] for brand in brands if brand in HEIF_BRANDS), None)
    if data[:1] == b"P" and data[1:2] in b"123456" and data[2:3].isspace():
        return "PNM"
    return next((name for magic, name in SIGNATURES if data.startswith(magic)), None)


def read_metadata(data: bytes) -> ImageMetadata:
    """Return what the header of an image file states; a damaged header is read as an empty one.

    Args:
        data: The content of the file.
    """
    name = image_format(data)
    readers = {
        **{"JPEG": _jpeg, "PNG": _png, "WebP": _webp, "TIFF": _tiff, "GIF": _gif, "PNM": _pnm},
        **{"JPEG 2000": _jpeg2000, "AVIF": _heif, "HEIC": _heif},
    }
    try:
        return readers[name](data) if name in readers else ImageMetadata(name)
    except (struct.error, LookupError, ValueError):
        return ImageMetadata(name)


def _jpeg(data: bytes) -> ImageMetadata:
    at = 2
    while data[at] == 0xFF and data[at + 1] not in (0xD9, 0xDA):
        if data[at + 1] == 0xFF:  # padding
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\x00\x00":
            return ImageMetadata("JPEG", _exif_orientation(data[at + 10 : at + 2 + length]))
        at += 2 + length
    return ImageMetadata("JPEG")


def _png(data: bytes) -> ImageMetadata:
    orientation, frames, bits = 1, 1, data[24]
    for kind, body in _chunks(data, 8, ">I4s", padding=1, trailer=4):
        if kind == b"eXIf":
            orientation = _exif_orientation(body)
        elif kind == b"acTL":
            frames = int.from_bytes(body[:4], "big")
        elif kind == b"sBIT" and bits == 16:
            bits = max(body[:3])
        elif kind == b"IDAT" and orientation != 1:
            break
    return ImageMetadata("PNG", orientation, _max_value(bits), frames)


def _webp(data: bytes) -> ImageMetadata:
    orientation, frames = 1, 0
    for kind, body in _chunks(data, 12, "<4sI", padding=2):
        if kind == b"EXIF":
            orientation = _exif_orientation(body.removeprefix(b"Exif\x00\x00"))
        frames += kind == b"ANMF"
    return ImageMetadata("WebP", orientation, frames=max(frames, 1))


def _chunks(data: bytes, at: int, header: str, *, padding: int, trailer: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and body of the chunks of a PNG or RIFF file."""
    while at + 8 <= len(data):
        first, second = struct.unpack_from(header, data, at)
        kind, size = (second, first) if isinstance(first, int) else (first, second)
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + size + -size % padding + trailer


def _exif_orientation(exif: bytes) -> int:
    """Return the orientation of an EXIF block, 1 if it has none or is damaged."""
    try:
        return _tiff(exif).orientation
    except (struct.error, LookupError, ValueError):
        return 1


def _tiff(data: bytes) -> ImageMetadata:
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        raise ValueError("not TIFF")
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    (offset,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    orientation, bits, pages, white_is_zero, planar = 1, 8, 0, False, False
    patches: list[tuple[int, bytes]] = []
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < MAX_FRAMES:
        seen.add(offset)
        try:
            tags, following = _directory(data, offset, order, big)
        except struct.error:
            if len(seen) == 1:
                raise
            break
        reduced = SUBFILE in tags and tags[SUBFILE][1][0] & 1
        pages += not reduced
        if len(seen) == 1:
            bits = max(tags.get(BITS, (0, (8,)))[1])
            white_is_zero = bits > 8 and tags.get(PHOTOMETRIC, (0, (1,)))[1][0] == 0
            planar = bits > 8 and len(tags[BITS][1]) > 1 and tags.get(PLANAR, (0, (1,)))[1][0] == 2
            orientation = tags.get(ORIENTATION, (0, (1,)))[1][0]
            short = struct.Struct(order + "H")
            if orientation != 1 and ORIENTATION in tags:
                patches.append((tags[ORIENTATION][0], short.pack(1)))
            if tags.get(EXTRA_SAMPLES, (0, (0,)))[1][0] == UNASSOCIATED:
                patches.append((tags[EXTRA_SAMPLES][0], short.pack(ASSOCIATED)))
        offset = following
    orientation = orientation if 1 <= orientation <= 8 else 1
    undecodable = f"{bits}-bit TIFF with its channels in separate planes" if planar else None
    limit, pages = _max_value(bits), max(pages, 1)
    return ImageMetadata("TIFF", orientation, limit, pages, tuple(patches), white_is_zero, undecodable)


def _directory(data: bytes, offset: int, order: str, big: bool) -> tuple[dict[int, tuple[int, tuple[int, ...]]], int]:
    """Return the whole-number tags of a TIFF directory, each with the offset of its value, and the next directory."""
    (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, offset)
    offset += 8 if big else 2
    entry = struct.Struct(order + ("HHQ" if big else "HHI"))
    inline, pointer = (8, order + "Q") if big else (4, order + "I")
    tags: dict[int, tuple[int, tuple[int, ...]]] = {}
    for _ in range(count):
        tag, kind, length = entry.unpack_from(data, offset)
        if tag in TIFF_TAGS and kind in (1, 3, 4):
            place, length = offset + entry.size, min(length, 16)
            if TIFF_SIZES[kind] * length > inline:
                (place,) = struct.unpack_from(pointer, data, place)
            values = struct.unpack_from(f"{order}{length}{ {1: 'B', 3: 'H', 4: 'I'}[kind] }", data, place)
            if values:
                tags[tag] = (place, values)
        offset += entry.size + inline
    return tags, struct.unpack_from(pointer, data, offset)[0]


def _gif(data: bytes) -> ImageMetadata:
    at, frames = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0), 0
    while frames < MAX_FRAMES and at < len(data) and data[at] in (0x21, 0x2C):
        if data[at] == 0x21:  # extension: introducer, label, blocks
            at += 2
        else:  # image: descriptor, colours, code size, blocks
            frames += 1
            at += 11 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0)
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return ImageMetadata("GIF", frames=max(frames, 1))


def _pnm(data: bytes) -> ImageMetadata:
    if data[1:2] in b"14":
        return ImageMetadata("PNM")
    lines = (line.partition(b"#")[0] for line in data[:PNM_LIMIT].splitlines())
    return ImageMetadata("PNM", max_value=int(b" ".join(lines).split()[3]))


def _jpeg2000(data: bytes) -> ImageMetadata:
    at = data.index(b"ihdr", 0, 4096)
    bits = data[at + 14]
    return ImageMetadata("JPEG 2000", max_value=None if bits == 255 else _max_value((bits & 0x7F) + 1))


def _heif(data: bytes) -> ImageMetadata:
    top = dict(_boxes(data, 0, len(data)))
    start, end = top[b"meta"]
    meta = dict(_boxes(data, start + 4, end))
    (primary,) = struct.unpack_from(">I" if data[meta[b"pitm"][0]] else ">H", data, meta[b"pitm"][0] + 4)
    shared = dict(_boxes(data, *meta[b"iprp"]))
    properties = list(_boxes(data, *shared[b"ipco"]))
    quarters, mirror, bits = 0, None, None
    for index in _associations(data, shared[b"ipma"][0], primary):
        if not 0 < index <= len(properties):
            continue
        kind, (body, _) = properties[index - 1]
        if kind == b"irot":
            quarters = data[body] & 3
        elif kind == b"imir":
            mirror = data[body] & 1
        elif kind == b"pixi":
            bits = data[body + 5]
    frames = 1
    if b"moov" in top and (sizes := data.find(b"stsz", *top[b"moov"])) > 0:  # of the samples of an image sequence
        (frames,) = struct.unpack_from(">I", data, sizes + 12)
    max_value = None if bits is None else _max_value(bits)
    return ImageMetadata(image_format(data), HEIF_ORIENTATION[mirror][quarters], max_value, frames)


def _boxes(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield kind, and start and end of the body, of the boxes of an ISO base media file."""
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start)
            start += 8
        following = end if size == 0 else at + size
        if following <= at:
            return
        yield kind, (start, min(following, end))
        at = following


def _associations(data: bytes, at: int, item: int) -> list[int]:
    """Return the numbers, from 1, of the properties of an item."""
    version, wide = data[at], data[at + 3] & 1
    (count,) = struct.unpack_from(">I", data, at + 4)
    at += 8
    for _ in range(count):
        (found,) = struct.unpack_from(">I" if version else ">H", data, at)
        at += 4 if version else 2
        length, at = data[at], at + 1
        values = struct.unpack_from(f">{length}{'H' if wide else 'B'}", data, at)
        at += length * (2 if wide else 1)
        if found == item:
            return [value & (0x7FFF if wide else 0x7F) for value in values]
    return []


def _max_value(bits: int) -> int | None:
    return (1 << bits) - 1 if 8 < bits <= 16 else None
