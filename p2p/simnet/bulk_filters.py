"""The filters of bulk blocks that pay to nobody: numbers from a seed, Golomb-coded, a thousand in some milliseconds.

A filter's numbers are the hashes of its elements, so evenly spread over 0 .. N * M; where nobody can know the elements,
such numbers are all there is to make. They come from splitmix64, started by the height, so that each filter can be made
by itself. `ordinary_values` says the same in plain Python.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from phasegate.consensus.filters import M

SPREAD = 0.4
"""A filter has at least this much less, at most this much more than the usual number of elements."""
_MASK = (1 << 64) - 1
STEP, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MOST = 250
"""Elements, so that the count in front is one byte."""


def splitmix(state: int) -> int:
    """The number, 64 bits, that splitmix64 makes of a state."""
    z = state + STEP & _MASK
    z = (z ^ z >> 30) * MIX_1 & _MASK
    z = (z ^ z >> 27) * MIX_2 & _MASK
    return z ^ z >> 31


def ordinary_values(start: int, height: int, elements: int) -> list[int]:
    """The numbers in the filter at `height`, ascending; `start` makes one chain's differ from another's.

    Raises:
        ValueError: a filter cannot have so many elements.
    """
    least, more = _counts(elements)
    state = splitmix(start ^ height)
    span = (least + (state >> 32) % (more + 1)) * M
    return sorted([splitmix(state + i + 1 & _MASK) * span >> 64 for i in range(span // M)])


def ordinary_filters(start: int, first: int, count: int, elements: int) -> list[bytes]:
    """The filters of `count` heights from `first` on, their counts included."""
    least, more = _counts(elements)
    room = 1 + (least + more) * 4
    out, sizes = np.zeros(count * room, np.uint8), np.zeros(count, np.int64)
    _encode_all()(np.uint64(start), first, count, least, more, out, room, sizes)
    raw = out.tobytes()
    return [raw[i * room : i * room + int(sizes[i])] for i in range(count)]


def _counts(elements: int) -> tuple[int, int]:
    least, more = int(elements * (1 - SPREAD)), int(elements * SPREAD * 2)
    if not 0 < least <= least + more <= _MOST:
        raise ValueError(f"{elements} elements are too few or too many for a bulk filter")
    return least, more


@lru_cache(maxsize=1)
def _encode_all() -> Any:
    """The compiled encoder; numba takes a second to import."""
    from phasegate.p2p.simnet.bulk_filter_kernel import encode_all

    return encode_all
