"""A CUDA device that is none: tensors that claim to be on it, and are computed with on the CPU.

What a program does wrong on a GPU it mostly does before the GPU computes anything: it lets tensors of host and device
meet, makes a new tensor on the wrong side, waits where it should not, records into a graph what changes from step to
step, touches the device after it was lost. Within :func:`pretended_gpu` all of that is an error, as torch and CUDA have
it, or is counted, on a machine without a GPU and with the numbers of the CPU. Not pretended: time, streams (all work
is done when it is asked for), memory that libraries take for themselves, rounding.

To torch's dispatcher such a tensor is one of the device ``meta:1``: of all devices but the CPU, ``meta`` is the only
one that every build can differentiate on. Python is told ``cuda:0``.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_CUDA, _STAND_IN = torch.device("cuda", 0), torch.device("meta", 1)
_aten = torch.ops.aten

_COPIES = (_aten.copy_.default, _aten._to_copy.default, _aten._foreach_copy_.default)
_BY_INDEX = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default)
_LOOKS = {
    _aten._local_scalar_dense.default: "value",
    _aten.is_nonzero.default: "value",
    _aten.equal.default: "value",
    _aten.nonzero.default: "nonzero",
    _aten.masked_select.default: "nonzero",
    _aten._unique2.default: "unique",
    _aten._linalg_check_errors.default: "decomposition",
    _aten._linalg_eigh.default: "decomposition",
}
"""What the host waits for the device in, and calls that look."""


class OnTheDevice(Tensor):
    """A tensor that claims to be on the device; ``inner`` holds its values."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnTheDevice:
        made: OnTheDevice = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device=_STAND_IN,
        )
        made.inner = inner
        return made

    device = property(lambda self: _CUDA)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    def __repr__(self, **_: Any) -> str:
        return f"OnTheDevice({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not _ACTIVE:
            raise RuntimeError(f"{func} on a pretended device, outside of pretended_gpu()")
        return _ACTIVE[-1].run(func, args, kwargs or {})


@dataclass
class Gpu:
    """What happened on the pretended device.

    Attributes
    ----------
    launches
        Kernels, about: operations that are no views, and repetitions of a graph.
    looks
        Times that the host waited for the device, by what it waited for and where in the project.
    repeated
        Repetitions of graphs.
    held_bytes, peak_bytes
        Memory of tensors, now and at most.
    limit_bytes
        Memory that there is; set it to run out of it.
    lost
        Set it to let everything fail from now on.
    """

    launches: int = 0
    looks: Counter[str] = field(default_factory=Counter)
    repeated: int = 0
    held_bytes: int = 0
    peak_bytes: int = 0
    limit_bytes: float = float("inf")
    lost: bool = False
    recording: _Graph | None = None
    _storages: set[int] = field(default_factory=set)

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """An operation, as the device would do it."""
        tensors = [*_tensors(args), *_tensors(kwargs.values())]
        there = [x for x in tensors if isinstance(x, OnTheDevice)]
        here = [x for x in tensors if not isinstance(x, OnTheDevice)]
        target = kwargs.get("device")
        if not there and target != _STAND_IN:
            return func(*args, **kwargs)
        self.alive()
        self._check(func, args, kwargs, there, here)
        to_host = func is _aten._to_copy.default and target is not None and target.type == "cpu"
        self._count(func, args, kwargs, here, to_host)
        args, kwargs = _each(args, _inner), {name: _each(x, _inner) for name, x in kwargs.items()}
        if target == _STAND_IN:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        out = func(*args, **kwargs) if self.recording is None else self.recording.add(func, args, kwargs)
        known = {id(x.inner): x for x in there}
        return out if to_host else _each(out, lambda x: self._claimed(x, known))

    def alive(self) -> None:
        """Fail if the device is lost."""
        if self.lost:
            kind: type[RuntimeError] = getattr(torch, "AcceleratorError", RuntimeError)  # new in torch 2.8
            raise kind("CUDA error: unspecified launch failure")

    def look(self, what: str) -> None:
        """The host waits."""
        self.alive()
        frame: FrameType | None = sys._getframe()
        while frame is not None and f"{os.sep}inr_" not in frame.f_code.co_filename:
            frame = frame.f_back
        where = f", {Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}" if frame is not None else ""
        self.looks[what + where] += 1

    def _claimed(self, x: Tensor, known: dict[int, OnTheDevice]) -> OnTheDevice:
        if id(x) in known:
            return known[id(x)]
        x = x.resolve_conj().resolve_neg()  # what claims to be on the device does not show that it is conjugated
        storage = x.untyped_storage()
        key, size = storage.data_ptr(), storage.nbytes()
        if key and key not in self._storages:
            if self.held_bytes + size > self.limit_bytes:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes.")
            self.held_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.held_bytes)
            self._storages.add(key)
            weakref.finalize(storage, self._freed, key, size)
        return OnTheDevice(x)

    def _freed(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.held_bytes -= size

    def _check(self, func: Any, args: Any, kwargs: Any, there: list[OnTheDevice], here: list[Tensor]) -> None:
        """Refuse what torch refuses."""
        generator = kwargs.get("generator")
        if generator is not None and generator.device.type == "cpu":
            raise RuntimeError(f"{func}: Expected a 'cuda' device type for generator but found 'cpu'")
        if not there or not here or func in _COPIES:
            return
        if func in _BY_INDEX:
            wrong = [x for x in (args[0], *args[2:3]) if not isinstance(x, OnTheDevice) and x.ndim > 0]
        elif torch.Tag.pointwise in func.tags:
            wrong = [x for x in here if x.ndim > 0 or (func._schema.is_mutable and x is args[0])]
        else:
            wrong = here
        if wrong:
            shape = tuple(wrong[0].shape)
            raise RuntimeError(f"{func}: Expected all tensors to be on the same device, but found one on cpu, {shape}")

    def _count(self, func: Any, args: Any, kwargs: Any, here: list[Tensor], to_host: bool) -> None:
        look = _LOOKS.get(func, "")
        if to_host or (func is _aten.copy_.default and not isinstance(args[0], OnTheDevice)):
            look = "copy to the host"
        elif func in _COPIES and here and not (kwargs.get("non_blocking") or args[2:3] == (True,)):
            look = "copy to the device"
        elif func in _BY_INDEX and any(isinstance(i, OnTheDevice) and i.dtype is torch.bool for i in args[1]):
            look = "nonzero"
        if look:
            self.look(look)
        if self.recording is not None and (look or here):
            raise RuntimeError(f"{func}: CUDA error: operation not permitted when stream is capturing")
        self.launches += not (getattr(func, "is_view", False) or func is _aten.detach.default)


_ACTIVE: list[Gpu] = []


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for x in values:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, list | tuple):
            yield from _tensors(x)


def _each(x: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(x, Tensor):
        return change(x)
    return type(x)(_each(part, change) for part in x) if isinstance(x, list | tuple) else x


def _inner(x: Tensor) -> Tensor:
    return x.inner if isinstance(x, OnTheDevice) else x


class _Graph:
    """Operations that were recorded: nothing is done while they are, and all are done when they are repeated.

    What they were given and what they make stays where it is, as with CUDA.
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    def add(self, func: Any, args: Any, kwargs: Any) -> Any:
        for argument, value in zip(func._schema.arguments, args, strict=False):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for tensor in _tensors((value,)):
                    self._keep(tensor)
        out = func(*args, **kwargs)
        self._steps.append((func, args, kwargs, out))
        return out

    def _keep(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._before:
            whole = torch.empty(0, dtype=torch.uint8).set_(storage)
            self._before[storage.data_ptr()] = whole, whole.clone()

    def end(self) -> None:
        for whole, before in self._before.values():
            whole.copy_(before)
        self._before.clear()

    def replay(self) -> None:
        gpu = _ACTIVE[-1]
        gpu.alive()
        gpu.launches, gpu.repeated = gpu.launches + 1, gpu.repeated + 1
        for func, args, kwargs, out in self._steps:
            new = func(*args, **kwargs)
            for old, fresh in zip(_tensors((out,)), _tensors((new,)), strict=True):
                if old.untyped_storage().data_ptr() != fresh.untyped_storage().data_ptr():
                    old.copy_(fresh)


class _Functions(TorchFunctionMode):
    """Lets calls that name the device reach the dispatcher; in a build without CUDA they would fail before."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.cuda:
            return args[0].to(_STAND_IN)
        if _names_cuda(kwargs.get("device")):
            if func in (torch.tensor, torch.as_tensor):
                return func(*args, **{**kwargs, "device": None}).to(_STAND_IN)
            kwargs = {**kwargs, "device": _STAND_IN}
        if func is Tensor.to:
            args = tuple(_STAND_IN if _names_cuda(x) else x for x in args)
        elif args and isinstance(args[0], OnTheDevice):
            if func is Tensor.new_tensor:
                return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs}).to(_STAND_IN)
            if func in (Tensor.__getitem__, Tensor.__setitem__):
                args = (args[0], _tensors_for_lists(args[1]), *args[2:])
        return func(*args, **kwargs)


def _names_cuda(x: Any) -> bool:
    return (isinstance(x, torch.device) and x.type == "cuda") or (isinstance(x, str) and x.startswith("cuda"))


def _tensors_for_lists(index: Any) -> Any:
    """Indices as torch makes them of lists: on the device."""
    if isinstance(index, tuple):
        return tuple(map(_tensors_for_lists, index))
    if isinstance(index, list):
        return torch.tensor(index, dtype=None if index else torch.long).to(_STAND_IN)
    return index


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _ACTIVE[-1].run(func, args, kwargs or {})


_run_backward: Callable[..., Any] = torch.autograd._engine_run_backward  # type: ignore[attr-defined]


def _backward(*args: Any, **kwargs: Any) -> Any:
    """A mode is not asked within what it was asked about, and so not within derivatives of the project's own."""
    with _Functions():
        return _run_backward(*args, **kwargs)


class _Stream:
    cuda_stream = 0

    def __init__(self, device: Any = None) -> None:
        _ACTIVE[-1].alive()

    def wait_stream(self, other: _Stream) -> None:
        _ACTIVE[-1].alive()

    def synchronize(self) -> None:
        _ACTIVE[-1].look("stream")


class _Event:
    def record(self) -> None:
        _ACTIVE[-1].alive()

    def synchronize(self) -> None:
        if _ACTIVE:
            _ACTIVE[-1].alive()


@contextmanager
def _capture(graph: _Graph, **_: Any) -> Iterator[None]:
    gpu = _ACTIVE[-1]
    gpu.recording = graph
    try:
        yield
    finally:
        gpu.recording = None
        graph.end()


@contextmanager
def pretended_gpu() -> Iterator[Gpu]:
    """Within it ``cuda`` is a device; what is yielded says what happens on it."""
    gpu, stream = Gpu(), object.__new__(_Stream)
    pretended: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "get_device_name": lambda *_: "Pretended GPU",
        "Stream": _Stream,
        "Event": _Event,
        "CUDAGraph": _Graph,
        "graph": _capture,
        "graph_pool_handle": lambda: (0, 0),
        "current_stream": lambda *_: stream,
        "stream": lambda *_: nullcontext(),
        "is_current_stream_capturing": lambda: gpu.recording is not None,
        "synchronize": lambda *_: gpu.look("device"),
        "empty_cache": gpu.alive,
        "mem_get_info": lambda *_: (2**37, 2**37),
        "max_memory_allocated": lambda *_: gpu.peak_bytes,
        "max_memory_reserved": lambda *_: gpu.peak_bytes,
        "reset_peak_memory_stats": lambda *_: setattr(gpu, "peak_bytes", gpu.held_bytes),
    }
    _ACTIVE.append(gpu)
    try:
        with (
            patch.multiple(torch.cuda, **pretended),
            patch("torch.autograd._engine_run_backward", _backward),
            _Functions(),
            _Operations(),
        ):
            yield gpu
    finally:
        _ACTIVE.pop()
