"""The rules that a chain of block headers must keep [Core validation.cpp], checked one batch at a time.

What the rules need to know of the past fits in a `ChainTip`: height, hash, work and the times and bits of the newest
headers (24 for DarkGravityWave, 11 of them for the median time, up to 576 for the rule of the first testnet blocks).
`extend` takes a tip and raw headers and returns a new tip, or raises at the first header that breaks a rule; nothing
else is kept, so that a fork is just another tip. `follow` does the same where the past is not known: it begins with
what a header says alone and with its links, and judges times and difficulty from where enough headers are known.

The loop is one flat function over plain integers on purpose: it runs once for each header of the chain.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import attrs

from phasegate.consensus.checkpoints import between, check_checkpoint
from phasegate.consensus.difficulty import (
    MEDIAN_SPAN,
    compact_to_target,
    context_size,
    next_target,
    target_to_compact,
    work_of,
)
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import Network
from phasegate.consensus.x11 import HEADER_SIZE, x11, x11_many

__all__ = [
    "ChainTip",
    "CheckedHeaders",
    "compact_to_target",
    "context_size",
    "expected_bits",
    "extend",
    "first_judged",
    "follow",
    "genesis_tip",
    "locator_heights",
    "median_time",
    "target_to_compact",
    "tip_from",
    "work_of",
]

MAX_AHEAD = 2 * 60 * 60
"""Seconds that a header may be ahead of the clock."""
_FORM = struct.Struct("<i32s32sIII")
_VERSIONS = (("bip34", 2), ("bip66", 3), ("bip65", 4))


@attrs.frozen
class ChainTip:
    """The end of a chain and what the next header is judged by.

    Args:
        height: of the tip.
        hash: of the tip, 32 bytes in wire order.
        work: of the whole chain, genesis and tip included.
        window: `(time, bits)` of the newest headers, `context_size` of them, oldest first, the tip's last.
    """

    height: int
    hash: bytes
    work: int
    window: tuple[tuple[int, int], ...]


@attrs.frozen
class CheckedHeaders:
    """Headers that keep all rules: `raw` 80 bytes each, `hashes` 32 bytes each, between the tips `prev` and `tip`."""

    first_height: int
    raw: bytes
    hashes: bytes
    tip: ChainTip
    prev: ChainTip

    @property
    def count(self) -> int:
        """The number of headers."""
        return len(self.raw) // HEADER_SIZE


def genesis_tip(network: Network) -> ChainTip:
    """The tip of a chain that is only the genesis block."""
    *_, time, bits, _nonce = _FORM.unpack(network.genesis)
    return ChainTip(0, x11(network.genesis), work_of(bits), ((time, bits),))


def tip_from(network: Network, height: int, hash: bytes, work: int, recent: bytes) -> ChainTip:  # noqa: A002 - the field's own word
    """The tip at `height`, rebuilt from stored headers.

    Args:
        network: where the chain lives.
        height: of the tip.
        hash: of the tip, wire order.
        work: of the whole chain up to the tip.
        recent: the raw headers that end in the tip, at least `context_size(network, height)` of them.

    Raises:
        ValueError: `recent` is not whole headers, too few of them, or none.
    """
    needed = context_size(network, height)
    if len(recent) % HEADER_SIZE or len(recent) < needed * HEADER_SIZE:
        raise ValueError(f"a tip at height {height} needs {needed} headers of 80 bytes, not {len(recent)} bytes")
    window = [(time, bits) for _, _, _, time, bits, _ in _FORM.iter_unpack(recent)]
    return ChainTip(height, hash, work, tuple(window[-needed:]))


def median_time(window: Sequence[tuple[int, int]]) -> int:
    """The median time of the newest 11 headers of `window`, or of all if there are fewer."""
    return _median([time for time, _ in window])


def _median(times: Sequence[int]) -> int:
    newest = sorted(times[-MEDIAN_SPAN:])
    return newest[len(newest) // 2]


def expected_bits(network: Network, tip: ChainTip, new_time: int) -> int:
    """The bits that a header after `tip` with time `new_time` must state.

    Raises:
        ValueError: checkpoints vouch for that height instead of a rule.
    """
    times = [time for time, _ in tip.window]
    targets = [compact_to_target(bits) for _, bits in tip.window]
    return target_to_compact(next_target(network, tip.height + 1, times, targets, new_time))


def first_judged(network: Network, tip: ChainTip) -> int:
    """The lowest height above `tip` whose difficulty its window, and what follows it, suffices to judge."""
    vouched = max(0, network.linked_until - 1 - tip.height)
    height, known = tip.height + vouched, len(tip.window) + vouched
    while known < context_size(network, height):
        height, known = height + 1, known + 1
    return height + 1


def extend(network: Network, tip: ChainTip, raw: bytes, now: int, hashes: bytes = b"") -> CheckedHeaders:
    """The headers `raw` judged as the continuation of `tip`, by every rule of their heights.

    Below `network.linked_until` the checkpoints stand in for the difficulty rules.

    Args:
        network: whose rules apply.
        tip: what they claim to continue.
        raw: any number of 80-byte headers, concatenated.
        now: seconds since 1970.
        hashes: X11 of each header, 32 bytes each, where the caller has computed them already; never a peer's word.

    Raises:
        PeerMisbehaved: BROKEN_HEADER_LINK, BAD_DIFFICULTY, BAD_PROOF_OF_WORK, BAD_HEADER_TIME,
            HEADER_FROM_THE_FUTURE, BAD_HEADER_VERSION or CHECKPOINT_CONTRADICTED,
            naming the height of the first header that breaks a rule.
        ValueError: `raw` is not whole headers, or the tip does not hold what the next header is judged by.
    """
    if len(tip.window) < (needed := context_size(network, tip.height)):
        raise ValueError(f"a tip at height {tip.height} needs {needed} headers, not {len(tip.window)}")
    return follow(network, tip, raw, now, hashes)


def follow(network: Network, tip: ChainTip, raw: bytes, now: int, hashes: bytes = b"") -> CheckedHeaders:
    """As `extend`, for a tip whose past is not, or not yet, known: it may hold fewer headers, or none.

    Times are judged from where 11 headers are known, difficulty from `first_judged`; before that each header must
    only prove the work that it claims itself.
    """
    hashes = hashes or x11_many(raw)
    if len(hashes) * HEADER_SIZE != len(raw) * 32:
        raise ValueError(f"{len(hashes)} bytes of hashes do not go with {len(raw)} bytes of headers")
    times = [time for time, _ in tip.window]
    all_bits = [bits for _, bits in tip.window]
    targets = [compact_to_target(bits) for bits in all_bits]
    height, last, work = tip.height, tip.hash, tip.work
    judged = first_judged(network, tip)
    timed = height + 1 + (0 if len(times) > height else max(0, MEDIAN_SPAN - len(times)))
    known = between(network, height + 1, height + len(hashes) // 32)
    for at, (version, prev, _root, time, bits, _nonce) in enumerate(_FORM.iter_unpack(raw)):
        height += 1
        if prev != last:
            raise _broken(Fault.BROKEN_HEADER_LINK, height, "does not continue the header before it")
        last = hashes[32 * at : 32 * at + 32]
        target = _target(bits, network.pow_limit, height)
        if int.from_bytes(last, "little") > target:
            raise _broken(Fault.BAD_PROOF_OF_WORK, height, "its hash misses its own target")
        if height >= judged:
            _check_bits(height, bits, target_to_compact(next_target(network, height, times, targets, time)))
        if height >= timed and time <= _median(times):
            raise _broken(Fault.BAD_HEADER_TIME, height, "its time is not after the median of the 11 headers before it")
        if time > now + MAX_AHEAD:
            raise _broken(Fault.HEADER_FROM_THE_FUTURE, height, f"its time is {time - now} s ahead of our clock")
        if version < 4:
            _check_version(network, version, height)
        if height in known:
            check_checkpoint(network, height, last)
        work += (1 << 256) // (target + 1)
        times.append(time)
        targets.append(target)
        all_bits.append(bits)
    kept = context_size(network, height)
    window = tuple(zip(times[-kept:], all_bits[-kept:], strict=True))
    return CheckedHeaders(tip.height + 1, raw, hashes, ChainTip(height, last, work, window), tip)


def _check_bits(height: int, bits: int, due: int) -> None:
    if bits != due:
        raise _broken(Fault.BAD_DIFFICULTY, height, f"bits {bits:08x} instead of {due:08x}")


def _target(bits: int, limit: int, height: int) -> int:
    try:
        target = compact_to_target(bits)
    except ValueError as error:
        raise _broken(Fault.BAD_DIFFICULTY, height, str(error)) from error
    if target > limit:
        raise _broken(Fault.BAD_DIFFICULTY, height, f"bits {bits:08x} are easier than the limit")
    return target


def _check_version(network: Network, version: int, height: int) -> None:
    for name, least in _VERSIONS:
        if version < least and height >= network.activations[name]:
            raise _broken(Fault.BAD_HEADER_VERSION, height, f"version {version} after {name}")


def _broken(fault: Fault, height: int, detail: str) -> PeerMisbehaved:
    return PeerMisbehaved(fault, f"height {height}: {detail}")


def locator_heights(tip_height: int, base: int = 0) -> list[int]:
    """The heights of a block locator: ten single steps down from the tip, then doubling ones, ending with `base`."""
    heights, step = [], 1
    height = tip_height
    while height > base:
        heights.append(height)
        step = step * 2 if len(heights) > 10 else 1
        height -= step
    return [*heights, base]
