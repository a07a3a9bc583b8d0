"""The body of a request: images and form fields, bounded in bytes and in time while they arrive."""

import asyncio
import io
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath

import imagesize
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from unveil.io.image_metadata import image_format
from unveil.serve.limits import MIB, Limits, RequestError

ACCEPTED = ("JPEG", "PNG", "WebP", "BMP", "TIFF")
RAW_TYPES = ("image/", "application/octet-stream")
FILE_FIELDS = ("file", "files")
MAX_FIELDS = 8
FIELD_BYTES = 64 * 1024
ENVELOPE_BYTES = 16 * 1024  # of multipart headers and boundaries around each image
NAME_LENGTH = 200
HEADER_BYTES = 64 * 1024  # in which an image's header is looked for before a thread is free
HEAVY_PIXELS = 8_000_000
HEAVY_BYTES = 4 * MIB


@dataclass(frozen=True, slots=True)
class Upload:
    """An image as it was sent.

    Attributes:
        name: The client's file name, without folders and unprintable characters.
        data: The bytes of the file.
    """

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Body:
    """What a request's body contains: at least one image, and the form's other fields."""

    uploads: tuple[Upload, ...]
    fields: dict[str, str]


@dataclass(eq=False, slots=True)
class _Reservation:
    client: str
    timeout: asyncio.Timeout | None = None
    size: int = 0
    evicted: bool = False

    def expire_at(self, time: float) -> None:
        """Give the upload up at this time of the loop, unless more of it arrives before."""
        if self.timeout is not None and not self.timeout.expired():
            self.timeout.reschedule(time)


@dataclass(eq=False, slots=True)
class UploadBuffer:
    """Counts the bytes of all requests' images. Runs on one event loop.

    A request whose body has not arrived uses no slot of the worker pool, only the bytes that it sent so far. When the
    capacity is used up, the oldest unfinished upload of the client with the most bytes is given up, so that uploads
    that stall cannot lock others out.

    Args:
        capacity: Bytes.
    """

    capacity: int
    _reservations: list[_Reservation] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(reservation.size for reservation in self._reservations)

    @contextmanager
    def reserve(self, client: str) -> Iterator[_Reservation]:
        """Count a request's bytes until the block ends."""
        reservation = _Reservation(client)
        self._reservations.append(reservation)
        try:
            yield reservation
        finally:
            self._reservations.remove(reservation)

    def add(self, reservation: _Reservation, size: int) -> None:
        """Count more bytes of a request, and give up other unfinished uploads if there is no room for them.

        Raises:
            RequestError: 503 if this request is the one to give up.
        """
        reservation.size += size
        while self.size > self.capacity:
            sizes = Counter[str]()
            for each in self._reservations:
                sizes[each.client] += each.size
            unfinished = [each for each in self._reservations if each.timeout is not None and each.size]
            victim = max(unfinished, key=lambda each: sizes[each.client], default=reservation)
            victim.size, victim.evicted = 0, True
            if victim is reservation:
                raise _evicted()
            victim.expire_at(asyncio.get_running_loop().time())


async def read_body(
    request: Request, limits: Limits, buffer: UploadBuffer, reservation: _Reservation, deadline: float
) -> Body:
    """Read the images and fields of a request. Nothing is written to disk.

    Args:
        request: A request whose body was not read yet.
        limits: Bounds on bytes, images and seconds.
        buffer: Counts the bytes of all requests.
        reservation: This request's part of it.
        deadline: In the loop's time.

    Raises:
        RequestError: 400, 408, 413, 415 or 503, as soon as it is clear.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    form = kind == "multipart/form-data"
    if not form and not kind.startswith(RAW_TYPES):
        message = f"content type {kind[:80] or 'missing'!r}; send multipart/form-data with a field 'file', or image/*"
        raise RequestError(415, "unsupported_content_type", message)
    try:
        async with asyncio.timeout_at(deadline) as reservation.timeout:
            if form:
                body = await _read_form(request, limits, buffer, reservation, deadline)
            else:
                chunks = _chunks(request, limits.upload_bytes, limits, buffer, reservation, deadline)
                body = Body((Upload("image", b"".join([chunk async for chunk in chunks])),), {})
    except TimeoutError:
        if reservation.evicted:
            raise _evicted() from None
        message = f"the upload made no progress for {limits.stall_timeout_s:g} s, or took {limits.timeout_s:g} s"
        raise RequestError(408, "upload_timeout", message) from None
    except ClientDisconnect:
        raise RequestError(400, "client_disconnected", "the connection ended before the upload did") from None
    finally:
        reservation.timeout = None
    if sum(len(upload.data) for upload in body.uploads) > limits.upload_bytes:
        raise _too_large(limits.upload_bytes)
    for upload in body.uploads:
        if not upload.data:
            raise RequestError(400, "empty_body", f"{upload.name}: 0 bytes; send an image")
    return body


def check_header(upload: Upload, max_pixels: int) -> int:
    """Return an image's number of pixels, from its header; nothing is decoded.

    Raises:
        RequestError: 415 for a format that is not accepted, 413 for too many pixels, 400 for a header without a size.
    """
    kind = _format(upload.data)
    if kind is None:
        formats = ", ".join(ACCEPTED)
        raise RequestError(415, "unsupported_format", f"{upload.name}: not an image in one of the formats {formats}")
    width, height = _header_size(upload.data)
    if width < 1 or height < 1:
        raise RequestError(400, "bad_image", f"{upload.name}: the {kind} does not name its size; save it again")
    if width * height > max_pixels:
        message = f"{upload.name}: {width}x{height} pixels, but at most {max_pixels / 1e6:g} megapixels are accepted"
        raise RequestError(413, "too_many_pixels", message)
    return width * height


def is_heavy(uploads: tuple[Upload, ...]) -> bool:
    """Return whether these images take seconds rather than a fraction of one, by a look at their first bytes."""
    pixels = 0
    for upload in uploads:
        width, height = _header_size(upload.data[:HEADER_BYTES])
        pixels += max(0, width * height) or (HEAVY_PIXELS if len(upload.data) > HEAVY_BYTES else 0)
    return pixels >= HEAVY_PIXELS


def _format(data: bytes) -> str | None:
    kind = image_format(data)
    return kind if kind in ACCEPTED else None


def _header_size(data: bytes) -> tuple[int, int]:
    """Width and height; -1 where the header does not name them."""
    if _format(data) is None:
        return -1, -1
    try:
        width, height = imagesize.get(io.BytesIO(data), exif_rotation=False)
    except Exception:  # whatever a damaged header leads the parser to
        return -1, -1
    return (-1, -1) if width is None or height is None else (int(width), int(height))


async def _chunks(
    request: Request, limit: int, limits: Limits, buffer: UploadBuffer, reservation: _Reservation, deadline: float
) -> AsyncGenerator[bytes, None]:
    """The body's pieces, at most `limit` bytes, whatever Content-Length says; each one prolongs the stall timeout."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise _too_large(limits.upload_bytes)
    loop, size = asyncio.get_running_loop(), 0
    reservation.expire_at(min(deadline, loop.time() + limits.stall_timeout_s))
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limits.upload_bytes)
        if reservation.evicted:
            raise _evicted()
        buffer.add(reservation, len(chunk))
        reservation.expire_at(min(deadline, loop.time() + limits.stall_timeout_s))
        yield chunk


async def _read_form(
    request: Request, limits: Limits, buffer: UploadBuffer, reservation: _Reservation, deadline: float
) -> Body:
    limit = limits.upload_bytes + limits.images * ENVELOPE_BYTES + MAX_FIELDS * FIELD_BYTES
    chunks = _chunks(request, limit, limits, buffer, reservation, deadline)
    parser = MultiPartParser(
        request.headers, chunks, max_files=limits.images, max_fields=MAX_FIELDS, max_part_size=FIELD_BYTES
    )
    parser.spool_max_size = limit  # images stay in memory
    try:
        form = await parser.parse()
    except MultiPartException as error:
        message = f"multipart/form-data: {error.message} Send 1 to {limits.images} images in the field 'file'."
        raise RequestError(400, "bad_form", message) from None
    try:
        return await _form_body(form)
    finally:
        with suppress(OSError):
            await form.close()


async def _form_body(form: FormData) -> Body:
    uploads, fields = list[Upload](), dict[str, str]()
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name in FILE_FIELDS:
            uploads.append(Upload(_safe_name(value.filename), await value.read()))
        elif isinstance(value, str) and name not in FILE_FIELDS and name not in fields:
            fields[name] = value
        elif name in FILE_FIELDS:
            message = f"multipart/form-data: the field '{name}' has no file name; send it as a file"
            raise RequestError(400, "no_file", message)
        elif name in fields:
            raise RequestError(422, "bad_option", f"{name[:40]}: given twice; give it once")
        else:
            raise RequestError(400, "no_file", f"multipart/form-data: file in the field {name[:40]!r}; use 'file'")
    if not uploads:
        raise RequestError(400, "no_file", "multipart/form-data without a file in the field 'file'")
    return Body(tuple(uploads), fields)


def _safe_name(name: str | None) -> str:
    last = PureWindowsPath(PurePosixPath(name or "").name).name
    printable = "".join(character for character in last if character.isprintable())[:NAME_LENGTH]
    return printable or "image"


def _too_large(limit: int) -> RequestError:
    return RequestError(413, "too_large", f"the request has more than {limit / MIB:g} MiB; send less at once")


def _evicted() -> RequestError:
    message = "the upload was given up, since others need its memory; send it again, faster"
    return RequestError(503, "buffer_full", message, 1)
