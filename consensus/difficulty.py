"""Targets, work, and the next difficulty [Core arith_uint256.cpp, pow.cpp].

Chains began with Bitcoin's rule: a new target each 576 blocks from the time that the last 576 took, and on networks
that allow minimum difficulty the limit for a block that is more than five minutes late, after which the last target
that is not the limit holds again. DarkGravityWave v3 followed. It looks at the newest 24 headers, weighs them with a
running mean that divides by `i + 1` (not a true average), measures 23 intervals, clamps the time to a third and three
times an hour; on networks that allow minimum difficulty, blocks ten minutes late are ten times easier and blocks two
hours late have the limit. All of it computes modulo 2^256: on devnets, whose limit is easy, the products do wrap, and
the wrapped values are the rule. (Our own simnet is as easy and computes without a wrap.)

Between the two mainnet had a rule in floating point (KimotoGravityWell) and, while it settled, a tolerance for wrong
results. That past is not computed but known: below `Network.linked_until` the built-in checkpoints vouch for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from phasegate.consensus.params import SPACING, Network

WINDOW = 24
"""The headers that DarkGravityWave looks at."""
INTERVAL = 576
"""Blocks between two changes of the difficulty by Bitcoin's rule."""
MEDIAN_SPAN = 11
"""The headers whose median time the next one must be after."""

_WORD = (1 << 256) - 1
_TIMESPAN = WINDOW * SPACING
_DAY = INTERVAL * SPACING
_EARLY_LATE, _LATE, _VERY_LATE = 2 * SPACING, 4 * SPACING, 2 * 60 * 60


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


def context_size(network: Network, height: int) -> int:
    """How many headers, the newest that at `height`, the one after it is judged by; all there are at most."""
    if network.no_retargeting:
        needed = MEDIAN_SPAN
    elif network.linked_until <= height + 1 < network.dgw_height and _looks_far_back(network, height):
        needed = max(WINDOW, height % INTERVAL + 1)
    else:
        needed = WINDOW
    return min(needed, height + 1)


def _looks_far_back(network: Network, height: int) -> bool:
    """Whether what follows `height` needs the last multiple of 576, because Bitcoin's rule begins in this interval."""
    until = network.min_difficulty_until
    return until + 1 < network.dgw_height and height >= until // INTERVAL * INTERVAL


def next_target(network: Network, height: int, times: Sequence[int], targets: Sequence[int], new_time: int) -> int:
    """The target that the header at `height` and `new_time` must have, before it is cut to compact form.

    Args:
        network: whose rules apply.
        height: of the header whose target is sought.
        times: of the headers before it, oldest first, at least `context_size` of them.
        targets: their targets, of the same length.
        new_time: of the header whose target is sought; only networks that allow minimum difficulty look at it.

    Raises:
        ValueError: checkpoints vouch for this height instead of a rule, or the headers before are too few.
    """
    if height < network.linked_until:
        raise ValueError(f"no rule but linkage holds on {network.name} below height {network.linked_until}")
    if len(times) < (needed := context_size(network, height - 1)):
        raise ValueError(f"the difficulty at height {height} needs the {needed} headers before it, not {len(times)}")
    if network.no_retargeting or height <= network.min_difficulty_until:
        return network.pow_limit
    if height < network.dgw_height:
        return _bitcoin_rule(network, height, times, targets, new_time)
    if network.allow_min_difficulty and (lateness := new_time - times[-1]) > _LATE:
        return network.pow_limit if lateness > _VERY_LATE else min(targets[-1] * 10 & _WORD, network.pow_limit)
    if height <= WINDOW:
        return network.pow_limit
    mask = -1 if network.wide_arithmetic else _WORD
    return min(_dark_gravity_wave(times[-1] - times[-WINDOW], targets, mask), network.pow_limit)


def _bitcoin_rule(network: Network, height: int, times: Sequence[int], targets: Sequence[int], new_time: int) -> int:
    if height % INTERVAL == 0:
        span = min(max(times[-1] - times[-INTERVAL], _DAY // 4), _DAY * 4)
        return min((targets[-1] * span & _WORD) // _DAY, network.pow_limit)
    if not network.allow_min_difficulty:
        return targets[-1]
    if new_time > times[-1] + _EARLY_LATE:
        return network.pow_limit
    easiest = compact_to_target(target_to_compact(network.pow_limit))
    back = (height - 1) % INTERVAL
    return next((target for target in targets[-1 : -1 - back : -1] if target != easiest), targets[-1 - back])


def _dark_gravity_wave(span: int, targets: Sequence[int], mask: int) -> int:
    mean, i = targets[-1], 1
    for target in targets[-2 : -WINDOW - 1 : -1]:
        i += 1
        mean = (mean * i + target & mask) // (i + 1)
    span = min(max(span, _TIMESPAN // 3), _TIMESPAN * 3)
    return (mean * span & mask) // _TIMESPAN
