"""The demonstration: its server comes up, or says why not; everything that it promises lies in the folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from inr_core.errors import ParameterError
from inr_gadgets.demo import print_table, run_demo
from inr_gadgets.image_file import read_series


def test_a_wrong_option_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="simulate has no parameter 'colour'"):
        run_demo(tmp_path / "out", colour="red")
    assert not (tmp_path / "out").exists()


def test_everything_that_is_promised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_demo(tmp_path, matrix=32, frames=5, spokes=13, coils=4)
    assert [row["series"] for row in result["series"]] == ["gridding", "live", "refined"]
    assert result["scan"]["live_frames"] == result["scan"]["refined_frames"] == 5
    assert result["scan"]["dropped_frames"] == 0
    assert json.loads((tmp_path / "scores.json").read_text()) == result
    assert len(json.loads((tmp_path / "report.json").read_text())["frames"]) == 5
    for group, series in (("gridding", 1), ("inr", 1), ("inr", 2)):
        images, _, _ = read_series(tmp_path / "images.h5", series, group)
        assert images.shape == (5, 1, 1, 32, 32)
        assert np.ptp(images) > 0
    assert (tmp_path / "demo.gif").read_bytes().startswith(b"GIF8")
    assert (tmp_path / "demo.png").read_bytes().startswith(b"\x89PNG")
    print_table(result)
    table = capsys.readouterr().out
    assert "gridding" in table
    assert "5 live frames, 5 refined; latency" in table
