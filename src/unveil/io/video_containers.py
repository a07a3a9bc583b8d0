"""Damage that a video's container shows and FFmpeg does not report: a missing end, and skipped frames of AVI files."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

HEAD, TAIL = 65536, 1 << 20  # bytes at the start and at the end of a file that are searched
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")  # the object that states the size of the file
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # of Matroska; a segment holds all other elements
MPEG_PACKET = 188  # bytes of a packet of MPEG-TS
PACK, PACK_END = b"\0\0\1\xba", 0xB9  # of an MPEG program stream; the last byte of its end
SLACK = 8  # bytes by which a complete file may differ from the size that it states


def missing_end(path: Path) -> str | None:
    """Return where a video file ends if its container shows that there was more.

    Args:
        path: The file.

    Returns:
        As in "at 630 of 900 bytes" or "inside a packet"; None if it is complete, or does not show it.
    """
    if not path.is_file():  # reading a pipe would take its data
        return None
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
        if head[4:8] == b"ftyp":
            boxes = dict(_boxes(file, size))
            return "without its index (moov)" if b"moov" not in boxes else _compared(size, max(boxes.values()))
        file.seek(max(0, size - TAIL))
        return missing_stream_end(head, file.read(), size)


def missing_stream_end(head: bytes, tail: bytes, size: int) -> str | None:
    """Return the same for a stream that was read to its end.

    Args:
        head: Its first bytes.
        tail: Its last bytes.
        size: Its length in bytes.

    Returns:
        As `missing_end`. MP4 does not show it.
    """
    stated = _stated_size(head)
    if stated is None and _ends_inside_packet(head, tail, size):
        return "inside a packet"
    return None if stated is None else _compared(size, stated)


def _compared(size: int, stated: int) -> str | None:
    return f"at {size} of {stated} bytes" if size < stated - SLACK else None


def _boxes(file: BinaryIO, size: int) -> Iterator[tuple[bytes, int]]:
    """Yield the name of each outermost box of MP4 and the place at which it ends."""
    place = 0
    while place + 8 <= size:
        file.seek(place)
        header = file.read(16)
        length, name = struct.unpack(">I4s", header[:8])
        length = int.from_bytes(header[8:16], "big") if length == 1 else length or size - place
        if not (name.replace(b" ", b"").isalnum() and length >= 8):  # other data behind the last one
            return
        place += length
        yield name, place


def _stated_size(head: bytes) -> int | None:
    """Return the size that a Matroska, WebM, AVI, ASF or FLV file states at its start."""
    if head.startswith(b"RIFF"):
        return 8 + int.from_bytes(head[4:8], "little")
    if head.startswith(EBML) and (at := head.find(SEGMENT, 4) + 4) >= 8 and at < len(head) and head[at]:
        length = 9 - head[at].bit_length()  # of the size, in bytes; its first set bit marks it
        bits = 7 * length
        size = int.from_bytes(head[at : at + length], "big") & ((1 << bits) - 1)
        return at + length + size if size < (1 << bits) - 1 else None
    if (at := head.find(ASF_PROPERTIES)) > 0:
        return int(struct.unpack_from("<Q", head, at + 40)[0]) or None
    if head.startswith(b"FLV") and (at := head.find(b"filesize\0")) > 0:
        return int(struct.unpack_from(">d", head, at + 9)[0]) or None
    return None


def _ends_inside_packet(head: bytes, tail: bytes, size: int) -> bool:
    """Return whether the last packet of an MPEG or Ogg file is incomplete."""
    for length, first in ((MPEG_PACKET, 0), (MPEG_PACKET + 4, 4)):  # the second of .m2ts
        if head[first::length][:8] == b"\x47" * 8:
            return size % length != 0
    if head.startswith(b"OggS") and (at := tail.rfind(b"OggS")) >= 0:
        segments = tail[at + 27 : at + 27 + tail[at + 26]] if at + 27 <= len(tail) else b""
        return at + 27 + len(segments) + sum(segments) > len(tail) or not segments
    at = tail.find(PACK) if head.startswith(PACK) else -1  # of a program stream
    while 0 <= at <= len(tail) - 14 and tail[at : at + 3] == PACK[:3] and tail[at + 3] > PACK_END:
        if tail[at + 3] != PACK[3]:
            at += 6 + int.from_bytes(tail[at + 4 : at + 6], "big")
        else:
            at += 14 + tail[at + 13] % 8 if tail[at + 4] >> 6 else 12  # MPEG-2, MPEG-1
    return at > len(tail)


def skipped_frames(path: Path) -> frozenset[int]:
    """Return the frames of an AVI file that FFmpeg skips: those whose data do not begin where the file's index says.

    Args:
        path: The file.

    Returns:
        Their numbers; none for other formats, or if the file has no index.
    """
    if not path.is_file():
        return frozenset()
    with path.open("rb") as file:
        head = file.read(HEAD)
        movie = re.search(rb"LIST(.{4})movi", head, re.S) if head[:4] == b"RIFF" and head[8:12] == b"AVI " else None
        if movie is None:
            return frozenset()
        start, size = movie.start() + 8, int.from_bytes(movie[1], "little")
        file.seek(start + size + size % 2)
        name, length = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
        index = file.read(length) if name == b"idx1" else b""
        entries = list(struct.iter_unpack("<4s4xII", index[: len(index) // 16 * 16]))
        stream = next((name for name, _, _ in entries if name[2:] in (b"dc", b"db")), b"")[:2]
        frames = [entry for entry in entries if entry[0] in (stream + b"dc", stream + b"db")]

        def is_damaged(name: bytes, place: int, length: int) -> bool:
            file.seek(place)
            return file.read(8) != struct.pack("<4sI", name, length)

        damaged = [  # places count from "movi", or, in some files, from the start
            frozenset(i for i, (name, place, length) in enumerate(frames) if is_damaged(name, base + place, length))
            for base in (start, 0)
        ]
    return min(damaged, key=len) if frames and min(map(len, damaged)) < len(frames) else frozenset()
