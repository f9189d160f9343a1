"""The sum of many curve points, each times its own factor, made of nothing but additions [Straus 1964].

Sixty multiplications would double sixty times over; here all points share one run of doublings. Each factor is written
in digits of five bits between -16 and 15, each digit as an odd number shifted to its place; so a point needs only its
first eight odd multiples, and each digit that is not zero is one addition at the place it belongs to. Adding 16 at each
digit before the factor is cut makes all digits signed without a carry.

The points are what pyblst gives for either group: values with `+` and unary `-`. Who uses a point often keeps its odd
multiples.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

FACTOR_BITS = 255
_DIGIT_BITS = 5
_HALF = 1 << (_DIGIT_BITS - 1)
_DIGITS = FACTOR_BITS // _DIGIT_BITS + 1
_PLACES = _DIGITS * _DIGIT_BITS
_BIAS = sum(_HALF << place for place in range(0, _PLACES, _DIGIT_BITS))
_BYTES = (_PLACES + 7) // 8
_WEIGHTS = 1 << np.arange(_DIGIT_BITS)
_ODD_MULTIPLES = _HALF
PLAIN = _ODD_MULTIPLES // 2
"""Where among its odd multiples a point itself stands."""

Integers = npt.NDArray[np.int64]


def odd_multiples(point: Any) -> tuple[Any, ...]:
    """The point times -15, -13 ... 13, 15: what `weighted_sum` needs of it."""
    multiples, twice = [point], point + point
    for _ in range(_ODD_MULTIPLES // 2 - 1):
        multiples.append(multiples[-1] + twice)
    return (*[-multiple for multiple in reversed(multiples)], *multiples)


def weighted_sum(multiples: Sequence[tuple[Any, ...]], factors: Sequence[int]) -> Any:
    """The sum of points, given by their `odd_multiples`, each times the factor beside it (0 <= factor < 2^255).

    Raises:
        ValueError: there are no points, or their number is not that of the factors.
    """
    if not factors or len(multiples) != len(factors):
        raise ValueError(f"the sum of {len(multiples)} points with {len(factors)} factors")
    places, chosen = _additions(factors)
    terms = itemgetter(*chosen, 0, 0)(list(chain.from_iterable(multiples)))
    total, start = multiples[0][0] + multiples[0][-1], 0
    for end in np.cumsum(np.bincount(places, minlength=_PLACES)[::-1]).tolist():
        total = sum(terms[start:end], total + total)
        start = end
    return total


def _additions(factors: Sequence[int]) -> tuple[Integers, list[int]]:
    """The place of each addition, highest first, and which of all the odd multiples is added there."""
    raw = b"".join([(factor + _BIAS).to_bytes(_BYTES, "little") for factor in factors])
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), bitorder="little").reshape(len(factors), -1)[:, :_PLACES]
    digits = bits.reshape(len(factors), _DIGITS, _DIGIT_BITS) @ _WEIGHTS - _HALF
    point, digit = np.nonzero(digits)
    value = digits[point, digit]
    shift = _SHIFTS[value + _HALF]
    places = digit * _DIGIT_BITS + shift
    chosen = point * _ODD_MULTIPLES + ((value >> shift) + _ODD_MULTIPLES - 1) // 2
    order = np.argsort(-places, kind="stable")
    return places[order], chosen[order].tolist()


def _trailing_zeros(value: int) -> int:
    return (value & -value).bit_length() - 1 if value else 0


_SHIFTS = np.array([_trailing_zeros(value) for value in range(-_HALF, _HALF)])
