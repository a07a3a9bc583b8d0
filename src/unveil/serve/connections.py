"""HTTP connections with limits on their number and on the time that they wait for a client."""

import asyncio
import ipaddress
import json
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

import h11
from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol
from uvicorn.server import ServerState

from unveil.serve.limits import Limits, RequestError, client_key
from unveil.serve.metrics import Metrics
from unveil.serve.middleware import SECURITY_HEADERS, log_request, new_request_id

IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

DRAIN_S = 2.0  # for the rest of a body after the response
MAX_HEADER_BYTES = 16 * 1024


class BoundedProtocol(H11Protocol):
    """uvicorn's connection with limits. Its error responses have the same form as those of the service.

    A connection waits for its client while the headers or the body arrive, and between two requests. When there are
    too many connections, of all clients or of one, the one that has waited longest is closed, so that silent
    connections cannot block other clients. `check` closes a connection whose headers take too long, that does not end
    its body after the response, or that does not read its response.

    Args:
        config: uvicorn's.
        server_state: uvicorn's, with all connections.
        app_state: uvicorn's.
        limits: Limits on connections and their time.
        metrics: Counts the connections that were closed.
        exempt: Networks of proxies, which have no limit of connections of their own.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
        metrics: Metrics,
        exempt: Sequence[IPNetwork] = (),
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits
        self._metrics = metrics
        self._exempt = exempt
        self._key = "unknown"
        self._waiting_since = 0.0  # of headers
        self._received = False  # any byte of the next request
        self._response_ended = 0.0
        self._unread = 0  # bytes of the response that the client had not read at the last check
        self._read_at = 0.0
        self._refused_at: float | None = None  # later data is dropped

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._key = client_key(self.client[0] if self.client else None)
        self._waiting_since = self._read_at = self.loop.time()
        own = [each for each in self._all() if each._key == self._key]
        if not self._is_exempt() and len(own) > self._limits.client_connections:
            self._make_room(own, "client_limit")
        elif len(self.connections) > self._limits.connections:
            self._make_room(self._all(), "limit")

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused_at is not None:
            return
        if not self._active() and not self._received:
            self._received, self._waiting_since = True, self.loop.time()
        super().data_received(data)

    @override
    def on_response_complete(self) -> None:
        self._response_ended = self._waiting_since = self.loop.time()
        self._received = False
        super().on_response_complete()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def check(self, now: float) -> None:
        """Close the connection if its client takes too long.

        Args:
            now: The loop's time.
        """
        if self.transport.is_closing():
            return
        if self._refused_at is not None:
            if now - self._refused_at > DRAIN_S:
                self.transport.abort()
            return
        unread = self.transport.get_write_buffer_size()
        if unread == 0 or unread < self._unread:
            self._read_at = now
        self._unread = unread
        if now - self._read_at > self._limits.stall_timeout_s:
            self._metrics.connections_closed.labels("response_not_read").inc()
            self.transport.abort()
        elif self._active() or unread:
            pass  # the request has its own deadline
        elif self.cycle is not None and self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY:
            if now - self._response_ended > DRAIN_S:
                self._metrics.connections_closed.labels("body_not_ended").inc()
                self.transport.close()
        elif now - self._waiting_since > self._limits.header_timeout_s:
            message = f"the headers did not arrive within {self._limits.header_timeout_s:g} s"
            self.refuse(RequestError(408, "header_timeout", message), "header_timeout")

    def send_400_response(self, msg: str) -> None:
        """Respond to data that is not HTTP.

        Args:
            msg: uvicorn's message.
        """
        error = sys.exc_info()[1]
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        reason = " ".join(str(error).split())[:120] if error is not None else msg
        code = {431: "headers_too_large", 501: "not_implemented"}.get(status, "bad_request")
        self.refuse(RequestError(status, code, f"not a valid HTTP request: {reason}"), "bad_request")

    def refuse(self, error: RequestError, reason: str, linger: bool = True) -> None:
        """Respond outside of a request, and close the connection. If a response has begun, only close it.

        Args:
            error: The status, the code and the message.
            reason: For the metrics.
            linger: Whether to read what still arrives for a moment: closing before would discard the response.
        """
        self._metrics.connections_closed.labels(reason).inc()
        self._unset_keepalive_if_required()
        started = self._active() and self.cycle.response_started
        if self._active():  # the application receives a disconnect
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        silent = not self._received and not self._active()  # an idle connection is closed without a response
        if not started and not silent and self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            request_id = new_request_id()
            body = json.dumps(error.body(request_id)).encode()
            fields = {**SECURITY_HEADERS, **error.headers, "X-Request-Id": request_id, "Cache-Control": "no-store"}
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close"}
            headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
            phrase = STATUS_PHRASES.get(error.status, b"")
            response = h11.Response(status_code=error.status, headers=headers, reason=phrase)
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            log_request(request_id, "-", "-", error.status, self.loop.time() - self._waiting_since)
            if linger and self.transport.can_write_eof():
                self._refused_at = self.loop.time()
                self.transport.write_eof()
                return
        self.transport.close()

    def _all(self) -> "list[BoundedProtocol]":
        return [each for each in self.connections if isinstance(each, BoundedProtocol)]

    def _is_exempt(self) -> bool:
        address = ipaddress.ip_address(self.client[0]) if self.client and self._exempt else None
        return address is not None and any(address in network for network in self._exempt)

    def _active(self) -> bool:
        """Whether a request is being received, processed or answered."""
        return self.cycle is not None and not self.cycle.response_complete

    def _make_room(self, candidates: "list[BoundedProtocol]", reason: str) -> None:
        """Close the candidate that has waited longest for its client; this new connection if all are busy."""
        idle = [each for each in candidates if each is not self and not each._active() and not each._unread]
        uploading = [each for each in candidates if each is not self and each._active() and each.cycle.more_body]
        idle.sort(key=lambda each: (each._refused_at is None, each._response_ended > 0, each._waiting_since))
        uploading.sort(key=lambda each: each._waiting_since)
        error = RequestError(503, "too_many_connections", "too many open connections; try again in a moment", 1)
        victim = next(iter(idle + uploading), self)
        victim._received = True  # so that the response has the reason
        self.connections.discard(victim)
        victim.refuse(error, reason, linger=False)


def check_connections(state: ServerState) -> None:
    """Check every connection once.

    Args:
        state: uvicorn's.
    """
    for connection in list(state.connections):
        if isinstance(connection, BoundedProtocol):
            connection.check(connection.loop.time())
