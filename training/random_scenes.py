"""Random moving pictures, random coils, and golden-angle spokes of them: what the live solver's network learns from.

Nothing in them is anatomy. Regions with random outlines, ellipses, rings and thin lines of random brightness lie in
layers; somewhere a bright disc with a darker wall; all of it is deformed, turned, shifted, brightened and replaced
along random courses in time. That networks trained on moving pictures of anything serve for hearts was found by Jaubert
et al. (doi 10.1038/s41598-024-62294-7) with natural videos: what is learnt is how things move, not what they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import finufft
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from inr_core.trajectory import radial_trajectory, spoke_angles

MATRIX = 128
_FINE = 192  # pixels of the scene itself, over the same field of view: a scanner measures more than the matrix
_ACCURACY = 1e-5
_NOISE = 1e-3  # standard deviation of a real part, relative to the largest sample, times what is drawn
_READOUT = 2 * MATRIX


class Samples(NamedTuple):
    """A stream and what it shows.

    Attributes
    ----------
    kspace : (frames, coils, spokes, samples) complex64
    traj : (frames, spokes, samples, 2) float32
        (kx, ky) in cycles per pixel.
    truth : (frames, ny, nx) complex64
    maps : (coils, ny, nx) complex64
        Receive maps of unit root-sum-of-squares.
    """

    kspace: Tensor
    traj: Tensor
    truth: Tensor
    maps: Tensor


@dataclass
class Dice:
    """Random numbers of a seed."""

    seed: int
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)

    def between(self, low: float, high: float) -> float:
        """Uniform."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def scale(self, low: float, high: float) -> float:
        """Uniform in the logarithm."""
        return math.exp(self.between(math.log(low), math.log(high)))

    def count(self, low: float, high: float) -> int:
        """A whole number from ``low`` to below ``high``."""
        return int(self.between(low, high))

    def chance(self, probability: float) -> bool:
        """Whether something of that probability happens."""
        return self.between(0, 1) < probability

    def smooth(self, n: int, length: float) -> Tensor:
        """(n, n): a random field of mean 0 and variance 1, smooth over ``length`` pixels."""
        along_x, along_y = torch.fft.rfftfreq(n)[None], torch.fft.fftfreq(n)[:, None]
        return self._shaped(n, torch.exp(-2 * (math.pi * length) ** 2 * (along_x**2 + along_y**2)))

    def rough(self, n: int, power: float) -> Tensor:
        """(n, n): a random field of mean 0 and variance 1 whose spectrum falls with a power of the frequency."""
        frequency = (torch.fft.rfftfreq(n)[None] ** 2 + torch.fft.fftfreq(n)[:, None] ** 2).sqrt()
        return self._shaped(n, frequency.clamp_min(1 / n) ** -power)

    def _shaped(self, n: int, spectrum: Tensor) -> Tensor:
        noise = torch.fft.rfft2(torch.randn(n, n, generator=self.generator))
        image = torch.fft.irfft2(noise * spectrum, s=(n, n))
        return (image - image.mean()) / image.std()

    def course(self, frames: int) -> Tensor:
        """(frames,): something that goes up and down: heart beats with rests, or any smooth curve."""
        if self.chance(0.5):
            period, up = self.between(8, 40), self.between(0.15, 0.5)
            phase = ((torch.arange(frames) + self.between(0, period)) % period) / period
            falling = ((phase - up) / (1 - up)).clamp(0, 1) ** self.between(0.4, 1.5)
            rising = (1 - torch.cos(math.pi * phase / up)) / 2
            return torch.where(phase < up, rising, (1 + torch.cos(math.pi * falling)) / 2)
        window = torch.exp(-0.5 * (torch.arange(-15, 16) / self.scale(1, 8)) ** 2)
        noise = torch.randn(1, 1, frames + 30, generator=self.generator)
        return functional.conv1d(noise, window[None, None])[0, 0] / window.square().sum().sqrt()


class Grid(NamedTuple):
    """(n, n) places, -1 to 1 over the field of view."""

    y: Tensor
    x: Tensor

    @classmethod
    def of(cls, n: int) -> Grid:
        """Pixel n // 2 is the centre."""
        along = (torch.arange(n) - n // 2) / (n / 2)
        return cls(*torch.meshgrid(along, along, indexing="ij"))

    @property
    def n(self) -> int:
        """Pixels along an axis."""
        return len(self.y)

    def distance(self, y: float, x: float) -> Tensor:
        """From a place."""
        return ((self.y - y) ** 2 + (self.x - x) ** 2).sqrt()


def _over(image: Tensor, mask: Tensor, value: Tensor | float) -> Tensor:
    return image * (1 - mask) + mask * value


def _picture(dice: Dice, grid: Grid) -> Tensor:
    """A still (n, n)."""
    n = grid.n
    image = torch.full((n, n), dice.between(0, 0.5))
    for _ in range(dice.count(3, 9)):
        length = dice.scale(3, 30)
        outline = dice.smooth(n, length) - dice.between(-0.5, 1.5)
        mask = torch.sigmoid(outline * dice.scale(3, 30) * length / 8)
        texture = 1 + dice.between(0, 0.25) * dice.rough(n, dice.between(0.6, 1.5))
        image = _over(image, mask, dice.between(0, 1) * texture)
    for _ in range(int(dice.scale(2, 30))):
        image = _ellipse(dice, grid, image)
    for _ in range(dice.count(0, 6)):
        level = dice.smooth(n, dice.scale(6, 30)) - dice.between(-1, 1)
        image = _over(image, torch.exp(-(level**2) * dice.scale(30, 1500)), dice.between(0, 1))
    return image.clamp_min(0)


def _ellipse(dice: Dice, grid: Grid, image: Tensor) -> Tensor:
    """With a texture, and perhaps a rim."""
    y, x, turn = grid.y - dice.between(-0.9, 0.9), grid.x - dice.between(-0.9, 0.9), dice.between(0, math.pi)
    long = dice.scale(0.015, 0.35)
    short = long * dice.between(0.4, 1)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    radius = ((along / long) ** 2 + (across / short) ** 2 + 1e-6).sqrt()
    edge = dice.scale(0.5, 3) * grid.n / 4 * short
    inside = dice.between(0, 1) * (1 + dice.between(0, 0.15) * dice.smooth(grid.n, 3))
    image = _over(image, torch.sigmoid((1 - radius) * edge), inside)
    if dice.chance(0.4):
        half = dice.between(0.05, 0.25)
        image = _over(image, torch.sigmoid((half - (radius - 1 - half).abs()) * edge), dice.between(0, 1))
    return image


class Centre(NamedTuple):
    """Where most of the motion is, and how far it reaches."""

    y: float
    x: float
    radius: float

    def window(self, grid: Grid, width: float) -> Tensor:
        """(n, n): 1 there, falling over ``width`` radii."""
        return torch.exp(-0.5 * (grid.distance(self.y, self.x) / (width * self.radius)) ** 2)


def _walled_disc(dice: Dice, grid: Grid, centre: Centre, image: Tensor) -> Tensor:
    """A bright disc with a wall and lumps in it, out of round."""
    angle = torch.atan2(grid.y - centre.y, grid.x - centre.x)
    radius = grid.distance(centre.y, centre.x) / centre.radius
    waves = (dice.between(-0.12, 0.12) * torch.cos(k * angle + dice.between(0, 6.3)) for k in (1, 2, 3, 4))
    radius = radius * (1 + torch.stack(list(waves)).sum(0))
    bright, wall, width = dice.between(0.5, 1), dice.between(0.05, 0.5), dice.between(0.25, 0.7)
    edge = dice.scale(0.6, 2) * grid.n / 4 * centre.radius
    image = _over(image, torch.sigmoid((1 + width - radius) * edge), wall * (1 + 0.1 * dice.smooth(grid.n, 2.5)))
    image = _over(image, torch.sigmoid((1 - radius) * edge), bright * (1 + 0.1 * dice.smooth(grid.n, 3)))
    for _ in range(dice.count(0, 4)):
        at, away, size = dice.between(0, 6.3), dice.between(0.4, 0.9), dice.between(0.08, 0.25)
        y, x = centre.y + away * centre.radius * math.sin(at), centre.x + away * centre.radius * math.cos(at)
        lump = 1 - grid.distance(y, x) / (size * centre.radius)
        image = _over(image, torch.sigmoid(lump * edge * size), wall)
    return image


def _surrounded(dice: Dice, grid: Grid, centre: Centre, images: list[Tensor]) -> list[Tensor]:
    """Perhaps a body in air, and perhaps dark organs around what moves."""
    n = grid.n
    if dice.chance(0.6):
        axes = dice.between(0.65, 1.1), dice.between(0.55, 1.1)
        radius = ((grid.x / axes[0]) ** 2 + (grid.y / axes[1]) ** 2).sqrt() + 0.1 * dice.smooth(n, dice.between(15, 40))
        body, inner = (torch.sigmoid((1 - radius - skin) * n / 3) for skin in (0.0, dice.between(0.02, 0.1)))
        skin = dice.between(0, 1)
        images = [body * _over(torch.full((n, n), skin), inner, image) for image in images]
    if dice.chance(0.5):
        dark = torch.sigmoid((dice.smooth(n, dice.between(10, 30)) - dice.between(0, 1)) * 20)
        away = torch.sigmoid((grid.distance(centre.y, centre.x) - 1.5 * centre.radius) * 30)
        images = [image * (1 - 0.9 * dark * away) for image in images]
    return images


def _displacement(dice: Dice, grid: Grid, centre: Centre, frames: int) -> tuple[Tensor, Tensor]:
    """(frames, n, n) along x and y, in pixels."""
    n, window = grid.n, centre.window(grid, dice.between(1, 2))
    y, x = grid.y - centre.y, grid.x - centre.x
    squeeze, turn = dice.between(0, 0.35) * n / 2, dice.between(-0.3, 0.3) * n / 2
    modes = [(squeeze * window * x, squeeze * window * y), (-turn * window * y, turn * window * x)]
    modes.append((window * dice.between(-5, 5), window * dice.between(-5, 5)))
    for _ in range(dice.count(0, 4)):
        length, size = dice.scale(8, 40), dice.scale(0.5, 4)
        where = window if dice.chance(0.7) else torch.ones(())
        modes.append((size * where * dice.smooth(n, length), size * where * dice.smooth(n, length)))
    if dice.chance(0.4):
        modes.append(tuple(torch.full((n, n), dice.between(-2, 2)) for _ in range(2)))
    courses = torch.stack([dice.course(frames) for _ in modes])
    u, v = (torch.stack([mode[axis] for mode in modes]) for axis in (0, 1))
    return torch.einsum("mt,myx->tyx", courses, u), torch.einsum("mt,myx->tyx", courses, v)


def _warped(image: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """(frames, n, n): what is at r + (u, v) comes to r."""
    frames, n = u.shape[:2]
    pixel = (torch.arange(n) + 0.5) * 2 / n - 1
    places = torch.stack([pixel[None, None] + u * 2 / n, pixel[None, :, None] + v * 2 / n], -1)
    pictures = image.expand(frames, 1, n, n)
    options = {"mode": "bicubic", "padding_mode": "reflection", "align_corners": False}
    return functional.grid_sample(pictures, places, **options)[:, 0]


def scene(dice: Dice, frames: int) -> Tensor:
    """(frames, 192, 192) complex64 with a maximum of 1."""
    grid = Grid.of(_FINE)
    centre = Centre(dice.between(-0.45, 0.45), dice.between(-0.45, 0.45), dice.between(0.08, 0.3))
    stills = [_picture(dice, grid) for _ in range(2)]
    if dice.chance(0.7):
        stills = [_walled_disc(dice, grid, centre, still) for still in stills]
    still, other = _surrounded(dice, grid, centre, stills)
    u, v = _displacement(dice, grid, centre, frames)
    images = _warped(still, u, v)
    if dice.chance(0.5):  # motion through the plane: what is there becomes something else
        part = (dice.between(0, 1) * dice.course(frames)).clamp(0, 1)[:, None, None]
        part = part * centre.window(grid, dice.between(0.8, 1.8))
        images = _over(images, part, _warped(other, u, v))
    blood = torch.sigmoid((1.6 * centre.radius - grid.distance(centre.y, centre.x)) * dice.between(8, 40))
    brighter = 1 + dice.between(0, 0.3) * dice.course(frames)[:, None, None] * blood
    powers = (grid.x, grid.y, grid.x * grid.y, grid.x**2, grid.y**2)
    phase = dice.between(0, 6.3) + torch.stack([dice.between(-1.2, 1.2) * power for power in powers]).sum(0)
    turning = dice.between(-0.6, 0.6) if dice.chance(0.2) else 0.0  # blood that flows turns its phase
    phase = phase + turning * dice.course(frames)[:, None, None] * blood
    images = torch.polar((images * brighter).clamp_min(0), phase)
    return images / images.abs().max()


def loops(dice: Dice, n: int, n_coils: int) -> Tensor:
    """(coils, n, n): fields of loops around the field of view, normalised by their root-sum-of-squares."""
    grid, turn, reach = Grid.of(n), dice.between(0, 6.3), dice.between(0.15, 0.6)
    maps = []
    for coil in range(n_coils):
        angle, radius = turn + 2 * math.pi * (coil + 0.4 * dice.between(-1, 1)) / n_coils, dice.between(1.1, 1.7)
        square = grid.distance(radius * math.sin(angle), radius * math.cos(angle)) ** 2
        strength, direction = dice.between(0.3, 1.2), angle + dice.between(-2, 2)
        phase = strength * (grid.x * math.cos(direction) + grid.y * math.sin(direction)) + dice.between(0, 6.3)
        maps.append(torch.polar(1 / (reach + square), phase))
    stacked = torch.stack(maps)
    return stacked / stacked.abs().square().sum(0).sqrt()


def _band_limited(images: Tensor, n: int) -> Tensor:
    """(.., m, m) to (.., n, n), with the amplitude of the images."""
    axes, m = (-2, -1), images.shape[-1]
    spectrum = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(images, dim=axes)), dim=axes)
    low = m // 2 - n // 2
    part = torch.fft.ifftshift(spectrum[..., low : low + n, low : low + n], dim=axes)
    return torch.fft.fftshift(torch.fft.ifft2(part), dim=axes) * (n / m) ** 2


def sample(seed: int, spokes: int, frames: int = 12, n_coils: int = 8) -> Samples:
    """The stream of a seed, of so many spokes a frame."""
    dice = Dice(seed)
    images, coils_at = scene(dice, frames), dice.between(0, 1e6)
    maps, fine_maps = (loops(Dice(int(coils_at)), n, n_coils) for n in (MATRIX, _FINE))
    angles = spoke_angles(np.arange(frames * spokes), offset_deg=math.degrees(dice.between(0, 6.3)))
    traj = radial_trajectory(angles, _READOUT).reshape(frames, spokes, _READOUT, 2)
    kspace = np.empty((frames, n_coils, spokes * _READOUT), np.complex64)
    for image, points, out in zip(images, traj.reshape(frames, -1, 2), kspace, strict=True):
        kx, ky = (2 * math.pi * MATRIX / _FINE * points).T.copy()
        strengths = np.ascontiguousarray((fine_maps * image).to(torch.complex64).numpy())
        out[:] = MATRIX / _FINE**2 * finufft.nufft2d2(ky, kx, strengths, eps=_ACCURACY, isign=-1, nthreads=1)
    noise = np.random.default_rng(seed).standard_normal((2, *kspace.shape), np.float32)
    kspace += _NOISE * dice.scale(0.3, 5) * np.abs(kspace).max() * (noise[0] + 1j * noise[1])
    kspace = kspace.reshape(frames, n_coils, spokes, _READOUT)
    truth = _band_limited(images, MATRIX).to(torch.complex64)
    return Samples(torch.from_numpy(kspace), torch.from_numpy(traj), truth, maps.to(torch.complex64))
