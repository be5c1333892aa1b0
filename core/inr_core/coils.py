"""Receive coils: compression to virtual coils, and receive maps from the data themselves."""

from __future__ import annotations

import torch
from torch import Tensor

from inr_core.errors import DataError
from inr_core.inner_products import squares
from inr_core.smoothing import box_mean


def compression_matrix(kspace: Tensor, n_virtual: int) -> Tensor:
    """Principal components of the coils (Buehrer et al., doi 10.1002/mrm.21237).

    Parameters
    ----------
    kspace : (coils, ...)
        Whitened samples of the first frame or frames.
    n_virtual
        Virtual coils wanted; fewer if there are fewer coils.

    Returns
    -------
    (virtual coils, coils), orthonormal rows, the strongest first. The phase of each row is fixed, so that the result
    does not depend on a decomposition's free choice.

    Raises
    ------
    DataError
        If the samples are not finite, or so large that their energy is not.
    """
    flat = kspace.reshape(kspace.shape[0], -1)
    correlation = flat @ flat.conj().T
    if not bool(torch.isfinite(torch.view_as_real(correlation)).all()):
        raise DataError(
            f"k-space whose largest sample is {float(flat.abs().max()):.3g}",
            "finite energy",
            "look at the sender's samples",
        )
    _, vectors = torch.linalg.eigh(correlation)
    rows = vectors.flip(-1)[:, :n_virtual].conj().T
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    aligned: Tensor = rows * (largest.conj() / largest.abs())
    return aligned


def walsh_maps(images: Tensor, window: int = 5, iterations: int = 10) -> Tensor:
    """Adaptive combination: the dominant eigenvector of each neighbourhood's coil correlation.

    Parameters
    ----------
    images : (coils, ny, nx)
        Images of each coil, low-passed.
    window
        Width of the neighbourhood, pixels, odd.
    iterations
        Of the power method.

    Returns
    -------
    (coils, ny, nx), unit root-sum-of-squares, phase relative to the first coil.

    References
    ----------
    Walsh et al., doi 10.1002/(SICI)1522-2594(200005)43:5<682::AID-MRM10>3.0.CO;2-G.
    """
    n_coils, ny, nx = images.shape
    products = (images[:, None] * images[None].conj()).reshape(n_coils * n_coils, ny, nx)
    mean = torch.complex(box_mean(products.real, window), box_mean(products.imag, window))
    correlation = mean.reshape(n_coils, n_coils, ny * nx)
    strongest = correlation.diagonal().real.argmax(1)
    vector = correlation[:, strongest, torch.arange(ny * nx, device=images.device)]
    for _ in range(iterations):
        # Pixels side by side: a product of a small matrix and a vector for each pixel takes ten times as long.
        vector = (correlation * vector).sum(1)
        vector = vector / squares(vector).sum(0).sqrt().clamp_min(torch.finfo(images.real.dtype).tiny)
    maps = vector.reshape(n_coils, ny, nx)
    return maps * torch.exp(-1j * maps[:1].angle())


def recombine(image: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """The image (ny, nx) that was combined by the maps ``before``, as the maps ``after`` combine it.

    Maps (coils, ny, nx) of unit root-sum-of-squares. Their common phase is free: without this an image made with one
    set of maps does not fit the next.
    """
    return (after.conj() * before * image).sum(0)


class SmoothMaps:
    """Receive maps as polynomials, fitted to the coil images together with the object (JSENSE, Ying and Sheng).

    A receive field is smooth where the object is not: coil image c is S_c rho with rho unknown. Given rho the
    coefficients of S_c in Legendre polynomials of total degree at most ``degree`` are a linear least-squares fit
    weighted by |rho|^2, the same small matrix for all coils; given S, rho is the adaptive combination. A few rounds
    from Walsh's maps settle it. Unlike maps made pixel by pixel, the fit is not noise where there is no signal, and
    continues smoothly into dark regions (lungs, air), which is worth half a decibel of the series.

    Parameters
    ----------
    shape
        (ny, nx) of the images.
    degree
        Total degree of the polynomials: 6 fits loops around the body; more follows small coils close to the skin.
    rounds
        Rounds of alternation from Walsh's maps; maps that are fitted again and again to more data need one each time.
    coarse
        Pixels across of the low-resolution images that Walsh's maps are taken from.

    References
    ----------
    Ying and Sheng, doi 10.1002/mrm.21245.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        degree: int = 6,
        rounds: int = 2,
        coarse: int = 32,
        device: str | torch.device = "cpu",
    ) -> None:
        self.shape, self.rounds = shape, rounds
        self._coarse = (min(coarse, shape[0]), min(coarse, shape[1]))
        orders = [(i, j) for i in range(degree + 1) for j in range(degree + 1 - i)]
        self._i = torch.tensor([i for i, _ in orders], device=device)
        self._j = torch.tensor([j for _, j in orders], device=device)
        self._py, self._px = (_legendre(n, degree, device) for n in shape)
        self._coarse_py, self._coarse_px = (_legendre(n, degree, device) for n in self._coarse)
        # High orders are held back a little: enough to settle them where the object is dark, too little to bias the
        # rest.
        self._penalty = ((self._i + self._j).double() / max(degree, 1)) ** 4 + 1e-3

    def fit(self, images: Tensor, maps: Tensor | None = None) -> Tensor:
        """Fit the maps.

        Parameters
        ----------
        images : (coils, ny, nx)
            Time-averaged images of each coil, at full resolution.
        maps : (coils, ny, nx)
            Maps to improve by a round; None to begin with Walsh's.

        Returns
        -------
        (coils, ny, nx) with unit root-sum-of-squares.

        Raises
        ------
        DataError
            If the shape is another one, or the images are zero or not finite.
        """
        if tuple(images.shape[1:]) != self.shape:
            raise DataError(f"coil images of shape {tuple(images.shape)}", f"(coils, {self.shape[0]}, {self.shape[1]})")
        peak = images.abs().max()
        if not bool(torch.isfinite(peak)) or float(peak) == 0.0:
            raise DataError("coil images without any signal", "data to make receive maps from", "check the receivers")
        if images.shape[0] == 1:
            return torch.ones_like(images)
        images = images / peak
        if maps is not None:
            return self._round(images, maps)
        maps = self._start(images)
        for _ in range(self.rounds):
            maps = self._round(images, maps)
        return maps

    def _start(self, images: Tensor) -> Tensor:
        """Walsh's maps at low resolution, as a first guess of the polynomials."""
        ny, nx = self.shape
        cy, cx = self._coarse
        spectrum = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(images, dim=(-2, -1))), dim=(-2, -1))
        top, left = ny // 2 - cy // 2, nx // 2 - cx // 2
        window = torch.hann_window(cy, device=images.device)[:, None] * torch.hann_window(cx, device=images.device)
        centre = spectrum[:, top : top + cy, left : left + cx] * window
        low = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(centre, dim=(-2, -1))), dim=(-2, -1))
        vectors = walsh_maps(low)
        weight = squares(low).sum(0)
        coefficients = self._solve(weight, weight * vectors, self._coarse_py, self._coarse_px)
        return _unit(self._render(coefficients, self._py, self._px))

    def _round(self, images: Tensor, maps: Tensor) -> Tensor:
        rho = (maps.conj() * images).sum(0)
        coefficients = self._solve(squares(rho), images * rho.conj(), self._py, self._px)
        return _unit(self._render(coefficients, self._py, self._px))

    def _solve(self, weight: Tensor, weighted: Tensor, py: Tensor, px: Tensor) -> Tensor:
        """Coefficients (orders, coils) that minimise sum_r weight |S|^2 - 2 Re(S* weighted)."""
        i, j = self._i, self._j
        # sum_yx w P_i(y) P_k(y) P_j(x) P_l(x), separably: the pairs (i, k) along y first.
        pairs_y = (py[:, :, None] * py[:, None, :]).reshape(py.shape[0], -1)
        pairs_x = (px[:, :, None] * px[:, None, :]).reshape(px.shape[0], -1)
        table = (pairs_y.T @ weight @ pairs_x).double().reshape(py.shape[1], py.shape[1], px.shape[1], px.shape[1])
        normal = table[i[:, None], i[None, :], j[:, None], j[None, :]]
        penalty = 1e-4 * normal.diagonal().mean() * self._penalty
        right = (py.T.to(weighted.dtype) @ weighted @ px.to(weighted.dtype))[:, i, j].T
        solved: Tensor = torch.linalg.solve((normal + penalty.diag()).to(torch.complex128), right.to(torch.complex128))
        return solved

    def _render(self, coefficients: Tensor, py: Tensor, px: Tensor) -> Tensor:
        full = coefficients.new_zeros(coefficients.shape[1], py.shape[1], px.shape[1])
        full[:, self._i, self._j] = coefficients.T
        full = full.to(torch.complex64)
        return py.to(full.dtype) @ full @ px.T.to(full.dtype)


def _legendre(n: int, degree: int, device: str | torch.device) -> Tensor:
    """(n, degree + 1): Legendre polynomials at pixel n // 2 = 0, the edges near -1 and 1."""
    u = (torch.arange(n, dtype=torch.float32, device=device) - n // 2) / (n / 2)
    columns = [torch.ones_like(u), u]
    for k in range(1, degree):
        columns.append(((2 * k + 1) * u * columns[k] - k * columns[k - 1]) / (k + 1))
    return torch.stack(columns[: degree + 1], dim=1)


def _unit(maps: Tensor) -> Tensor:
    sizes = squares(maps).sum(0).clamp_min(torch.finfo(torch.float32).tiny).rsqrt()
    unit = torch.empty_like(maps)  # no view of real numbers: what is kept of maps is known by the tensor they are in
    # As real numbers: torch makes complex ones of both factors otherwise, which takes three times as long.
    torch.mul(torch.view_as_real(maps), sizes[..., None], out=torch.view_as_real(unit))
    return unit
