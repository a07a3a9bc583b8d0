"""Run the shards of a plan: on processes of this machine, or on a Ray cluster."""

import logging
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, NamedTuple

from unveil.batch.plan import Shard
from unveil.batch.shards import BatchJob, ShardWorker
from unveil.batch.sources import Entry

OBJECT_STORE_BYTES = 128 * 2**20  # of Ray; only names travel between the processes
# Ray reads these variables when it is imported. With `--address local` it listens on the loopback address only, because
# whoever reaches its ports can run code; the last variable is named after the systems where that is the default.
RAY_ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_DEDUP_LOGS": "0"}
RAY_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class ShardResult(NamedTuple):
    """The result of one shard.

    Args:
        shard: The shard.
        error: Why it failed; None if its file was written.
    """

    shard: Shard
    error: str | None


def processor_count() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_local(shards: list[Shard], job: BatchJob, workers: int) -> Iterator[ShardResult]:
    """Run shards on processes of this machine. The shard of a process that dies is repeated.

    Args:
        shards: The shards to write.
        job: What they share.
        workers: The number of processes, each with a pipeline of one thread.

    Yields:
        Each shard when it is finished.

    Raises:
        ValueError: A process cannot load the pipeline.
    """
    pending = deque(shards)
    pool: dict[Connection, _Process] = {}
    try:
        for _ in range(min(workers, len(shards))):
            _start(pool, job)
        while pending or any(process.shard for process in pool.values()):
            for connection in wait([*pool]):
                assert isinstance(connection, Connection)
                process = pool[connection]
                try:
                    message: str | None = connection.recv()
                except (EOFError, ConnectionError):
                    _replace_dead(pool, connection, pending, job)
                    continue
                if process.shard is not None:
                    yield ShardResult(process.shard, message)
                elif message is not None:
                    raise ValueError(message)
                process.ready = True
                process.shard = pending.popleft() if pending else None
                if process.shard is not None:
                    connection.send(process.shard)
    finally:
        for connection, process in pool.items():
            connection.close()
            process.process.terminate()
        for process in pool.values():
            process.process.join()


@dataclass
class _Process:
    """A worker process and its current shard."""

    process: SpawnProcess
    ready: bool = False
    shard: Shard | None = None


def _start(pool: dict[Connection, _Process], job: BatchJob) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, job), daemon=True)
    process.start()
    theirs.close()
    pool[ours] = _Process(process)


def _replace_dead(
    pool: dict[Connection, _Process], connection: Connection, pending: deque[Shard], job: BatchJob
) -> None:
    """Start a process in place of one that died; its shard is the next one."""
    dead = pool.pop(connection)
    connection.close()
    dead.process.join()
    if not dead.ready:
        raise ValueError(f"a worker died while it loaded the model, exit code {dead.process.exitcode}")
    if dead.shard is not None:
        pending.appendleft(dead.shard)
    if pending:
        _start(pool, job)


def _serve(connection: Connection, job: BatchJob) -> None:
    """Run in a worker process: load the pipeline, report that, and write shards until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process
    try:
        worker = ShardWorker(job)
    except Exception as error:
        connection.send(str(error) or type(error).__name__)
        return
    connection.send(None)
    while True:
        try:
            shard = connection.recv()
        except EOFError:
            return
        connection.send(worker(shard))


def run_on_ray(shards: list[Shard], job: BatchJob, address: str, workers: int | None = None) -> Iterator[ShardResult]:
    """Run shards on a Ray cluster. All its machines must find the sources and the output under the same paths.

    Args:
        shards: The shards to write.
        job: What they share.
        address: `auto`, `HOST:PORT`, or `local` to start Ray on this machine for the run.
        workers: The number of actors; None for one a processor of the cluster.

    Yields:
        Each shard when it is finished.

    Raises:
        ValueError: There is no cluster at the address, or Ray cannot start the actors.
    """
    by_number = {shard.number: shard for shard in shards}
    with _ray(address, workers) as processors:
        import ray.data
        from ray.exceptions import RayError

        size = max(1, min(workers or processors, processors, len(shards)))
        tasks = [{"number": shard.number, "entries": [list(_fields(e)) for e in shard.entries]} for shard in shards]
        results = ray.data.from_items(tasks, override_num_blocks=len(tasks)).map(
            _RayWorker,  # type: ignore[arg-type]  # a class of callables, which Ray calls an actor
            fn_constructor_args=(job,),
            compute=ray.data.ActorPoolStrategy(size=size),
            num_cpus=1,
        )
        try:
            for row in results.iter_rows():
                yield ShardResult(by_number[int(row["number"])], row["error"] or None)
        except RayError as error:
            raise ValueError(f"Ray: {str(error).strip().splitlines()[-1]}") from error


def _fields(entry: Entry) -> tuple[str, str, str, str]:
    return entry.path, str(entry.start), str(entry.stop), entry.stamp


class _RayWorker:
    """A `ShardWorker` for the rows of Ray Data."""

    def __init__(self, job: BatchJob) -> None:
        self.worker = ShardWorker(job)

    def __call__(self, task: Mapping[str, Any]) -> dict[str, Any]:
        entries = (Entry(path, int(start), int(stop), stamp) for path, start, stop, stamp in task["entries"])
        error = self.worker(Shard(int(task["number"]), tuple(entries)))
        return {"number": task["number"], "error": error or ""}


@contextmanager
def _ray(address: str, workers: int | None) -> Iterator[int]:
    """Connect to Ray for the length of the block; yield the number of its processors."""
    local = address == "local"
    for name, value in (RAY_ENVIRONMENT | RAY_LOOPBACK if local else RAY_ENVIRONMENT).items():
        os.environ.setdefault(name, value)
    with _without_stderr():
        import ray
        import ray.data
    try:
        with _without_stderr():
            ray.init(
                address=address,
                num_cpus=(workers or processor_count()) if local else None,
                object_store_memory=OBJECT_STORE_BYTES if local else None,
                include_dashboard=False if local else None,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
    except ConnectionError as error:
        raise ValueError(f"--address {address}: no Ray there; start it with `ray start --head`") from error
    try:
        for logger in ("ray", "ray.data"):
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        yield int(ray.cluster_resources().get("CPU", 1))  # type: ignore[no-untyped-call]
    finally:
        with _without_stderr():
            ray.shutdown()


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Discard stderr inside the block, also that of C++: Ray writes there whatever its log level."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as null:  # noqa: PTH123 - a device, not a path
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
