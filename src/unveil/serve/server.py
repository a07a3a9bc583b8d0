"""The service as a process: a socket, signals, logs, and a shutdown that finishes running requests."""

import ipaddress
import logging.config
import signal
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI
from typing_extensions import override

from unveil.serve.connections import MAX_HEADER_BYTES, BoundedProtocol, check_connections
from unveil.serve.limits import Limits
from unveil.serve.logs import CONFIG

GRACE_S = 5  # on top of a request's own time before a shutdown gives up on it
CHECK_TICKS = 5  # of uvicorn's loop, a tenth of a second each


class Server(uvicorn.Server):
    """uvicorn that reports when it accepts, and checks its connections.

    Args:
        config: uvicorn's.
        ready: Called once the service accepts connections.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._ready = ready

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @override
    async def on_tick(self, counter: int) -> bool:
        if counter % CHECK_TICKS == 0:
            check_connections(self.server_state)
        return await super().on_tick(counter)


def bind(host: str, port: int) -> socket.socket:
    """Return a bound socket that does not listen yet.

    Args:
        host: Name or address.
        port: 0 is any free one.

    Raises:
        ValueError: In one line, if the address is not available.
    """
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
    """Return the URL of a bound socket.

    Args:
        bound: The socket.
    """
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if bound.family == socket.AF_INET6 else f"http://{host}:{port}"


def is_loopback(bound: socket.socket) -> bool:
    """Return whether only this machine can reach the socket.

    Args:
        bound: The socket.
    """
    return ipaddress.ip_address(bound.getsockname()[0]).is_loopback


def server_of(app: FastAPI, trusted_proxies: Sequence[str] = (), ready: Callable[[], None] = lambda: None) -> Server:
    """Return the server of an application from `build_app`, with its limits on connections.

    Args:
        app: The application.
        trusted_proxies: Addresses or networks whose X-Forwarded-For names the client.
        ready: Called once the service accepts connections.

    Raises:
        ValueError: If a proxy is neither an address nor a network.
    """
    limits: Limits = app.state.limits
    try:
        exempt = [ipaddress.ip_network(proxy, strict=False) for proxy in trusted_proxies]
    except ValueError as error:
        raise ValueError(f"--trusted-proxy: {error}; give an address or a network such as 10.0.0.0/8") from None
    protocol: Any = partial(BoundedProtocol, limits=limits, metrics=app.state.metrics, exempt=exempt)
    config = uvicorn.Config(
        app,
        http=protocol,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        backlog=1024,
        timeout_graceful_shutdown=round(limits.timeout_s + GRACE_S),
    )
    return Server(config, ready)


def serve(
    app: FastAPI, bound: socket.socket, trusted_proxies: Sequence[str] = (), ready: Callable[[], None] = lambda: None
) -> None:
    """Run the service until SIGINT or SIGTERM, then finish running requests. A second SIGINT ends it at once.

    Args:
        app: An application from `build_app`.
        bound: A socket from `bind`.
        trusted_proxies: Addresses whose X-Forwarded-For names the client.
        ready: Called once the service accepts connections.
    """
    logging.config.dictConfig(CONFIG)
    handlers = {kind: signal.signal(kind, lambda *_: None) for kind in (signal.SIGINT, signal.SIGTERM)}
    try:  # uvicorn raises the signal again once it has stopped
        server_of(app, trusted_proxies, ready).run([bound])
    finally:
        for kind, handler in handlers.items():
            signal.signal(kind, handler)
