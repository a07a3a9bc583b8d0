"""A few threads that work, a short queue before them, and a deadline for each request."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

from unveil.serve.limits import Refusal

RETRY_AFTER_S = 1

T = TypeVar("T")


class Desk:
    """`with desk.place(): await desk.do(job, gone, deadline)`, all on one event loop. `close` waits for the threads.

    A request takes its place before its body is read, so that places bound the memory as well.
    """

    def __init__(self, threads: int, queue: int) -> None:
        self.places = threads + queue
        self.taken = 0
        self._threads = ThreadPoolExecutor(threads, "unveil-desk")

    @contextmanager
    def place(self) -> Iterator[None]:
        """Refusal 429 if all places are taken."""
        if self.taken >= self.places:
            raise Refusal(
                429, "queue_full", f"all {self.places} places are taken; try again in a moment", RETRY_AFTER_S
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def do(self, job: Callable[[], T], gone: "asyncio.Future[None]", deadline: float) -> T:
        """The job's result from one of the threads, by `deadline` in the loop's time.

        Refusal 503 if no thread was free by then, 504 if one was but has not finished. `gone` ends when the client
        leaves, who then no longer waits in the queue. A running job cannot be stopped; it keeps a place until it ends.
        """
        loop = asyncio.get_running_loop()
        running = self._threads.submit(job)
        work = asyncio.wrap_future(running)
        work.add_done_callback(_seen)
        try:
            either: set[asyncio.Future[Any]] = {work, gone}
            await asyncio.wait(either, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
        finally:
            waited = not work.done() and running.cancel()
            if not work.done() and not waited:
                self._stay(running, loop)
        if gone.done():
            raise Refusal(503, "client_gone", "the client left before the result was ready")
        if waited:
            raise Refusal(503, "no_thread_free", "no thread became free in time; try again later", RETRY_AFTER_S)
        raise Refusal(504, "too_slow", "the picture took longer than a request may; try a smaller one")

    def _stay(self, running: "Future[Any]", loop: asyncio.AbstractEventLoop) -> None:
        """Keeps a place for a job whose request is over."""

        def leave() -> None:
            self.taken -= 1

        self.taken += 1
        running.add_done_callback(lambda _: loop.is_closed() or loop.call_soon_threadsafe(leave))

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


def _seen(work: "asyncio.Future[Any]") -> None:
    """Looks at the outcome of a job that nobody waits for any more, since asyncio complains about unseen errors."""
    if not work.cancelled():
        work.exception()
