"""The compiled product against that of torch in double precision."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch

from inr_core.operators import prepared, toeplitz
from inr_core.operators.column_blocks import W, from_blocks, in_blocks
from inr_core.operators.column_transform import radices, tables
from inr_core.operators.compiled_gram import CompiledProduct, compiled_product
from inr_core.operators.prepared import is_prepared, prepare
from inr_core.operators.toeplitz import ToeplitzGram, bring_in_order, sum_of_kernels, weighted_sum
from oracles import adjointness_error, rand

SHAPES = [(128, 128), (15, 22)]  # (ny, nx): whole blocks, none, and stages of 2, 3, 4, 5, 8 and 11


def single(*shape: int, seed: int = 0) -> torch.Tensor:
    return rand(*shape, seed=seed).to(torch.complex64)


@pytest.fixture
def always_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toeplitz, "is_prepared", lambda shape: True)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.usefixtures("always_compiled")
def test_it_is_the_product_of_torch(shape: tuple[int, int], frames: int) -> None:
    kernel, csm, x = single(frames, 4, *shape).real.clone(), single(3, *shape, seed=1), single(frames, *shape, seed=2)
    expected = ToeplitzGram(kernel.double(), csm.to(torch.complex128)).forward(x.to(torch.complex128))
    gram = ToeplitzGram(kernel, csm)
    assert (gram.forward(x) - expected).norm() < 1e-6 * expected.norm()
    assert adjointness_error(gram, x, single(frames, *shape, seed=3)) < 1e-6


@pytest.mark.usefixtures("always_compiled")
def test_another_kernel_on_the_same_maps() -> None:
    csm, x = single(3, 15, 22), single(1, 15, 22, seed=1)
    first, second = (single(1, 4, 15, 22, seed=seed).real.clone() for seed in (2, 3))
    used = ToeplitzGram(first, csm)
    used.forward(x)
    expected = ToeplitzGram(second, csm).forward(x)
    torch.testing.assert_close(used.with_kernel(second).forward(x), expected, rtol=0, atol=0)


@pytest.mark.usefixtures("always_compiled")
def test_maps_that_are_changed_in_place_or_are_others_are_not_those_that_were_kept() -> None:
    shape = (15, 22)
    kernel, csm, x = single(1, 4, *shape).real.clone(), single(4, *shape, seed=1), single(1, *shape, seed=2)

    def error(maps: torch.Tensor) -> float:
        expected = ToeplitzGram(kernel.double(), maps.to(torch.complex128)).forward(x.to(torch.complex128))
        return float((ToeplitzGram(kernel, maps).forward(x) - expected).norm() / expected.norm())

    for maps in (csm, csm[:2], csm[2:], csm[::2], csm.conj(), csm[:2].conj(), csm.mT.contiguous().mT):
        assert error(maps) < 1e-6
    csm *= 2
    assert error(csm) < 1e-6 and error(csm[:2]) < 1e-6
    csm[:1] += 1
    assert error(csm) < 1e-6 and error(csm[:2]) < 1e-6


@pytest.mark.usefixtures("always_compiled")
def test_lazy_conjugates_and_views_are_what_they_say() -> None:
    shape = (15, 22)
    kernel, csm, x = single(1, 4, *shape).real.clone(), single(4, *shape, seed=1), single(1, *shape, seed=2)
    expected = ToeplitzGram(kernel, csm[::2].conj().resolve_conj().clone()).forward(x.conj().resolve_conj())
    lazy = ToeplitzGram(single(1, 4, *shape).real, csm[::2].conj()).forward(x.conj())
    torch.testing.assert_close(lazy, expected, rtol=0, atol=0)


@pytest.mark.parametrize("n", [2, 8, 15, 22, 36, 96, 128, 130, 512])
def test_radices_make_the_size_and_tables_an_order(n: int) -> None:
    found = radices(n)
    assert found is not None and np.prod(found, initial=1) == n
    assert sorted(tables(n).order) == list(range(n))


@pytest.mark.parametrize("n", [1, 17, 4 * 19, 2**19])
def test_sizes_without_stages_are_left_to_torch(n: int) -> None:
    assert radices(n) is None
    for shape in ((n, 128), (128, n)):
        assert not prepare(shape) and not is_prepared(shape)


def test_a_size_whose_double_has_no_stages_is_left_to_torch() -> None:
    assert radices(729) and not radices(2 * 729)
    assert not prepare((729, 128)) and not is_prepared((729, 128))


def test_sizes_that_nobody_has_prepared_for_are_left_to_torch() -> None:
    assert not is_prepared((96, 120))
    assert prepare((64, 120)) and is_prepared((64, 120))
    assert not is_prepared((120, 64))


def test_blocks_hold_the_image_with_columns_side_by_side() -> None:
    image = single(2, 5, W + 3).numpy()
    blocks = in_blocks(image)
    assert blocks.shape == (2, 2, 2 * 5 * W)
    assert blocks[1, 1, 4 * W + 2] == image[1, 4, W + 2].real
    assert blocks[1, 1, 5 * W + 4 * W + 2] == image[1, 4, W + 2].imag
    assert not blocks[:, 1].reshape(2, 2, 5, W)[..., 3:].any()
    np.testing.assert_array_equal(from_blocks(blocks[1], (5, W + 3)), image[1])


def test_it_is_found_again_by_the_next_process(tmp_path: Path) -> None:
    program = """
import numpy as np
from inr_core.operators import compiled_gram as g
from inr_core.operators.column_blocks import in_blocks
p = g.compiled_product((2, 3))
x = in_blocks(np.ones((1, 2, 3), np.complex64))
p(x[0], x, p.sorted(np.ones((4, 2, 3), np.float32)))
print(sum(p._product.stats.cache_hits.values()), sum(p._product.stats.cache_misses.values()))
"""
    found = []
    for _ in range(2):
        command = [sys.executable, "-c", program]
        environment = {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin"}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
        found.append(run.stdout.split())
    assert found == [["0", "1"], ["1", "0"]]


@pytest.mark.usefixtures("always_compiled")
def test_products_of_many_coils_are_shared_among_cores_with_the_same_sum() -> None:
    shape = (128, 128)
    kernel, csm, x = single(1, 4, *shape).real.clone(), single(5, *shape, seed=1), single(1, *shape, seed=2)
    product = compiled_product(shape)
    alone = product(in_blocks(x.numpy())[0], in_blocks(csm.numpy()), product.sorted(kernel[0].numpy()))
    shared = ToeplitzGram(kernel, csm).forward(x)[0]
    assert (shared - torch.from_numpy(alone)).norm() < 1e-6 * shared.norm()


def test_a_sum_of_kernels_is_in_order_where_its_parts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, weights = (15, 22), (1.0, 0.4, 0.2)
    monkeypatch.setattr(prepared, "_PREPARED", {shape})
    kernels = [rand(1, 4, *shape, seed=seed).real.float() for seed in range(3)]
    csm, image = rand(2, *shape, seed=3).to(torch.complex64), rand(1, *shape, seed=4).to(torch.complex64)
    expected = sum(w * ToeplitzGram(k, csm).forward(image) for w, k in zip(weights, kernels, strict=True))
    total = sum_of_kernels(weights, kernels)
    torch.testing.assert_close(total, sum(w * k for w, k in zip(weights, kernels, strict=True)))
    made, brought = list[int](), CompiledProduct.sorted

    def noted(product: CompiledProduct, kernel: np.ndarray) -> np.ndarray:
        made.append(1)
        return brought(product, kernel)

    monkeypatch.setattr(CompiledProduct, "sorted", noted)
    torch.testing.assert_close(ToeplitzGram(total, csm).forward(image), expected, rtol=1e-4, atol=1e-4)
    assert not made  # the parts were in it, and their sum is
    kernels[1] *= 2  # what was known of it is out of date
    other = sum_of_kernels(weights, kernels)
    changed = expected + weights[1] * 0.5 * ToeplitzGram(kernels[1], csm).forward(image)
    torch.testing.assert_close(ToeplitzGram(other, csm).forward(image), changed, rtol=1e-4, atol=1e-4)
    assert len(made) == 1  # that part alone


def test_a_kernel_can_be_brought_in_order_before_there_is_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (15, 22)
    kernel = rand(1, 4, *shape).real.float()
    monkeypatch.setattr(prepared, "_PREPARED", set())
    monkeypatch.setattr(toeplitz, "_KEPT_KERNELS", kept := deque(maxlen=2))
    for nothing in (kernel, kernel.double()):
        bring_in_order(nothing)
    assert not kept  # where no product is compiled
    prepared.prepare(shape)
    bring_in_order(kernel)
    assert len(kept) == 1


def test_a_sum_is_none_of_its_parts_and_leaves_them_as_they_are() -> None:
    parts = [torch.full((2,), float(i)) for i in (1, 2, 3)]
    for n in (1, 2, 3):
        for first in (1.0, 0.5):
            total = weighted_sum((first, 10.0, 100.0)[:n], parts[:n])
            assert total[0] == first + (20 if n > 1 else 0) + (300 if n > 2 else 0)
            assert all(total.data_ptr() != part.data_ptr() for part in parts)
    assert [float(part[0]) for part in parts] == [1, 2, 3]
