"""Training of the field on measured frames: a few steps between frames, many after the last."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inr_core.batches import at_once
from inr_core.errors import DataError
from inr_core.fields.grid_field import GridField
from inr_core.fields.weights import N_SCALES, Adam, Parts
from inr_core.losses import temporal_tv_gradient
from inr_core.operators.nufft import Nufft
from inr_core.operators.toeplitz import ToeplitzGram
from inr_core.parameters.inr import InrParameters
from inr_core.solvers.captured_step import CapturedStep, Recorder, Tensors, make_recorder
from inr_core.solvers.control import Control
from inr_core.solvers.frames import FrameHistory, check_signal
from inr_core.solvers.held_out import HeldOut
from inr_core.solvers.slice_data import FrameSamples
from inr_core.solvers.training import cosine

_TV_ACCELERATION, _TV_POWER = 10.0, 0.75  # temporal_tv is for this acceleration; how it grows with it
_CHUNK = 6  # frames rendered at once: what the caches hold
_LOOK_PASSES, _PATIENCE = 5, 2  # between looks at held-out spokes, from the second on; looks without a smaller error
_WARM, _PACED = 3, 8  # steps between which the pace is measured; the first ones record what the others repeat
_LOOK = 32  # steps after which it is looked whether they were finite, where looking means waiting


@dataclass(frozen=True)
class _Work:
    """The arithmetic of a step; nothing in it depends on a value that the host would have to wait for.

    It does not know its trainer, which would keep its memory until somebody collects the garbage.
    """

    field: GridField
    adam: Adam
    scale: float
    strength: float
    draft_weight: float

    def __call__(self, changed: Tensors, given: Tensors) -> None:
        """Take a step."""
        parts, failed = Parts(changed["values"], changed["moments1"], changed["moments2"]), changed["failed"][0]
        length, levels = len(given["kernels"]), len(self.field.levels)
        nodes = [len(value) for value in parts.values[:levels]]
        sizes = [N_SCALES, 1, 1, *nodes, *(length * n for n in nodes)]
        scales, variation, number, *rest = torch.split(given["numbers"][0], sizes)
        missed, between = rest[:levels], [w.reshape(length, -1) for w in rest[levels:]]
        csm = given["csm"][0]
        gram = ToeplitzGram(torch.cat(given["kernels"]), csm)
        right = (csm.conj() * torch.stack(given["coil_images"])).sum(1) / self.scale

        def gradient(images: Tensor) -> Tensor:
            pull = (gram.forward(images) - right) / self.strength
            for target in given["target"]:
                pull += self.draft_weight * (images - target / self.scale)
            return (pull + variation * temporal_tv_gradient(images)) / length

        self.adam.make_good(Parts(*(part[:levels] for part in parts)), missed, scales)
        gradients = self.field.gradients(parts.values, between, gradient)
        finite = torch.stack([torch.isfinite(g).all() for g in gradients[-2:]]).all()
        failed.copy_(torch.where(finite | (failed > 0), failed, number))
        if failed.device.type == "cpu" and failed > 0:
            return  # there looking is free, and the weights stay good
        self.adam.move(parts, gradients, scales)


class InrTrainer:
    """Fits a field to frames: data consistency through the Toeplitz gram, and temporal total variation.

    The objective of a window of n frames, images scaled so that the scan's maximum is about 1:

        1/n [ sum_t (1/2 x_t^H G_t x_t - Re x_t^H b_t) / g  +  mu/2 |x_t - d_t|^2  +  lambda TV_t(x) ]

    with lambda = ``temporal_tv`` (a/10)^0.75 at an acceleration a, since streaks grow with it (measured on a real cine
    at a = 6, 10 and 26); g the mean of the gram's diagonal; and d a draft of the series with its weight mu, in the
    refinement only: the directions in which few spokes say little are those that gradient descent is slow in, and
    there the draft is at hand. Its gradient with respect to the images is a closed form; only the field is
    differentiated automatically.

    A step is a function of tensors alone (:class:`_Work`), the same on every device; on CUDA it is recorded and then
    repeated as one launch, see :class:`~inr_core.solvers.captured_step.CapturedStep`. What the host knows of a step
    goes in as one short vector.

    Parameters
    ----------
    shape
        (ny, nx) of the images.
    parameters
        See :class:`InrParameters`.
    scale
        Maximum magnitude of the images.
    strength
        Mean of the gram's diagonal, g.
    device
        Where it is trained.
    recorder
        What records steps; that of the device if None.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        parameters: InrParameters,
        scale: float,
        strength: float,
        device: torch.device,
        recorder: Recorder | None = None,
    ) -> None:
        check_signal(scale, strength)
        self.parameters, self.scale, self.strength = parameters, scale, strength
        self.field = GridField(
            shape, parameters.features, parameters.hidden, parameters.layers, seed=parameters.seed, device=device
        )
        self.adam = Adam()
        self.live_steps = 0
        self._generator = torch.Generator().manual_seed(parameters.seed)
        work = _Work(self.field, self.adam, scale, strength, parameters.draft_weight)
        self._run = CapturedStep(work, recorder or make_recorder(device))
        self._failed = torch.zeros(1, device=device)  # number of the first step whose gradient was not finite
        self._unseen: dict[int, tuple[int, int]] = {}  # frames of the steps since it was last looked at

    def extend(self, n_frames: int, history: FrameHistory) -> None:
        """Let the field reach the newest frame; a field that does is left alone, and nobody waits for its steps."""
        if n_frames <= self.field.n_frames:
            return
        self._finish()
        # Rows that are copied or forgotten must be those of the present.
        newest = torch.tensor([self.field.n_frames - 1])
        self.adam.catch_up(self.field.touched(newest))
        self.field.extend(n_frames, history.limit)

    def newest(self) -> tuple[Tensor, ...]:
        """The weights of the newest frame, as of :meth:`GridField.weights_at`."""
        self._finish()
        newest = self.field.n_frames - 1
        self.adam.catch_up(self.field.touched(torch.tensor([newest])))
        return self.field.weights_at(newest)

    def begin_with(self, weights: tuple[Tensor, ...]) -> None:
        """Begin the first frame with weights of :meth:`newest`; with none, as a field that knows nothing."""
        if weights:
            self.field.begin_with(weights)
            self.live_steps = 1

    def predict(self, index: int) -> Tensor:
        """(ny, nx): the field's image of a frame, in the data's units."""
        self._finish()
        times = torch.tensor([index])
        self.adam.catch_up(self.field.touched(times))
        return self.field(times)[0] * self.scale

    def tune(self, history: FrameHistory, csm: Tensor) -> None:
        """One training step of the running scan: the newest frames, or now and then older ones."""
        length = min(self.parameters.tune_window, len(history))
        newest = history.first + len(history) - length
        replay = float(torch.rand((), generator=self._generator)) < self.parameters.replay
        start = self._draw(history.first, newest) if replay and newest > history.first else newest
        self._step(history, csm, start, length, self.parameters.tune_rate)
        self.live_steps += 1

    def refine(
        self,
        history: FrameHistory,
        csm: Tensor,
        draft: Tensor | None = None,
        control: Control | None = None,
        stop: HeldOut | None = None,
        least_passes: float = 0.0,
    ) -> int:
        """Train on all frames that are kept, the learning rate falling along a cosine.

        Parameters
        ----------
        history, csm
            Frames and the scan's final receive maps.
        draft : (frames, ny, nx)
            A series of all these frames that the images are pulled towards by ``draft_weight``; None for no pull.
        control
            Time, stop and progress; none if None. A time limit shortens the schedule.
        stop
            From :meth:`judge`: ends the training when it no longer helps, and leaves the field as it was best.
        least_passes
            Visits of each frame without which the field is of no use: by the pace of its first steps the training ends
            where the time does not suffice for them.

        Returns
        -------
        Steps taken.
        """
        length = min(self.parameters.window, len(history))
        total = (
            max(1, round(self.parameters.refine_passes * len(history) / length)) if self.parameters.refine_passes else 0
        )
        control, rate = control or Control(), cosine()
        steps, part, warm_s = 0, 0.0, 0.0
        while part < 1.0 and total and not control.stopped():
            # Windows may overhang both ends, so that the first and last frames are drawn as often as the others.
            start = self._draw(history.first - length + 1, history.first + len(history) - 1)
            start = max(history.first, min(history.first + len(history) - length, start))
            target = None if draft is None else draft[start - history.first :][:length]
            self._step(history, csm, start, length, self.parameters.learning_rate * rate(part), target)
            steps += 1
            part = control.part(steps, total)
            control.progress(part)
            if steps == _WARM:
                warm_s = time.monotonic()
            elif steps == _PACED and math.isfinite(control.limit_s):
                pace_s = (time.monotonic() - warm_s) / (_PACED - _WARM)
                left_s = control.begin + control.limit_s - time.monotonic()
                if (steps + left_s / pace_s) * length < least_passes * len(history):
                    break
            if stop is not None and stop.due(steps):
                self._bring_up_to_date(history)
                if stop(steps):
                    break
        self._finish()
        if stop is not None and steps > 0:
            self._bring_up_to_date(history)
            stop.conclude(steps)
        return steps

    def judge(self, held: Sequence[tuple[FrameSamples, Tensor]], history: FrameHistory, csm: Tensor) -> HeldOut:
        """What tells by held-out spokes when the training of :meth:`refine` no longer helps.

        Parameters
        ----------
        held
            Samples of each frame and their weights, none where it has no such spokes.
        history, csm
            The frames without them, and receive maps.
        """

        def predict(position: int, traj: Tensor) -> Tensor:
            image = self.series(torch.tensor([history.first + position]))
            return Nufft(traj[None], self.field.shape).forward(image[:, None] * csm)[0]

        steps_of_pass = len(history) / min(self.parameters.window, len(history))
        every = max(1, round(_LOOK_PASSES * steps_of_pass))
        return HeldOut(
            [samples for samples, _ in held],
            predict,
            [weights.value for weights, _ in self.field.touched(torch.tensor([history.first]))],
            every=every,
            patience=_PATIENCE,
            at_once=0,
            first=2 * every,
            density=[ramp for _, ramp in held],
        )

    def _bring_up_to_date(self, history: FrameHistory) -> None:
        """Let all weights be those of this moment, as far as the frames that are kept go."""
        self._finish()
        self.adam.catch_up(self.field.touched(torch.arange(history.first, history.first + len(history))))

    def series(self, times: Tensor, shape: tuple[int, int] | None = None) -> Tensor:
        """(images, ny, nx): the field's images, in the data's units; arguments as of :class:`GridField`."""
        self._finish()
        self.adam.catch_up(self.field.touched(times))
        return torch.cat([self.field(part, shape) for part in torch.split(times, at_once(_CHUNK))]) * self.scale

    def _draw(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=self._generator))

    def _step(
        self, history: FrameHistory, csm: Tensor, start: int, length: int, rate: float, target: Tensor | None = None
    ) -> None:
        frames = history.window(start, length)
        variation = self.parameters.temporal_tv * math.pow(frames[0].acceleration / _TV_ACCELERATION, _TV_POWER)
        touched = self.field.touched_by_window(start, length)
        between = self.field.between(torch.arange(start, start + length), touched)
        missed, scales = self.adam.begin(touched, rate)
        others = torch.tensor([variation, self.adam.steps])
        # The layers never miss a step.
        numbers = torch.cat([scales, others, *missed[: len(between)], *(weight.flatten() for weight in between)])
        self._run(
            {**Parts.of(touched)._asdict(), "failed": [self._failed]},
            {
                "numbers": [numbers],
                "csm": [csm],
                "coil_images": [frame.coil_images for frame in frames],
                "kernels": [frame.kernel for frame in frames],
                "target": [] if target is None else [target],
            },
        )
        self._unseen[self.adam.steps] = start, start + length - 1
        if self._failed.device.type == "cpu" or len(self._unseen) >= _LOOK:
            self._finish()

    def _finish(self) -> None:
        """Before the weights are used outside of a step: wait for the steps, and look whether they were good."""
        self._run.join()
        if self._unseen and bool(self._failed > 0):
            number = int(self._failed)
            first, last = self._unseen[number]
            raise DataError(
                f"a gradient that is not finite at step {number}, frames {first} to {last}",
                "finite data consistency and total variation",
                "lower recon.learning_rate",
            )
        self._unseen.clear()
