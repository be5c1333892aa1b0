"""What the live solver meets in streams of random scenes: the network's maps, and how large the change really was."""

from __future__ import annotations

import gc
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from random_scenes import Dice, Samples, sample
from torch import Tensor

from inr_core.methods import make_live
from inr_core.methods.grasp import GraspMethod
from inr_core.parameters.grasp import GraspParameters
from inr_core.solvers.change_network import ChangeNetwork, read_network
from inr_core.solvers.change_solver import Outlook
from inr_core.solvers.learned_prior import LearnedPrior
from inr_core.solvers.motion_prior import MotionPrior, smoothed_square

_SPOKES = (4, 5, 5, 6, 8, 10, 13, 13, 16, 21, 21, 34)
_SKIPPED = 3  # frames whose prediction is of a scan's beginning
_COILS = 4
_BY_NETWORK = 0.75  # of the streams, where there is one
_AHEAD = 0.75  # of the streams of few spokes: as they are live
_WINDOW = 3  # pixels over which the square of a change is averaged
_LARGEST_MAP, _LARGEST_CHANGE = 30.0, 3.0  # in maxima of the image; beyond, a stream has come apart


class Examples(NamedTuple):
    """Some frames.

    Attributes
    ----------
    maps : (n, 9, ny, nx) float16
        What the network sees.
    changes : (n, ny, nx) float16
        Root of the mean square of the change, over 3 x 3 pixels, in maxima of the image.
    seeds : (n,)
        Of the scenes they are from.
    """

    maps: np.ndarray
    changes: np.ndarray
    seeds: np.ndarray


class Watched(LearnedPrior):
    """A prior that keeps what it was asked.

    Parameters
    ----------
    weights
        File of the network that answers; None where the rule does.
    """

    def __init__(self, weights: Path | None) -> None:
        super().__init__()
        self._weights = weights
        self.asked: tuple[Tensor, Outlook] | None = None

    def maps(self, seen: Outlook) -> Tensor:
        """What the network is asked with, or would be."""
        maps = super().maps(seen)
        self.asked = maps, seen
        return maps

    def expected(self, seen: Outlook) -> Tensor:
        """The answer."""
        if self._weights is not None:
            return super().expected(seen)
        self.maps(seen)
        return MotionPrior.expected(self, seen)

    def _network(self, device: torch.device) -> ChangeNetwork:
        if self._weights is None:
            raise RuntimeError("the rule needs no network")
        return _read(self._weights)


_read = cache(read_network)


def examples(seeds: range, weights: Path | None, cores: int) -> Examples:
    """Of the scenes of these seeds, most of them solved with the network of a file; a process for each core."""
    work = partial(_of_scene, weights=weights)
    with ProcessPoolExecutor(cores, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        found = list(pool.map(work, seeds, chunksize=8))
    return Examples(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _of_scene(seed: int, weights: Path | None) -> Examples:
    dice = Dice(seed)
    spokes = _SPOKES[dice.count(0, len(_SPOKES))]
    effort = {"quick_iterations": dice.count(5, 10), "iterations": dice.count(1, 5), "live_coils": _COILS}
    prior, ahead = Watched(weights if dice.chance(_BY_NETWORK) else None), dice.chance(_AHEAD)
    maps, changes = _watch(sample(seed, spokes), prior, GraspParameters(look_ahead=ahead, **effort))
    gc.collect()  # a method and its frames point at each other, and are large
    return Examples(maps, changes, np.full(len(maps), seed))


def _watch(stream: Samples, prior: Watched, parameters: GraspParameters) -> tuple[np.ndarray, np.ndarray]:
    shape = stream.truth.shape[-2:]
    method = make_live("grasp", (shape[0], shape[1]), parameters, torch.device("cpu"))
    if not isinstance(method, GraspMethod):
        raise TypeError("GRASP's live images are of another kind")
    method.solver.prior = prior
    maps, changes = [np.empty((0, 9, *shape), np.float16)], [np.empty((0, *shape), np.float16)]
    for index, (kspace, traj) in enumerate(zip(stream.kspace, stream.traj, strict=True)):
        ahead, prior.asked = method.looks_ahead(len(traj)), None
        (method.follow if ahead else method.add_frame)(kspace, traj)
        solved = index - ahead
        if prior.asked is not None and solved >= _SKIPPED:
            seen, change = prior.asked[0], _change(method, stream, solved, prior.asked[1])
            if seen.abs().max() < _LARGEST_MAP and change.max() < _LARGEST_CHANGE:
                maps.append(seen[None].half().numpy())
                changes.append(change[None].half().numpy())
        method.settle()
    return np.concatenate(maps), np.concatenate(changes)


def _change(method: GraspMethod, stream: Samples, index: int, seen: Outlook) -> Tensor:
    """(ny, nx): root of the mean square of what the frame really is less its prediction, in maxima of the image."""
    csm, compression = method.calibration.csm, method.calibration.matrix
    if csm is None or compression is None:
        raise RuntimeError("a frame was solved without maps")
    virtual = torch.einsum("vc,cyx->vyx", compression, stream.maps)
    ideal = (csm.conj() * virtual).sum(0) * stream.truth[index]
    return smoothed_square((ideal - seen.prediction) / seen.scale, _WINDOW).sqrt()
