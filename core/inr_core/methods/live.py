"""Methods that run while the scan does: a frame's samples in, its image out, and at the end perhaps a better series."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from inr_core.errors import DataError, InrError
from inr_core.lanes import one_thread
from inr_core.operators.toeplitz import bring_in_order
from inr_core.parameters.live import MeasurementParameters
from inr_core.solvers.calibration import Calibration
from inr_core.solvers.control import Control
from inr_core.solvers.fixed_lag import FixedLag
from inr_core.solvers.frames import MeasuredFrame
from inr_core.solvers.joint_frames import JointFrames
from inr_core.solvers.learnt import Learnt

_CALIBRATED_FIRST = 2  # frames whose maps need their own data; later ones can do with those of the frame before


@dataclass(frozen=True)
class SeriesQuery:
    """Where the refined series is wanted: finer than it was measured, for methods whose model is continuous.

    Attributes
    ----------
    matrix_scale
        Pixels along an axis for each measured one; the field of view stays.
    frame_scale
        Images for each step from frame to frame: n frames give (n - 1) frame_scale + 1 images.
    """

    matrix_scale: float = 1.0
    frame_scale: int = 1

    def shape(self, measured: tuple[int, int]) -> tuple[int, int]:
        """(ny, nx) of the images."""
        return round(measured[0] * self.matrix_scale), round(measured[1] * self.matrix_scale)

    def times(self, n_frames: int) -> Tensor:
        """(images,) float32: frames since the first of ``n_frames``."""
        return torch.arange((n_frames - 1) * self.frame_scale + 1) / self.frame_scale

    def failure_of_draft(self) -> DataError | None:
        """Why a draft, which exists at the measured frames and pixels only, is no answer; None if it is one."""
        if self == SeriesQuery():
            return None
        return DataError(
            "a refinement that ended before its field was trained",
            "the field, for images between the pixels or frames",
            "the images sent are those of the measured ones; give it more recon.refine_seconds",
        )


@dataclass(frozen=True)
class RefinedSeries:
    """What the end of a scan gives.

    Attributes
    ----------
    first : int
        Index of the first frame; earlier ones are no longer kept.
    images : (images, ny, nx) complex64
        At the times and in the shape of ``query``.
    steps : int
        Training steps that were taken.
    remark : str
        What the operator should know of it: that it is not what was asked for, and why. Empty if it is.
    query
        What was asked for.
    flow : (frames - 1, 2, ny, nx) float32
        Motion from each frame to the next as (u, v), along x and y, in pixels per frame; None
        where the method finds none.
    failure
        What ended the computation before its time; the images are the last good ones.
    """

    first: int
    images: Tensor
    steps: int
    remark: str = ""
    query: SeriesQuery = SeriesQuery()
    flow: Tensor | None = None
    failure: InrError | None = None


class Solved(NamedTuple):
    """A frame that was solved, its image (ny, nx), and the receive maps (coils, ny, nx) that this is in."""

    frame: MeasuredFrame
    image: Tensor
    csm: Tensor


class Gridded(NamedTuple):
    """A frame that was gridded.

    Attributes
    ----------
    frame
        The frame.
    samples, points
        Its compressed samples and their trajectory, on the device.
    source
        The samples that it was made of.
    matrix
        The compression.
    ahead
        Whether it was gridded before its turn.
    """

    frame: MeasuredFrame
    samples: Tensor
    points: Tensor
    source: Tensor
    matrix: Tensor | None
    ahead: bool = False


class LiveMethod(ABC):
    """One slice's running reconstruction; its state is bounded however long the scan.

    Parameters
    ----------
    shape
        (ny, nx) of the images.
    parameters
        Of the method.
    device
        Where tensors live.

    Class attributes
    ----------------
    made_anew
        Attributes that may be set to None at any time between frames, and are then made anew.
    by_clock
        Whether the image of a frame depends on the time that there is for it; of others it never does.
    """

    made_anew: ClassVar[tuple[str, ...]] = ()
    by_clock: ClassVar[bool] = False

    def __init__(self, shape: tuple[int, int], parameters: MeasurementParameters, device: torch.device) -> None:
        self.shape, self.device = shape, device
        self._measurement = parameters
        self.calibration = Calibration(parameters.virtual_coils, parameters.map_degree)
        self.n_frames = 0
        self.steps = 0
        self.query = SeriesQuery()  # set by the host, of methods that are continuous
        self.overlaps = False  # set by the host: whether frames share samples with those before them
        self.due = math.inf  # set by the host: when the next image should be ready, on the monotonic clock
        self._unsettled: MeasuredFrame | None = None
        self._waiting: list[MeasuredFrame] = []
        self._waited: list[Tensor] = []
        self._gridded: Gridded | None = None
        self._resumed: Learnt | None = None  # until the first frame

    @torch.no_grad()
    @one_thread()
    def add_frame(self, kspace: Tensor, traj: Tensor) -> Tensor:
        """Reconstruct the next frame.

        Parameters
        ----------
        kspace : (coils, spokes, samples) complex64
            Whitened samples.
        traj : (spokes, samples, 2) float32
            (kx, ky) in cycles per pixel.

        Returns
        -------
        (ny, nx) complex64, in the units of the unitary transform (see :class:`inr_core.operators.nufft.Nufft`).
        """
        self._unsettled = frame = self._take(kspace, traj)
        if self.n_frames < _CALIBRATED_FIRST:
            self._calibrate(frame)
        image = self._solve([*self._waiting, frame])
        self.n_frames += 1
        return image

    def _solve(self, frames: list[MeasuredFrame]) -> Tensor:
        """The image of the last frame; the others have waited for it."""
        self._waiting = []
        return self._image_of(JointFrames.of(frames) if len(frames) > 1 else frames[0])

    def _image_of(self, frame: MeasuredFrame) -> Tensor:
        if self.calibration.csm is None:
            raise RuntimeError("the first frame must make receive maps")
        return self._reconstruct(frame, self.calibration.csm)

    @property
    def may_wait(self) -> bool:
        """Whether the next frame may wait for the one after it, see :meth:`wait`."""
        return False

    @torch.no_grad()
    @one_thread()
    def wait(self, kspace: Tensor, traj: Tensor) -> None:
        """Take the next frame without an image: for a host that is too far behind for the work on each.

        Arguments as of :meth:`add_frame`, whose next frame is solved together with those that wait; it takes as long as
        by itself. :meth:`waited` gives their images. Only where :attr:`may_wait`: the fewer wait, the
        more evenly their images change.
        """
        self._waiting.append(self._take(kspace, traj))
        self.n_frames += 1

    def looks_ahead(self, n_spokes: int) -> bool:
        """Whether the next frame's image, of so many spokes, is better for the data of the one after it."""
        return False

    @torch.no_grad()
    @one_thread()
    def follow(self, kspace: Tensor, traj: Tensor) -> list[Tensor]:
        """Take the next frame, whose image waits for the one after it, and reconstruct those that have waited for it.

        Arguments as of :meth:`add_frame`. Only where :meth:`looks_ahead`. The last one's image is given by
        :meth:`waited`, and without data ahead.

        Returns
        -------
        The images (ny, nx), as of :meth:`add_frame`, of the frames that have waited, in order.
        """
        self._unsettled = frame = self._take(kspace, traj)
        waiting, self._waiting = self._waiting, [frame]
        if waiting:
            self._waited.append(self._image_of(JointFrames.ahead(waiting, frame)))
        self.n_frames += 1
        images, self._waited = self._waited, []
        return images

    @torch.no_grad()
    @one_thread()
    def waited(self) -> list[Tensor]:
        """The images (ny, nx) of the frames that have waited, in order and once; of those that still wait, too."""
        if self._waiting:
            self._waited.append(self._solve(self._waiting))
        images, self._waited = self._waited, []
        return images

    @torch.no_grad()
    @one_thread()
    def fits(self, kspace: Tensor, traj: Tensor) -> bool:
        """Whether a frame can follow those before it; False if it shows something else, and is not to be added.

        Arguments as of :meth:`add_frame`, which goes on with what is gridded here if it gets the same tensors next.
        """
        return self._as_expected(self._grid(kspace, traj).frame)

    @torch.no_grad()
    @one_thread()
    def grid_ahead(self, kspace: Tensor, traj: Tensor) -> Gridded | None:
        """Grid a frame that is not the next yet, in any thread and while another frame is reconstructed.

        Arguments as of :meth:`add_frame`. What it gives is for :meth:`expect`.

        Returns
        -------
        None where that cannot be done: before the first frame, which says how coils are compressed, on a device, and
        for data that :meth:`add_frame` would not take either.
        """
        matrix = self.calibration.matrix
        if matrix is None or self._resumed is not None or self.device.type != "cpu":
            return None
        try:
            gridded = self._gridded_of(kspace, traj)._replace(ahead=True)
        except InrError:
            return None  # said when its turn has come
        bring_in_order(gridded.frame.kernel)
        return gridded

    def expect(self, gridded: Gridded | None) -> None:
        """The frame that comes next was gridded ahead: its samples must be the tensor that :meth:`add_frame` gets."""
        if gridded is not None and gridded.matrix is self.calibration.matrix and self._resumed is None:
            self._gridded = gridded

    def pause(self) -> None:  # noqa: B027 - most methods have nothing to do
        """Told that time has passed without frames: what moves may be anywhere when the next one comes."""

    def learnt(self) -> Learnt | None:
        """What another scan of the slice can begin with; None before the first frame."""
        self._finish()
        calibration = self.calibration
        if calibration.matrix is None or calibration.csm is None or calibration.average is None:
            return None
        return Learnt(calibration.matrix, calibration.csm, *calibration.average)

    def resume(self, learnt: Learnt) -> None:
        """Begin with what another scan has learnt, before the first frame; that frame's data set the units.

        Ask :meth:`fits` of the first frame, too: what was learnt may be of another position of the patient.

        Raises
        ------
        DataError
            If it does not fit the images or parameters.
        """
        learnt.check(self.shape, self._measurement.virtual_coils)
        self._resumed = learnt.to(self.device)
        self.calibration.resume(self._resumed)

    def _units(self, frame: MeasuredFrame, learnt: Learnt) -> complex:
        """What the units of an earlier scan are multiplied by, to be those of this scan's first frame."""
        old, new = learnt.average.flatten(), frame.coil_images.flatten()
        return complex(torch.vdot(old, new) / torch.vdot(old, old).real)

    def rest(self) -> None:
        """Told that no frame will follow: let go of what the refinement does not need."""
        self._gridded = None

    @torch.no_grad()
    @one_thread()
    def settle(self) -> None:
        """Do what the last frame left to do and its image did not need: call it once the image has been sent.

        Where it is not called, the next frame begins with it, and nothing comes out differently. Receive maps are
        fitted beside the frames that follow where these go by the clock, and the first of them that finds new maps
        ready has them.
        """
        frame, self._unsettled = self._unsettled, None
        if frame is not None and frame.index >= _CALIBRATED_FIRST:
            beside = self.by_clock and math.isfinite(self.due) and self.device.type == "cpu"
            self._calibrate(frame, at_once=not beside)
        self._adopt_maps(wait=False)

    def _finish(self) -> None:
        """Settle, and have the newest maps: what comes next is no frame."""
        self.settle()
        self._adopt_maps(wait=True)

    def _grid(self, kspace: Tensor, traj: Tensor) -> Gridded:
        """The next frame, gridded once."""
        if self._gridded is None or self._gridded.source is not kspace:
            self._gridded = None
            self.settle()
            gridded = self._gridded_of(kspace, traj)
            if self._resumed is not None:
                factor = self._units(gridded.frame, self._resumed)
                self._resumed = None
                # Of data that have nothing to do with it nothing can be said, and they will not fit.
                self._take_units(factor if math.isfinite(abs(factor)) and factor != 0 else 1.0)
            self._gridded = gridded
        elif self._gridded.ahead:
            self.settle()
            frame = replace(self._gridded.frame, index=self.n_frames)
            self._gridded = self._gridded._replace(frame=frame, ahead=False)
        return self._gridded

    def _take(self, kspace: Tensor, traj: Tensor) -> MeasuredFrame:
        """The next frame; what was gridded is let go of."""
        frame, samples, points, *_ = self._grid(kspace, traj)
        self._gridded = None
        self._keep_samples(samples, points)
        return frame

    def _gridded_of(self, kspace: Tensor, traj: Tensor) -> Gridded:
        # Where the samples are: fewer coils travel to the device, and nothing waits for it.
        samples = self.calibration.compress(kspace).to(self.device)
        exponent = self._measurement.ramp_exponent
        frame = MeasuredFrame.from_samples(self.n_frames, samples, traj, self.shape, exponent)
        return Gridded(frame, samples, traj.to(self.device), kspace, self.calibration.matrix)

    def _take_units(self, factor: complex) -> None:
        """Multiply what an earlier scan has left by a factor."""
        self.calibration.rescale(factor)

    def _as_expected(self, frame: MeasuredFrame) -> bool:
        """Whether a frame is what those before it let expect."""
        return True

    def _calibrate(self, frame: MeasuredFrame, *, at_once: bool = True) -> None:
        before = self.calibration.csm
        if self.calibration.update(frame.coil_images, at_once=at_once):
            self._tell_of_maps(before)

    def _adopt_maps(self, *, wait: bool) -> None:
        before = self.calibration.csm
        if self.calibration.adopt(wait=wait):
            self._tell_of_maps(before)

    def _tell_of_maps(self, before: Tensor | None) -> None:
        if before is not None and self.calibration.csm is not None:
            self._maps_changed(before, self.calibration.csm)

    @property
    def kept_frames(self) -> int:
        """How many of the last frames a refined series can have at most."""
        return 1

    @property
    def delay_frames(self) -> int:
        """Frames after which a frame is sent once more, see :meth:`delayed`; 0 if it is not."""
        return 0

    @property
    def deterministic_steps(self) -> int:
        """Calls of :meth:`tune` after each frame where no clock decides."""
        return 0

    def smoother(self, delay: int) -> FixedLag | None:
        """What solves this method's frames again when ``delay`` more have come; None where nothing does.

        It has no part in the method: it may work in another thread, on what :meth:`solved` gives.
        """
        return None

    def solved(self, back: int = 0) -> Solved:
        """One of the last frames: the newest, or one that has waited and is so many before it.

        Raises
        ------
        LookupError
            Of methods without a :meth:`smoother`, and of a frame that is no longer there.
        """
        raise LookupError("no frame is kept")

    def _keep_samples(self, kspace: Tensor, traj: Tensor) -> None:  # noqa: B027 - most methods keep gridded data only
        """Told of a frame's compressed samples, (coils, spokes, samples), and their trajectory."""

    @abstractmethod
    def _reconstruct(self, frame: MeasuredFrame, csm: Tensor) -> Tensor:
        """The image of a frame, (ny, nx); of joint frames the last one's, where :attr:`may_wait`."""

    def _maps_changed(self, before: Tensor, after: Tensor) -> None:  # noqa: B027 - most methods have nothing to do
        """Told when receive maps are replaced; ``before`` and ``after`` are (coils, ny, nx)."""

    def tune(self) -> bool:
        """Use a moment in which no frame is waiting; False if there is nothing to do."""
        return False

    def delayed(self, control: Control | None = None, *, ended: bool = False) -> list[tuple[int, Tensor]]:
        """Earlier frames, improved by what came after them: call it once the newest frame's image has been sent.

        Frames come in order and once. What is not asked for in time is left out, so a host that has no time for it
        need not call it.

        Parameters
        ----------
        control
            Asked before each iteration; without time for one there are no frames. No limit if None.
        ended
            No frame follows: all that are still due.

        Returns
        -------
        Index and image (ny, nx) of each frame; none of methods that were not asked for them, or have none.
        """
        return []

    def refine(self, control: Control | None = None) -> RefinedSeries | None:
        """What the whole scan says about its frames, once it has ended; None for methods that have nothing to add.

        Parameters
        ----------
        control
            Time, stop and progress; no limit if None.
        """
        return None
