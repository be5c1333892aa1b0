"""A trajectory that lies beside the scan, in a file: NumPy, HDF5 (MATLAB 7.3, too), or ISMRMRD as Pulseq's tools write.

Which spoke belongs to which readout: the first to the first readout that makes images, and so on. What is no imaging
(noise, navigators, dummies, see :mod:`inr_gadgets.conventions.readouts`) has none. Tools that list every readout of a
sequence leave zeros for those; such spokes are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
from numpy.typing import NDArray

from inr_core.errors import DataError, ParameterError
from inr_gadgets.conventions.buffer_parameters import BufferParameters
from inr_gadgets.conventions.readouts import kind
from inr_gadgets.heads import head_of

NAMES = ("traj", "trajectory", "k_traj_adc", "ktraj", "k_traj", "ktraj_adc")
_HDF5 = (".h5", ".hdf5", ".mrd", ".mat")
_SHAPES = "(spokes, samples, 2 or 3) or (2 or 3, spokes x samples)"


class SideTrajectory:
    """The spokes of a file, given to the readouts one after the other.

    Parameters
    ----------
    path
        The file.
    repeat
        Whether the scan runs through the file again and again.

    Attributes
    ----------
    n_spokes
        How many there are; 0 before the first readout has come, whose samples tell how to read the file.

    Raises
    ------
    DataError
        If the file cannot be read, or holds no trajectory.
    """

    def __init__(self, path: Path, repeat: bool = False) -> None:
        self.path, self.n_spokes = path, 0
        self._repeat = repeat
        self._values = _load(path)
        self._spokes: NDArray[np.float32] | None = None
        self._left_out = 0
        self._ignores = False

    @property
    def text(self) -> str:
        """The trajectory in words."""
        text = f"{self.n_spokes} spokes of {self.path.name}"
        if self._repeat:
            text += ", repeated"
        if self._left_out:
            text += f", {self._left_out} of zeros left out"
        return text + (", in place of the readouts' own" if self._ignores else "")

    def attach(self, acquisition: Any, number: int) -> Any:
        """Return a readout with its spoke as trajectory.

        Parameters
        ----------
        acquisition : ismrmrd.Acquisition
        number
            How many imaging readouts came, or were lost, before it.

        Raises
        ------
        DataError
            If there is no spoke for it, or the spokes have another number of samples.
        """
        n_samples = acquisition.data.shape[1]
        pre, post = acquisition.discard_pre, acquisition.discard_post
        if self._spokes is None:
            self._ignores = acquisition.trajectory_dimensions >= 2 and bool(acquisition.traj.any())
            self._arrange((n_samples, n_samples - pre - post))
        spokes = self._spokes
        if spokes is None or spokes.shape[1] not in (n_samples, n_samples - pre - post):
            raise DataError(
                f"a readout of {n_samples} samples, {pre} + {post} of them to be discarded",
                f"as many as the spokes of {self.path.name} have ({0 if spokes is None else spokes.shape[1]})",
                "give the file of this scan",
            )
        if number >= self.n_spokes and not self._repeat:
            raise DataError(
                f"imaging readout {number + 1}, but {self.path.name} holds {self.n_spokes} spokes",
                "a spoke for each imaging readout",
                "give the file of this scan, or set buffer.trajectory_repeat=true if the scan repeats the spokes",
            )
        traj = spokes[number % self.n_spokes]
        if len(traj) != n_samples:
            traj = np.pad(traj, ((pre, post), (0, 0)))
        head = head_of(acquisition)
        head.trajectory_dimensions = traj.shape[1]
        made = ismrmrd.Acquisition(head, acquisition.data, traj)
        if hasattr(acquisition, "arrived"):
            made.arrived = acquisition.arrived
        return made

    def unused(self, n_readouts: int) -> str:
        """What to say at the end of a scan that had fewer readouts; empty if it had not."""
        if n_readouts >= self.n_spokes:
            return ""
        return (
            f"{self.n_spokes - n_readouts} spokes at the end of {self.path.name} unused: is it the file of this scan?"
        )

    def _arrange(self, lengths: tuple[int, int]) -> None:
        """Bring the values into the order (spokes, samples, coordinates)."""
        spokes = _in_order(self._values, lengths, self.path)
        spokes = np.ascontiguousarray(spokes, np.float32)
        if not np.isfinite(spokes).all():
            (bad, *_) = np.argwhere(~np.isfinite(spokes).all(axis=(1, 2)))[0]
            raise DataError(f"{self.path}: spoke {bad + 1} holds NaN or infinity", "finite coordinates")
        real = spokes[..., :2].any(axis=(1, 2))
        self._spokes, self.n_spokes, self._left_out = spokes[real], int(real.sum()), int((~real).sum())
        self._values = np.empty(0)
        if not self.n_spokes:
            raise DataError(f"{self.path} holds nothing but zeros", f"a trajectory {_SHAPES}")


def side_trajectory(parameters: BufferParameters) -> SideTrajectory | None:
    """The trajectory that the parameters name; None if they name none.

    Raises
    ------
    ParameterError
        If they also ask for angles, which come without a file.
    DataError
        As :class:`SideTrajectory`.
    """
    if not parameters.trajectory_file:
        if parameters.trajectory_repeat:
            raise ParameterError("buffer.trajectory_repeat = true", "buffer.trajectory_file with it")
        return None
    if parameters.angles not in ("auto", "trajectory"):
        raise ParameterError(
            f"buffer.trajectory_file with buffer.angles = '{parameters.angles}'", "one of the two", "remove the other"
        )
    return SideTrajectory(Path(parameters.trajectory_file).expanduser(), parameters.trajectory_repeat)


def _load(path: Path) -> NDArray[Any]:
    suffix = path.suffix.lower()
    if suffix in _HDF5:
        values = _load_hdf5(path)
    elif suffix == ".npy":
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{path} cannot be read ({reason})", f"a NumPy file with a trajectory {_SHAPES}") from None
    else:
        raise DataError(f"{path} as a trajectory", f"a file that ends with .npy, {', '.join(_HDF5)}", "convert it")
    if values.dtype.kind not in "fiu":
        raise DataError(f"{path} holds {values.dtype} values", f"real numbers, a trajectory {_SHAPES}")
    return values


def _load_hdf5(path: Path) -> NDArray[Any]:
    # Only here: the buffer gadget does without h5py where nobody names such a file.
    import h5py

    from inr_gadgets.hdf5_file import open_for_reading
    from inr_gadgets.scan_file import ScanFile

    found: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    with open_for_reading(path, "a trajectory") as file:
        file.visititems(note)
        scan = next((name.rpartition("/")[0] for name in found if name.rpartition("/")[2] == "xml"), None)
        if scan is None:
            return np.asarray(_choose(found, path)[()])
    with ScanFile(path, scan or None) as opened:
        return _of_readouts(opened, path)


def _choose(found: dict[str, Any], path: Path) -> Any:
    """The dataset that holds the trajectory: by its name, or the only one that may."""
    named = [item for name, item in found.items() if name.rpartition("/")[2].lower() in NAMES]
    likely = [item for item in found.values() if item.ndim in (2, 3) and item.dtype.kind == "f"]
    for candidates in (named, likely):
        if len(candidates) == 1:
            return candidates[0]
    shown = ", ".join(f"{name} {item.shape}" for name, item in found.items()) or "nothing"
    raise DataError(f"{path} holds {shown}", f"one dataset that is called {', '.join(NAMES)}", "rename it")


def _of_readouts(scan: Any, path: Path) -> NDArray[Any]:
    """The trajectories of an ISMRMRD file's readouts; its samples, if there are any, do not matter."""
    spokes = [
        acquisition.traj
        for acquisition in scan.acquisitions()
        if kind(acquisition.flags) == "imaging" and acquisition.trajectory_dimensions >= 2 and acquisition.traj.any()
    ]
    shapes = sorted({spoke.shape for spoke in spokes})
    if len(shapes) != 1:
        what = "no readout with a trajectory" if not shapes else f"trajectories of shapes {shapes[0]} and {shapes[-1]}"
        raise DataError(f"{path} holds {what}", "imaging readouts that all have one, of one shape")
    return np.stack(spokes)


def _in_order(values: NDArray[Any], lengths: tuple[int, int], path: Path) -> NDArray[Any]:
    """Turn what a file holds into (spokes, samples, coordinates); MATLAB's axes come out of HDF5 backwards."""
    shown = f"{path} holds an array {values.shape} for readouts of {lengths[0]} samples"
    if values.ndim == 2:
        flat = values if values.shape[1] in (2, 3) else values.T
        length = next((n for n in lengths if n and len(flat) % n == 0), 0)
        if flat.shape[1] in (2, 3) and length:
            return flat.reshape(-1, length, flat.shape[1])
    if values.ndim == 3:
        for order in ((0, 1, 2), (1, 2, 0), (2, 1, 0)):
            turned = values.transpose(order)
            if turned.shape[2] in (2, 3) and turned.shape[1] in lengths:
                return turned
    raise DataError(shown, f"a trajectory {_SHAPES}", "give the file of this scan")
