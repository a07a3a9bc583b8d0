"""A pool of worker threads, a short fair queue before them, and a deadline for each job."""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from unveil.serve.limits import RequestError

RETRY_AFTER_S = 1

T = TypeVar("T")


class Cancelled(Exception):  # noqa: N818 - control flow, not a fault
    """Raised in a job's thread when its result is not needed any more."""


class Cancellation:
    """A flag that the event loop sets and a job checks between two steps of its work."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the job to stop."""
        self._event.set()

    def __call__(self) -> bool:
        """Return whether the job should stop."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Cancelled` if the job should stop."""
        if self._event.is_set():
            raise Cancelled


@dataclass(eq=False, slots=True)
class _Job:
    client: str
    heavy: bool
    call: Callable[[Cancellation], Any]
    result: "asyncio.Future[Any]"
    cancellation: Cancellation = field(default_factory=Cancellation)
    started: bool = False


class WorkerPool:
    """Threads with a bounded queue that clients share equally. Every method but `close` runs on one event loop.

    Threads take the clients' jobs in turns. When all slots are in use, a client with few jobs takes the slot of the
    newest waiting job of the client with the most; a client alone may use them all. Of heavy jobs at most
    `threads - 1` run at once, so that one thread remains for light ones.

    Args:
        threads: Jobs that run at once, at least 1.
        queue: Jobs that may wait, at least 0.
    """

    def __init__(self, threads: int, queue: int) -> None:
        self.slots = threads + queue
        self._threads = threads
        self._heavy_threads = max(1, threads - 1)
        self._waiting: list[str] = []  # clients, the next one first
        self._queues: dict[str, deque[_Job]] = {}
        self._running: list[_Job] = []
        self._executor: ThreadPoolExecutor | None = None  # an application may be started again after it has ended

    @property
    def slots_in_use(self) -> int:
        """Jobs that run or wait."""
        return len(self._running) + self.queued

    @property
    def queued(self) -> int:
        """Jobs that wait."""
        return sum(map(len, self._queues.values()))

    @property
    def running(self) -> int:
        """Jobs that run."""
        return len(self._running)

    def check_slot(self, client: str) -> None:
        """Raise what `run` would raise now if no slot is free, so that the body need not be read first.

        Args:
            client: The client's identity.

        Raises:
            RequestError: 429 if all slots are in use and this client's share is used up.
        """
        if self.slots_in_use >= self.slots and self._displaceable(client) is None:
            raise self._full()

    async def run(
        self,
        job: Callable[[Cancellation], T],
        client: str,
        disconnected: "asyncio.Future[Any]",
        deadline: float,
        heavy: bool = False,
    ) -> T:
        """Run a job in one of the threads.

        A job whose client leaves or whose deadline passes is removed from the queue, or cancelled if it runs; a running
        one keeps its slot until it checks its cancellation.

        Args:
            job: Takes the cancellation that it checks between two steps.
            client: The client's identity.
            disconnected: Ends when the client leaves.
            deadline: In the loop's time.
            heavy: Whether the job takes seconds rather than a fraction of one.

        Returns:
            The result of the job.

        Raises:
            RequestError: 429 if all slots are in use, or another client's job took this one's; 503 if no thread was
                free by the deadline or the client left; 504 if the job was running at the deadline.
        """
        loop = asyncio.get_running_loop()
        waiting = self._enqueue(_Job(client, heavy, job, loop.create_future()))
        try:
            either: set[asyncio.Future[Any]] = {waiting.result, disconnected}
            await asyncio.wait(either, timeout=deadline - loop.time(), return_when=asyncio.FIRST_COMPLETED)
            if waiting.result.done():
                result: T = waiting.result.result()
                return result
        finally:
            self._withdraw(waiting)
        if disconnected.done():
            raise RequestError(503, "client_disconnected", "the client left before the result was ready")
        if not waiting.started:
            raise RequestError(503, "queue_timeout", "no thread became free in time; try again later", RETRY_AFTER_S)
        message = "the work took longer than a request may; send a smaller image, fewer images or fewer boxes"
        raise RequestError(504, "deadline_exceeded", message)

    def close(self) -> None:
        """Wait for the threads to end."""
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._executor = None

    def _full(self) -> RequestError:
        message = f"all {self.slots} slots are in use; try again in a moment"
        return RequestError(429, "queue_full", message, RETRY_AFTER_S)

    def _displaceable(self, client: str) -> _Job | None:
        """Return the newest waiting job of the client with the most jobs, if that has clearly more than this client."""
        jobs = Counter(job.client for job in self._running)
        jobs.update({name: len(queue) for name, queue in self._queues.items()})
        most = max(self._queues, key=lambda name: jobs[name], default=None)
        return self._queues[most][-1] if most is not None and jobs[most] > jobs[client] + 1 else None

    def _enqueue(self, job: _Job) -> _Job:
        if self.slots_in_use >= self.slots:
            displaced = self._displaceable(job.client)
            if displaced is None:
                raise self._full()
            self._withdraw(displaced)
            displaced.result.set_exception(self._full())
        if job.client not in self._queues:
            self._queues[job.client] = deque()
            self._waiting.append(job.client)
        self._queues[job.client].append(job)
        self._start_next()
        return job

    def _withdraw(self, job: _Job) -> None:
        """Remove a job from the queue; a running one is asked to stop."""
        job.cancellation.cancel()
        queue = self._queues.get(job.client, deque[_Job]())
        if not job.started and job in queue:
            queue.remove(job)
            self._forget_empty(job.client)

    def _forget_empty(self, client: str) -> None:
        if not self._queues[client]:
            del self._queues[client]
            self._waiting.remove(client)

    def _start_next(self) -> None:
        while len(self._running) < self._threads and (job := self._next()) is not None:
            self._start(job)

    def _start(self, job: _Job) -> None:
        loop = asyncio.get_running_loop()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._threads, "unveil-worker")
        running = self._executor.submit(job.call, job.cancellation)
        job.started = True
        self._running.append(job)
        # Slots are not counted after the loop is closed.
        running.add_done_callback(lambda done: loop.is_closed() or loop.call_soon_threadsafe(self._finish, job, done))

    def _next(self) -> _Job | None:
        """Return the next client's first job that may run now; that client comes last from then on."""
        no_heavy = sum(job.heavy for job in self._running) >= self._heavy_threads
        for client in self._waiting:
            job = next((job for job in self._queues[client] if not (job.heavy and no_heavy)), None)
            if job is not None:
                self._queues[client].remove(job)
                self._waiting.remove(client)
                self._waiting.append(client)
                self._forget_empty(client)
                return job
        return None

    def _finish(self, job: _Job, done: Any) -> None:
        self._running.remove(job)
        if not job.result.done():
            error = done.exception()
            if error is None:
                job.result.set_result(done.result())
            else:
                job.result.set_exception(error)
                job.result.exception()  # read here, because asyncio logs errors that are never read
        self._start_next()
