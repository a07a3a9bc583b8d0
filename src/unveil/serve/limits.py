"""Limits of the service, the client's identity, and the error of every refused request."""

import ipaddress
from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request, and of all requests and connections together.

    Attributes:
        upload_bytes: Bytes of one request's images together.
        pixels: Pixels of an image that is processed at its own size; a larger one is scaled down to this.
        max_pixels: Images with more pixels are refused before they are decoded.
        images: Images in one request.
        boxes: Boxes for one image; each costs as much as one detected face.
        threads: Jobs that run at once, each in one thread.
        queue: Jobs that may wait for a thread.
        timeout_s: Seconds of a request from its headers to its response: upload, wait and work.
        stall_timeout_s: Seconds without one byte of progress, of an upload or of a client that reads a response.
        header_timeout_s: Seconds from the first byte, or the connection, to the end of the headers.
        connections: Open connections. Beyond this number, the connection that has waited longest for its client is
            closed.
        client_connections: The same for one client's address.
        buffer_bytes: Bytes of all requests' images together, from their arrival to the response.
    """

    upload_bytes: int = 20 * MIB
    pixels: int = 25_000_000
    max_pixels: int = 60_000_000
    images: int = 16
    boxes: int = 64
    threads: int = 2
    queue: int = 16
    timeout_s: float = 30.0
    stall_timeout_s: float = 10.0
    header_timeout_s: float = 10.0
    connections: int = 256
    client_connections: int = 128
    buffer_bytes: int = 256 * MIB


class RequestError(Exception):
    """A refused request: an HTTP status, a code for programs, and one line for people.

    Args:
        status: HTTP status, 400 to 599.
        code: One word, stable across versions.
        message: One line that names the thing, the value and the fix.
        retry_after_s: Seconds after which the client may try again; None if trying again does not help.
    """

    def __init__(self, status: int, code: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After` if there is one; `WWW-Authenticate` with status 401."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})

    def body(self, request_id: str) -> dict[str, dict[str, str]]:
        """Return the JSON of the error.

        Args:
            request_id: The id of the request.

        Returns:
            `{"error": {"code", "message", "request_id"}}`.
        """
        return {"error": {"code": self.code, "message": self.message, "request_id": request_id}}


def client_key(address: str | None) -> str:
    """Return the identity that limits apply to: an IPv4 address, or the /64 network that one IPv6 client owns.

    Args:
        address: The peer's address, or the one that a trusted proxy forwards; None if there is none.
    """
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or "unknown"
    if parsed.version == 6:
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
