"""The rules of header chains, compiled: what `plain_headers` says, for whole batches and without the GIL.

`judge` counts the headers that keep every rule it knows, and stops at the first that does not, or that it is not at
home with. It never says what is wrong: from there on the plain rules are asked, which name the fault. So a mistake here
can refuse nothing by itself, and what it accepts is held against the plain rules by tests.

Numbers of 256 bits are six limbs of 48 bits, lowest first. That leaves room for all that DarkGravityWave does with
small numbers: a limb times the longest timespan (14 bits) and a carry fits in 64 bits, and so does a remainder of that
division before the next limb. A limb is six whole bytes, which is how compact targets are cut. The bits above 2^256
(limb 5 has 48 where 16 count) are masked where the rule wraps, and kept where it is wide.

DarkGravityWave's mean divides 23 times, each time by one more, and floors each time. All that flooring takes less than
300 from `P`, the sum of the 24 targets and the newest one once more, of which a 25th is the mean; a header states the
24 highest bits of a number that has 200. So floating point tells what it has to state, unless that is so near to a
whole number, or to the limit, that its error could matter: `_states` accepts when there is no doubt. In doubt, where
sums may pass 2^256, and for whatever is not accepted, each step is done as it is written.

The work behind a header, 2^256 / (target + 1), needs no long division. A target is `mantissa * 2^shift`, so the
quotient by the target alone is a division by 24 bits; and while the shift is at least 136 the quotient is smaller than
2^shift, which makes the one more in the divisor matter only if the division left no remainder. Targets with a smaller
shift, 2^40 times harder than any seen, are left to the plain rules.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phasegate.consensus.compiled import jit

Words = NDArray[np.uint32]
Times = NDArray[np.int64]
Limbs = NDArray[np.uint64]

CLAIMED, LIMIT, WAVE = 0, 1, 2
"""The difficulty rules: the work that a header claims itself; always the limit; DarkGravityWave."""
LIMBS = 6
DIGITS = 4
"""Digits of 32 bits, lowest first, in which work is summed; they are not carried."""

_WORDS = 20
_WINDOW = 24
_MEDIAN = 11
_LEAST_SHIFT = 17
"""In bytes."""
_U0, _U1, _U16, _U32, _U48 = np.uint64(0), np.uint64(1), np.uint64(16), np.uint64(32), np.uint64(48)
_LIMB, _TOP, _HALF = np.uint64((1 << 48) - 1), np.uint64(0xFFFF), np.uint64(0xFFFF)
_BASE = 2.0**48
"""Of the limbs."""
_SCALES = np.array([2.0 ** (8 * (3 - size)) for size in range(34)])
"""What makes a number of so many bytes its compact word and a fraction."""
_LEAST_WORD = 0x8000
"""Words below that are there for small numbers only."""
_SMALL = 2.0**100
"""Of less than that, what flooring takes may be too large a part."""
_DOUBT = 2.0**-20
"""What a word may be wrong by, with much to spare: it has 23 bits, and ten roundings of 2^-53 are made on the way."""
_DOUBT_OF_LIMIT = 2.0**-40
"""The same for a whole number, of itself."""
_NEVER_WRAPS = 2.0**255 / 3600
"""Where less is demanded, neither that number times the timespan nor any sum of targets came near 2^256."""
_TEN, _TIMESPAN = np.uint64(10), np.uint64(3600)
_DIVISOR = 3600.0 * (_WINDOW + 1)
_SHORTEST, _LONGEST, _LATE, _VERY_LATE = 1200, 10800, 600, 7200


@jit
def read_targets(bits: Words, targets: Limbs) -> None:
    """Write the target that each of `bits` stands for; zero for those that stand for none."""
    for i in range(len(bits)):
        size, word = np.int64(bits[i] >> 24), np.uint64(bits[i] & 0x7FFFFF)
        for k in range(LIMBS):
            targets[i, k] = _U0
        if bits[i] & 0x800000 or word == _U0:
            continue
        if size <= 3:
            targets[i, 0] = word >> np.uint64(8 * (3 - size))
            continue
        limb, byte = (size - 3) // 6, (size - 3) % 6
        wide = word << np.uint64(8 * byte)
        low, high = wide & _LIMB, wide >> _U48
        if limb >= LIMBS or (limb == LIMBS - 1 and (high or low > _TOP)):
            continue
        targets[i, limb] = low
        if high:
            targets[i, limb + 1] = high


@jit
def _exceeds(a: Limbs, b: Limbs) -> bool:
    for k in range(LIMBS - 1, -1, -1):
        if a[k] != b[k]:
            return bool(a[k] > b[k])
    return False


@jit
def _is_zero(number: Limbs) -> bool:
    together = _U0
    for k in range(LIMBS):
        together |= number[k]
    return bool(together == _U0)


@jit
def _misses(hashes: Words, at: int, target: Limbs) -> bool:
    """Whether the hash of eight words from `at` on is above `target`: three words are two limbs."""
    for pair in range(2, -1, -1):
        low, middle = np.uint64(hashes[at + 3 * pair]), np.uint64(hashes[at + 3 * pair + 1])
        upper = middle >> _U16
        if pair < 2:
            upper |= np.uint64(hashes[at + 3 * pair + 2]) << _U16
        if upper != target[2 * pair + 1]:
            return bool(upper > target[2 * pair + 1])
        lower = (middle & _HALF) << _U32 | low
        if lower != target[2 * pair]:
            return bool(lower > target[2 * pair])
    return False


@jit
def _scaled(number: Limbs, factor: Any, divisor: Any, addend: Limbs, wide: bool) -> None:
    """`(number * factor + addend) // divisor`, in place; the dividend modulo 2^256 unless `wide`."""
    carry = _U0
    for k in range(LIMBS):
        value = number[k] * factor + addend[k] + carry
        number[k] = value & _LIMB
        carry = value >> _U48
    if not wide:
        number[LIMBS - 1] &= _TOP
    rest = _U0
    for k in range(LIMBS - 1, -1, -1):
        value = rest << _U48 | number[k]
        quotient = value // divisor
        rest = value - quotient * divisor
        number[k] = quotient


@jit
def _compact(number: Limbs) -> Any:
    """The compact form of a number."""
    top = LIMBS - 1
    while top > 0 and number[top] == _U0:
        top -= 1
    size = 6 * top
    rest = number[top]
    while rest:
        size += 1
        rest >>= np.uint64(8)
    word = _U0
    for k in range(size - 1, size - 4, -1):
        word <<= np.uint64(8)
        if k >= 0:
            word |= number[k // 6] >> np.uint64(8 * (k % 6)) & np.uint64(0xFF)
    if word & np.uint64(0x800000):
        return np.int64(word >> np.uint64(8)) | (size + 1) << 24
    return np.int64(word) | size << 24


@jit
def _step_by_step(targets: Limbs, at: int, wide: bool, mean: Limbs) -> None:
    """The mean of the 24 targets before `at`, as it is written."""
    for k in range(LIMBS):
        mean[k] = targets[at - 1, k]
    for i in range(2, _WINDOW + 1):
        _scaled(mean, np.uint64(i), np.uint64(i + 1), targets[at - i], wide)


@jit
def _span(times: Times, at: int) -> int:
    """The seconds that the 24 headers before `at` took, as far as DarkGravityWave lets them count."""
    return int(min(max(times[at - 1] - times[at - _WINDOW], _SHORTEST), _LONGEST))


@jit
def _is_late(times: Times, at: int, seconds: int) -> bool:
    return bool(times[at] - times[at - 1] > seconds)


@jit
def _wave(times: Times, targets: Limbs, at: int, limit: Limbs, zero: Limbs, wide: bool, late: bool, mean: Limbs) -> Any:
    """The bits that DarkGravityWave demands of the header at `at`, before which there are 24 others at least."""
    if late and _is_late(times, at, _VERY_LATE):
        return _compact(limit)
    if late and _is_late(times, at, _LATE):
        for k in range(LIMBS):
            mean[k] = targets[at - 1, k]
        _scaled(mean, _TEN, _U1, zero, False)
    else:
        _step_by_step(targets, at, wide, mean)
        _scaled(mean, np.uint64(_span(times, at)), _TIMESPAN, zero, wide)
    return _compact(limit) if _exceeds(mean, limit) else _compact(mean)


@jit
def _about(number: Limbs) -> float:
    """A number whose limbs may be too large, as far as floating point tells it."""
    told = 0.0
    for k in range(LIMBS - 1, -1, -1):
        told = told * _BASE + np.int64(number[k])
    return told


@jit
def _states(bits: Any, told: float, limit_bits: Any, limit: float) -> bool:
    """Whether `bits` are, beyond doubt, the compact form of about `told`, or of the limit if that is less."""
    if told < _SMALL:
        return False
    if told > limit * (1 + _DOUBT_OF_LIMIT):
        return bool(bits == limit_bits)
    size, word = np.int64(bits >> 24), np.int64(bits & 0xFFFFFF)
    if size >= len(_SCALES) or word < _LEAST_WORD or told > limit * (1 - _DOUBT_OF_LIMIT):
        return False
    scaled = told * _SCALES[size]
    return bool(word + _DOUBT < scaled < word + 1 - _DOUBT)


@jit
def _is_timely(times: Times, at: int, known: int) -> bool:
    """Whether the time at `at` is after the median of the `known` ones before it: after more than half of them."""
    before = 0
    for i in range(at - known, at):
        if times[i] < times[at]:
            before += 1
    return before > known // 2


@jit
def _add_work(bits: Any, work: Times) -> bool:
    """Add what a header with `bits` proves to the digits of `work`; False if that takes a longer division."""
    size, mantissa = np.int64(bits >> 24), np.uint64(bits & 0x7FFFFF)
    if size < 3 + _LEAST_SHIFT:
        return False
    digit, bit = divmod(256 - 8 * (size - 3), 32)
    rest = _U1 << np.uint64(bit)
    quotient = rest // mantissa
    rest -= quotient * mantissa
    work[digit] += np.int64(quotient)
    for k in range(digit - 1, -1, -1):
        rest <<= _U32
        quotient = rest // mantissa
        rest -= quotient * mantissa
        work[k] += np.int64(quotient)
    if not rest:
        work[0] -= 1
    return True


@jit
def judge(
    headers: Words,
    hashes: Words,
    times: Times,
    targets: Limbs,
    first: int,
    end: int,
    rule: int,
    limit: Limbs,
    wide: bool,
    late: bool,
    timed: int,
    latest: int,
    height: int,
    versions: Times,
    work: Times,
) -> int:
    """Judge the headers numbered from `first` up to `end`, all of which are under one difficulty rule.

    Args:
        headers: 20 words each; header `i` stands at `i`.
        hashes: 8 words each, with that of the header before the first in front: the hash of `i` stands at `i + 1`.
        times: of the known headers before the batch and of all in it, in seconds since 1970.
        targets: of the same headers.
        first: the number of the first to judge.
        end: the number after the last.
        rule: CLAIMED, LIMIT or WAVE.
        limit: the easiest target.
        wide: whether the products do not wrap.
        late: whether late headers may be easier.
        timed: the number from which on times are judged.
        latest: the greatest time allowed.
        height: of the header numbered 0.
        versions: the heights from which on versions 2, 3 and 4 are demanded.
        work: DIGITS digits, to which the work of the headers is added.

    Returns:
        The number of the first header that breaks a rule or is not for us; `end` if there is none.
    """
    known = len(times) - len(headers) // _WORDS
    zero, mean, window = np.zeros(LIMBS, np.uint64), np.zeros(LIMBS, np.uint64), np.zeros(LIMBS, np.uint64)
    limit_bits, about_limit = _compact(limit), _about(limit)
    if rule == WAVE:
        for i in range(first - _WINDOW, first):
            for k in range(LIMBS):
                window[k] += targets[known + i, k]
    for i in range(first, end):
        word, at = _WORDS * i, known + i
        for k in range(8):
            if headers[word + 1 + k] != hashes[8 * i + k]:
                return i
        target, bits = targets[at], headers[word + 18]
        if _is_zero(target) or _misses(hashes, 8 * i + 8, target) or _exceeds(target, limit):
            return i
        if rule == LIMIT and bits != limit_bits:
            return i
        if rule == WAVE:
            told = (_about(window) + _about(targets[at - 1])) * _span(times, at) / _DIVISOR
            plain = (late and _is_late(times, at, _LATE)) or not (wide or told < _NEVER_WRAPS)
            if (plain or not _states(bits, told, limit_bits, about_limit)) and bits != _wave(
                times, targets, at, limit, zero, wide, late, mean
            ):
                return i
            for k in range(LIMBS):
                window[k] = window[k] + targets[at, k] - targets[at - _WINDOW, k]
        if (i >= timed and not _is_timely(times, at, min(at, _MEDIAN))) or times[at] > latest:
            return i
        version = np.int32(headers[word])
        for least in range(3):
            if version < least + 2 and height + i >= versions[least]:
                return i
        if not _add_work(bits, work):
            return i
    return end
