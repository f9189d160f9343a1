"""Batches of headers for the compiled rules: cut where the difficulty rule changes, and given to the plain rules where
the compiled ones stop.

Compiled are what a chain is made of for long: heights that checkpoints vouch for, or whose past is not known, where a
header proves the work that it claims; the limit of private networks; and DarkGravityWave. The first blocks under
Bitcoin's rule and the first 24 of a chain are judged plainly. So is everything from the first header on that the
compiled rules refuse, and then it is the plain ones that name the fault, or find none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from phasegate.consensus import header_kernel as kernel
from phasegate.consensus.chain_tip import ChainTip, CheckedHeaders
from phasegate.consensus.checkpoints import check_checkpoint
from phasegate.consensus.difficulty import INTERVAL, WINDOW, compact_to_target
from phasegate.consensus.params import Network
from phasegate.consensus.plain_headers import (
    MAX_AHEAD,
    VERSIONS,
    Ground,
    checked,
    ground_of,
    judge_plainly,
    times_and_bits,
)

_PLAIN = -1
_FOREVER = 1 << 62
_LIMB_BITS, _DIGIT_BITS = 48, 32


def follow_compiled(network: Network, tip: ChainTip, raw: bytes, now: int, hashes: bytes) -> CheckedHeaders:
    """As `headers.follow`, without the GIL for nearly all of it."""
    ground = ground_of(network, tip, len(hashes) // 32, now)
    return checked(network, tip, raw, hashes, tip.work + _Batch(ground, tip, raw, hashes).judge())


class _Batch:
    """Headers in the form of the compiled rules; what is counted from 0 here stands at `first_height` + that.

    Args:
        ground: what it is judged by.
        tip: what it continues.
        raw: its headers.
        hashes: their hashes.
    """

    def __init__(self, ground: Ground, tip: ChainTip, raw: bytes, hashes: bytes) -> None:
        self._ground, self._tip, self._raw, self._hashes = ground, tip, raw, hashes
        self._count, self._first_height = len(hashes) // 32, tip.height + 1
        for _, bits in tip.window:
            compact_to_target(bits)
        self._words = np.frombuffer(raw, "<u4")
        self._hash_words = np.frombuffer(tip.hash + hashes, "<u4")
        window = np.array(tip.window, np.int64).reshape(-1, 2)
        fields = np.concatenate([window, self._words.reshape(-1, 20)[:, 17:19]])
        self._times = np.ascontiguousarray(fields[:, 0], np.int64)
        self._targets = np.empty((len(fields), kernel.LIMBS), np.uint64)
        kernel.read_targets(fields[:, 1].astype(np.uint32), self._targets)

    def judge(self) -> int:
        """The work of all headers.

        Raises:
            PeerMisbehaved: as `headers.extend`.
        """
        digits, plain = np.zeros(kernel.DIGITS, np.int64), 0
        for rule, start, end in self._stretches():
            reached = start if rule == _PLAIN else self._judge_compiled(rule, start, end, digits)
            self._check_known(start, reached)
            if reached < end:
                after = end if rule == _PLAIN else self._count
                plain += self._judge_plainly(reached, after)
                if after == self._count:
                    break
        return plain + sum(int(digit) << _DIGIT_BITS * place for place, digit in enumerate(digits))

    def _stretches(self) -> Iterator[tuple[int, int, int]]:
        """`(rule, start, end)` of the stretches that one difficulty rule holds for, in order."""
        at = 0
        while at < self._count:
            rule, until = _rule_at(self._ground, self._first_height + at)
            end = min(until - self._first_height, self._count)
            yield rule, at, end
            at = end

    def _judge_compiled(self, rule: int, start: int, end: int, digits: kernel.Times) -> int:
        network, ground = self._ground.network, self._ground
        return kernel.judge(
            self._words,
            self._hash_words,
            self._times,
            self._targets,
            start,
            end,
            rule,
            _limbs(network.pow_limit),
            network.wide_arithmetic,
            network.allow_min_difficulty,
            ground.timed - self._first_height,
            math.floor(ground.now) + MAX_AHEAD,
            self._first_height,
            np.array([network.activations[name] for name, _ in VERSIONS], np.int64),
            digits,
        )

    def _check_known(self, start: int, end: int) -> None:
        for height in self._ground.known:
            if start <= (at := height - self._first_height) < end:
                check_checkpoint(self._ground.network, height, self._hashes[32 * at : 32 * at + 32])

    def _judge_plainly(self, start: int, end: int) -> int:
        past = (*self._tip.window, *times_and_bits(self._raw[80 * max(0, start - INTERVAL) : 80 * start]))
        last = self._hashes[32 * start - 32 : 32 * start] if start else self._tip.hash
        raw, hashes = self._raw[80 * start : 80 * end], self._hashes[32 * start : 32 * end]
        return judge_plainly(self._ground, self._first_height + start - 1, last, past, raw, hashes)


def _rule_at(ground: Ground, height: int) -> tuple[int, int]:
    """The rule at `height`, and the height from which on another may hold."""
    network = ground.network
    if height < ground.judged:
        return kernel.CLAIMED, ground.judged
    if network.no_retargeting:
        return kernel.LIMIT, _FOREVER
    if height <= network.min_difficulty_until:
        return kernel.LIMIT, network.min_difficulty_until + 1
    if height < (waves := max(network.dgw_height, WINDOW + 1)):
        return _PLAIN, waves
    return kernel.WAVE, _FOREVER


def _limbs(number: int) -> kernel.Limbs:
    mask = (1 << _LIMB_BITS) - 1
    return np.array([number >> _LIMB_BITS * place & mask for place in range(kernel.LIMBS)], np.uint64)
