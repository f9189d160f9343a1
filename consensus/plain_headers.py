"""The rules of header chains in plain Python: what the compiled ones are held against, and what names the faults.

The loop is one flat function over plain integers on purpose: small batches, and all that the compiled rules are not at
home with, go through it one header at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence

import attrs

from phasegate.consensus.chain_tip import ChainTip, CheckedHeaders
from phasegate.consensus.checkpoints import Checkpoint, between, check_checkpoint
from phasegate.consensus.difficulty import (
    MEDIAN_SPAN,
    compact_to_target,
    context_size,
    next_target,
    target_to_compact,
)
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import Network

MAX_AHEAD = 2 * 60 * 60
"""Seconds that a header may be ahead of the clock."""
FORM = struct.Struct("<i32s32sIII")
VERSIONS = (("bip34", 2), ("bip66", 3), ("bip65", 4))


@attrs.frozen
class Ground:
    """What a batch is judged by from its beginning to its end.

    Args:
        network: whose rules apply.
        now: seconds since 1970.
        judged: the height from which on the past suffices to judge difficulty.
        timed: likewise, times.
        known: the checkpoints among the batch.
    """

    network: Network
    now: int
    judged: int
    timed: int
    known: Mapping[int, Checkpoint]


def ground_of(network: Network, tip: ChainTip, count: int, now: int) -> Ground:
    """What `count` headers after `tip` are judged by."""
    height, held = tip.height, len(tip.window)
    timed = height + 1 + (0 if held > height else max(0, MEDIAN_SPAN - held))
    return Ground(network, now, first_judged(network, tip), timed, between(network, height + 1, height + count))


def first_judged(network: Network, tip: ChainTip) -> int:
    """The lowest height above `tip` whose difficulty its window, and what follows it, suffices to judge."""
    vouched = max(0, network.linked_until - 1 - tip.height)
    height, known = tip.height + vouched, len(tip.window) + vouched
    while known < context_size(network, height):
        height, known = height + 1, known + 1
    return height + 1


def follow_plainly(network: Network, tip: ChainTip, raw: bytes, now: int, hashes: bytes) -> CheckedHeaders:
    """As `headers.follow`, header by header."""
    ground = ground_of(network, tip, len(hashes) // 32, now)
    work = judge_plainly(ground, tip.height, tip.hash, tip.window, raw, hashes)
    return checked(network, tip, raw, hashes, tip.work + work)


def judge_plainly(
    ground: Ground, height: int, last: bytes, past: Iterable[tuple[int, int]], raw: bytes, hashes: bytes
) -> int:
    """Judge headers one by one, and sum their work.

    Args:
        ground: of their batch.
        height: of the header before them.
        last: its hash.
        past: `(time, bits)` of all headers before them that rules look back to and that are known, oldest first.
        raw: the headers.
        hashes: of the headers.

    Raises:
        PeerMisbehaved: as `headers.extend`.
    """
    network, now, work = ground.network, ground.now, 0
    known = list(past)
    times, targets = [time for time, _ in known], [compact_to_target(bits) for _, bits in known]
    for at, (version, prev, _root, time, bits, _nonce) in enumerate(FORM.iter_unpack(raw)):
        height += 1
        if prev != last:
            raise _broken(Fault.BROKEN_HEADER_LINK, height, "does not continue the header before it")
        last = hashes[32 * at : 32 * at + 32]
        target = _target(bits, network.pow_limit, height)
        if int.from_bytes(last, "little") > target:
            raise _broken(Fault.BAD_PROOF_OF_WORK, height, "its hash misses its own target")
        if height >= ground.judged:
            _check_bits(height, bits, target_to_compact(next_target(network, height, times, targets, time)))
        if height >= ground.timed and time <= median(times):
            raise _broken(Fault.BAD_HEADER_TIME, height, "its time is not after the median of the 11 headers before it")
        if time > now + MAX_AHEAD:
            raise _broken(Fault.HEADER_FROM_THE_FUTURE, height, f"its time is {time - now} s ahead of our clock")
        if version < 4:
            _check_version(network, version, height)
        if height in ground.known:
            check_checkpoint(network, height, last)
        work += (1 << 256) // (target + 1)
        times.append(time)
        targets.append(target)
    return work


def checked(network: Network, tip: ChainTip, raw: bytes, hashes: bytes, work: int) -> CheckedHeaders:
    """Headers after `tip` of which all were judged and none refused; `work` is that of the whole chain with them."""
    count = len(hashes) // 32
    height, kept = tip.height + count, context_size(network, tip.height + count)
    window = (*tip.window, *times_and_bits(raw[-80 * kept :]))[-kept:]
    return CheckedHeaders(tip.height + 1, raw, hashes, ChainTip(height, hashes[-32:] or tip.hash, work, window), tip)


def times_and_bits(raw: bytes) -> list[tuple[int, int]]:
    """`(time, bits)` of each of concatenated headers."""
    return [(time, bits) for _, _, _, time, bits, _ in FORM.iter_unpack(raw)]


def median(times: Sequence[int]) -> int:
    """The median of the newest 11 of `times`, or of all if there are fewer."""
    newest = sorted(times[-MEDIAN_SPAN:])
    return newest[len(newest) // 2]


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
    for name, least in VERSIONS:
        if version < least and height >= network.activations[name]:
            raise _broken(Fault.BAD_HEADER_VERSION, height, f"version {version} after {name}")


def _broken(fault: Fault, height: int, detail: str) -> PeerMisbehaved:
    return PeerMisbehaved(fault, f"height {height}: {detail}")
