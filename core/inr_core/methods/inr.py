"""The project's own method: live images towards a field's prediction, and the field refined at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.fields.grid_field import GridField
from inr_core.inner_products import inner, squares
from inr_core.methods.grasp import GraspMethod
from inr_core.methods.live import RefinedSeries, SeriesQuery
from inr_core.methods.td_dip import TdDipMethod
from inr_core.operators.resample import zero_fill
from inr_core.parameters.inr import InrParameters
from inr_core.parameters.td_dip import TdDipParameters
from inr_core.solvers.control import Control
from inr_core.solvers.frames import FrameHistory, MeasuredFrame
from inr_core.solvers.held_spokes import HeldSpokes
from inr_core.solvers.inr_trainer import InrTrainer
from inr_core.solvers.learnt import Learnt
from inr_core.solvers.polish import polish
from inr_core.solvers.slice_data import SliceData

_GRASP_PART = 0.15  # of the refinement's time that GRASP takes, for the progress that is told
_DRAFT_PART = 0.25  # with the draft's polish
_POLISH_PART, _COMPANION_AND_POLISH_PART = 0.2, 0.35  # what follows the field, without a companion and with one
_COMPANION_PART = 0.8  # of what follows the field, where there is one
_ENOUGH_COMPANION = 0.4  # of its passes
_ENOUGH_PASSES = 36  # over all frames; a field that was trained less is not better than the draft
_NO_COMPANION_REMARK = "the convolutional prior had no time: the field is by itself"
_DRAFT_REMARK = "the field had no time to become better than its draft: the refined series is GRASP's, polished"


class InrMethod(GraspMethod):
    """A capped multi-resolution field that learns while the scan runs.

    It predicts the next frame as soon as it has been trained, and is trained on all frames at the end. That end begins
    with a draft, GRASP and a convex problem around its series (:func:`~inr_core.solvers.polish.polish`), in a quarter
    of the time; the field is fitted to the data and pulled towards that draft, and its images are the centre of a last
    problem of the same kind.
    """

    made_anew: ClassVar[tuple[str, ...]] = ("trainer",)

    def __init__(self, shape: tuple[int, int], parameters: InrParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.parameters: InrParameters = parameters
        self.trainer: InrTrainer | None = None
        self._held = HeldSpokes(shape, parameters.ramp_exponent, parameters.history_frames)
        self._scale: Tensor | None = None  # maximum of the first image: one scale for the whole scan
        self._learnt_field: tuple[Tensor, ...] = ()  # of an earlier scan, until there is a field
        self._trained_since_frame = False

    @property
    def deterministic_steps(self) -> int:
        """As many as the parameter says."""
        return self.parameters.tune_steps

    def _keep_samples(self, kspace: Tensor, traj: Tensor) -> None:
        if self.parameters.early_stop:
            self._held.take(self.n_frames, kspace, traj)

    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        image = super()._reconstruct(frame, csm)
        self._trained_since_frame = False
        if self._scale is None:
            self._scale = image.abs().max()
        return image

    def _field(self) -> InrTrainer | None:
        """The field with room for all frames so far; None before there is one.

        Where a scan leaves no time for training it is made when the scan has ended, and no frame waits for its room.
        """
        if self._scale is None or len(self.history) == 0:
            return None
        if self.trainer is None:
            strength = self.history[0].strength
            self.trainer = InrTrainer(self.shape, self.parameters, float(self._scale), strength, self.device)
            self.trainer.begin_with(self._learnt_field)
            self._learnt_field = ()
        self.trainer.extend(self.history[-1].index + 1, self.history)  # a frame may still wait
        return self.trainer

    def learnt(self) -> Learnt | None:
        """With the field as it is at the last frame."""
        known = super().learnt()
        if known is None or self.trainer is None or self.trainer.live_steps == 0:
            return known
        return replace(known, field=self.trainer.newest(), field_scale=self.trainer.scale)

    def resume(self, learnt: Learnt) -> None:
        """The field goes on where that scan's was."""
        if learnt.field:
            p = self.parameters
            empty = GridField(self.shape, p.features, p.hidden, p.layers, device=self.device).weights_at(0)
            shapes = [[tuple(part.shape) for part in field] for field in (learnt.field, empty)]
            if shapes[0] != shapes[1]:
                raise DataError("a state with a field of another size", "the same recon.features, hidden and layers")
        super().resume(learnt)
        if self._resumed is not None and self._resumed.field:
            self._learnt_field, self._scale = self._resumed.field, torch.tensor(learnt.field_scale)

    def _take_units(self, factor: complex) -> None:
        super()._take_units(factor)
        if self._scale is not None:
            self._scale = self._scale * abs(factor)

    def rest(self) -> None:
        """Forget what the field has learnt: it is large, and the refinement begins with a draft anyway."""
        super().rest()
        self.trainer = None

    def _predict(self, frame: MeasuredFrame, csm: Tensor, previous: Tensor) -> Tensor:
        """The frame before, and as much of the field's opinion as the new data confirm: an exact line search.

        A field that was not trained since the frame before does not know it, and asking it takes time, which was too
        short for its training. One that is farther from the frame before than that is from its own predecessor has not
        learnt it yet: two steps a frame, where a scan leaves time for no more, cost half a decibel otherwise.
        """
        trainer, trained = self.trainer, self._trained_since_frame
        if trainer is None or not trained or len(self._images) < 2:
            return previous
        step = trainer.predict(self.history[-1].index) - previous
        if bool(squares(step).sum() > squares(previous - self._images[-2]).sum()):
            return previous
        # One number is to be found: the strongest coils tell it.
        outlook = self.solver.look(frame, csm, previous)
        along = frame.gram(outlook.csm).forward(step[None])[0]
        slope = inner(step, outlook.missing)
        curvature = inner(step, along)
        part = (slope / curvature.clamp_min(torch.finfo(curvature.dtype).tiny)).clamp(0, 1)
        return previous + part * step

    def tune(self) -> bool:
        """One training step of the field."""
        self.settle()
        trainer = self._field()
        if trainer is None or self.calibration.csm is None or len(self.history) < 2:
            return False
        trainer.tune(self.history, self.calibration.csm)
        self._trained_since_frame = True
        self.steps += 1
        return True

    def refine(self, control: Control | None = None) -> RefinedSeries | None:
        """A draft, then the field trained on all frames that are kept and on the draft's: it makes the refined series.

        Where the field has no time to become better than the draft, the draft is the series, and its remark says so;
        without ``refine_passes`` there is no field.
        It exists at the measured frames and pixels only: where finer ones were asked for, that is a failure.
        """
        self._finish()
        csm, control, trainer = self.calibration.csm, control or Control(), self._field()
        if csm is None or trainer is None or len(self.history) < 2:
            return None
        held = self._held.of(self.history)
        # The draft must not know what the training is judged by, or a field that follows its noise is praised for it.
        seen = self._held.without(self.history) if held else self.history
        draft, p = self._draft(seen, csm, control), self.parameters
        field_ends = 1 - (_COMPANION_AND_POLISH_PART if p.companion_passes > 0 else _POLISH_PART)
        least_passes = min(_ENOUGH_PASSES, 0.9 * p.refine_passes)
        stop = trainer.judge(held, seen, csm) if held else None
        steps = 0
        if control.part(0, 1) < 1 and not control.stopped():
            steps = trainer.refine(
                seen,
                csm,
                draft.images if p.draft_weight > 0 else None,
                control.within(_DRAFT_PART, field_ends),
                stop,
                least_passes,
            )
            self.steps += steps
        passes = steps * min(p.window, len(self.history)) / len(self.history)
        ended = stop is not None and stop.useless  # by itself, before its time
        enough = ended or passes >= least_passes
        if control.stopped() or steps == 0 or not enough:
            remark = _DRAFT_REMARK if p.refine_passes > 0 else ""
            return replace(draft, steps=draft.steps + steps, remark=remark, failure=self.query.failure_of_draft())
        images, remark = self._series(trainer, control.within(field_ends, 1.0))
        return RefinedSeries(self.history.first, images, steps, remark, query=self.query)

    def _draft(self, frames: FrameHistory, csm: Tensor, control: Control) -> RefinedSeries:
        """GRASP, polished; with all the time there is, which the field gets what is left of."""
        draft = self._grasp(frames, csm, control.telling(0.0, _GRASP_PART))
        images = polish(frames, csm, draft.images, self.parameters, control.telling(_GRASP_PART, _DRAFT_PART))
        return replace(draft, images=images)

    def _companion(self, csm: Tensor, control: Control) -> Tensor | None:
        """The series of a convolutional prior, whose errors are not the field's: their average is better than both.

        None where it had no time to become worth it.
        """
        data = SliceData(self.shape, csm, self.history, ramp_exponent=self.parameters.ramp_exponent)
        steps = round(self.parameters.companion_passes * len(data))
        settings = TdDipParameters(training_steps=steps, seed=self.parameters.seed)
        series = TdDipMethod(self.shape, settings, self.device).solve(data, control)
        return series.images if series.failure is None and series.steps >= _ENOUGH_COMPANION * steps else None

    def _series(self, trainer: InrTrainer, control: Control) -> tuple[Tensor, str]:
        """The field's images as the query wants them, with what follows at the measured frames; and a remark on it."""
        measured = trainer.series(torch.arange(self.history.first, self.history.first + len(self.history)))
        csm, p, centre, remark = self.calibration.csm, self.parameters, measured, ""
        if csm is None:
            raise RuntimeError("a trained field has receive maps")
        if p.companion_passes > 0:
            companion = self._companion(csm, control.within(0.0, _COMPANION_PART))
            centre = measured if companion is None else 0.5 * (measured + companion)
            remark = _NO_COMPANION_REMARK if companion is None else ""
            control = control.within(_COMPANION_PART, 1.0)
        polished = polish(self.history, csm, centre, p, control)
        if self.query == SeriesQuery():
            return polished, remark
        times, shape = self.query.times(len(self.history)), self.query.shape(self.shape)
        before = times.long().clamp_max(len(self.history) - 1)
        after = (before + 1).clamp_max(len(self.history) - 1)
        between = (times - before).to(measured.device)[:, None, None]
        change = zero_fill(polished - measured, shape)
        change = torch.lerp(change[before], change[after], between.to(change.dtype))
        return trainer.series(self.history.first + times, shape) + change, remark
