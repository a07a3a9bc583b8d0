"""Middleware of every request: an id, access checks, a log line, metrics, security headers, HEAD and uniform errors."""

import hmac
import logging
import re
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unveil.serve.limits import RequestError
from unveil.serve.metrics import Metrics

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
CROSS_SITE = ("cross-site", "same-site")  # Sec-Fetch-Site of a request from another site, or another port
DEFAULT_PORTS = {"http": 80, "https": 443}
KEYED_PATHS = frozenset({"/align", "/restore", "/convert", "/metrics"})

log = logging.getLogger("unveil.serve")


class RequestMiddleware:
    """ASGI middleware that every request passes.

    It checks the host name: without this check, a page of any site could point its own host name here and read the
    responses. It checks that no other site's page sends the request, by Sec-Fetch-Site, or by Origin if the browser
    does not send that header. A client's X-Request-Id is used if it is short and plain, so that logs can be joined.

    Args:
        app: The application.
        hosts: Host names that requests may name; "*" is any.
        metrics: Counts the requests.
        api_key: If given, the routes that process data need it.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str], metrics: Metrics, api_key: str | None = None) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)
        self.metrics = metrics
        self.api_key = api_key.encode() if api_key else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Process one request.

        Args:
            scope: ASGI's.
            receive: ASGI's.
            send: ASGI's.
        """
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        headers = Headers(scope=scope)
        request_id = new_request_id(headers.get("x-request-id", ""))
        method, is_head = scope["method"], scope["method"] == "HEAD"
        inner = dict(scope, method="GET" if is_head else method, state=dict(scope.get("state") or {}))
        inner["state"]["request_id"] = request_id

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                out.update(SECURITY_HEADERS | {"X-Request-Id": request_id})
                out.setdefault("Cache-Control", "no-cache" if method in ("GET", "HEAD") else "no-store")
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        try:
            refusal = self._refusal(method, scope["path"], headers)
            response = self.app if refusal is None else error_response(refusal, request_id)
            await response(inner, receive, send_guarded)
        except Exception:
            log.exception("internal_error", extra={"request_id": request_id})
            if status:  # too late for another response; the connection ends here
                raise
            error = RequestError(500, "internal_error", "an unexpected error; the log has it under this request id")
            await error_response(error, request_id)(inner, receive, send_guarded)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.observe(method if method in METHODS else "other", _route(inner), status, seconds)
            log_request(request_id, method, scope["path"], status, seconds)

    def _refusal(self, method: str, path: str, headers: Headers) -> RequestError | None:
        host = _authority(headers.get("host", ""))
        if "*" not in self.hosts and (host is None or host[0] not in self.hosts):
            return RequestError(400, "wrong_host", "this is not the service's name; --allow-host NAME adds one")
        if method not in ("GET", "HEAD") and _is_cross_site(headers, host):
            return RequestError(403, "cross_site", "another site's page may not use this service")
        if not path.isprintable():  # the router would take "/align\n" for "/align", which needs the key
            return RequestError(404, "not_found", "no such path; GET /openapi.json lists them")
        if self.api_key is not None and path in KEYED_PATHS and not self._has_key(headers):
            message = "the API key is missing or wrong; send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
            return RequestError(401, "unauthorized", message)
        return None

    def _has_key(self, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        return hmac.compare_digest(given.encode("latin-1"), self.api_key or b"")  # in the same time, right or wrong


def new_request_id(given: str = "") -> str:
    """Return the client's id if it is 1 to 64 letters, digits, dots, hyphens or underscores, else a new one.

    Args:
        given: The client's id.
    """
    return given if REQUEST_ID.fullmatch(given) else uuid4().hex


def log_request(request_id: str, method: str, path: str, status: int, seconds: float) -> None:
    """Write the log line of a request.

    Args:
        request_id: The id of the request.
        method: HTTP's method.
        path: The path of the request.
        status: HTTP status; 0 if the client left before there was one.
        seconds: Time from its headers to the end of the response.
    """
    fields = {"request_id": request_id, "method": method, "path": path[:200], "status": status}
    log.info("request", extra=fields | {"milliseconds": round(1e3 * seconds, 1)})


def error_response(error: RequestError, request_id: str) -> JSONResponse:
    """Return the response of a refused request: {"error": {"code", "message", "request_id"}}.

    Args:
        error: The error.
        request_id: The id of the request.
    """
    return JSONResponse(error.body(request_id), error.status, error.headers)


def _is_cross_site(headers: Headers, host: tuple[str, int | None] | None) -> bool:
    """Whether a browser sends this on behalf of another site's page. Programs send neither header."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site in CROSS_SITE
    if origin is None:
        return False
    scheme, _, authority = origin.partition("://")  # "null" of a sandboxed page has neither part
    named, default = _authority(authority), DEFAULT_PORTS.get(scheme)
    if named is None or host is None or default is None:
        return True
    return (named[0], named[1] or default) != (host[0], host[1] or default)


def _authority(text: str) -> tuple[str, int | None] | None:
    """Return the host name and port of a Host header or an origin."""
    try:
        parts = urlsplit(f"//{text}")
        return (parts.hostname, parts.port) if parts.hostname else None
    except ValueError:
        return None


def _route(scope: dict[str, Any]) -> str:
    """Return the path of the route that a request took, so that metrics have few labels."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else "other"
