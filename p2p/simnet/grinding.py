"""Counting nonces, compiled: hashes in one call, without the GIL, until one meets the target."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit
from phasegate.consensus.x11 import HEADER_SIZE
from phasegate.consensus.x11_kernel import x11_into

Bytes = NDArray[np.uint8]

NONCES = 1 << 32


def grind(prefix: bytes, target: int) -> tuple[bytes, bytes]:
    """As `mining.mine`."""
    header = np.frombuffer(bytearray(prefix.ljust(HEADER_SIZE, b"\0")), np.uint8)
    found = np.zeros(32, np.uint8)
    limit = np.frombuffer(target.to_bytes(32, "little"), np.uint8)
    if not _grind(header, found, limit, NONCES):
        raise ValueError("no nonce meets the target")
    return header.tobytes(), found.tobytes()


@jit
def _grind(header: Bytes, found: Bytes, limit: Bytes, nonces: int) -> bool:
    source, target = header.ctypes.data, found.ctypes.data
    for nonce in range(nonces):
        for i in range(4):
            header[76 + i] = nonce >> 8 * i & 0xFF
        x11_into(source, target)
        place = 31
        while place > 0 and found[place] == limit[place]:
            place -= 1
        if found[place] <= limit[place]:
            return True
    return False
