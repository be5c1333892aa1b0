"""The phantom that no exchange of axes leaves as it is."""

from __future__ import annotations

import numpy as np

from inr_core.phantoms import Grid, QuadrantPhantom, truth

GRID = Grid((72, 60), (240.0, 200.0))


def test_marks_are_where_they_are_said_to_be_and_nothing_else_is_as_bright() -> None:
    image = np.abs(truth(QuadrantPhantom(), GRID, np.array([0.0]))[0])
    points = GRID.points
    for number, (centre, _) in enumerate(QuadrantPhantom.MARKS):
        row, column = np.unravel_index(int(image.argmax()), image.shape)
        assert np.abs(points[row, column] - centre).max() <= GRID.pixel_mm.max() / 2 + 0.1
        assert (np.sign(centre) == [(1, 1), (-1, 1), (-1, -1), (1, -1)][number]).all()
        image[np.linalg.norm(points - np.array(centre), axis=-1) < QuadrantPhantom.RADIUS_MM + 9] = 0
    assert image.max() < 0.25


def test_no_flip_or_exchange_of_axes_leaves_it_as_it_is() -> None:
    square = Grid((60, 60), (240.0, 240.0))
    image = np.abs(truth(QuadrantPhantom(), square, np.array([0.0]))[0])
    same, *others = [np.rot90(one, turns) for one in (image, image.T) for turns in range(4)]
    np.testing.assert_array_equal(same, image)
    for other in others:
        assert np.linalg.norm(other - image) > 0.2 * np.linalg.norm(image)


def test_it_is_still() -> None:
    ellipses = QuadrantPhantom().ellipses(np.array([0.0, 500.0]))
    np.testing.assert_array_equal(ellipses.centre[0], ellipses.centre[1])
