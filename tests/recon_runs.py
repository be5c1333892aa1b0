"""Frames for the recon gadget, and what it makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import ismrmrd

from inr_gadgets.frame import Frame
from inr_gadgets.reconstruction.recon import ReconGadget
from radial import cine_scan
from scans import readout

N = 6


def frames(n: int = N, group: int = 0, start: float = 0.0, spacing: float = 1.0) -> list[Frame]:
    """Frames of a small beating heart, ``spacing`` seconds apart, each in a place of its own."""
    scan, made = cine_scan(frames=10, coils=3, matrix=(24, 20)), []
    for index in range(n):
        samples, traj = scan.kspace[index].numpy(), scan.traj[index].numpy()
        headers = [readout(i, position=(index, 0, 10 * group)).getHead() for i in range(len(traj))]
        for header in headers:
            header.acquisition_time_stamp = 100 + 400 * index
        arrived = start + index * spacing
        made.append(
            Frame.from_readouts(
                samples, traj, headers, matrix=(24, 20), fov_mm=(300, 250, 8), index=index, group=group, arrived=arrived
            )
        )
    return made


def run(items: Any, repetition_ms: float = 0.0, **parameters: Any) -> tuple[list[ismrmrd.Image], list[str]]:
    """Images, and the lines after the first."""
    settings = {"method": "grasp", "refine": False, "deterministic": True, "device": "cpu", **parameters}
    gadget, lines = ReconGadget(None, ReconGadget.read_parameters(settings)), list[str]()
    gadget.announce = lines.append
    if repetition_ms:
        gadget.header = SimpleNamespace(sequenceParameters=SimpleNamespace(TR=[repetition_ms]))
    return list(gadget.process(items)), lines[1:]


class Waiting:
    """Frames that all wait already."""

    def __init__(self, items: list[Frame]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Frame]:
        while self._items:
            yield self._items.pop(0)

    def pending(self) -> bool:
        return bool(self._items)


def order(images: list[ismrmrd.Image]) -> list[tuple[int, int]]:
    """(series, frame) of each image."""
    return [(image.image_series_index, image.repetition) for image in images]
