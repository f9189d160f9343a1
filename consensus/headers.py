"""The rules that a chain of block headers must keep [Core validation.cpp], checked one batch at a time.

What the rules need to know of the past fits in a `ChainTip`: height, hash, work and the times and bits of the newest
headers (24 for DarkGravityWave, 11 of them for the median time, up to 576 for the rule of the first testnet blocks).
`extend` takes a tip and raw headers and returns a new tip, or raises at the first header that breaks a rule; nothing
else is kept, so that a fork is just another tip. `follow` does the same where the past is not known: it begins with
what a header says alone and with its links, and judges times and difficulty from where enough headers are known.

The rules are written twice. `plain_headers` has them in plain Python; it judges small batches, and names the fault in
all. `header_kernel` has them compiled, for batches at which hashing, not judging, should be what takes the time.
"""

from __future__ import annotations

from collections.abc import Sequence

from phasegate.consensus.chain_tip import ChainTip, CheckedHeaders
from phasegate.consensus.compiled import worth_compiling
from phasegate.consensus.difficulty import (
    compact_to_target,
    context_size,
    next_target,
    target_to_compact,
    work_of,
)
from phasegate.consensus.params import Network
from phasegate.consensus.plain_headers import FORM, MAX_AHEAD, first_judged, follow_plainly, median, times_and_bits
from phasegate.consensus.x11 import HEADER_SIZE, x11, x11_many

__all__ = [
    "MAX_AHEAD",
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


def genesis_tip(network: Network) -> ChainTip:
    """The tip of a chain that is only the genesis block."""
    *_, time, bits, _nonce = FORM.unpack(network.genesis)
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
    return ChainTip(height, hash, work, tuple(times_and_bits(recent[-needed * HEADER_SIZE :])))


def median_time(window: Sequence[tuple[int, int]]) -> int:
    """The median time of the newest 11 headers of `window`, or of all if there are fewer."""
    return median([time for time, _ in window])


def expected_bits(network: Network, tip: ChainTip, new_time: int) -> int:
    """The bits that a header after `tip` with time `new_time` must state.

    Raises:
        ValueError: checkpoints vouch for that height instead of a rule.
    """
    times = [time for time, _ in tip.window]
    targets = [compact_to_target(bits) for _, bits in tip.window]
    return target_to_compact(next_target(network, tip.height + 1, times, targets, new_time))


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
    if not worth_compiling(len(hashes) // 32):
        return follow_plainly(network, tip, raw, now, hashes)
    from phasegate.consensus.compiled_headers import follow_compiled

    return follow_compiled(network, tip, raw, now, hashes)


def locator_heights(tip_height: int, base: int = 0) -> list[int]:
    """The heights of a block locator: ten single steps down from the tip, then doubling ones, ending with `base`."""
    heights, step = [], 1
    height = tip_height
    while height > base:
        heights.append(height)
        step = step * 2 if len(heights) > 10 else 1
        height -= step
    return [*heights, base]
