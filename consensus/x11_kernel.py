"""X11 for compiled loops: the C kernel under a name that numba links to, so that a batch is hashed in one call.

The address of the kernel differs from process to process. Compiled code therefore knows only its name, which is told
to the linker when this module is imported, and so it can be cached on disk. Nothing here has a state: any number of
threads may hash at once.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numba
import numpy as np
from llvmlite import binding
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit
from phasegate.consensus.x11 import HEADER_SIZE, kernel

Bytes = NDArray[np.uint8]

_NAME = "phasegate_x11"
binding.add_symbol(_NAME, ctypes.cast(kernel, ctypes.c_void_p).value)

x11_into: Any = numba.types.ExternalFunction(_NAME, numba.types.void(numba.types.uintp, numba.types.uintp))
"""For compiled code: hash the 80 bytes at the first address into the 32 bytes at the second."""


def hash_many(headers: bytes) -> bytes:
    """X11 of each of concatenated 80-byte headers, 32 bytes each."""
    hashes = np.empty(len(headers) // HEADER_SIZE * 32, np.uint8)
    hash_all(np.frombuffer(headers, np.uint8), hashes)
    return hashes.tobytes()


@jit
def hash_all(headers: Bytes, hashes: Bytes) -> None:
    """Hash concatenated headers.

    Args:
        headers: 80 bytes each.
        hashes: 32 bytes each, written.
    """
    source, target = headers.ctypes.data, hashes.ctypes.data
    for i in range(len(headers) // HEADER_SIZE):
        x11_into(source + np.uint64(HEADER_SIZE * i), target + np.uint64(32 * i))
