"""Targets, work, and the next difficulty [Core arith_uint256.cpp, pow.cpp].

DarkGravityWave v3 looks at the newest 24 headers. It weighs them with a running mean that divides by `i + 1` (not a
true average), measures 23 intervals, clamps the time to a third and three times an hour, and computes modulo 2^256:
on devnets, whose limit is easy, the products do wrap, and the wrapped values are the rule. (Our own simnet is as easy
and computes without a wrap.) Networks that allow minimum difficulty first ask how late the new block is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from phasegate.consensus.params import SPACING, Network

WINDOW = 24
"""The headers that DarkGravityWave looks at."""

_WORD = (1 << 256) - 1
_TIMESPAN = WINDOW * SPACING
_LATE, _VERY_LATE = 4 * SPACING, 2 * 60 * 60


@lru_cache(maxsize=8192)
def compact_to_target(bits: int) -> int:
    """The 256-bit target that compact `bits` stand for.

    Raises:
        ValueError: zero, negative, or beyond 256 bits: no target at all.
    """
    size, word = bits >> 24, bits & 0x7FFFFF
    target = word >> 8 * (3 - size) if size <= 3 else word << 8 * (size - 3)
    if not target or bits & 0x800000 or target > _WORD:
        raise ValueError(f"bits {bits:08x} are no target")
    return target


def target_to_compact(target: int) -> int:
    """The compact form of `target`, cut to its three leading bytes."""
    size = (target.bit_length() + 7) // 8
    word = target << 8 * (3 - size) if size <= 3 else target >> 8 * (size - 3)
    if word & 0x800000:
        return word >> 8 | size + 1 << 24
    return word | size << 24


def work_of(bits: int) -> int:
    """The expected number of hashes behind one header; 0 for bits that are no target."""
    try:
        return (1 << 256) // (compact_to_target(bits) + 1)
    except ValueError:
        return 0


def next_target(network: Network, height: int, times: Sequence[int], targets: Sequence[int], new_time: int) -> int:
    """The target that the header at `height` and `new_time` must have, before it is cut to compact form.

    Args:
        network: whose rules apply.
        height: of the header whose target is sought.
        times: of the headers before it, oldest first, at least the newest 24 (or all there are).
        targets: their targets, of the same length.
        new_time: of the header whose target is sought; only minimum-difficulty networks look at it.

    Raises:
        ValueError: the rules that hold at this height are not built in, or the headers before are too few.
    """
    if network.no_retargeting:
        return network.pow_limit
    if height < network.dgw_height:
        raise ValueError(f"the difficulty rules of {network.name} below height {network.dgw_height} are not built in")
    if network.min_difficulty_blocks and (lateness := new_time - times[-1]) > _LATE:
        return network.pow_limit if lateness > _VERY_LATE else min(targets[-1] * 10 & _WORD, network.pow_limit)
    if height <= WINDOW:
        return network.pow_limit
    if len(times) < WINDOW:
        raise ValueError(f"the difficulty at height {height} needs the {WINDOW} headers before it, not {len(times)}")
    mask = -1 if network.wide_arithmetic else _WORD
    return min(_dark_gravity_wave(times[-1] - times[-WINDOW], targets, mask), network.pow_limit)


def _dark_gravity_wave(span: int, targets: Sequence[int], mask: int) -> int:
    mean, i = targets[-1], 1
    for target in targets[-2 : -WINDOW - 1 : -1]:
        i += 1
        mean = (mean * i + target & mask) // (i + 1)
    span = min(max(span, _TIMESPAN // 3), _TIMESPAN * 3)
    return (mean * span & mask) // _TIMESPAN
