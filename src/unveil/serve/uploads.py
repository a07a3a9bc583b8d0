"""The body of a request: images and form fields, limited in bytes and in time while they arrive."""

import asyncio
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

import imagesize
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from unveil.io.image_metadata import image_format
from unveil.serve.limits import MIB, Limits, RequestError
from unveil.serve.upload_buffer import Reservation, UploadBuffer, evicted_error

ACCEPTED = ("JPEG", "PNG", "WebP", "BMP", "TIFF")
RAW_TYPES = ("image/", "application/octet-stream")
FILE_FIELDS = ("file", "files")
MAX_FIELDS = 8
FIELD_BYTES = 64 * 1024
ENVELOPE_BYTES = 16 * 1024  # of multipart headers and boundaries around each image
NAME_LENGTH = 200
HEADER_BYTES = 64 * 1024  # read for an image's header before a thread is free
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
    """The contents of a request's body.

    Args:
        uploads: At least one image.
        fields: The other fields of the form.
    """

    uploads: tuple[Upload, ...]
    fields: dict[str, str]


@dataclass(frozen=True, slots=True)
class BodyReader:
    """Reads the body of one request into memory.

    Args:
        request: A request whose body was not read yet.
        limits: Limits of bytes, images and seconds.
        buffer: Counts the bytes of all requests.
        reservation: This request's part of it.
        deadline: In the loop's time.
    """

    request: Request
    limits: Limits
    buffer: UploadBuffer
    reservation: Reservation
    deadline: float

    @property
    def content_type(self) -> str:
        """The content type in lower case, without parameters; empty if there is none."""
        return self.request.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def images(self) -> Body:
        """Return the images and the fields.

        Raises:
            RequestError: 400, 408, 413, 415 or 503, as early as possible.
        """
        kind, most = self.content_type, self.limits.upload_bytes
        if kind == "multipart/form-data":
            body = await self._form()
        elif kind.startswith(RAW_TYPES):
            body = Body((Upload("image", await self.raw(most)),), {})
        else:
            message = (
                f"content type {kind[:80] or 'missing'!r}; send multipart/form-data with a field 'file', or image/*"
            )
            raise RequestError(415, "unsupported_content_type", message)
        if sum(len(upload.data) for upload in body.uploads) > most:
            raise _too_large(most)
        for upload in body.uploads:
            if not upload.data:
                raise RequestError(400, "empty_body", f"{upload.name}: 0 bytes; send an image")
        return body

    async def raw(self, limit: int) -> bytes:
        """Return the body as it is.

        Args:
            limit: Bytes.

        Raises:
            RequestError: 400, 408, 413 or 503, as early as possible.
        """
        async with self._receiving():
            return b"".join([chunk async for chunk in self._chunks(limit, limit)])

    async def _form(self) -> Body:
        limits = self.limits
        limit = limits.upload_bytes + limits.images * ENVELOPE_BYTES + MAX_FIELDS * FIELD_BYTES
        chunks = self._chunks(limit, limits.upload_bytes)
        parser = MultiPartParser(
            self.request.headers, chunks, max_files=limits.images, max_fields=MAX_FIELDS, max_part_size=FIELD_BYTES
        )
        parser.spool_max_size = limit  # images stay in memory
        try:
            async with self._receiving():
                form = await parser.parse()
        except MultiPartException as error:
            message = f"multipart/form-data: {error.message} Send 1 to {limits.images} images in the field 'file'."
            raise RequestError(400, "bad_form", message) from None
        try:
            return await _form_body(form)
        finally:
            with suppress(OSError):
                await form.close()

    @asynccontextmanager
    async def _receiving(self) -> AsyncIterator[None]:
        """Convert a timeout, an eviction and a client that leaves to a RequestError inside the block."""
        try:
            async with asyncio.timeout_at(self.deadline) as self.reservation.timeout:
                yield
        except TimeoutError:
            if self.reservation.evicted:
                raise evicted_error() from None
            seconds = f"{self.limits.stall_timeout_s:g} s, or took {self.limits.timeout_s:g} s"
            raise RequestError(408, "upload_timeout", f"the upload made no progress for {seconds}") from None
        except ClientDisconnect:
            raise RequestError(400, "client_disconnected", "the connection ended before the upload did") from None
        finally:
            self.reservation.timeout = None

    async def _chunks(self, limit: int, shown: int) -> AsyncGenerator[bytes, None]:
        """Yield the body, at most `limit` bytes, whatever Content-Length is; each chunk extends the stall timeout."""
        announced = self.request.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
            raise _too_large(shown)
        size = 0
        self._expect_more()
        async for chunk in self.request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(shown)
            if self.reservation.evicted:
                raise evicted_error()
            self.buffer.add(self.reservation, len(chunk))
            self._expect_more()
            yield chunk

    def _expect_more(self) -> None:
        now = asyncio.get_running_loop().time()
        self.reservation.expire_at(min(self.deadline, now + self.limits.stall_timeout_s))


def check_header(upload: Upload, max_pixels: int) -> int:
    """Return an image's number of pixels, from its header; nothing is decoded.

    Args:
        upload: The image.
        max_pixels: The largest accepted number of pixels.

    Raises:
        RequestError: 415 for a format that is not accepted, 413 for too many pixels, 400 for a header without a size.
    """
    kind = _format(upload.data)
    if kind is None:
        formats = ", ".join(ACCEPTED)
        raise RequestError(415, "unsupported_format", f"{upload.name}: not an image in one of the formats {formats}")
    width, height = _header_size(upload.data)
    if width < 1 or height < 1:
        raise RequestError(400, "bad_image", f"{upload.name}: the {kind} does not state its size; save it again")
    if width * height > max_pixels:
        message = f"{upload.name}: {width}x{height} pixels, but at most {max_pixels / 1e6:g} megapixels are accepted"
        raise RequestError(413, "too_many_pixels", message)
    return width * height


def check_early(uploads: tuple[Upload, ...], max_pixels: int) -> None:
    """Check the first bytes of a single image, before it takes a slot. Several images are checked one by one later.

    Args:
        uploads: The images.
        max_pixels: The largest accepted number of pixels.

    Raises:
        RequestError: As `check_header`, except for a header that is not complete in the first bytes.
    """
    if len(uploads) == 1:
        start = Upload(uploads[0].name, uploads[0].data[:HEADER_BYTES])
        if _format(start.data) is None or min(_header_size(start.data)) > 0:
            check_header(start, max_pixels)


def is_heavy(uploads: tuple[Upload, ...]) -> bool:
    """Return whether these images take seconds rather than a fraction of one, by their first bytes.

    Args:
        uploads: The images.
    """
    pixels = 0
    for upload in uploads:
        width, height = _header_size(upload.data[:HEADER_BYTES])
        unknown = HEAVY_PIXELS if len(upload.data) > HEAVY_BYTES else 0
        pixels += width * height if min(width, height) > 0 else unknown
    return pixels >= HEAVY_PIXELS


def _format(data: bytes) -> str | None:
    kind = image_format(data)
    return kind if kind in ACCEPTED else None


def _header_size(data: bytes) -> tuple[int, int]:
    """Return width and height; -1 if the header does not state them."""
    if _format(data) is None:
        return -1, -1
    try:
        width, height = imagesize.get(io.BytesIO(data), exif_rotation=False)
    except Exception:  # a damaged header can raise any error
        return -1, -1
    return (-1, -1) if width is None or height is None else (int(width), int(height))


async def _form_body(form: FormData) -> Body:
    uploads, fields = list[Upload](), dict[str, str]()
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name in FILE_FIELDS:
            uploads.append(Upload(safe_name(value.filename), await value.read()))
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


def safe_name(name: str | None) -> str:
    """Return a client's file name without folders and unprintable characters; "image" if nothing is left.

    Args:
        name: The file name as it was sent.
    """
    last = PureWindowsPath(PurePosixPath(name or "").name).name
    printable = "".join(character for character in last if character.isprintable())[:NAME_LENGTH]
    return printable or "image"


def _too_large(limit: int) -> RequestError:
    return RequestError(413, "too_large", f"the request has more than {limit / MIB:.4g} MiB; send less at once")
