"""Compressed headers, expanded and hashed by compiled code: one call for a whole message, without the GIL.

A header needs the hash of the one before it, so expanding is hashing, one header after the other. The loop stops before
the first record that it cannot expand and never says why: `compressed.Expansion` goes on from there in plain Python,
which does. Every record is measured against the bytes that are left before it is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit
from phasegate.consensus.x11 import HEADER_SIZE
from phasegate.consensus.x11_kernel import x11_into
from phasegate.p2p.compressed import BITS, FULL, PREV, REMEMBERED, TIME, VERSION_MASK

Bytes = NDArray[np.uint8]
Bounds = tuple[int, int, int]


@jit
def _copy(source: Bytes, at: int, target: Bytes, to: int, count: int) -> int:
    """Copy bytes; returns where the source goes on."""
    for i in range(count):
        target[to + i] = source[at + i]
    return at + count


@jit
def _use_version(versions: Bytes, place: Any) -> None:
    """Move the version at `place` (1 is the first) to the front."""
    for i in range(4):
        moved = versions[4 * place - 4 + i]
        for j in range(place - 1, 0, -1):
            versions[4 * j + i] = versions[4 * j - 4 + i]
        versions[i] = moved


@jit
def expand(records: Bytes, at: int, begun: bool, versions: Bytes, known: int, headers: Bytes, hashes: Bytes) -> Bounds:
    """Expand records until `headers` is full.

    Args:
        records: of the whole message.
        at: where the next one begins.
        begun: whether there was one before it.
        versions: the most recently used ones, 4 bytes each, newest first, room for `REMEMBERED`; kept up to date.
        known: how many these are.
        headers: 80 bytes each, the last one before in front; the others are written.
        hashes: 32 bytes each, likewise.

    Returns:
        How many headers were expanded, where the next record begins, and how many versions are known.
    """
    source, target = headers.ctypes.data, hashes.ctypes.data
    for done in range(len(headers) // HEADER_SIZE - 1):
        if at >= len(records):
            return done, at, known
        flags = np.int64(records[at])
        place = flags & VERSION_MASK
        size = 37 + (0 if place else 4) + (4 if flags & TIME else 2)
        size += (32 if flags & PREV else 0) + (4 if flags & BITS else 0)
        if at + size > len(records) or place > known or not (begun or done or flags == FULL):
            return done, at, known
        old, new = HEADER_SIZE * done, HEADER_SIZE * (done + 1)
        at += 1
        if place:
            _use_version(versions, place)
        else:
            known = min(known + 1, REMEMBERED)
            _use_version(versions, known)
            at = _copy(records, at, versions, 0, 4)
        _copy(versions, 0, headers, new, 4)
        if flags & PREV:
            at = _copy(records, at, headers, new + 4, 32)
        else:
            _copy(hashes, 32 * done, headers, new + 4, 32)
        at = _copy(records, at, headers, new + 36, 32)
        if flags & TIME:
            at = _copy(records, at, headers, new + 68, 4)
        else:
            step = np.int64(records[at]) | np.int64(records[at + 1]) << 8
            time = step - (step & 0x8000) * 2
            for i in range(4):
                time += np.int64(headers[old + 68 + i]) << 8 * i
            for i in range(4):
                headers[new + 68 + i] = time >> 8 * i & 0xFF
            at += 2
        if flags & BITS:
            at = _copy(records, at, headers, new + 72, 4)
        else:
            _copy(headers, old + 72, headers, new + 72, 4)
        at = _copy(records, at, headers, new + 76, 4)
        x11_into(source + np.uint64(new), target + np.uint64(32 * (done + 1)))
    return len(headers) // HEADER_SIZE - 1, at, known
