"""Planes of a series put into stacks: which images are of one plane, and which planes lie behind one another."""

from __future__ import annotations

from collections.abc import Sequence

from inr_gadgets.export.grid import PixelGrid

Plane = tuple[int, int]


def planes_of(grids: Sequence[PixelGrid], slices: Sequence[int]) -> list[Plane]:
    """(slice, number of the plane among those of the slice) of each image, from 0 in order of appearance."""
    known: dict[int, list[PixelGrid]] = {}
    planes = []
    for grid, number in zip(grids, slices, strict=True):
        of_slice = known.setdefault(number, [])
        # Mostly it is the plane of the image before.
        found = next((i for i in reversed(range(len(of_slice))) if of_slice[i].is_same(grid)), len(of_slice))
        if found == len(of_slice):
            of_slice.append(grid)
        planes.append((number, found))
    return planes


def stacks_of(
    planes: Sequence[Plane], volumes: Sequence[Sequence[PixelGrid]]
) -> dict[tuple[Plane, int], tuple[int, int]]:
    """(stack, position) of each plane's z.

    A slice that has moved during the scan is no neighbour of itself: its planes go into stacks of their own, unless
    each has but one image, which is how senders that do not count slices send a volume. Planes in one place, of senders
    that do not say where slices lie, are no stack.
    """
    counts = {plane: planes.count(plane) for plane in set(planes)}
    moved = {number for number, _ in counts if max(counts[p] for p in counts if p[0] == number) > 1}
    members: list[list[tuple[tuple[Plane, int], PixelGrid]]] = []
    for plane in sorted(counts, key=planes.index):
        for z, grid in enumerate(volumes[planes.index(plane)]):
            for stack in members:
                (other, _), reference = stack[0]
                epoch = other[1] == plane[1] or plane[0] not in moved
                if epoch and grid.is_beside(reference) and not any(grid.is_same(there) for _, there in stack):
                    stack.append(((plane, z), grid))
                    break
            else:
                members.append([((plane, z), grid)])
    return {
        key: (number, position)
        for number, stack in enumerate(members)
        for position, (key, _) in enumerate(sorted(stack, key=lambda member: member[1].location_mm))
    }
