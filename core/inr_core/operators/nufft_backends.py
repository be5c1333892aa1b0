"""The libraries that compute non-uniform Fourier sums, behind one pair of functions.

Both functions are plain sums without any normalisation, for a stack of ``k`` images on the same points:

    type 1 (points to grid)   x[k, r] = sum_j c[k, j] exp(+2 pi i p_j . r)
    type 2 (grid to points)   y[k, j] = sum_r x[k, r] exp(-2 pi i p_j . r)

with points p = (kx, ky) in cycles per pixel and r counted from pixel n // 2 of a grid (ny, nx).
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import math
from collections.abc import Callable
from functools import cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from inr_core.compiling import host_array
from inr_core.errors import MissingDependencyError, ParameterError
from inr_core.operators.compiled_gridding import gridded
from inr_core.operators.prepared import is_prepared

logger = logging.getLogger(__name__)

BACKENDS = ("auto", "compiled", "finufft", "cufinufft", "direct", "torchkbnufft")


class NufftBackend(Protocol):
    """What a backend offers; points (samples, 2) real, coefficients (stack, samples), images (stack, ny, nx)."""

    def type1(self, points: Tensor, coefficients: Tensor, shape: tuple[int, int]) -> Tensor: ...

    def type2(self, points: Tensor, images: Tensor) -> Tensor: ...


def make_backend(name: str, device: torch.device, dtype: torch.dtype, tolerance: float | None = None) -> NufftBackend:
    """Choose a backend.

    Parameters
    ----------
    name
        One of ``BACKENDS``; ``auto`` is FINUFFT on the CPU, and ``compiled`` there in single precision without a
        tolerance; on CUDA it is cuFINUFFT where it loads, else the direct sums.
    device, dtype
        Where the tensors live and the real dtype of the points.
    tolerance
        Relative accuracy of (cu)FINUFFT; None for 1e-4 in single and 1e-12 in double precision.

    Raises
    ------
    ParameterError
        For an unknown name, or a backend that does not run on ``device``, or not in that precision.
    MissingDependencyError
        If cuFINUFFT was asked for by name and is not installed, or does not load.
    """
    if name not in BACKENDS:
        raise ParameterError(f"NUFFT backend {name!r}", f"one of {', '.join(BACKENDS)}")
    on_cuda = device.type == "cuda"
    if name == "auto":
        on_host = "compiled" if dtype == torch.float32 and tolerance is None else "finufft"
        name = on_host if not on_cuda else ("direct" if cufinufft_problem() else "cufinufft")
    if tolerance is None:
        tolerance = 1e-4 if dtype == torch.float32 else 1e-12
    if name == "torchkbnufft":
        return TorchKbBackend()
    if name == "direct":
        return DirectBackend()
    if (name == "cufinufft") != on_cuda:
        raise ParameterError(f"NUFFT backend {name} on {device}", "compiled or finufft on the CPU, cufinufft on CUDA")
    if name == "cufinufft":
        problem = cufinufft_problem()
        if problem is not None:
            raise MissingDependencyError(f"cufinufft {problem}", "", "pip install 'inr-recon[cuda]'")
        return CuFinufftBackend(tolerance)
    if name == "compiled" and dtype != torch.float32:
        raise ParameterError(f"NUFFT backend compiled in {dtype}", "finufft, in double precision")
    return FinufftBackend(tolerance) if name == "finufft" else CompiledBackend(tolerance)


@cache
def cufinufft_problem() -> str | None:
    """Why cuFINUFFT cannot be used, in a few words; None if it loads.

    Its wheels ask for CUDA 12's libraries, which a torch of another CUDA does not bring.
    """
    if importlib.util.find_spec("cufinufft") is None:
        return "is not installed"
    try:
        importlib.import_module("cufinufft")
    except (ImportError, OSError) as error:
        problem = f"does not load ({' '.join(str(error).split())})"
        logger.warning("cufinufft %s: transforms on CUDA are computed as the sums that they are", problem)
        return problem
    return None


class FinufftBackend:
    """FINUFFT on the CPU (Barnett et al., doi 10.1137/18M120885X).

    One thread: frames of a live scan are too small to share, and the order of additions, so the last bit of the image,
    does not depend on how threads happen to run. In single precision the internal grid is 1.25 times as fine as the
    image instead of twice: five times faster, and as accurate as 1e-4 asks for (8e-5 measured, a tenth of a scan's
    noise).
    """

    def __init__(self, tolerance: float) -> None:
        fine = 2.0 if tolerance < 1e-5 else 1.25
        self._options = {"eps": tolerance, "upsampfac": fine, "nthreads": 1}

    def type1(self, points: Tensor, coefficients: Tensor, shape: tuple[int, int]) -> Tensor:
        import finufft

        ky, kx = _radians(points)
        values = np.ascontiguousarray(host_array(coefficients))
        return torch.from_numpy(finufft.nufft2d1(ky, kx, values, shape, isign=1, **self._options))

    def type2(self, points: Tensor, images: Tensor) -> Tensor:
        import finufft

        ky, kx = _radians(points)
        values = np.ascontiguousarray(host_array(images))
        return torch.from_numpy(finufft.nufft2d2(ky, kx, values, isign=-1, **self._options))


class CompiledBackend(FinufftBackend):
    """FINUFFT, and in its place what is compiled for images that are prepared for: as accurate, in half the time."""

    def type1(self, points: Tensor, coefficients: Tensor, shape: tuple[int, int]) -> Tensor:
        if not is_prepared(shape):
            return super().type1(points, coefficients, shape)
        return torch.from_numpy(gridded(host_array(points), host_array(coefficients), shape))


class CuFinufftBackend:
    """cuFINUFFT on CUDA (Shih et al., doi 10.1109/IPDPSW52791.2021.00105), in order with torch's own work."""

    def __init__(self, tolerance: float) -> None:
        self.tolerance = max(tolerance, 1e-12)

    def type1(self, points: Tensor, coefficients: Tensor, shape: tuple[int, int]) -> Tensor:
        import cufinufft

        c = coefficients.detach().resolve_conj().contiguous()
        out = torch.empty((c.shape[0], *shape), dtype=c.dtype, device=c.device)
        self._run(cufinufft.nufft2d1, points, c, out, isign=1)
        return out

    def type2(self, points: Tensor, images: Tensor) -> Tensor:
        import cufinufft

        x = images.detach().resolve_conj().contiguous()
        out = torch.empty((x.shape[0], points.shape[0]), dtype=x.dtype, device=x.device)
        self._run(cufinufft.nufft2d2, points, x, out, isign=-1)
        return out

    def _run(self, transform: Callable[..., object], points: Tensor, data: Tensor, out: Tensor, isign: int) -> None:
        kx, ky = (2 * math.pi * points.detach()).T.contiguous()
        stream = torch.cuda.current_stream(data.device).cuda_stream
        where = {"gpu_device_id": data.device.index, "gpu_stream": stream}
        try:
            transform(ky, kx, data, out=out, eps=self.tolerance, isign=isign, **where)
        except RuntimeError as error:
            # It says no more than "Error creating plan."; whoever goes on elsewhere must see that it is a device's.
            raise RuntimeError(f"cuFINUFFT: {error}") from error


class DirectBackend:
    """The sums as they are written, on any device: what a GPU does in less time than it plans a transform.

    exp(2 pi i p . r) is a factor along y times one along x, so a sum over all samples for all pixels is a product of
    two matrices, (ny, samples) and (samples, nx): 3.5 GFLOP for 8 coils and 13 spokes at 128 x 128, 246 for 34 spokes
    at 384 x 384. No table and no plan, and accurate to rounding.
    """

    def type1(self, points: Tensor, coefficients: Tensor, shape: tuple[int, int]) -> Tensor:
        along_y, along_x = self._waves(points, shape)
        return torch.stack([(along_y * values[:, None]).T @ along_x for values in coefficients])

    def type2(self, points: Tensor, images: Tensor) -> Tensor:
        along_y, along_x = (waves.conj() for waves in self._waves(points, (images.shape[-2], images.shape[-1])))
        return torch.stack([((along_y @ image) * along_x).sum(1) for image in images])

    @staticmethod
    def _waves(points: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """exp(2 pi i k r) along y and x, (samples, ny) and (samples, nx)."""
        made = []
        for k, n in zip((points[:, 1], points[:, 0]), shape, strict=True):
            turns = k.double()[:, None] * (torch.arange(n, device=k.device) - n // 2)
            # Whole turns go before the rounding to single precision, which has no digits to spare for them.
            angle = (2 * math.pi * (turns - turns.round())).to(points.dtype)
            made.append(torch.polar(torch.ones_like(angle), angle))
        return made[0], made[1]


class TorchKbBackend:
    """torchkbnufft (Muckley et al., ISMRM Workshop 2020): Kaiser-Bessel gridding in torch, on any device.

    The reference in tests. Its interpolation table makes it accurate to about 1e-3 of the largest value,
    whatever the precision; forward and adjoint use the same table, so they are adjoint to rounding.
    """

    def type1(self, points: Tensor, coefficients: Tensor, shape: tuple[int, int]) -> Tensor:
        import torchkbnufft

        adjoint = torchkbnufft.KbNufftAdjoint(im_size=shape, dtype=coefficients.dtype, device=coefficients.device)
        images: Tensor = adjoint(coefficients[None], self._omega(points))
        return images[0]

    def type2(self, points: Tensor, images: Tensor) -> Tensor:
        import torchkbnufft

        forward = torchkbnufft.KbNufft(im_size=tuple(images.shape[-2:]), dtype=images.dtype, device=images.device)
        samples: Tensor = forward(images[None], self._omega(points))
        return samples[0]

    @staticmethod
    def _omega(points: Tensor) -> Tensor:
        return 2 * math.pi * points.flip(-1).T


def _radians(points: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(ky, kx) in radians per pixel, contiguous: FINUFFT's first axis is the image's first."""
    radians = 2 * math.pi * points.detach().numpy()
    return np.ascontiguousarray(radians[:, 1]), np.ascontiguousarray(radians[:, 0])
