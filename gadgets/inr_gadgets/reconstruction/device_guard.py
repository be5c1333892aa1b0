"""When the GPU runs out of memory or is lost in mid-scan: the scan goes on."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from inr_core.batches import smaller_batches
from inr_core.devices import Trouble, device_name, device_trouble, release_memory
from inr_gadgets.lines import operator_line

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from inr_core.methods.host_copy import HostCopy
    from inr_core.methods.live import LiveMethod, RefinedSeries
    from inr_core.solvers.control import Control
    from inr_core.solvers.learnt import Learnt

T = TypeVar("T")

_SMALLER = 0.25  # part of the usual batches on a device that has run out of memory once


@dataclass
class _Kept:
    """What is kept of a method.

    Attributes
    ----------
    copy
        Its state on the host.
    since
        Add the frames that came after the copy was made.
    batches
        Part of the usual batches.
    target
        Where it must be put before it can go on; None where it is at work.
    """

    copy: HostCopy
    since: list[Callable[[], object]] = field(default_factory=list)
    batches: float = 1.0
    target: torch.device | None = None


class DeviceGuard:
    """Runs what methods do on a device, and again where the device cannot.

    A device without memory gets a second chance with smaller batches, and then the CPU takes over; of a device that
    failed the CPU takes over at once. The method is put back to the state that the host keeps of it, that of the last
    image which was sent, and frames since then are added again. The training of the field begins anew. Errors that are
    not the device's pass through, and so does everything on a CPU.

    Parameters
    ----------
    announce
        Takes lines for the operator.

    Attributes
    ----------
    in_place
        Held while a method is emptied and put back; whoever looks at one in another thread must hold it, too.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.in_place = threading.Lock()
        self._announce = announce
        self._kept: WeakKeyDictionary[LiveMethod, _Kept] = WeakKeyDictionary()
        self._last_line = ""

    def make(self, make: Callable[[torch.device], LiveMethod], device: torch.device) -> LiveMethod:
        """A method on a device, or on the CPU where that cannot even make it: a slice may begin after it was lost."""
        import torch

        cpu = torch.device("cpu")
        try:
            method = make(device)
            if device != cpu:
                self._keep(method)
        except RuntimeError as error:
            trouble = device_trouble(error)
            if trouble is None or device == cpu:
                raise
            reason = str(error)
        else:
            return method
        self._tell(trouble, reason, device_name(cpu))
        return make(cpu)

    def add_frame(self, method: LiveMethod, kspace: Tensor, traj: Tensor) -> Tensor:
        """The image of the next frame, on the host; see :meth:`LiveMethod.add_frame`."""
        # The copy to the host is where a device's errors come to light.
        image = self.run(method, lambda: method.add_frame(kspace, traj).cpu())
        self._came(method, lambda: method.add_frame(kspace, traj))
        return image

    def follow(self, method: LiveMethod, kspace: Tensor, traj: Tensor) -> list[Tensor]:
        """The images of the frames before the next one, on the host; see :meth:`LiveMethod.follow`."""
        images = self.run(method, lambda: [image.cpu() for image in method.follow(kspace, traj)])
        self._came(method, lambda: method.follow(kspace, traj))
        return images

    def _came(self, method: LiveMethod, add: Callable[[], object]) -> None:
        if method in self._kept:
            self._kept[method].since.append(add)

    def settle(self, method: LiveMethod) -> None:
        """Keep the state on the host and finish the frame; call it when the image has been sent."""

        def copy() -> None:
            if method in self._kept:
                self._kept[method].copy.update(method)
                self._kept[method].since.clear()

        self.run(method, copy)
        self.run(method, method.settle)

    def refine(self, method: LiveMethod, control: Control) -> RefinedSeries | None:
        """The refined series, on the host; see :meth:`LiveMethod.refine`."""

        def on_host() -> RefinedSeries | None:
            series = method.refine(control)
            if series is None:
                return None
            flow = None if series.flow is None else series.flow.cpu()
            return replace(series, images=series.images.cpu(), flow=flow)

        return self.run(method, on_host)

    def learnt(self, method: LiveMethod) -> Learnt | None:
        """What another reconstruction can begin with, on the host, where it outlives the device."""
        import torch

        def on_host() -> Learnt | None:
            known = method.learnt()
            return None if known is None else known.to(torch.device("cpu"))

        return self.run(method, on_host)

    def run(self, method: LiveMethod, work: Callable[[], T]) -> T:
        """Do something with a method; again, on what is left of the device or on the CPU, if the device fails.

        Raises
        ------
        RuntimeError
            Any error that is not a device's, and every error of the CPU.
        """
        import torch

        cpu = torch.device("cpu")
        while True:
            if method.device == cpu and method not in self._kept:
                return work()
            kept = self._keep(method)
            try:
                with smaller_batches(kept.batches):
                    if kept.target is not None:
                        self._restore(method, kept, kept.target)
                        continue
                    return work()
            except RuntimeError as error:
                trouble = device_trouble(error)
                if trouble is None or cpu in (kept.target, method.device):
                    raise
                reason = str(error)
            # By now the exception has gone, and with it what its frames held of the device's memory.
            again = trouble is Trouble.MEMORY and kept.batches == 1.0
            kept.target, kept.batches = (method.device, _SMALLER) if again else (cpu, 1.0)
            self._tell(trouble, reason, "smaller batches" if again else device_name(cpu))

    def _keep(self, method: LiveMethod) -> _Kept:
        from inr_core.methods.host_copy import HostCopy

        if method not in self._kept:
            self._kept[method] = _Kept(HostCopy())
            self._kept[method].copy.update(method)
        return self._kept[method]

    def _restore(self, method: LiveMethod, kept: _Kept, target: torch.device) -> None:
        import torch

        due, steps = method.due, method.steps
        with self.in_place:
            vars(method).update(dict.fromkeys(set(vars(method)) - {"due", "steps"}))  # lets go of what is on the device
            gc.collect()
            release_memory(target)
            kept.copy.restore(method, target)
            method.due, method.steps = due, steps
        for add in kept.since:
            add()
        kept.target = None
        if target == torch.device("cpu"):
            del self._kept[method]  # a CPU needs no guard

    def _tell(self, trouble: Trouble, reason: str, on: str) -> None:
        line = operator_line("WARNING", f"{trouble.value} ({reason}): the scan goes on with {on}")
        if line != self._last_line:  # several slices fail alike
            self._announce(line)
        self._last_line = line
