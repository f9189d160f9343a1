"""CRC-32: zlib's, and for long pieces a compiled one that says the same four times as fast, once that was loaded.

Loading it loads numba, and in a new installation compiles for a second. So it is not loaded by the first long piece,
which may be read where nobody can wait, but by who is about to read or write many, in a worker thread.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

LONG = 1 << 15
"""Bytes from which on the call of a compiled function is worth it."""
_of_long: Callable[[bytes, int], int] = zlib.crc32
_loaded = False


def load_crc() -> None:
    """Have long pieces done by the compiled loop from now on, if this machine can."""
    global _of_long, _loaded
    if _loaded:
        return
    from phasegate.consensus import crc_kernel as kernel

    if kernel.is_usable() and kernel.crc32(bytes(kernel.STEP), 0) == zlib.crc32(bytes(kernel.STEP)):
        _of_long = kernel.crc32
    _loaded = True


def crc32(data: bytes, value: int = 0) -> int:
    """The CRC-32 of `data`, behind what has the CRC-32 `value`."""
    return _of_long(data, value) if len(data) >= LONG else zlib.crc32(data, value)
