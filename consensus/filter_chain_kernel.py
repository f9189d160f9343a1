"""Filters against the chain of their headers, compiled: loaded on first use, as all kernels are.

What a filter commits to is short: two double hashes, of the filter and of its hash with the filter header before. In
plain Python (`filters.chain_slowly`, `filters.filter_header`) the objects around them take most of the time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit
from phasegate.consensus.packed import Packed
from phasegate.consensus.sha256_kernel import Addresses, dsha_into, scratch, sha256

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]


@jit
def _chain_into(sha: Addresses, room: Bytes, hashes: Bytes, headers: Bytes) -> None:
    """Write the filter header for each of `hashes` behind the one before, which `headers` begins with."""
    pair = np.empty(64, np.uint8)
    for i in range(len(hashes) // 32):
        pair[:32] = hashes[32 * i : 32 * i + 32]
        pair[32:] = headers[32 * i : 32 * i + 32]
        dsha_into(sha, room, pair, 0, 64, headers, 32 * i + 32)


@jit
def _same(a: Bytes, at: int, b: Bytes, place: int) -> bool:
    """Whether 32 bytes are the same in both."""
    same = True
    for i in range(32):
        same &= a[at + i] == b[place + i]
    return same


@jit
def _lead_on(
    sha: Addresses, room: Bytes, names: Bytes, data: Bytes, offsets: Ints, hashes: Bytes, headers: Bytes, wanted: Bytes
) -> Any:
    """How many of the first filters are those that are `wanted`, and whether the last one of these is wrong."""
    pair, header = np.empty(64, np.uint8), np.empty(32, np.uint8)
    count = min(len(names), len(hashes)) // 32
    for i in range(count):
        if not wanted[i] or not _same(names, 32 * i, hashes, 32 * i):
            return i, False
        dsha_into(sha, room, data, offsets[i], offsets[i + 1], pair, 0)
        pair[32:] = headers[32 * i : 32 * i + 32]
        dsha_into(sha, room, pair, 0, 64, header, 0)
        wanted[i] = 0
        if not _same(header, 0, headers, 32 * i + 32):
            return i + 1, True
    return count, False


def chain(prev: bytes, hashes: bytes) -> bytes:
    """What `filters.chain_headers` promises."""
    headers = np.empty(32 + len(hashes) // 32 * 32, np.uint8)
    headers[:32] = np.frombuffer(prev, np.uint8)
    _chain_into(sha256(), scratch(), np.frombuffer(hashes, np.uint8), headers)
    return headers[32:].tobytes()


def lead_on(names: bytes, filters: Packed, hashes: bytes, headers: bytes, wanted: bytearray) -> tuple[int, bool]:
    """Judge filters that came one behind the other, up to the first that is wrong or was not to come next.

    Args:
        names: 32 bytes a filter: the hash of the block that it is said to be of.
        filters: these.
        hashes: of the blocks whose filters are to come next, 32 bytes each.
        headers: the filter header before the first of these, and theirs: 32 bytes each.
        wanted: a byte for each: 1 while its filter has not come, which is set to 0 for those that have now.

    Returns:
        How many came as they were to come, and whether the last of them does not lead to its filter header.
    """
    arrays = [np.frombuffer(raw, np.uint8) for raw in (names, filters.data, hashes, headers)]
    names_, data, hashes_, headers_ = arrays
    wanted_ = np.frombuffer(wanted, np.uint8)
    taken, wrong = _lead_on(sha256(), scratch(), names_, data, filters.offsets, hashes_, headers_, wanted_)
    return int(taken), bool(wrong)
