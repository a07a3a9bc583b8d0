"""The worker pool's queue: shared equally by clients, open for light jobs, left at the deadline."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from unveil.serve.limits import RequestError
from unveil.serve.upload_buffer import UploadBuffer
from unveil.serve.workers import Cancellation, Cancelled, WorkerPool


@contextmanager
def pool_of(threads: int, queue: int) -> Iterator[WorkerPool]:
    pool = WorkerPool(threads, queue)
    yield pool
    pool.close()


def run(pool: WorkerPool, job: Callable[[Cancellation], Any], client: str, **options: Any) -> "asyncio.Task[Any]":
    loop = asyncio.get_running_loop()
    deadline = loop.time() + options.pop("seconds", 10)
    return loop.create_task(pool.run(job, client, loop.create_future(), deadline, **options))


class Gate:
    """Jobs that wait until it opens, and the order in which they ran."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.order: list[str] = []

    def job(self, name: str) -> Callable[[Cancellation], str]:
        def work(_: Cancellation) -> str:
            assert self.open.wait(10)
            self.order.append(name)
            return name

        return work


def test_clients_take_turns() -> None:
    async def visit(pool: WorkerPool) -> list[str]:
        gate = Gate()
        tasks = [run(pool, gate.job(f"a{i}"), "a") for i in range(4)]
        await asyncio.sleep(0)
        tasks += [run(pool, gate.job(f"b{i}"), "b") for i in range(2)]
        await asyncio.sleep(0)
        gate.open.set()
        await asyncio.gather(*tasks)
        return gate.order

    with pool_of(1, 8) as pool:
        assert asyncio.run(visit(pool)) == ["a0", "a1", "b0", "a2", "b1", "a3"]


def test_a_full_queue_makes_room_for_a_client_with_few_jobs() -> None:
    async def visit(pool: WorkerPool) -> tuple[list[Any], list[str]]:
        gate = Gate()
        tasks = [run(pool, gate.job(f"a{i}"), "a") for i in range(4)]
        await asyncio.sleep(0)
        pool.check_slot("b")
        with pytest.raises(RequestError):
            pool.check_slot("a")
        tasks.append(run(pool, gate.job("b"), "b"))
        await asyncio.sleep(0)
        gate.open.set()
        return await asyncio.gather(*tasks, return_exceptions=True), gate.order

    with pool_of(1, 3) as pool:
        (*own, last, other), order = asyncio.run(visit(pool))
        assert (own, other) == (["a0", "a1", "a2"], "b")
        assert (last.status, last.code) == (429, "queue_full")
        assert order == ["a0", "a1", "b", "a2"]


def test_one_thread_stays_open_for_light_jobs() -> None:
    async def visit(pool: WorkerPool) -> str:
        gate = Gate()
        heavy = [run(pool, gate.job("heavy"), "a", heavy=True) for _ in range(3)]
        await asyncio.sleep(0)
        light: str = await run(pool, lambda _: "light", "a")
        gate.open.set()
        await asyncio.gather(*heavy)
        return light

    with pool_of(2, 8) as pool:
        assert asyncio.run(visit(pool)) == "light"


def test_a_job_stops_at_its_deadline() -> None:
    stopped = threading.Event()

    def endless(cancellation: Cancellation) -> None:
        try:
            while True:
                time.sleep(0.01)
                cancellation.check()
        except Cancelled:
            stopped.set()
            raise

    async def visit(pool: WorkerPool) -> tuple[int, int]:
        with pytest.raises(RequestError) as refused:
            await run(pool, endless, "a", seconds=0.1)
        assert await asyncio.to_thread(stopped.wait, 5)
        while pool.slots_in_use:
            await asyncio.sleep(0.01)
        return refused.value.status, await run(pool, lambda _: 7, "a")

    with pool_of(1, 0) as pool:
        assert asyncio.run(visit(pool)) == (504, 7)


def test_a_pool_can_be_closed_and_used_again() -> None:
    async def visit(pool: WorkerPool) -> int:
        result: int = await run(pool, lambda _: 7, "a")
        return result

    with pool_of(1, 0) as pool:
        assert asyncio.run(visit(pool)) == 7
        pool.close()
        assert asyncio.run(visit(pool)) == 7


def test_a_full_upload_buffer_gives_up_the_oldest_upload_of_the_largest_client() -> None:
    async def visit() -> list[str]:
        buffer, ended = UploadBuffer(100), list[str]()

        async def upload(name: str, client: str, size: int, then: Awaitable[object]) -> None:
            with buffer.reserve(client) as reservation:
                try:
                    async with asyncio.timeout(5) as reservation.timeout:
                        buffer.add(reservation, size)
                        await then
                    ended.append(f"{name} arrived")
                except TimeoutError:
                    assert reservation.evicted
                    ended.append(f"{name} given up")

        stalled = [asyncio.create_task(upload(f"a{i}", "a", 30, asyncio.sleep(0.3))) for i in range(3)]
        await asyncio.sleep(0)
        await upload("b", "b", 30, asyncio.sleep(0))
        await asyncio.gather(*stalled)
        assert buffer.size == 0
        return ended

    assert sorted(asyncio.run(visit())) == ["a0 given up", "a1 arrived", "a2 arrived", "b arrived"]
