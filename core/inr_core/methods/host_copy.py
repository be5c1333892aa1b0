"""What a running reconstruction needs to go on, kept on the host while it computes on a device that may fail."""

from __future__ import annotations

import io
import pickle
import weakref
from typing import NamedTuple

import torch
from torch import Tensor

from inr_core.methods.live import LiveMethod
from inr_core.parameters.live import MeasurementParameters

_HOST = torch.device("cpu")


class _Copied(NamedTuple):
    of: weakref.ref[Tensor]
    version: int
    on_device: bool
    copy: Tensor


class HostCopy:
    """The state of a method as it was at one moment: tensors copied to the host, everything else as bytes.

    Only what is new travels: a tensor that was copied before and has not changed since is left alone, so that a copy
    after each frame costs that frame's gridded data and image, not the history. What a method can make anew
    (``made_anew``: the field and its optimiser) is left out. The bytes are those of :mod:`pickle`, which finds all
    tensors of a state by itself; they never leave the process.
    """

    def __init__(self) -> None:
        self._tensors: dict[int, _Copied] = {}
        self._parameters: list[MeasurementParameters] = []
        self._state = b""

    def update(self, method: LiveMethod) -> None:
        """Take the state as it is now. Where that fails, the last one is left as it was."""
        buffer = io.BytesIO()
        writer = _Writer(buffer, self._tensors)
        writer.dump({**vars(method), **dict.fromkeys(method.made_anew)})
        self._tensors, self._parameters, self._state = writer.seen, writer.parameters, buffer.getvalue()

    def restore(self, method: LiveMethod, device: torch.device) -> None:
        """Put the method into the state of the last update, on ``device``."""
        state = _Reader(io.BytesIO(self._state), device, self._tensors, self._parameters).load()
        vars(method).clear()
        vars(method).update(state)


class _Writer(pickle.Pickler):
    """Puts tensors, devices and parameters aside, and their names into the bytes."""

    def __init__(self, file: io.BytesIO, known: dict[int, _Copied]) -> None:
        super().__init__(file)
        self._known = known
        self.seen: dict[int, _Copied] = {}
        self.parameters: list[MeasurementParameters] = []

    def persistent_id(self, obj: object) -> tuple[str, int] | None:
        if isinstance(obj, Tensor):
            return "tensor", self._tensor(obj)
        if isinstance(obj, torch.device):
            return "device", int(obj != _HOST)
        if isinstance(obj, MeasurementParameters):
            self.parameters.append(obj)
            return "parameters", len(self.parameters) - 1
        return None

    def _tensor(self, tensor: Tensor) -> int:
        old = self.seen.get(id(tensor)) or self._known.get(id(tensor))
        if old is None or old.of() is not tensor or old.version != tensor._version:
            copy = tensor.detach().to("cpu", copy=True)
            old = _Copied(weakref.ref(tensor), tensor._version, tensor.device.type != "cpu", copy)
        self.seen[id(tensor)] = old
        return id(tensor)


class _Reader(pickle.Unpickler):
    """Puts tensors onto another device."""

    def __init__(
        self,
        file: io.BytesIO,
        device: torch.device,
        tensors: dict[int, _Copied],
        parameters: list[MeasurementParameters],
    ) -> None:
        super().__init__(file)
        self._device, self._tensors, self._parameters = device, tensors, parameters
        self._made: dict[int, Tensor] = {}

    def persistent_load(self, pid: tuple[str, int]) -> object:
        kind, number = pid
        if kind == "tensor":
            if number not in self._made:
                copied = self._tensors[number]
                self._made[number] = copied.copy.to(self._device if copied.on_device else _HOST, copy=True)
            return self._made[number]
        if kind == "device":
            return self._device if number else _HOST
        return self._parameters[number]
