"""The service as an ASGI application: its routes, and how a request is let in, worked on and answered."""

import asyncio
import mimetypes
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from unveil import __version__
from unveil.inference.drawing import VISIBLE_FROM
from unveil.inference.pipeline import Pipeline
from unveil.serve import jobs
from unveil.serve.desk import Desk
from unveil.serve.guard import Guard, refused
from unveil.serve.jobs import AlignAs, Answer, Engine, Order, RestoreAs
from unveil.serve.limits import BOXES, Limits, Refusal
from unveil.serve.schemas import (
    ERRORS,
    PICTURE_EXAMPLE,
    UPLOAD,
    ContourAnswer,
    HealthAnswer,
    LimitsAnswer,
    PictureAnswer,
    RestoredAnswer,
    SchemeAnswer,
)
from unveil.serve.uploads import Upload, read_upload

STATIC = Path(__file__).parent / "static"
LOOPBACK = ("localhost", "127.0.0.1", "::1")

FlipAverage = Annotated[bool, Query(description="also align the mirrored face and take the mean: twice the time")]
Boxes = Annotated[
    str | None,
    Query(
        description=f"instead of a detector's: up to {BOXES} tight landmark boxes in pixels, [[x0, y0, x1, y1], ...]",
        max_length=8192,
        examples=["[[123, 128, 266, 263]]"],
    ),
]


def build_app(pipeline: Pipeline, limits: Limits | None = None, hosts: tuple[str, ...] = LOOPBACK) -> FastAPI:
    """The service with this pipeline, for requests that call it by one of `hosts`; ("*",) is any name."""
    limits = limits or Limits()
    engine = Engine.of(pipeline)
    desk = Desk(limits.threads, limits.queue)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(engine.warm_up)
        yield
        await asyncio.to_thread(desk.close)

    app = FastAPI(
        title="unveil",
        version=__version__,
        description="Facial landmarks on faces that are hidden: where they are, which are visible.",
        docs_url=None,  # its page would load scripts from another host
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_middleware(Guard, hosts=hosts)
    _say_no_in_one_shape(app)

    async def work(request: Request, job: Callable[[Upload], Answer]) -> Response:
        """Takes a place, reads the body, has a thread do the job: all by one deadline."""
        deadline = asyncio.get_running_loop().time() + limits.timeout_s
        with desk.place():
            try:
                async with asyncio.timeout_at(deadline):
                    upload = await read_upload(request, limits)
            except TimeoutError:
                message = f"the picture did not arrive within {limits.timeout_s:g} s"
                raise Refusal(408, "slow_upload", message) from None
            gone = asyncio.ensure_future(_disconnected(request))
            try:
                answer = await desk.do(partial(job, upload), gone, deadline)
            finally:
                gone.cancel()
        headers = {"Content-Disposition": f'attachment; filename="{answer.file_name}"'} if answer.file_name else {}
        return Response(answer.content, media_type=answer.media_type, headers=headers)

    @app.post(
        "/align",
        summary="Faces, their landmarks, and which of these are visible",
        responses=ERRORS
        | {200: {"model": PictureAnswer, "content": {"application/json": {"example": PICTURE_EXAMPLE}}}},
        openapi_extra=UPLOAD,
        response_class=Response,
    )
    async def align(
        request: Request,
        as_: Annotated[AlignAs, Query(alias="as", description="pts: a zip if there are several faces")] = "json",
        flip_average: FlipAverage = False,
        boxes: Boxes = None,
    ) -> Response:
        order = Order(flip_average, boxes, limits.pixels)
        return await work(request, lambda upload: jobs.align(engine, upload, order, as_))

    @app.post(
        "/restore",
        summary="The picture without what covers its faces",
        responses=ERRORS | {200: {"model": RestoredAnswer}, 501: {"description": "no restorer is loaded"}},
        openapi_extra=UPLOAD,
        response_class=Response,
    )
    async def restore(
        request: Request,
        as_: Annotated[RestoreAs, Query(alias="as")] = "png",
        flip_average: FlipAverage = False,
        boxes: Boxes = None,
    ) -> Response:
        if pipeline.restorer is None:
            raise Refusal(501, "no_restorer", "no restorer is loaded; start the service with --restorer NAME|PATH")
        order = Order(flip_average, boxes, limits.pixels)
        return await work(request, lambda upload: jobs.restore(engine, upload, order, as_))

    @app.get("/scheme", summary="What the landmarks are called, and the lines to draw through them")
    async def scheme() -> SchemeAnswer:
        known = pipeline.model.scheme
        return SchemeAnswer(
            name=known.name,
            points=known.points,
            point_names=list(known.point_names),
            contours=[ContourAnswer(points=list(line.points), closed=line.closed) for line in known.contours],
            visible_from=VISIBLE_FROM,
        )

    @app.get("/health", summary="That the service runs, with what, and how busy it is")
    async def health() -> HealthAnswer:
        return HealthAnswer(
            status="ok",
            version=__version__,
            model=pipeline.model.config.name,
            restorer=pipeline.restorer is not None,
            places=desk.places,
            taken=desk.taken,
            limits=LimitsAnswer(
                upload_bytes=limits.upload_bytes, pixels=limits.pixels, boxes=BOXES, timeout_s=limits.timeout_s
            ),
        )

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    mimetypes.add_type("text/javascript", ".js")  # a wrong entry in Windows' registry would stop the page's modules
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


async def _disconnected(request: Request) -> None:
    """Returns when the client leaves."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _say_no_in_one_shape(app: FastAPI) -> None:
    def answer(request: Request, refusal: Refusal) -> JSONResponse:
        return refused(refusal, request.state.request_id)

    async def refusal(request: Request, error: Any) -> Response:
        return answer(request, error)

    async def bad_query(request: Request, error: Any) -> Response:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"][1:]))
        return answer(request, Refusal(422, "bad_option", f"{where}: {first['msg']}"))

    async def http_error(request: Request, error: Any) -> Response:
        response = answer(request, Refusal(error.status_code, "http", str(error.detail)))
        response.headers.update(error.headers or {})
        return response

    app.add_exception_handler(Refusal, refusal)
    app.add_exception_handler(RequestValidationError, bad_query)
    app.add_exception_handler(HTTPException, http_error)
