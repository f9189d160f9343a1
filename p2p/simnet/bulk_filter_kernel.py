"""Making bulk filters, compiled; what the numbers are stands in `bulk_filters`.

Everything is unsigned 64 bits: mixing in a signed literal would turn a product into a float, hence the named constants.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit
from phasegate.p2p.simnet.bulk_filters import MIX_1, MIX_2, STEP

_M, _P = np.uint64(784931), 19
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)
_A, _B, _C = np.uint64(STEP), np.uint64(MIX_1), np.uint64(MIX_2)
_27, _30, _31 = np.uint64(27), np.uint64(30), np.uint64(31)
_1 = np.uint64(1)


@jit
def _splitmix(state: Any) -> Any:
    z = state + _A
    z = (z ^ (z >> _30)) * _B
    z = (z ^ (z >> _27)) * _C
    return z ^ (z >> _31)


@jit
def _high_product(a: Any, b: Any) -> Any:
    """The upper 64 bits of `a * b`, `b` below 2^32."""
    return ((a >> _32) * b + (((a & _LOW) * b) >> _32)) >> _32


@jit
def _golomb(values: Any, out: Any, start: int) -> int:
    """Write the differences of ascending `values` as bits into zeros from `out[start]` on; the end is returned."""
    bit, last = start * 8, np.uint64(0)
    for value in values:
        delta = value - last
        last = value
        for _ in range(delta >> np.uint64(_P)):
            out[bit >> 3] |= np.uint8(128 >> (bit & 7))
            bit += 1
        bit += 1
        for place in range(_P - 1, -1, -1):
            if (delta >> np.uint64(place)) & _1:
                out[bit >> 3] |= np.uint8(128 >> (bit & 7))
            bit += 1
    return (bit + 7) >> 3


@jit
def encode_all(
    start: Any,
    first: int,
    count: int,
    least: int,
    more: int,
    out: NDArray[np.uint8],
    room: int,
    sizes: NDArray[np.int64],
) -> None:
    """Write `count` filters, each at a multiple of `room` bytes into zeros, and what size each has."""
    for i in range(count):
        state = _splitmix(start ^ np.uint64(first + i))
        elements = least + np.int64((state >> _32) % np.uint64(more + 1))
        values = np.empty(elements, np.uint64)
        for j in range(elements):
            values[j] = _high_product(_splitmix(state + np.uint64(j + 1)), np.uint64(elements) * _M)
        values.sort()
        out[i * room] = np.uint8(elements)
        sizes[i] = _golomb(values, out, i * room + 1) - i * room
