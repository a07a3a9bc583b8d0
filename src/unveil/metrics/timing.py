"""Time of calls that run in turns, so that other load on the machine affects all of them alike."""

import statistics
import time
from collections.abc import Callable, Sequence


def median_milliseconds(
    calls: Sequence[Callable[[], object]],
    runs: int = 30,
    warmup: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Return the median time of each call in milliseconds.

    Args:
        calls: What is timed; in each run every call runs once.
        runs: Number of timed runs.
        warmup: Number of runs before them that do not count.
        clock: Returns seconds; `time.thread_time` leaves out what other processes do.
    """
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(warmup + runs):
        for call, spent in zip(calls, times, strict=True):
            start = clock()
            call()
            spent.append(1e3 * (clock() - start))
    return [statistics.median(spent[warmup:]) for spent in times]
