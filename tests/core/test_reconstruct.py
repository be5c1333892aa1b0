"""A whole scan at once, from Python."""

from __future__ import annotations

import doctest

import pytest
import torch

from inr_core import reconstruct as module
from inr_core.errors import DataError, ParameterError
from inr_core.reconstruct import reconstruct
from inr_core.solvers.data_terms import ToeplitzL2
from radial import cine_scan, error


def test_the_example_runs() -> None:
    found = doctest.testmod(module)
    assert found.attempted >= 8
    assert found.failed == 0


def test_methods_parameters_and_presets() -> None:
    scan = cine_scan(frames=6)
    gridded, solved = (
        reconstruct(name, scan.kspace, scan.traj, scan.shape, start_iterations=9) for name in ("nufft", "cg_sense")
    )
    assert error(solved, scan.truth) < error(gridded, scan.truth)
    few = reconstruct("td_dip", scan.kspace, scan.traj, scan.shape, preset="paper", channels=4, training_steps=2)
    assert few.shape == scan.truth.shape
    assert torch.isfinite(few.abs()).all()


def test_what_cannot_be_is_said() -> None:
    scan = cine_scan(frames=3)
    with pytest.raises(ParameterError, match=r"^images between the pixels or frames of method nufft; expected one of"):
        reconstruct("nufft", scan.kspace, scan.traj, scan.shape, frame_scale=2)
    with pytest.raises(ParameterError, match=r"^method nufft has no parameter 'steps'; expected one of virtual_coils"):
        reconstruct("nufft", scan.kspace, scan.traj, scan.shape, steps=2)
    with pytest.raises(DataError, match=r"^3 frames of samples, 2 trajectories; expected as many, and at least one$"):
        reconstruct("nufft", scan.kspace, scan.traj[:2], scan.shape)


def test_a_failure_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = cine_scan(frames=3)
    monkeypatch.setattr(ToeplitzL2, "__call__", lambda self, images, positions: torch.nan * images.abs().sum())
    with pytest.raises(DataError, match=r"^data consistency not finite at step 1; expected a finite loss; lower recon"):
        reconstruct("stinr", scan.kspace, scan.traj, scan.shape, passes=5)
