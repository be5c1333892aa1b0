"""The metrics are those of the literature, on one scale for the series."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inr_core.errors import DataError, MissingDependencyError
from inr_core.metrics import moving_box, score

RNG = np.random.default_rng(0)
SCORE_PY = Path(__file__).resolve().parents[3] / "shared" / "tools" / "score.py"


def series(frames: int = 4) -> np.ndarray:
    """A disc that grows, with texture, (frames, y, x)."""
    y, x = np.mgrid[:24, :30]
    texture = 0.2 * RNG.random((24, 30))
    return np.stack([texture + 0.8 * (np.hypot(x - 16, y - 9) < 4 + t) for t in range(frames)])


def test_psnr_by_hand_and_blind_to_scale_and_phase() -> None:
    truth = series()
    images = truth + 0.05 * RNG.standard_normal(truth.shape)
    scale = (np.abs(images) * truth).sum() / (images**2).sum()
    expected = 10 * np.log10(truth.max() ** 2 / ((scale * np.abs(images) - truth) ** 2).mean((1, 2)))
    result = score(images, truth)
    np.testing.assert_allclose(result.psnr, expected, rtol=1e-12)
    turned = score(-17j * images, truth)
    np.testing.assert_allclose(turned.psnr, expected, rtol=1e-9)
    np.testing.assert_allclose(turned.ssim, result.ssim, rtol=1e-9)


def test_one_scale_for_the_series_not_one_a_frame() -> None:
    truth = series()
    flicker = truth * np.array([0.8, 1.2, 0.9, 1.1])[:, None, None]
    assert score(flicker, truth).psnr.max() < 35


def test_identical_series() -> None:
    truth = series()
    result = score(truth, truth)
    np.testing.assert_allclose(result.ssim, 1)
    assert result.psnr.min() > 250
    assert result.psnr_minmax > 250


def test_minmax_convention() -> None:
    truth = series()
    images = 3 * truth + 0.3 * RNG.random(truth.shape)
    stretch = [(s - s.min()) / (s.max() - s.min()) for s in (images, truth)]
    expected = -10 * np.log10(((stretch[0] - stretch[1]) ** 2).mean())
    assert score(images, truth).psnr_minmax == pytest.approx(expected, abs=1e-9)


def test_moving_box() -> None:
    truth = series()
    _, ys, xs = moving_box(truth)
    assert (ys, xs) == (slice(3, 16), slice(10, 23))
    assert moving_box(truth[:1]) == (slice(None),) * 3
    images = truth.copy()
    images[:, 20:22, :4] += 0.3  # an error beside the box does not count in it, but for the scale
    result = score(images, truth)
    assert result.psnr_moving.mean() > result.psnr.mean() + 3
    assert result.ssim_moving.mean() > result.ssim.mean()


def test_summary() -> None:
    truth = series()
    result = score(truth + 0.02 * RNG.standard_normal(truth.shape), truth)
    summary = result.summary()
    assert summary["frames"] == 4
    assert summary["psnr"] == pytest.approx(result.psnr.mean())
    assert summary["ssim_std"] == pytest.approx(result.ssim.std())
    assert {"psnr_moving", "ssim_moving", "psnr_minmax"} < set(summary)


@pytest.mark.skipif(not SCORE_PY.is_file(), reason="the scoring tool is not here")
def test_same_numbers_as_the_project_s_score() -> None:
    spec = importlib.util.spec_from_file_location("score_tool", SCORE_PY)
    assert spec is not None and spec.loader is not None
    tool: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    truth = series(6)[:, :, 6:]  # it compares with turned images, so they are square
    images = 5 * truth + 0.2 * RNG.standard_normal(truth.shape)
    theirs = tool.score(np.abs(images), truth.transpose(0, 2, 1))
    ours = score(images, truth).summary()
    assert ours["psnr"] == pytest.approx(theirs["psnr"], abs=6e-4)
    assert ours["psnr_std"] == pytest.approx(theirs["psnr_std"], abs=6e-4)
    assert ours["ssim"] == pytest.approx(theirs["ssim"], abs=6e-5)
    assert ours["psnr_moving"] == pytest.approx(theirs["psnr_dyn"], abs=6e-4)


def test_refuses() -> None:
    truth = series()
    with pytest.raises(DataError, match=r"images \(3, 24, 30\) against truth \(4, 24, 30\); expected two series"):
        score(truth[:3], truth)
    bad = truth.copy()
    bad[1:3, 0, 0] = np.nan
    with pytest.raises(
        DataError, match=r"2 frames of the images have values that are not finite; expected finite values"
    ):
        score(bad, truth)
    with pytest.raises(DataError, match=r"the truth is zero everywhere; expected an object to compare with"):
        score(truth, 0 * truth)


def test_without_scikit_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.metrics", None)
    with pytest.raises(
        MissingDependencyError, match=r"SSIM needs scikit-image .*; pip install 'inr-recon\[pictures\]'"
    ):
        score(series(), series())
