"""The draft: GRASP from data that were kept, within its time."""

from __future__ import annotations

import pytest
import torch

from inr_core.methods import make_live
from inr_core.methods.predicted_cg import PredictedCg
from inr_core.parameters.grasp import GraspParameters
from inr_core.parameters.live import LiveParameters
from inr_core.solvers.control import Control
from inr_core.solvers.draft import grasp_draft
from inr_core.solvers.slice_data import SliceData
from radial import RadialScan, cine_scan, error

CPU = torch.device("cpu")


def slice_data(scan: RadialScan) -> SliceData:
    method = PredictedCg(scan.shape, LiveParameters(), CPU)
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        method.add_frame(samples, traj)
    method.settle()
    assert method.calibration.csm is not None
    return SliceData(scan.shape, method.calibration.csm, method.history)


def test_it_is_as_good_as_the_method_in_units_of_the_scale() -> None:
    scan = cine_scan()
    data = slice_data(scan)
    grasp = make_live("grasp", scan.shape, GraspParameters(), CPU)
    for samples, traj in zip(scan.kspace, scan.traj, strict=True):
        grasp.add_frame(samples, traj)
    series = grasp.refine()
    assert series is not None
    draft = grasp_draft(data, 20, Control())
    assert error(draft, scan.truth) < 1.3 * error(series.images, scan.truth)
    assert float((draft * data.scale - series.images).norm() / series.images.norm()) < 0.15
    assert 0.7 < float(draft.abs().max()) < 2


def test_it_ends_when_told_to_and_says_how_far_it_is() -> None:
    data, parts = slice_data(cine_scan(frames=4, matrix=(12, 9))), list[float]()
    grasp_draft(data, 5, Control(progress=parts.append))
    assert parts == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    asked = iter([False, True])
    parts.clear()
    grasp_draft(data, 5, Control(progress=parts.append, stopped=lambda: next(asked)))
    assert parts == pytest.approx([0.2, 0.4])


def test_a_single_frame_has_one_too() -> None:
    scan = cine_scan(frames=1, spokes=21, matrix=(12, 10))
    draft = grasp_draft(slice_data(scan), 10, Control())
    assert draft.shape == (1, 10, 12)
    assert error(draft, scan.truth) < 0.25
