"""onnxruntime sessions that can be pickled, forked and shared between threads."""

import ctypes
import os
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

import onnxruntime as ort
from numpy.typing import NDArray

Provider: TypeAlias = Literal["cpu", "cuda"]
EXECUTION_PROVIDERS: dict[Provider, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class ModelError(ValueError):
    """A model cannot be used. The message, one line, names the model and the fix."""


class OnnxSession:
    """A network in onnxruntime. It can be pickled, works in a forked process and is safe to share between threads.

    Args:
        weights: Content of the ONNX file.
        path: Path of the file, for messages.
        threads: Number of threads of the network.
        provider: Execution provider.

    Raises:
        ModelError: onnxruntime cannot load it.
    """

    def __init__(self, weights: bytes, path: Path, threads: int, provider: Provider) -> None:
        self._arguments = (weights, path, threads, provider)
        self._session: ort.InferenceSession | None = _session(*self._arguments)
        _follow_forks(self)

    def run(self, outputs: Sequence[str], inputs: Mapping[str, NDArray[Any]]) -> list[Any]:
        """Run the network.

        Args:
            outputs: Names of the outputs.
            inputs: Arrays by the name of the input.

        Returns:
            The outputs, in the order of the names.
        """
        values: list[Any] = self._live().run(list(outputs), dict(inputs))
        return values

    @property
    def names(self) -> set[str]:
        """Names of the inputs and outputs."""
        session = self._live()
        return {argument.name for argument in (*session.get_inputs(), *session.get_outputs())}

    def forget_inherited(self) -> None:
        """Load the network again at its next use, because a forked process has none of its parent's threads."""
        if self._session is not None:
            # Destroying the inherited session would wait for those threads, so it stays in memory.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))
        self._session = None

    def _live(self) -> ort.InferenceSession:
        session = self._session
        if session is None:  # two threads may both load it; one of the sessions is dropped
            session = self._session = _session(*self._arguments)
        return session

    def __getstate__(self) -> tuple[bytes, Path, int, Provider]:
        return self._arguments

    def __setstate__(self, state: tuple[bytes, Path, int, Provider]) -> None:
        self.__init__(*state)  # type: ignore[misc]


_sessions: weakref.WeakSet[OnnxSession] = weakref.WeakSet()


def _follow_forks(session: OnnxSession) -> None:
    """Make a session usable in processes that are forked from this one."""
    _register_fork_hook()
    _sessions.add(session)


@cache
def _register_fork_hook() -> None:
    def forget_all() -> None:
        for session in list(_sessions):
            session.forget_inherited()

    if hasattr(os, "register_at_fork"):  # Windows has no fork
        os.register_at_fork(after_in_child=forget_all)


def session_options(threads: int) -> ort.SessionOptions:
    """Return the options of every session: so many threads, and no log.

    Args:
        threads: Number of threads of a network.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def _session(weights: bytes, path: Path, threads: int, provider: Provider) -> ort.InferenceSession:
    name = EXECUTION_PROVIDERS[provider]
    if name not in ort.get_available_providers():
        raise ModelError(
            f"provider {provider!r} is not in this onnxruntime; install onnxruntime-gpu or use --provider cpu"
        )
    try:
        session = ort.InferenceSession(weights, session_options(threads), providers=[name])
    except Exception as error:  # the exceptions of onnxruntime have no common base class
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"{path}: onnxruntime cannot load it ({reason}); export the model again") from error
    if session.get_providers()[0] != name:
        raise ModelError(f"provider {provider!r} does not start here; check the CUDA driver or use --provider cpu")
    return session
