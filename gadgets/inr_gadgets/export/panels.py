"""One panel of a picture: an image as greys or a flow as colours, under its label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from inr_core.errors import MissingDependencyError

GAP_PIXELS = 4
_LABEL_PIXELS = 22
_WHEEL_PART = 6  # of a panel's side that the key to the colours takes: one in so many


@dataclass(frozen=True)
class Panel:
    """How the panels of a movie are drawn.

    Attributes
    ----------
    size
        (x, y) screen pixels, without the label.
    white, fastest
        What is white in magnitudes, and of full brightness in flows.
    coloured
        Colours, or greys only.
    smooth
        Bicubic instead of the pixels as they are.
    """

    size: tuple[int, int]
    white: float
    fastest: float
    coloured: bool
    smooth: bool

    def draw(self, image: np.ndarray, label: str) -> np.ndarray:
        """One image under its label, uint8 (y, x) or (y, x, 3)."""
        image_module, draw_module, font_module = pillow()
        picture = image_module.fromarray(self._pixels(image))
        resampling = image_module.Resampling
        picture = picture.resize(self.size, resampling.BICUBIC if self.smooth else resampling.NEAREST)
        canvas = image_module.new("RGB" if self.coloured else "L", (self.size[0], self.size[1] + _LABEL_PIXELS), 0)
        canvas.paste(picture, (0, _LABEL_PIXELS))
        if np.iscomplexobj(image):
            wheel = image_module.fromarray(colour_wheel(max(1, min(self.size) // _WHEEL_PART)))
            canvas.paste(wheel, (canvas.width - wheel.width, canvas.height - wheel.height))
        draw = draw_module.Draw(canvas)
        points = 15
        # Measured on a label of this length, so that all labels of one length come out in one size.
        while (
            points > 7 and draw.textlength("0" * len(label), font=font_module.load_default(points)) > self.size[0] - 4
        ):
            points -= 1
        font = font_module.load_default(points)
        draw.text((4, _LABEL_PIXELS // 2), label, fill="#ebebeb" if self.coloured else 235, font=font, anchor="lm")
        return np.asarray(canvas)

    def _pixels(self, image: np.ndarray) -> np.ndarray:
        if np.iscomplexobj(image):
            return flow_colours(image, self.fastest)
        grey = np.clip(np.nan_to_num(image, nan=0.0, posinf=self.white) / self.white, 0, 1) * 255
        return np.asarray(grey.round(), np.uint8)


def panel_label(name: str, images: np.ndarray, fastest: float) -> str:
    """What is written over a panel: of a flow also the speed of full brightness."""
    return f"{name} to {fastest:.2g} px/frame" if np.iscomplexobj(images) else name


def beside(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Tiles of one height in a row, with gaps."""
    return np.concatenate([padded(tile, 0, GAP_PIXELS) for tile in tiles], axis=1)[:, :-GAP_PIXELS]


def montage(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Tiles of one size in rows of so many, with gaps; the rest of the last row is black."""
    tiles = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % columns)]
    rows = [beside(tiles[first : first + columns]) for first in range(0, len(tiles), columns)]
    return np.concatenate([padded(row, GAP_PIXELS, 0) for row in rows])[:-GAP_PIXELS]


def padded(picture: np.ndarray, below: int, right: int) -> np.ndarray:
    """With black rows and columns added, (y, x) or (y, x, 3)."""
    return np.pad(picture, [(0, below), (0, right), (0, 0)][: picture.ndim])


def flow_colours(flow: np.ndarray, fastest: float) -> np.ndarray:
    """Colours of a flow.

    Parameters
    ----------
    flow : (..., y, x) complex
        u + i v, u to the right and v downwards; red goes right, yellow-green down, cyan left, violet up.
    fastest
        The speed, and all above, of full brightness.

    Returns
    -------
    (..., y, x, 3) uint8
    """
    flow = np.nan_to_num(flow, nan=0.0, posinf=0.0, neginf=0.0)
    sextant = (np.angle(flow) / (2 * np.pi) % 1.0)[..., None] * 6 + np.array([0.0, 4.0, 2.0])
    hue = np.clip(np.abs(sextant % 6 - 3) - 1, 0, 1)
    value = np.clip(np.abs(flow) / fastest, 0, 1)[..., None]
    return np.asarray((255 * value * hue).round(), np.uint8)


def colour_wheel(pixels: int) -> np.ndarray:
    """The key to the colours, (pixels, pixels, 3) uint8: a disc whose edge is the fastest motion; black around it."""
    along = np.linspace(-1, 1, pixels)
    flow = along[None, :] + 1j * along[:, None]
    return flow_colours(np.where(np.abs(flow) <= 1, flow, 0), 1.0)


def pillow() -> tuple[Any, Any, Any]:
    """Pillow's Image, ImageDraw and ImageFont; without it a MissingDependencyError."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise missing_pictures("Pillow", error) from error
    return Image, ImageDraw, ImageFont


def missing_pictures(what: str, error: ImportError) -> MissingDependencyError:
    """What is said where an optional package of pictures is absent."""
    return MissingDependencyError(
        f"pictures need {what} ({error})", "the extra 'pictures'", "pip install 'inr-recon[pictures]'"
    )
