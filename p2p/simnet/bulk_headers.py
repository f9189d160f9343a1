"""The headers of a bulk chain: mined one after the other, their difficulty that of DarkGravityWave at each height.

Blocks come a little faster than they should for a time, then slower, as the difficulty follows; so most headers have
bits of their own, as on mainnet. All have the same version, so that a compressed header [DIP25] depends on the one
before it alone, and an answer is a slice of what was compressed once: only its first two records are made anew.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.codec import compact_size, u32
from phasegate.consensus.difficulty import WINDOW, compact_to_target, next_target, target_to_compact
from phasegate.consensus.params import SPACING
from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.p2p.compressed import BITS as BITS_FOLLOW
from phasegate.p2p.compressed import FULL
from phasegate.p2p.simnet.bulk_plan import BEGIN, BITS, VERSION, BulkPlan, bulk_network
from phasegate.p2p.simnet.mining import mine

EVEN = SPACING * WINDOW / (WINDOW - 1)
"""Seconds between blocks at which the difficulty stays: the rule measures 23 intervals as if they were 24."""
_TRIMMED = 5000
_REMEMBERED = 1
"""The place of the one version among those a receiver remembers."""
_SHORT, _LONG = 1 + 32 + 2 + 4, 1 + 32 + 2 + 4 + 4


def mined(plan: BulkPlan) -> Iterator[tuple[bytes, bytes]]:
    """Each header from genesis to the tip, 80 bytes, with its hash, 32 bytes in wire order."""
    network, header = bulk_network(), bulk_network().genesis
    last = x11(header)
    yield header, last
    chance, times, targets = random.Random(f"phasegate bulk {plan.seed}"), [BEGIN], [compact_to_target(BITS)]
    version = u32(VERSION)
    for height in range(1, plan.headers + 1):
        if height == plan.fork_at + 1 and plan.fork:
            chance.seed(f"phasegate bulk {plan.seed} fork {plan.fork}")
        bits = target_to_compact(next_target(network, height, times, targets, times[-1]))
        target = compact_to_target(bits)
        times.append(times[-1] + int(EVEN * (0.4 + 1.2 * chance.random()) * network.pow_limit / target))
        targets.append(target)
        header, last = mine(version + last + plan.root(height) + u32(times[-1]) + u32(bits), target)
        yield header, last
        if len(times) > _TRIMMED:
            del times[:-WINDOW], targets[:-WINDOW]


def steady_records(headers: NDArray[np.uint8]) -> tuple[bytes, NDArray[np.int64]]:
    """What compressed headers are in the middle of a message, and where each begins.

    Args:
        headers: n of them, as an array of n rows of 80 bytes, from genesis on.

    Returns:
        The records of all but the first, concatenated, and n + 1 offsets: record `i` lies between `i` and `i + 1`, that
        of genesis is empty.
    """
    times = headers[:, 68:72].copy().view("<u4").ravel()
    changed = np.any(headers[1:, 72:76] != headers[:-1, 72:76], axis=1)
    sizes = np.concatenate([[0, 0], np.where(changed, _LONG, _SHORT)])
    offsets: NDArray[np.int64] = np.cumsum(sizes, dtype=np.int64)
    records = np.empty(int(offsets[-1]), np.uint8)
    steps = (times[1:] - times[:-1]).astype("<u2").view(np.uint8).reshape(-1, 2)
    for size, chosen in ((_SHORT, np.flatnonzero(~changed)), (_LONG, np.flatnonzero(changed))):
        flags = np.full((len(chosen), 1), _REMEMBERED | (BITS_FOLLOW if size == _LONG else 0), np.uint8)
        rest = headers[1:][chosen]
        fields = [flags, rest[:, 36:68], steps[chosen], rest[:, 72:80] if size == _LONG else rest[:, 76:80]]
        records[offsets[1:-1][chosen][:, None] + np.arange(size)] = np.concatenate(fields, axis=1)
    return records.tobytes(), offsets


def first_records(first: bytes, second: bytes) -> bytes:
    """The records that begin a message: a whole header, and one that tells the version once more."""
    step = (int.from_bytes(second[68:72], "little") - int.from_bytes(first[68:72], "little")) & 0xFFFF
    changed = first[72:76] != second[72:76]
    flags, bits = (BITS_FOLLOW, second[72:76]) if changed else (0, b"")
    time = step.to_bytes(2, "little")
    return bytes((FULL,)) + first + bytes((flags,)) + second[:4] + second[36:68] + time + bits + second[76:HEADER_SIZE]


def compressed(count: int, headers: bytes, steady: bytes) -> bytes:
    """The payload of a `headers2` message of `count` headers.

    Args:
        count: how many.
        headers: the first two, or as many as there are.
        steady: the steady records of those that follow.
    """
    first, second = headers[:HEADER_SIZE], headers[HEADER_SIZE : 2 * HEADER_SIZE]
    if count > 1:
        return compact_size(count) + first_records(first, second) + steady
    return compact_size(count) + (bytes((FULL,)) + first if count else b"")
