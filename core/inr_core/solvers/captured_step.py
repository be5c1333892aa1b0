"""A training step that is one launch: recorded as a CUDA graph, repeated on other data.

A step of 128 x 128 pixels is about two hundred kernels of a few microseconds each, and on CUDA launching them takes
longer than they do. A graph (docs.pytorch.org/docs/stable/notes/cuda.html, CUDA Graphs) launches all at once, but it
knows only the addresses that it was recorded with: what goes in is copied to tensors that stay where they are, and what
was changed is copied back.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

Tensors = Mapping[str, list[Tensor]]
Work = Callable[[Tensors, Tensors], None]
"""Changes the tensors of the first argument in place, given those of the second."""

_WARM_UP = 2  # steps of each shape that run as they are before one is recorded: libraries make their plans in them
_AHEAD = 2  # steps that may be under way: enough to keep the device busy, too few to keep a frame waiting


class Recorder(Protocol):
    """What records work and repeats it; every call but :meth:`join` is made within :meth:`aside`."""

    device: torch.device

    def aside(self, *tensors: Tensors) -> AbstractContextManager[None]:
        """A step begins, on tensors that were made outside."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record work on tensors that stay where they are, without doing it; what is returned does it."""

    def join(self) -> None:
        """What follows outside comes after all steps that were begun."""


class CapturedStep:
    """Work that is recorded for each set of shapes that it meets, and repeated from then on.

    Parameters
    ----------
    work
        The step. On a device with a recorder it must not wait for the device or depend on a tensor's values: what
        changes from step to step is in its tensors.
    recorder
        None to call ``work`` each time, as on a CPU.
    """

    def __init__(self, work: Work, recorder: Recorder | None = None) -> None:
        self._work, self._recorder, self._records = work, recorder, recorder is not None
        self._met: dict[object, int] = {}
        self._recordings: dict[object, _Recording] = {}

    def __call__(self, changed: Tensors, given: Tensors) -> None:
        """Take a step; tensors of ``given`` may be on the host, those of ``changed`` are on the device."""
        if self._recorder is None:
            self._work(changed, given)
            return
        with self._recorder.aside(changed, given):
            recording = self._recording(self._recorder, changed, given) if self._records else None
            if recording is None:
                self._work(changed, _moved(given, self._recorder.device))
            else:
                recording.repeat(changed, given)

    def join(self) -> None:
        """Call it before the tensors that steps change are used elsewhere."""
        if self._recorder is not None:
            self._recorder.join()

    def _recording(self, recorder: Recorder, changed: Tensors, given: Tensors) -> _Recording | None:
        """The recording for these shapes; None while they warm up, or if they cannot be recorded."""
        shapes = _shapes(changed), _shapes(given)
        self._met[shapes] = self._met.get(shapes, 0) + 1
        if shapes not in self._recordings and self._met[shapes] > _WARM_UP:
            try:
                self._recordings[shapes] = _record(self._work, recorder, changed, given)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:
                self._records = False
                reason = " ".join(str(error).split())
                logger.warning("training steps could not be recorded, and are launched one by one: %s", reason)
        return self._recordings.get(shapes)


@dataclass(frozen=True)
class _Recording:
    changed: Tensors
    given: Tensors
    replay: Callable[[], None]

    def repeat(self, changed: Tensors, given: Tensors) -> None:
        _copy(changed, self.changed)
        _copy(given, self.given)
        self.replay()
        _copy(self.changed, changed)


def _record(work: Work, recorder: Recorder, changed: Tensors, given: Tensors) -> _Recording:
    kept, data = _empty(changed, recorder.device), _empty(given, recorder.device)
    _copy(changed, kept)
    _copy(given, data)
    return _Recording(kept, data, recorder.record(lambda: work(kept, data)))


def _empty(tensors: Tensors, device: torch.device) -> Tensors:
    return {name: [torch.empty(t.shape, dtype=t.dtype, device=device) for t in ts] for name, ts in tensors.items()}


def _moved(tensors: Tensors, device: torch.device) -> Tensors:
    return {name: [t.to(device) for t in ts] for name, ts in tensors.items()}


def _copy(source: Tensors, target: Tensors) -> None:
    for name, tensors in source.items():
        if tensors:
            # One launch for all tensors of a name.
            torch._foreach_copy_(_real(target[name]), _real(tensors), non_blocking=True)


def _real(tensors: list[Tensor]) -> list[Tensor]:
    return [torch.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in tensors]


def _shapes(tensors: Tensors) -> object:
    return tuple((name, tuple((tuple(t.shape), t.dtype) for t in ts)) for name, ts in tensors.items())


@dataclass
class _Step:
    """A step that may be under way: the event of its end, and tensors of others that it works on."""

    end: torch.cuda.Event
    tensors: tuple[Tensors, ...] = ()


class CudaRecorder:
    """CUDA graphs on a stream of their own, so that the steps of several slices overlap on the device.

    Batching the slices would be the alternative: one more axis in every operator, and slices that must be trained in
    step. A stream each leaves every slice by itself, and the device fills up as long as there are slices to train.

    A step's tensors are held until it has ended, so that their memory is not given to others before.
    ``Tensor.record_stream`` would do the same, but on a device that failed its bookkeeping ends the process.

    Parameters
    ----------
    device
        Of CUDA.
    """

    # Scans are threads of one process, and torch has 32 streams: what is launched on the stream of a recording becomes
    # part of it, by whomever it is launched.
    _alone = threading.Lock()

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()  # recordings are never under way together, and share their memory
        self._under_way = deque(_Step(torch.cuda.Event()) for _ in range(_AHEAD))  # type: ignore[no-untyped-call]
        weakref.finalize(self, _wait, self._under_way)

    @contextmanager
    def aside(self, *tensors: Tensors) -> Iterator[None]:
        """Change to the stream, after what was launched outside, and at most a few steps ahead of the device."""
        step = self._under_way[0]
        step.end.synchronize()
        self._under_way.rotate(-1)
        step.tensors = tensors
        with self._alone:
            self._stream.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(self._stream):
                try:
                    yield
                finally:
                    step.end.record()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """Capture a graph."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
            work()
        return graph.replay

    def join(self) -> None:
        """The current stream waits for this one."""
        with self._alone:
            torch.cuda.current_stream(self.device).wait_stream(self._stream)


def _wait(steps: Iterable[_Step]) -> None:
    """Wait until steps have ended, before their tensors are let go of; a device that failed has ended them all."""
    with contextlib.suppress(RuntimeError):
        for step in steps:
            step.end.synchronize()


def make_recorder(device: torch.device) -> Recorder | None:
    """What records steps on a device; None for a CPU, where a launch costs next to nothing."""
    return CudaRecorder(device) if device.type == "cuda" else None
