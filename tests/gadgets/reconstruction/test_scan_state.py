"""What a scan leaves on disk for the next one: its file, who may begin with it, and a stream that does."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from inr_core.errors import DataError, ParameterError
from inr_core.solvers.learnt import Learnt
from inr_gadgets.frame import Frame
from inr_gadgets.planes import Field, Plane
from inr_gadgets.reconstruction import scan_state
from inr_gadgets.reconstruction.recon import ReconGadget
from inr_gadgets.reconstruction.scan_state import ScanState, SliceGeometry, SliceRecord, coil_labels
from inr_gadgets.replay import Replay, replay_to_file
from inr_gadgets.scan_file import ScanFile
from inr_gadgets.serving.server import Server
from inr_gadgets.simulate import simulate
from radial import cine_scan
from scans import readout

PLANE = Plane((1.0, 2.0, 3.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))
GEOMETRY = SliceGeometry(0, 4, Field((6, 5), (300.0, 250.0, 8.0)), PLANE, ("A", "B", "C", "D"))


def learnt(seed: int = 0) -> Learnt:
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.complex64, generator=generator)

    field = (torch.rand(2, 3, generator=generator), torch.rand(4, generator=generator))
    return Learnt(random(3, 4), random(3, 5, 6), random(3, 5, 6), 7, random(5, 6), 0.25, field, 12.5)


def saved(path: Path) -> Path:
    path = path / "state.npz"
    ScanState([SliceRecord(GEOMETRY, learnt())]).save(path)
    return path


# -- the file -----------------------------------------------------------------------------------------------------


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "state"  # the name is the operator's: nothing is added to it
    bare = Learnt(*(getattr(learnt(1), name) for name in ("compression", "csm", "average", "n_averaged")))
    other = SliceGeometry(1, 4, GEOMETRY.field, PLANE._replace(position=(0.0, 0.0, 50.0)))
    ScanState([SliceRecord(GEOMETRY, learnt()), SliceRecord(other, bare)]).save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]
    assert path.stat().st_mode & 0o777 == 0o600
    state = ScanState.load(path)
    assert str(state) == "2 slices"
    assert [record.geometry for record in state.slices] == [GEOMETRY, other]
    for record, before in zip(state.slices, (learnt(), bare), strict=True):
        known = record.learnt
        assert (known.n_averaged, known.level, known.field_scale) == (
            before.n_averaged,
            before.level,
            before.field_scale,
        )
        for name in ("compression", "csm", "average"):
            assert torch.equal(getattr(known, name), getattr(before, name))
        assert len(known.field) == len(before.field)
        assert all(torch.equal(a, b) for a, b in zip(known.field, before.field, strict=True))
        assert (known.image is None) == (before.image is None)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="No space left"):
        ScanState([]).save(path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def altered(path: Path, **changes: Any) -> None:
    """Change what the file says of itself, or of its first slice."""
    with np.load(path) as file:
        arrays = dict(file)
    about = json.loads(str(arrays["about"]))
    for name, value in changes.items():
        if name in about:
            about[name] = value
        elif name in about["slices"][0]:
            about["slices"][0][name] = value
        else:
            arrays[name] = value
    arrays["about"] = np.array(json.dumps(about))
    with path.open("wb") as target:
        np.savez(target, **arrays)


DAMAGED = (
    r"^{path} is no state, or damaged \(.+\); expected a file that recon.save_state wrote; "
    r"name another one in recon.warm_start, or none$"
)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "something else"},
        {"slices": 3},
        {"slices": [{}] * 1025},
        {"plane": {"position": [1, 2, 3]}},
        {"matrix": [0, 5]},
        {"fov_mm": [300.0, -1.0, 8.0]},
        {"fov_mm": ["wide", 250.0, 8.0]},
        {"field_parts": 65},
        {"field_parts": 3},
        {"field_scale": float("nan")},
        {"level": -1.0},
        {"slice_0_csm": np.zeros((3, 5), np.complex64)},
        {"slice_0_csm": np.zeros((3, 5, 6), np.float64)},
        {"slice_0_image": np.array([["an object"]], dtype=object)},
    ],
    ids=str,
)
def test_a_file_that_says_nonsense_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = saved(tmp_path)
    altered(path, **changes)
    with pytest.raises(DataError, match=DAMAGED.format(path=path)):
        ScanState.load(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)


def foreign(path: Path) -> None:
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))


def other_arrays(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, truth=np.zeros(3))


def huge(path: Path) -> None:
    """An array that claims more than there is."""
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(made, {"descr": "<c8", "fortran_order": False, "shape": (3, 1 << 20, 1 << 30)})
    with np.load(path) as file:
        about = file["about"]
    with zipfile.ZipFile(path, "w") as archive:
        text = io.BytesIO()
        np.save(text, about)
        archive.writestr("about.npy", text.getvalue())
        for name in ("compression", "csm", "average"):
            archive.writestr(f"slice_0_{name}.npy", made.getvalue() + bytes(64))


@pytest.mark.parametrize("damage", [cut, flipped, foreign, other_arrays, huge])
def test_a_file_that_is_damaged_or_foreign_is_refused(tmp_path: Path, damage: Any) -> None:
    path = saved(tmp_path)
    damage(path)
    with pytest.raises(DataError, match=DAMAGED.format(path=path)):
        ScanState.load(path)


def test_a_file_of_a_newer_version_says_so(tmp_path: Path) -> None:
    path = saved(tmp_path)
    altered(path, version=2, written_by="inr-recon 9.1")
    expected = r" of version 2, by inr-recon 9.1; expected version 1; update inr-recon, or leave recon.warm_start out$"
    with pytest.raises(DataError, match=rf"^{path}{expected}"):
        ScanState.load(path)


def test_a_file_that_unpacks_to_too_much_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)
    monkeypatch.setattr(scan_state, "_MOST_BYTES", 100)
    with pytest.raises(DataError, match=rf"^{path} of \d+ bytes; expected at most 100; name another one in"):
        ScanState.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing, which is not there; expected a file that recon.save_state wrote;"):
        ScanState.load(tmp_path / "nothing")


# -- whose it is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_coils": 5}, r"^a state of 4 coils; expected 5, as in this scan$"),
        (
            {"coils": ("A", "B", "C", "E")},
            r"^a state of A, B, C, D coils; expected A, B, C, E, as in this scan$",
        ),
        ({"field": Field((8, 5), (300.0, 250.0, 8.0))}, r"^a state of 6 x 5 pixels; expected 8 x 5, as in this scan$"),
        (
            {"field": Field((6, 5), (301.0, 250.0, 8.0))},
            r"^a state of 300 x 250 x 8 mm of field of view; expected 301 x 250 x 8, as in this scan$",
        ),
        (
            {"plane": PLANE._replace(position=(1.0, 2.0, 33.0))},
            r"^a state of another plane \(30\.0 mm through it\); expected the same to half a pixel and a quarter of",
        ),
        (
            {"plane": PLANE._replace(table=(0.0, 0.0, 80.0))},
            r"^a state of another plane \(the table by 80\.0 mm\); expected the same",
        ),
    ],
)
def test_another_slice_is_refused_with_what_differs(change: dict[str, Any], message: str) -> None:
    state = ScanState([SliceRecord(GEOMETRY, learnt())])
    scan = SliceGeometry(**{**{name: getattr(GEOMETRY, name) for name in GEOMETRY.__dataclass_fields__}, **change})
    with pytest.raises(DataError, match=message):
        state.learnt_of(scan)


def test_float_noise_and_missing_labels_do_not_matter() -> None:
    state = ScanState([SliceRecord(GEOMETRY, learnt())])
    noisy = PLANE._replace(position=(1.0 + 1e-5, 2.0, 3.0), read_dir=(1.0, 1e-7, 0.0))
    near = SliceGeometry(0, 4, Field((6, 5), (300.0001, 250.0, 8.0)), noisy)
    assert state.learnt_of(near) is state.slices[0].learnt


def test_slices_are_found_by_where_they_lie() -> None:
    there = SliceGeometry(1, 4, GEOMETRY.field, PLANE._replace(position=(0.0, 0.0, 50.0)))
    state = ScanState([SliceRecord(GEOMETRY, learnt()), SliceRecord(there, learnt(1))])
    turned = SliceGeometry(0, 4, there.field, there.plane)
    assert state.learnt_of(turned) is state.slices[1].learnt
    # Two contrasts of one plane: the number decides.
    second = SliceGeometry(1, 4, GEOMETRY.field, PLANE)
    both = ScanState([SliceRecord(GEOMETRY, learnt()), SliceRecord(second, learnt(1))])
    assert both.learnt_of(second) is both.slices[1].learnt
    with pytest.raises(DataError, match=r"^a state without slices; expected one of a scan with frames$"):
        ScanState([]).learnt_of(GEOMETRY)


def test_coil_labels_are_in_the_order_of_their_numbers() -> None:
    labels = [SimpleNamespace(coilNumber=n, coilName=f"Spine {n}") for n in (2, 0, 1)]
    header = SimpleNamespace(acquisitionSystemInformation=SimpleNamespace(coilLabel=labels))
    assert coil_labels(header) == ("Spine 0", "Spine 1", "Spine 2")
    assert coil_labels(None) == coil_labels(SimpleNamespace(acquisitionSystemInformation=None)) == ()


# -- in the stream ------------------------------------------------------------------------------------------------

MATRIX, SPOKES = (40, 32), 7


def frames(n: int, *, z: float = 0.0, shift: float = 0.0, coils: int = 4, group: int = 0) -> list[Frame]:
    scan, made = cine_scan(frames=16, spokes=SPOKES, coils=4, matrix=MATRIX), []
    for index in range(n):
        samples, traj = scan.kspace[index].numpy()[:coils], scan.traj[index].numpy()
        headers = [readout(i, position=(0, 0, z + 40 * group)).getHead() for i in range(SPOKES)]
        shifted = (samples * np.exp(-2j * np.pi * shift * traj[..., 0])).astype(np.complex64)
        made.append(
            Frame.from_readouts(
                shifted, traj, headers, matrix=MATRIX, fov_mm=(300, 240, 8), index=index, group=group, arrived=0.0
            )
        )
    return made


def run(items: list[Any], **parameters: Any) -> tuple[list[Any], list[str]]:
    settings = {"deterministic": True, "device": "cpu", "refine": False, **parameters}
    gadget, lines = ReconGadget(None, ReconGadget.read_parameters(settings)), list[str]()
    gadget.announce = lines.append
    return list(gadget.process(items)), lines[1:]


def first(images: list[Any]) -> np.ndarray:
    return np.asarray(images[0].data[0, 0])


def test_a_scan_begins_with_what_the_one_before_has_saved(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    images, lines = run(frames(12), save_state=str(path))
    assert lines == [f"state of 1 slice saved in {path}"]
    assert "inr_event" not in images[0].meta
    warm, lines = run(frames(3), warm_start=str(path))
    assert lines == [f"warm start from {path}, 1 slice"]
    assert warm[0].meta["inr_event"] == "warm start"
    assert "inr_event" not in warm[1].meta
    truth = np.abs(cine_scan(frames=16, spokes=SPOKES, coils=4, matrix=MATRIX).truth[0].numpy())

    def error(image: np.ndarray) -> float:
        found = np.abs(image)
        return float(np.linalg.norm(found * (found * truth).sum() / (found**2).sum() - truth))

    assert error(first(warm)) < 0.8 * error(first(images))


def test_one_file_for_both_begins_without_and_goes_on_with(tmp_path: Path) -> None:
    path = str(tmp_path / "state.npz")
    for line, event in ((f"{path} is not there yet: no warm start", None), (f"warm start from {path}, 1 slice", True)):
        images, lines = run(frames(4), save_state=path, warm_start=path)
        assert lines == [line, f"state of 1 slice saved in {path}"]
        assert images[0].meta.get("inr_event") == (event and "warm start")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"z": 30.0},
            "a state of another plane (30.0 mm through it); "
            "expected the same to half a pixel and a quarter of the slice",
        ),
        ({"coils": 3}, "a state of 4 coils; expected 3, as in this scan"),
        (
            {"shift": 12.0},
            "data that contradict it; expected the same position of the patient and the same coils",
        ),
    ],
)
def test_what_is_of_another_slice_is_refused_and_nothing_of_it_is_seen(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    path = str(tmp_path / "state.npz")
    run(frames(12), save_state=path)
    images, lines = run(frames(3, **changes), warm_start=path)
    assert lines[1:] == [f"WRN: no warm start: {reason}"]
    assert images[0].meta["inr_event"] == "no warm start"
    cold, _ = run(frames(3, **changes))
    for mine, other in zip(images, cold, strict=True):
        np.testing.assert_array_equal(mine.data, other.data)


def test_each_slice_begins_with_its_own(tmp_path: Path) -> None:
    path = str(tmp_path / "state.npz")
    run([*frames(8), *frames(8, group=1)], save_state=path)
    images, lines = run([*frames(1), *frames(1, group=1), *frames(1, group=2)], warm_start=path)
    assert [image.meta["inr_event"] for image in images] == ["warm start", "warm start", "no warm start"]
    assert lines[0] == f"warm start from {path}, 2 slices"
    assert lines[1].startswith("WRN: slice 3: no warm start: a state of another plane (80.0 mm through it); ")


def test_other_parameters_than_the_states_are_told(tmp_path: Path) -> None:
    path = str(tmp_path / "state.npz")
    run(frames(4), save_state=path)
    _, lines = run(frames(2), warm_start=path, virtual_coils=2)
    assert lines[1] == "WRN: no warm start: a state of 4 virtual coils; expected 2 (recon.virtual_coils)"


def test_a_state_is_saved_before_the_refinement(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    settings = {"deterministic": True, "device": "cpu", "method": "grasp", "grasp_iterations": 2}
    gadget = ReconGadget(None, ReconGadget.read_parameters({**settings, "save_state": str(path)}))
    series = []
    for image in gadget.process(frames(4)):
        series.append(image.image_series_index)
        assert path.exists() or series[-1] == 1  # a live image may still be on its way when it is saved
    assert series == [1] * 4 + [2] * 4


def test_a_scan_without_frames_leaves_the_state_of_the_last_one(tmp_path: Path) -> None:
    path = tmp_path / "state.npz"
    path.write_text("of the last one")
    assert run([], save_state=str(path)) == ([], [f"nothing was learnt: {path} is left as it is"])
    assert path.read_text() == "of the last one"


def test_a_state_that_cannot_be_saved_costs_no_image(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    gadget, lines = ReconGadget(None, ReconGadget.read_parameters({"save_state": str(folder), "refine": False})), []
    gadget.announce = lines.append
    assert len(list(gadget.process(frames(2)))) == 2
    assert lines[-1].startswith("WRN: the state is not saved: ")
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder"]


def test_a_server_that_was_started_with_it_begins_each_scan_with_the_last_one(tmp_path: Path) -> None:
    simulated, state = simulate(tmp_path / "scan.h5", matrix=32, frames=4, spokes=8, coils=3), tmp_path / "state"
    values = {"recon.device": "cpu", "recon.refine": "false"}
    lines: list[str] = []
    files = {"recon.save_state": str(state), "recon.warm_start": str(state)}
    with Server(port=0, overrides={**values, **files}, warm=None) as server:
        how = Replay(address="127.0.0.1", port=server.port)
        for i in range(2):
            with ScanFile(simulated.scan) as scan:
                replay_to_file(how, scan, tmp_path / f"images_{i}.h5", on_text=lines.append)
    told = [line.removeprefix("server: ") for line in lines if str(state) in line]
    assert [line.split(",")[0] for line in told] == [
        f"{state} is not there yet: no warm start",
        f"state of 1 slice saved in {state}",
        f"warm start from {state}",
        f"state of 1 slice saved in {state}",
    ]
    with h5py.File(tmp_path / "images_1.h5") as file:
        (group,) = file.values()
        attributes = [
            text.decode() if isinstance(text, bytes) else str(text) for text in group["image_1"]["attributes"]
        ]
    assert ["inr_event" in text for text in attributes] == [True, False, False, False]


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        (
            {"save_state": "/nowhere/at/all/state.npz"},
            ParameterError,
            r"^recon.save_state = '/nowhere/at/all/state.npz'; expected a file in a folder that exists; make",
        ),
        (
            {"warm_start": "/nowhere/state.npz"},
            DataError,
            r"^/nowhere/state.npz, which is not there; expected a file that recon.save_state wrote; name another one",
        ),
    ],
)
def test_files_that_cannot_be_used_are_refused_before_any_work(
    settings: dict[str, str], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        run(frames(1), **settings)
