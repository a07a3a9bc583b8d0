"""From a request's body to the bytes of one picture, whose size in bytes and pixels is known to be small enough."""

import io
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import PurePosixPath, PureWindowsPath

import imagesize
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from unveil.io.images import SIGNATURES
from unveil.serve.limits import Limits, Refusal, megabytes

ACCEPTED = ("JPEG", "PNG", "WebP", "BMP", "TIFF")
RAW_TYPES = ("image/", "application/octet-stream")
ENVELOPE = 16 * 1024  # bytes of multipart headers and boundaries round the file
NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Upload:
    """A picture as it was sent; `name` is the client's, without folders and unprintable characters."""

    name: str
    data: bytes


async def read_upload(request: Request, limits: Limits) -> Upload:
    """The one picture in the body. Refusal 400, 413 or 415, as soon as it is clear; nothing is written to disk."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data" and not kind.startswith(RAW_TYPES):
        raise Refusal(
            415,
            "wrong_content_type",
            f"content type {kind[:80] or 'missing'!r}; send multipart/form-data with a field 'file', or image/*",
        )
    try:
        if kind == "multipart/form-data":
            upload = await _from_form(request, limits.upload_bytes)
        else:
            upload = Upload("image", b"".join([chunk async for chunk in _limited(request, limits.upload_bytes)]))
    except ClientDisconnect:
        raise Refusal(400, "client_gone", "the connection ended before the picture did") from None
    if len(upload.data) > limits.upload_bytes:
        raise _too_large(limits.upload_bytes)
    if not upload.data:
        raise Refusal(400, "empty", "there is no picture in the request; it has 0 bytes")
    return upload


async def _limited(request: Request, limit: int, envelope: int = 0) -> AsyncGenerator[bytes, None]:
    """The body's pieces, never more than `limit` and `envelope`, whatever Content-Length says or does not say."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced) > limit + envelope:
        raise _too_large(limit)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit + envelope:
            raise _too_large(limit)
        yield chunk


async def _from_form(request: Request, limit: int) -> Upload:
    body = _limited(request, limit, ENVELOPE)
    parser = MultiPartParser(request.headers, body, max_files=1, max_fields=0)
    parser.spool_max_size = limit + ENVELOPE  # a photograph stays in memory
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise Refusal(400, "bad_form", f"multipart/form-data: {error.message} Send one field 'file'.") from None
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Refusal(400, "no_file", "multipart/form-data without a file in the field 'file'")
        return Upload(_safe_name(file.filename), await file.read())
    finally:
        await form.close()


def check_header(upload: Upload, pixels: int) -> None:
    """Refusal 415 for a format that is not taken, 413 for more than so many pixels, both before anything is decoded."""
    kind = next((kind for magic, kind in SIGNATURES if upload.data.startswith(magic)), None)
    if kind not in ACCEPTED:
        raise Refusal(415, "wrong_format", f"{upload.name}: not a picture in {', '.join(ACCEPTED)}")
    width, height = imagesize.get(io.BytesIO(upload.data), exif_rotation=False)
    if width < 1 or height < 1:
        raise Refusal(400, "bad_picture", f"{upload.name}: the {kind} does not say how large it is; save it again")
    if width * height > pixels:
        message = f"{upload.name}: {width}x{height} pixels, but at most {pixels / 1e6:g} megapixels are taken"
        raise Refusal(413, "too_many_pixels", message)


def _safe_name(name: str | None) -> str:
    last = PureWindowsPath(PurePosixPath(name or "").name).name
    printable = "".join(character for character in last if character.isprintable())[:NAME_LENGTH]
    return printable or "image"


def _too_large(limit: int) -> Refusal:
    return Refusal(413, "too_large", f"the picture has more than {megabytes(limit)}; make it smaller")
