"""The merkle root of a block from its bytes, compiled: loaded on first use, as all kernels are.

A block of ten transactions is thirty short hashes, and in plain Python each costs more as objects than as a hash.
`RawBlock.txids` and `merkle.merkle_root` are the same in plain Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit
from phasegate.consensus.sha256_kernel import Addresses, dsha_into, scratch, sha256

Bytes = NDArray[np.uint8]
Starts = NDArray[np.int32]


@jit
def _has_twins(level: Bytes, count: int) -> bool:
    """Whether two neighbours are equal, of which the first stands at an even place."""
    for i in range(count // 2):
        same = True
        for k in range(64 * i, 64 * i + 32):
            same &= level[k] == level[k + 32]
        if same:
            return True
    return False


@jit
def root_into(sha: Addresses, room: Bytes, data: Bytes, starts: Starts, level: Bytes) -> bool:
    """Write the root over the transactions of `data` to the beginning of `level`, which has room for one hash more.

    Returns:
        Whether equal neighbours betray a doubled list.
    """
    count, mutated = len(starts) - 1, False
    for i in range(count):
        dsha_into(sha, room, data, starts[i], starts[i + 1], level, 32 * i)
    while count > 1:
        mutated |= _has_twins(level, count)
        if count & 1:
            level[32 * count : 32 * count + 32] = level[32 * count - 32 : 32 * count]
            count += 1
        count //= 2
        for i in range(count):
            dsha_into(sha, room, level, 64 * i, 64 * i + 64, level, 32 * i)
    return mutated


def root_of(raw: bytes, starts: Any) -> tuple[bytes, bool]:
    """What `merkle.merkle_root` says of the ids of all transactions in `raw`.

    Args:
        raw: a block.
        starts: where in it each transaction begins and the last one ends: int32.
    """
    level = np.zeros(32 * len(starts), np.uint8)
    mutated = root_into(sha256(), scratch(), np.frombuffer(raw, np.uint8), starts, level)
    return level[:32].tobytes(), bool(mutated)
