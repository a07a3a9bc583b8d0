"""The memory that all uploads share, and which one is given up when it is used up."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from unveil.serve.limits import RequestError


@dataclass(eq=False, slots=True)
class Reservation:
    client: str
    timeout: asyncio.Timeout | None = None
    size: int = 0
    evicted: bool = False

    def expire_at(self, time: float) -> None:
        """Give the upload up at this time of the loop, unless more of it arrives before."""
        if self.timeout is not None and not self.timeout.expired():
            self.timeout.reschedule(time)


@dataclass(eq=False, slots=True)
class UploadBuffer:
    """Counts the bytes of all requests' images. Runs on one event loop.

    A request whose body has not arrived uses no slot of the worker pool, only the bytes that it sent so far. When the
    capacity is used up, the oldest unfinished upload of the client with the most bytes is given up, so that uploads
    that stall cannot lock others out.

    Args:
        capacity: Bytes.
    """

    capacity: int
    _reservations: list[Reservation] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(reservation.size for reservation in self._reservations)

    @contextmanager
    def reserve(self, client: str) -> Iterator[Reservation]:
        """Count a request's bytes until the block ends."""
        reservation = Reservation(client)
        self._reservations.append(reservation)
        try:
            yield reservation
        finally:
            self._reservations.remove(reservation)

    def add(self, reservation: Reservation, size: int) -> None:
        """Count more bytes of a request, and give up other unfinished uploads if there is no room for them.

        Raises:
            RequestError: 503 if this request is the one to give up.
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
    """Return the refusal of an upload that was given up for others."""
    message = "the upload was given up, since others need its memory; send it again, faster"
    return RequestError(503, "buffer_full", message, 1)
