"""The memory that all uploads share, and the choice of the upload that is dropped when it is full."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from unveil.serve.limits import RequestError


@dataclass(eq=False, slots=True)
class Reservation:
    """The part of the buffer that one request uses.

    Args:
        client: The client's identity.
        timeout: The timeout of the upload; None when it has ended.
        size: Bytes that have arrived.
        evicted: Whether the upload was dropped.
    """

    client: str
    timeout: asyncio.Timeout | None = None
    size: int = 0
    evicted: bool = False

    def expire_at(self, time: float) -> None:
        """End the upload at a time, unless more of it arrives before.

        Args:
            time: In the loop's time.
        """
        if self.timeout is not None and not self.timeout.expired():
            self.timeout.reschedule(time)


@dataclass(eq=False, slots=True)
class UploadBuffer:
    """Counts the bytes of all requests' images. Runs on one event loop.

    A request whose body has not arrived uses no slot of the worker pool, only the bytes that it has sent. When the
    buffer is full, the oldest unfinished upload of the client with the most bytes is dropped, so that uploads that
    stall cannot block others.

    Args:
        capacity: Bytes.
    """

    capacity: int
    _reservations: list[Reservation] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes in use."""
        return sum(reservation.size for reservation in self._reservations)

    @contextmanager
    def reserve(self, client: str) -> Iterator[Reservation]:
        """Count a request's bytes until the block ends.

        Args:
            client: The client's identity.

        Yields:
            The part of the buffer that the request uses.
        """
        reservation = Reservation(client)
        self._reservations.append(reservation)
        try:
            yield reservation
        finally:
            self._reservations.remove(reservation)

    def add(self, reservation: Reservation, size: int) -> None:
        """Count more bytes of a request, and drop other unfinished uploads if there is no room for them.

        Args:
            reservation: The request's part of the buffer.
            size: The bytes that have arrived.

        Raises:
            RequestError: 503 if this request is the one to drop.
        """
        reservation.size += size
        while self.size > self.capacity:
            sizes = Counter[str]()
            for each in self._reservations:
                sizes[each.client] += each.size
            unfinished = [each for each in self._reservations if each.timeout is not None and each.size]
            victim = max(unfinished, key=lambda each: sizes[each.client], default=reservation)
            victim.size, victim.evicted = 0, True
            if victim is reservation:
                raise evicted_error()
            victim.expire_at(asyncio.get_running_loop().time())


def evicted_error() -> RequestError:
    """Return the error of an upload that was dropped."""
    message = "the upload was dropped, because others need its memory; send it again, faster"
    return RequestError(503, "buffer_full", message, 1)
