"""How functions are compiled for a CPU by numba (doi 10.1145/2833157.2833162), and what arrays they take."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar
from zlib import crc32

import numpy as np
from numba import njit

from inr_core.function_cache import SharedCache

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]
Function = TypeVar("Function", bound=Callable[..., Any])

PART_OPTIONS: dict[str, Any] = {"fastmath": True, "error_model": "numpy", "forceinline": True}
part = njit(**PART_OPTIONS)
"""Compiled into what calls it."""


def compiled(function: Function, *parts: ModuleType) -> Function:
    """The function compiled when it is first called, kept on disk, and run without the interpreter's lock.

    Sums of products may be fused, and NaNs are not kept apart: samples that have some are refused before.

    Parameters
    ----------
    function
        Numbers that it takes from around it are constants of what is compiled.
    parts
        Other modules whose functions are compiled into it: what is kept is of no use when one of these changes.
    """
    if parts:
        sources = b"".join(Path(str(part.__file__)).read_bytes() for part in parts)
        function.__qualname__ += f"_{crc32(sources):08x}"  # a part of the name under which it is kept
    made = njit(nogil=True, fastmath=True, error_model="numpy")(function)
    try:
        made._cache = SharedCache(function)  # as its own ``cache=True`` does with numba's
    except RuntimeError as error:  # no folder that can be written to
        logger.warning(
            "compiled anew in each process: %s; set NUMBA_CACHE_DIR to a folder that can be written to", error
        )
    compiled_function: Function = made
    return compiled_function


def host_array(tensor: Tensor) -> Array:
    """A tensor on the host as an array, in the same memory unless it is a lazy conjugate."""
    array: Array = (tensor.detach().resolve_conj() if tensor.requires_grad or tensor.is_conj() else tensor).numpy()
    return array


def is_single_on_host(image: Tensor) -> bool:
    """Whether an image is one that compiled functions can take: complex, in single precision, on the host."""
    import torch

    return image.device.type == "cpu" and image.dtype == torch.complex64


def in_turn(image: Tensor) -> Array:
    """Images (.., ny, nx) complex64 as real and imaginary parts in turn, (.., ny, 2 nx); contiguous ones in place."""
    return np.ascontiguousarray(host_array(image)).view(np.float32)
