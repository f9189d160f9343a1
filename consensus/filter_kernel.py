"""Matching BIP158 filters, compiled: numba takes about a second to import, so `filters` loads this on first use.

The loops run without the GIL and are cached on disk after their first compilation. Everything is unsigned 64 bits:
mixing in a signed literal would turn a product into a float, hence the named constants. A filter is decoded to its very
end, never only up to the first match, so that the verdict "malformed" does not depend on what is watched.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Ints = NDArray[np.int64]
Verdicts = NDArray[np.int8]

MALFORMED, NO_MATCH, MATCH = -1, 0, 1

_0, _1, _8 = np.uint64(0), np.uint64(1), np.uint64(8)
_P = np.uint64(19)
_M = np.uint64(784931)
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_FF = np.uint64(0xFF)
_I0, _I1, _I2, _I3 = (
    np.uint64(int.from_bytes(b"somepseudorandomlygeneratedbytes"[i : i + 8], "big")) for i in (0, 8, 16, 24)
)


@jit
def _rotate(x: np.uint64, by: int) -> np.uint64:
    return (x << np.uint64(by)) | (x >> np.uint64(64 - by))


@jit
def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 += v1
    v2 += v3
    v1 = _rotate(v1, 13) ^ v0
    v3 = _rotate(v3, 16) ^ v2
    v0 = _rotate(v0, 32)
    v2 += v1
    v0 += v3
    v1 = _rotate(v1, 17) ^ v2
    v3 = _rotate(v3, 21) ^ v0
    v2 = _rotate(v2, 32)
    return v0, v1, v2, v3


@jit
def _siphash(k0: Any, k1: Any, words: Words, start: int, end: int) -> Any:
    v0, v1, v2, v3 = _I0 ^ k0, _I1 ^ k1, _I2 ^ k0, _I3 ^ k1
    for i in range(start, end):
        v3 ^= words[i]
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= words[i]
    v2 ^= _FF
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


@jit
def _high_product(a: Any, b: Any) -> Any:
    """The upper 64 bits of `a * b`."""
    a1, a0, b1, b0 = a >> _32, a & _LOW, b >> _32, b & _LOW
    middle = a1 * b0 + ((a0 * b0) >> _32)
    rest = a0 * b1 + (middle & _LOW)
    return a1 * b1 + (middle >> _32) + (rest >> _32)


@jit
def _read_count(data: Bytes, start: int, end: int) -> Any:
    """The CompactSize at `start`: `(count, where the bits begin)`, or `(-1, 0)`."""
    if start >= end:
        return -1, 0
    first = np.int64(data[start])
    if first < 0xFD:
        return first, start + 1
    width = 2 if first == 0xFD else 4
    if first == 0xFF or start + 1 + width > end:
        return -1, 0
    count = np.int64(0)
    for i in range(width):
        count |= np.int64(data[start + 1 + i]) << (8 * i)
    if count < (0xFD if width == 2 else 0x10000):
        return -1, 0
    return count, start + 1 + width


@jit
def _scan(data: Bytes, start: int, end: int, count: int, wanted: Words) -> int:
    """Decode `count` deltas from the bits in `data[start:end]`, merging with the sorted `wanted` values."""
    limit = np.uint64(count) * _M
    value, verdict, at, bit, bits = _0, NO_MATCH, 0, start * 8, end * 8
    for _ in range(count):
        while bit < bits and data[bit >> 3] == 0xFF and bit & 7 == 0:
            value += _8 << _P
            bit += 8
        while bit < bits and (data[bit >> 3] >> (7 - (bit & 7))) & 1:
            value += _1 << _P
            bit += 1
        bit += 1
        if bit + 19 > bits:
            return MALFORMED
        byte = bit >> 3
        window = np.uint64(data[byte]) << np.uint64(24) | np.uint64(data[byte + 1]) << np.uint64(16)
        window |= np.uint64(data[byte + 2]) << _8
        if bit & 7 > 5:
            window |= np.uint64(data[byte + 3])
        value += (window >> np.uint64(13 - (bit & 7))) & np.uint64(0x7FFFF)
        bit += 19
        if value >= limit:
            return MALFORMED
        while at < len(wanted) and wanted[at] < value:
            at += 1
        if at < len(wanted) and wanted[at] == value:
            verdict = MATCH
    if bits - bit >= 8 or (bit & 7 and data[bit >> 3] & (0xFF >> (bit & 7))):
        return MALFORMED
    return verdict


@jit
def match_all(keys: Words, data: Bytes, offsets: Ints, words: Words, word_offsets: Ints, verdicts: Verdicts) -> None:
    """Judge each filter.

    Args:
        keys: two SipHash key words a filter.
        data: all filters, concatenated.
        offsets: where each begins, and the end of the last.
        words: all watched elements as padded SipHash words, concatenated.
        word_offsets: where each begins, and the end of the last.
        verdicts: int8 a filter, written: MALFORMED, NO_MATCH or MATCH.
    """
    items = len(word_offsets) - 1
    wanted = np.empty(items, np.uint64)
    for i in range(len(offsets) - 1):
        count, start = _read_count(data, offsets[i], offsets[i + 1])
        if count < 0 or count * 20 > (offsets[i + 1] - start) * 8:
            verdicts[i] = MALFORMED
            continue
        span = np.uint64(count) * _M
        for j in range(items):
            hashed = _siphash(keys[2 * i], keys[2 * i + 1], words, word_offsets[j], word_offsets[j + 1])
            wanted[j] = _high_product(hashed, span)
        wanted.sort()
        verdicts[i] = _scan(data, start, offsets[i + 1], count, wanted)
