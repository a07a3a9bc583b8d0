"""The service as an ASGI application: its routes, and how a request is admitted, processed and answered."""

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from unveil import __version__
from unveil.inference.drawing import VISIBLE_FROM
from unveil.inference.pipeline import Pipeline
from unveil.serve import jobs
from unveil.serve.convert import MAX_JSON_BYTES, ConvertOptions, ImageRecord, ImageRecords, convert, parse_body
from unveil.serve.jobs import Job, JobResult
from unveil.serve.limits import Limits, RequestError, client_key
from unveil.serve.metrics import CONTENT_TYPE, Metrics
from unveil.serve.middleware import RequestMiddleware, error_response
from unveil.serve.openapi import (
    BINARY,
    TEXT,
    describe_security,
    error_responses,
    json_body,
    success,
    upload_body,
)
from unveil.serve.options import AlignOptions, Options, RestoreOptions, invalid_option
from unveil.serve.schemas import (
    IMAGE_EXAMPLE,
    ContourResponse,
    HealthResponse,
    ImageResponse,
    ImagesResponse,
    LimitsResponse,
    ReadyResponse,
    RestoredImagesResponse,
    RestoreResponse,
    SchemeResponse,
)
from unveil.serve.upload_buffer import UploadBuffer
from unveil.serve.uploads import BodyReader, check_early, is_heavy
from unveil.serve.workers import Cancellation, WorkerPool

STATIC = Path(__file__).parent / "static"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
HEAVY_BOXES = 16

PLAIN = (400, 500)  # what every route can answer
WORK = (400, 401, 403, 408, 413, 415, 422, 429, 500, 503, 504)


def build_app(
    pipeline: Pipeline,
    limits: Limits | None = None,
    hosts: tuple[str, ...] = LOOPBACK,
    api_key: str | None = None,
) -> FastAPI:
    """Build the service.

    Args:
        pipeline: Loaded once, shared by all threads. Without a restorer POST /restore answers 501.
        limits: Limits of requests.
        hosts: Host names that requests may name; ("*",) is any.
        api_key: If given, the routes that process data need it in `Authorization: Bearer` or `X-API-Key`.

    Returns:
        The application. Its `state.metrics` are a `Metrics`, its `state.limits` the limits.
    """
    limits = limits or Limits()
    pool = WorkerPool(limits.threads, limits.queue)
    buffer = UploadBuffer(limits.buffer_bytes)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(jobs.warm_up, pipeline)
        app.state.ready = True
        yield
        app.state.ready = False
        await asyncio.to_thread(pool.close)

    app = FastAPI(
        title="unveil",
        version=__version__,
        description="Facial landmarks on occluded faces: where they are, and which are visible.",
        docs_url=None,  # FastAPI's page would load scripts from another host
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.ready, app.state.limits, app.state.metrics = False, limits, metrics
    app.add_middleware(RequestMiddleware, hosts=hosts, metrics=metrics, api_key=api_key)
    metrics.gauge("unveil_jobs_running", "Jobs in a thread", lambda: pool.running)
    metrics.gauge("unveil_jobs_queued", "Jobs that wait for a thread", lambda: pool.queued)
    metrics.gauge("unveil_upload_buffer_bytes", "Bytes of all requests' images", lambda: buffer.size)
    _add_error_handlers(app)

    async def admit(
        request: Request, prepare: Callable[[BodyReader], Awaitable[tuple[Callable[[Cancellation], JobResult], bool]]]
    ) -> Response:
        """Read the body, take a slot and run the job in a thread, all before one deadline.

        `prepare` reads the body and returns the job, and whether the job takes long.
        """
        deadline = asyncio.get_running_loop().time() + limits.timeout_s
        client = client_key(request.client.host if request.client else None)
        pool.check_slot(client)
        with buffer.reserve(client) as reservation:
            job, heavy = await prepare(BodyReader(request, limits, buffer, reservation, deadline))
            gone = asyncio.ensure_future(_disconnected(request))
            try:
                result = await pool.run(job, client, gone, deadline, heavy)
            finally:
                gone.cancel()
        metrics.images.labels(request.url.path).inc(result.images)
        metrics.faces.labels(request.url.path).inc(result.faces)
        headers = {"Content-Disposition": f'attachment; filename="{result.file_name}"'} if result.file_name else {}
        return Response(result.content, media_type=result.media_type, headers=headers)

    async def process(request: Request, query: Options, do: Callable[[Job, Cancellation], JobResult]) -> Response:
        async def prepare(reader: BodyReader) -> tuple[Callable[[Cancellation], JobResult], bool]:
            body = await reader.images()
            check_early(body.uploads, limits.max_pixels)
            options = query.merged(body.fields)
            boxes = options.boxes_per_image(len(body.uploads), limits.boxes)
            job = Job(pipeline, limits, body.uploads, options, boxes, request.state.request_id)
            heavy = sum(len(each or ()) for each in boxes) > HEAVY_BOXES or is_heavy(body.uploads)
            return partial(do, job), heavy

        return await admit(request, prepare)

    @app.post(
        "/align",
        summary="Faces, their landmarks, and which of these are visible",
        responses=error_responses(*WORK)
        | success(
            "as the option `as` says",
            ImageResponse | ImagesResponse,
            example=IMAGE_EXAMPLE,
            text_csv=TEXT,
            text_plain=TEXT,
            image_png=BINARY,
            application_zip=BINARY,
        ),
        openapi_extra=upload_body(AlignOptions),
        response_class=Response,
    )
    async def align(request: Request, query: Annotated[AlignOptions, Query()]) -> Response:
        return await process(request, query, jobs.align)

    @app.post(
        "/restore",
        summary="Images without what occludes their faces",
        responses=error_responses(*WORK, 501)
        | success(
            "as the option `as` says",
            RestoreResponse | RestoredImagesResponse,
            image_png=BINARY,
            application_zip=BINARY,
        ),
        openapi_extra=upload_body(RestoreOptions),
        response_class=Response,
    )
    async def restore(request: Request, query: Annotated[RestoreOptions, Query()]) -> Response:
        if pipeline.restorer is None:
            raise RequestError(501, "no_restorer", "no restorer is loaded; start the service with --restorer NAME|PATH")
        return await process(request, query, jobs.restore)

    @app.post(
        "/convert",
        summary="Landmarks as POST /align returns them, perhaps corrected, as a file in another format",
        responses=error_responses(*WORK)
        | success(
            "as the option `as` says; a zip if there are several files",
            Any,
            text_csv=TEXT,
            text_plain=TEXT,
            application_xml=TEXT,
            application_zip=BINARY,
        ),
        openapi_extra=json_body(ImageRecord, ImageRecords),
        response_class=Response,
    )
    async def convert_faces(request: Request, query: Annotated[ConvertOptions, Query()]) -> Response:
        async def prepare(reader: BodyReader) -> tuple[Callable[[Cancellation], JobResult], bool]:
            if reader.content_type != "application/json":
                kind = reader.content_type[:80] or "missing"
                raise RequestError(415, "unsupported_content_type", f"content type {kind!r}; send application/json")
            records = parse_body(await reader.raw(MAX_JSON_BYTES))
            return partial(convert, records, query.as_, pipeline.model.scheme), False

        return await admit(request, prepare)

    @app.get("/scheme", summary="The landmarks' names, and the contours to draw", responses=error_responses(*PLAIN))
    async def scheme() -> SchemeResponse:
        known = pipeline.model.scheme
        return SchemeResponse(
            name=known.name,
            points=known.points,
            point_names=list(known.point_names),
            contours=[ContourResponse(points=list(line.points), closed=line.closed) for line in known.contours],
            visibility_threshold=VISIBLE_FROM,
        )

    @app.get("/health", summary="That the service runs, and how busy it is", responses=error_responses(*PLAIN))
    async def health() -> HealthResponse:
        return HealthResponse(
            status="ok",
            version=__version__,
            model=pipeline.model.config.name,
            restorer=pipeline.restorer is not None,
            api_key=api_key is not None,
            slots=pool.slots,
            slots_in_use=pool.slots_in_use,
            limits=LimitsResponse.model_validate(limits, from_attributes=True),
        )

    @app.get("/ready", summary="That a request would be accepted now", responses=error_responses(*PLAIN, 503))
    async def ready() -> ReadyResponse:
        if not app.state.ready:
            raise RequestError(503, "not_ready", "the models are not loaded, or the service ends", 1)
        if pool.slots_in_use >= pool.slots:
            raise RequestError(503, "queue_full", f"all {pool.slots} slots are in use; try again in a moment", 1)
        return ReadyResponse(status="ready")

    @app.get(
        "/metrics",
        summary="Counters in Prometheus' text format",
        responses=error_responses(*PLAIN, 401) | success("text format", text_plain=TEXT),
        response_class=PlainTextResponse,
    )
    async def metrics_text() -> Response:
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(STATIC / "docs.html")

    mimetypes.add_type("text/javascript", ".js")  # a wrong entry in Windows' registry would stop the page's modules
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    describe_security(app, api_key is not None)
    return app


async def _disconnected(request: Request) -> None:
    """Return when the client leaves."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _add_error_handlers(app: FastAPI) -> None:
    async def request_error(request: Request, error: Any) -> Response:
        return error_response(error, request.state.request_id)

    async def invalid_query(request: Request, error: Any) -> Response:
        return error_response(invalid_option(error.errors()), request.state.request_id)

    async def http_error(request: Request, error: Any) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        message = {404: "no such path; GET /openapi.json lists them"}.get(error.status_code, str(error.detail))
        response = error_response(RequestError(error.status_code, code, message), request.state.request_id)
        response.headers.update(error.headers or {})
        return response

    app.add_exception_handler(RequestError, request_error)
    app.add_exception_handler(RequestValidationError, invalid_query)
    app.add_exception_handler(HTTPException, http_error)
