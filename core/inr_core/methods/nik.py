"""NIK: a network of k-space and time, fitted to the samples without any transform."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from inr_core.fields.encodings import GaussianEncoding
from inr_core.fields.networks import Siren
from inr_core.methods.live import RefinedSeries
from inr_core.methods.offline import OfflineMethod
from inr_core.parameters.nik import NikParameters
from inr_core.solvers.control import Control
from inr_core.solvers.held_out import HeldOut
from inr_core.solvers.kspace_points import Spokes, image_of_kspace
from inr_core.solvers.slice_data import FrameSamples, SliceData
from inr_core.solvers.training import cosine, train

_CHUNK = 1 << 14  # points evaluated at once


class KspaceField(nn.Module):
    """Samples y(t, kx, ky) of all coils: Gaussian features, sine layers, one complex value a coil.

    Coils are the outputs of one evaluation, or a coordinate from -1 to 1 of the network, which has one output then.

    Parameters
    ----------
    n_coils
        Number of coils.
    parameters
        See :class:`NikParameters`.
    """

    def __init__(self, n_coils: int, parameters: NikParameters) -> None:
        super().__init__()
        p = parameters
        self.coordinate = p.coils == "coordinate"
        self.n_coils = n_coils
        scales = [p.time_frequency] * (1 + self.coordinate) + [p.space_frequency] * 2
        self.scales: Tensor
        self.register_buffer("scales", torch.tensor(scales))
        self.encoding = GaussianEncoding(len(scales), p.features, 1.0, p.seed)
        n_out = 2 if self.coordinate else 2 * n_coils
        self.siren = Siren(p.features, n_out, p.hidden, p.layers, p.omega, p.seed + 1)

    def forward(self, points: Tensor, coils: Tensor | None = None) -> Tensor:
        """(n, 3) of (t, kx, ky) -> (n, coils) complex64.

        Where the coil is a coordinate, it may be asked for some coils only: (n, k), by number.
        """
        if self.coordinate:
            if coils is None:
                coils = torch.arange(self.n_coils, device=points.device).expand(len(points), -1)
            where = 2 * coils / max(self.n_coils - 1, 1) - 1
            t, k = (part[:, None].expand(-1, coils.shape[1], -1) for part in (points[:, :1], points[:, 1:]))
            out = self.siren(self.encoding(torch.cat([t, where[..., None], k], -1) * self.scales))
            return torch.view_as_complex(out)
        out = self.siren(self.encoding(points * self.scales)).unflatten(-1, (self.n_coils, 2))
        return torch.view_as_complex(out)


class NikMethod(OfflineMethod):
    """Neural implicit k-space (NIK; Huang et al., doi 10.1007/978-3-031-34048-2_42).

    Every sample has its own time; receive maps only combine the coils of the images at the end.
    """

    keeps_samples = True

    def __init__(self, shape: tuple[int, int], parameters: NikParameters, device: torch.device) -> None:
        super().__init__(shape, parameters, device)
        self.parameters = parameters

    def solve(self, data: SliceData, control: Control) -> RefinedSeries:
        """Train the network on batches of samples, and render it at the middle of each frame."""
        p = self.parameters
        generator = torch.Generator().manual_seed(p.seed)
        spokes = Spokes.of(data)
        field = KspaceField(len(data.csm), p).to(data.device)
        held, trained = _hold_out(spokes, p.held_out, generator)
        points, kspace = trained.points()
        batches = _Batches(points, kspace, p.batch, field.coordinate, generator)
        stop = _stop(field, spokes, held, batches.of_pass, p.patience) if held else None

        def losses(step: int) -> dict[str, Tensor]:
            where, coils, measured = batches.next()
            predicted = field(where, coils)
            terms = {"data consistency": relative_error(predicted - measured, predicted, p.epsilon)}
            if p.smoothing > 0:
                rest = predicted * outer_part(where[:, 1:], p.smoothing_width)[:, None]
                terms["smoothing"] = p.smoothing * relative_error(rest, predicted, p.epsilon)
            return terms

        training = train(
            losses,
            torch.optim.Adam(field.parameters(), p.learning_rate, fused=True),
            round(p.passes * batches.of_pass),
            control,
            rate=cosine(p.last_rate),
            after_step=stop or (lambda steps: False),
        )
        if stop:
            stop.restore()
        images = render(field, data, spokes.extent) * spokes.unit
        return RefinedSeries(data.frames.first, images, training.steps, failure=training.failure)


@torch.no_grad()
def render(field: KspaceField, data: SliceData, extent: tuple[float, float]) -> Tensor:
    """(frames, ny, nx): the images at the middle of each frame, coils combined by their maps."""
    images = []
    for i in range(len(data)):
        time = torch.tensor([[2 * (i + 0.5) / len(data) - 1]], device=data.device)

        def kspace(points: Tensor, time: Tensor = time) -> Tensor:
            parts = torch.split(points, _CHUNK)
            return torch.cat([field(torch.cat([time.expand(len(k), 1), k], 1)) for k in parts])

        coils = image_of_kspace(kspace, extent, data.shape, data.device)
        images.append((data.csm.conj() * coils).sum(0))
    return torch.stack(images)


def relative_error(error: Tensor, predicted: Tensor, epsilon: float) -> Tensor:
    """Mean of (|e| / (|p| + epsilon))^2, p the prediction without its gradient."""
    return (error.abs() / (predicted.detach().abs() + epsilon)).square().mean()


def outer_part(k: Tensor, width: float) -> Tensor:
    """(n,): 1 - exp(-|k|^2 / 2 width^2) at the points k (n, 2): what a Gaussian of that width takes away."""
    return 1 - torch.exp(-k.square().sum(1) / (2 * width**2))


class _Batches:
    """Random batches of samples, each sample once a pass; with the coil as a coordinate each coil is its own sample."""

    def __init__(
        self, points: Tensor, kspace: Tensor, size: int, single_coils: bool, generator: torch.Generator
    ) -> None:
        self._points, self._kspace, self._single, self._generator = points, kspace, single_coils, generator
        self._n = kspace.numel() if single_coils else len(points)
        self._size = min(size, self._n)
        self._order: Iterator[Tensor] = iter(())
        self.of_pass = -(-self._n // self._size)

    def next(self) -> tuple[Tensor, Tensor | None, Tensor]:
        """Points (n, 3), the number (n, 1) of the coil of each or None for all, and samples (n, coils)."""
        chosen = next(self._order, None)
        if chosen is None:
            order = torch.randperm(self._n, generator=self._generator).to(self._points.device)
            self._order = iter(torch.split(order, self._size))
            chosen = next(self._order)
        if not self._single:
            return self._points[chosen], None, self._kspace[chosen]
        n_coils = self._kspace.shape[1]
        rows, coils = chosen // n_coils, (chosen % n_coils)[:, None]
        return self._points[rows], coils, self._kspace[rows].gather(1, coils)


def _hold_out(spokes: Spokes, fraction: float, generator: torch.Generator) -> tuple[list[int], Spokes]:
    """The numbers of the spokes that are held out, and the others."""
    n = len(spokes.traj)
    wanted = min(max(1, round(fraction * n)), n - 1) if fraction > 0 else 0
    order = torch.randperm(n, generator=generator).tolist() if wanted else list(range(n))
    return sorted(order[:wanted]), spokes.part(sorted(order[wanted:]))


def _stop(field: KspaceField, spokes: Spokes, held: list[int], every: int, patience: int) -> HeldOut:
    samples = [FrameSamples(spokes.kspace[i].T[:, None], spokes.traj[i][None]) for i in held]

    def predict(position: int, traj: Tensor) -> Tensor:
        time = spokes.times[held[position]].expand(traj.shape[1], 1)
        samples: Tensor = field(torch.cat([time, traj[0]], 1)).T[:, None]
        return samples

    return HeldOut(samples, predict, field.parameters(), every=every, patience=patience, at_once=0)
