"""What the service lets in, and how it says no."""

from dataclasses import dataclass

BOXES = 64  # more faces than a request may name; each costs as much as one that was detected


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may cost, and how many requests there may be at once."""

    upload_bytes: int = 20 * 2**20
    pixels: int = 25_000_000
    threads: int = 2
    queue: int = 16
    timeout_s: float = 30.0


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """A request without a result: the HTTP status, one word for programs, one line for people."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s


def megabytes(size: int) -> str:
    return f"{size / 2**20:g} MiB"
