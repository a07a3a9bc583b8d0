"""The machine that training runs on: precision, memory layout, signals, several processes."""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> None:
    """Set glibc's malloc to keep freed memory; do nothing with other C libraries.

    By default glibc returns large blocks to the system at once, and page faults on the next allocation take a third of
    a step.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 256 * 2**20)


def process_count() -> int:
    """Return the number of processes that accelerate or torchrun started."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def precision_for(precision: str, device: torch.device) -> str:
    """Return accelerate's name of a precision: `bf16` or `no`.

    Args:
        precision: `float32`, `bfloat16`, or `auto`: bfloat16 only where the hardware supports it; elsewhere it is ten
            times slower than float32.
        device: The device that computes.
    """
    fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return "bf16" if precision == "bfloat16" or (precision == "auto" and fast) else "no"


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Collect Ctrl-C and termination requests, so that the loop can end its step and save.

    Yields:
        The numbers of the received signals; the list grows.
    """
    received: list[int] = []

    def note(number: int, _: Any) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def any_process(accelerator: Accelerator, received: list[int]) -> bool:
    """Return whether one of the processes was asked to stop; all must stop after the same step.

    Args:
        accelerator: The processes.
        received: The signals that this process received.
    """
    if accelerator.num_processes == 1:
        return bool(received)
    return bool(accelerator.reduce(torch.tensor(float(len(received)), device=accelerator.device)) > 0)
