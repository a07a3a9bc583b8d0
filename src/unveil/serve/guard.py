"""Round every request: an id, a line in the log, headers that browsers obey, and no trace of our faults outside."""

import logging
import re
import time
from collections.abc import Sequence
from urllib.parse import urlsplit
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unveil.serve.limits import Refusal

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
FOREIGN = ("cross-site", "same-site")  # what a browser says when another site, or another port, sends the request

log = logging.getLogger("unveil.serve")


class Guard:
    """ASGI middleware. It answers only requests that call the service by one of `hosts`; "*" is any name.

    Without that check a page of any site could have its own name point here, and read what the service answers. A
    client's own X-Request-Id is kept if it is short and plain, so that logs can be joined.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.fullmatch(given) else uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                out = MutableHeaders(scope=message)
                out.update(HEADERS | {"X-Request-Id": request_id})
                out.setdefault("Cache-Control", "no-cache" if scope["method"] in ("GET", "HEAD") else "no-store")
            await send(message)

        try:
            refusal = self._refusal(scope["method"], headers)
            answer = self.app if refusal is None else refused(refusal, request_id)
            await answer(scope, receive, send_guarded)
        except Exception:
            log.exception("fault", extra={"request_id": request_id})
            if status:  # too late for another answer; the connection ends where it is
                raise
            fault = Refusal(500, "fault", "something went wrong here; the log says what, under this request id")
            await refused(fault, request_id)(scope, receive, send_guarded)
        finally:
            fields = {
                "request_id": request_id,
                "method": scope["method"],
                "path": scope["path"][:200],
                "status": status,
                "milliseconds": round(1e3 * (time.perf_counter() - started), 1),
            }
            log.info("request", extra=fields)

    def _refusal(self, method: str, headers: Headers) -> Refusal | None:
        if "*" not in self.hosts and _host(headers) not in self.hosts:
            return Refusal(400, "wrong_host", "this is not the service's name; --allow-host NAME adds one")
        if method not in ("GET", "HEAD") and headers.get("sec-fetch-site") in FOREIGN:
            return Refusal(403, "foreign_site", "another site's page may not use this service")
        return None


def _host(headers: Headers) -> str | None:
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname
    except ValueError:
        return None


def refused(refusal: Refusal, request_id: str) -> JSONResponse:
    """The one shape of every error: {"error": {"code", "message", "request_id"}}."""
    headers = {} if refusal.retry_after_s is None else {"Retry-After": str(refusal.retry_after_s)}
    error = {"code": refusal.code, "message": refusal.message, "request_id": request_id}
    return JSONResponse({"error": error}, refusal.status, headers)
