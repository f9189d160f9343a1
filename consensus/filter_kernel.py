"""Matching BIP158 filters, compiled: numba takes about a second to import, so `filters` loads this on first use.

The loops run without the GIL and are cached on disk after their first compilation. Everything is unsigned 64 bits:
mixing in a signed literal would turn a product into a float, hence the named constants. A filter is decoded to its very
end, never only up to the first match, so that the verdict "malformed" does not depend on what is watched.

The time goes into two loops. Decoding looks at 64 bits at once: the quotient is the number of leading ones. Hashing
what is watched goes over elements of one length side by side, so that the machine hashes several at a time; scripts
have 23 or 25 bytes, three words or four. Each hash is looked up in a bitmap over the filter's numbers, which has
sixty-four bits for each of them and so says no to nearly all, and what it admits in the numbers themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit
from phasegate.consensus.machine_words import leading_zeros, load_big_endian

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]
Ints = NDArray[np.int64]
Verdicts = NDArray[np.int8]

MALFORMED, NO_MATCH, MATCH = -1, 0, 1
_0, _1, _8 = np.uint64(0), np.uint64(1), np.uint64(8)
_P, _P1 = np.uint64(19), np.uint64(20)
_REST = np.uint64(45)
_M = np.uint64(784931)
_LOW = np.uint64(0xFFFFFFFF)
_32, _63, _64 = np.uint64(32), np.uint64(63), np.uint64(64)
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
def _begin(k0: Any, k1: Any) -> Any:
    return _I0 ^ k0, _I1 ^ k1, _I2 ^ k0, _I3 ^ k1


@jit
def _mix(v0: Any, v1: Any, v2: Any, v3: Any, word: Any) -> Any:
    v3 ^= word
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ word, v1, v2, v3


@jit
def _finish(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v2 ^= _FF
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


@jit
def _hash_of_3(k0: Any, k1: Any, words: Words, start: int, count: int, hashes: Words) -> None:
    a, b, c = words[start : start + count], words[start + count :], words[start + 2 * count :]
    for j in range(count):
        v0, v1, v2, v3 = _begin(k0, k1)
        v0, v1, v2, v3 = _mix(v0, v1, v2, v3, a[j])
        v0, v1, v2, v3 = _mix(v0, v1, v2, v3, b[j])
        v0, v1, v2, v3 = _mix(v0, v1, v2, v3, c[j])
        hashes[j] = _finish(v0, v1, v2, v3)


@jit
def _hash_of_4(k0: Any, k1: Any, words: Words, start: int, count: int, hashes: Words) -> None:
    a, b, c = words[start : start + count], words[start + count :], words[start + 2 * count :]
    d = words[start + 3 * count :]
    for j in range(count):
        v0, v1, v2, v3 = _begin(k0, k1)
        v0, v1, v2, v3 = _mix(v0, v1, v2, v3, a[j])
        v0, v1, v2, v3 = _mix(v0, v1, v2, v3, b[j])
        v0, v1, v2, v3 = _mix(v0, v1, v2, v3, c[j])
        v0, v1, v2, v3 = _mix(v0, v1, v2, v3, d[j])
        hashes[j] = _finish(v0, v1, v2, v3)


@jit
def _hash_any(k0: Any, k1: Any, words: Words, start: int, count: int, width: int, hashes: Words) -> None:
    for j in range(count):
        v0, v1, v2, v3 = _begin(k0, k1)
        for i in range(width):
            v0, v1, v2, v3 = _mix(v0, v1, v2, v3, words[start + i * count + j])
        hashes[j] = _finish(v0, v1, v2, v3)


@jit
def _high_product(a: Any, b: Any) -> Any:
    """The upper 64 bits of `a * b`."""
    a1, a0, b1, b0 = a >> _32, a & _LOW, b >> _32, b & _LOW
    middle = a1 * b0 + ((a0 * b0) >> _32)
    rest = a0 * b1 + (middle & _LOW)
    return a1 * b1 + (middle >> _32) + (rest >> _32)


@jit
def _scale(hashes: Words, span: Any) -> None:
    """Each hash as a number below `span`."""
    if span <= _LOW:
        for j in range(len(hashes)):
            hashes[j] = ((hashes[j] >> _32) * span + (((hashes[j] & _LOW) * span) >> _32)) >> _32
    else:
        for j in range(len(hashes)):
            hashes[j] = _high_product(hashes[j], span)


@jit
def _wanted(k0: Any, k1: Any, span: Any, words: Words, groups: Ints, wanted: Words) -> None:
    """What number each watched element has in the filter: `groups` are rows of (words an element, elements)."""
    at, first = 0, 0
    for g in range(len(groups) // 2):
        width, count = groups[2 * g], groups[2 * g + 1]
        hashes = wanted[first : first + count]
        if width == 4:
            _hash_of_4(k0, k1, words, at, count, hashes)
        elif width == 3:
            _hash_of_3(k0, k1, words, at, count, hashes)
        else:
            _hash_any(k0, k1, words, at, count, width, hashes)
        at += width * count
        first += count
    _scale(wanted, span)


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
def _window(data: Bytes, byte: Any) -> Any:
    """The 8 bytes from `byte` on, zeros behind the end of `data`."""
    if byte + 8 <= len(data):
        return load_big_endian(np.uintp(data.ctypes.data + byte))
    word = _0
    for i in range(8):
        word <<= _8
        if byte + i < len(data):
            word |= np.uint64(data[byte + i])
    return word


@jit
def _decode(data: Bytes, start: int, end: int, count: int, values: Words) -> Any:
    """Write the `count` numbers in the bits of `data[start:end]`; whether these are well formed."""
    bit, bits = np.uint64(start) * _8, np.uint64(end) * _8
    value = _0
    for i in range(count):
        window = _window(data, np.int64(bit >> np.uint64(3))) << (bit & np.uint64(7))
        ones = leading_zeros(~window)
        if ones > np.uint64(36):  # the rest does not lie in this window: at least 57 bits of it are the filter's
            ones = _0
            while bit + ones < bits and (data[(bit + ones) >> np.uint64(3)] >> (7 - ((bit + ones) & np.uint64(7)))) & 1:
                ones += _1
            window = _window(data, np.int64((bit + ones) >> np.uint64(3))) << ((bit + ones) & np.uint64(7))
            rest = (window << _1) >> _REST
        else:
            rest = ((window << ones) << _1) >> _REST
        bit += ones + _P1
        if bit > bits:
            return False
        value += (ones << _P) + rest
        values[i] = value
    if value >= np.uint64(count) * _M and count > 0:
        return False
    left = bits - bit
    if left >= _8:
        return False
    return left == _0 or (np.uint64(data[end - 1]) & ((_1 << left) - _1)) == _0


@jit
def _holds(values: Words, number: Any) -> bool:
    """Whether `number` is among the sorted `values`."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < number:
            low = middle + 1
        else:
            high = middle
    return low < len(values) and values[low] == number


@jit
def _any_held(values: Words, span: Any, wanted: Words, bitmap: Words) -> bool:
    """Whether any of `wanted` is among the sorted `values`, all below `span`; `bitmap` has a power of two words."""
    width = _64 - leading_zeros(span)
    bits = _63 - leading_zeros(np.uint64(len(bitmap))) + np.uint64(6)
    shift = width - bits if width > bits else _0
    bitmap[:] = _0
    for value in values:
        bitmap[value >> shift >> np.uint64(6)] |= _1 << (value >> shift & _63)
    for number in wanted:
        if (bitmap[number >> shift >> np.uint64(6)] >> (number >> shift & _63)) & _1 and _holds(values, number):
            return True
    return False


@jit
def match_all(keys: Words, data: Bytes, offsets: Ints, words: Words, groups: Ints, verdicts: Verdicts) -> None:
    """Judge each filter.

    Args:
        keys: the first two words of each block hash, four words apart.
        data: all filters, one behind the other.
        offsets: where each begins, and the end of the last.
        words: all watched elements as padded SipHash words: for each group the first words of all its elements, then
            the second ones and so on.
        groups: for each group how many words an element has, and how many elements there are.
        verdicts: int8 a filter, written: MALFORMED, NO_MATCH or MATCH.
    """
    items = 0
    for g in range(len(groups) // 2):
        items += groups[2 * g + 1]
    wanted = np.empty(items, np.uint64)
    values = np.empty(256, np.uint64)
    bitmap = np.empty(256, np.uint64)
    for i in range(len(offsets) - 1):
        end = offsets[i + 1]
        count, start = _read_count(data, offsets[i], end)
        if count < 0 or count * 20 > (end - start) * 8:
            verdicts[i] = MALFORMED
            continue
        if count > len(values):
            values = np.empty(2 * count, np.uint64)
        if not _decode(data, start, end, count, values):
            verdicts[i] = MALFORMED
            continue
        verdicts[i] = NO_MATCH
        if items == 0 or count == 0:
            continue
        span = np.uint64(count) * _M
        _wanted(keys[4 * i], keys[4 * i + 1], span, words, groups, wanted)
        size = 4
        while size < count:
            size *= 2
        if size > len(bitmap):
            bitmap = np.empty(size, np.uint64)
        verdicts[i] = MATCH if _any_held(values[:count], span, wanted, bitmap[:size]) else NO_MATCH
