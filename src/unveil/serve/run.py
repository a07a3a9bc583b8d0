"""The service as a process: a socket, signals, logs, and an end that finishes what runs."""

import ipaddress
import logging.config
import signal
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from unveil.serve.logs import CONFIG

CONNECTIONS = 256  # open at once; more are answered 503
GRACE_S = 5  # on top of a request's own time before a shutdown gives up on it


class Server(uvicorn.Server):
    """uvicorn that says when it accepts."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def bind(host: str, port: int) -> socket.socket:
    """The socket, not yet listening. ValueError, in one line, if the address cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise ValueError(f"--host {host} --port {port}: {error.strerror}; choose another") from error
    return bound


def url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if bound.family == socket.AF_INET6 else f"http://{host}:{port}"


def is_loopback(bound: socket.socket) -> bool:
    return ipaddress.ip_address(bound.getsockname()[0]).is_loopback


def serve(app: FastAPI, bound: socket.socket, timeout_s: float, ready: Callable[[], None]) -> None:
    """Answers until SIGINT or SIGTERM; then takes no more, finishes what runs, and returns. A second SIGINT hurries."""
    logging.config.dictConfig(CONFIG)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=round(timeout_s + GRACE_S),
    )
    handlers = {kind: signal.signal(kind, lambda *_: None) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:  # uvicorn raises the signal again once it has stopped, and by then it has been obeyed
        Server(config, ready).run([bound])
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
