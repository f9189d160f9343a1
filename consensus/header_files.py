"""A file of raw headers, judged by every rule that its heights have.

A file may begin anywhere. Its first headers then only link, prove their own work and state a fit version; times are
judged from where 11 are known, difficulty from where its rule can be computed: 24 headers on, or, where Bitcoin's rule
still held, behind the next multiple of 576. Each header is committed to by the one after it, the last one by nothing
but its own work: only who knows the end's hash beforehand can tell that it was not exchanged for another.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from phasegate.consensus.checkpoints import between, check_checkpoint
from phasegate.consensus.difficulty import target_to_compact
from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved
from phasegate.consensus.headers import ChainTip, first_judged, follow, genesis_tip
from phasegate.consensus.params import DEVNET, Network
from phasegate.consensus.x11 import HEADER_SIZE, x11

_AT_ONCE = 2000


@attrs.frozen
class HeaderReport:
    """What is proven of a file whose headers keep all rules.

    Args:
        first_height: of its first header.
        first_hash: of that header, wire order.
        last_height: of its last header.
        last_hash: of that header, wire order.
        work: of its headers together.
        difficulty_from: the first height whose difficulty was judged; None if there was none.
        checkpoints: the heights of the checkpoints that it meets.
    """

    first_height: int
    first_hash: bytes
    last_height: int
    last_hash: bytes
    work: int
    difficulty_from: int | None
    checkpoints: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of headers."""
        return self.last_height - self.first_height + 1

    @property
    def difficulty_checked(self) -> int:
        """The number of headers whose difficulty was judged."""
        return 0 if self.difficulty_from is None else self.last_height - self.difficulty_from + 1


def check_headers(
    network: Network,
    start_height: int,
    raw: bytes,
    end_hash: bytes | None = None,
    progress: Callable[[int], None] | None = None,
    *,
    now: int,
) -> HeaderReport:
    """Judge the headers of a file.

    Args:
        network: whose rules apply.
        start_height: of the first header.
        raw: 80-byte headers, concatenated.
        end_hash: the hash that the last one must have, wire order; None: any.
        progress: told the number of headers judged, now and then.
        now: seconds since 1970.

    Raises:
        PeerMisbehaved: naming the height of the first header that breaks a rule, and the rule; MALFORMED_MESSAGE if
            the file is empty or ends within a header, WRONG_NETWORK if it begins with another genesis block.
    """
    if not raw or len(raw) % HEADER_SIZE:
        raise Malformed(f"{len(raw)} bytes are {len(raw) // HEADER_SIZE} headers and {len(raw) % HEADER_SIZE} bytes")
    before = _before(network, start_height, raw)
    tip, at = before, (before.height + 1 - start_height) * HEADER_SIZE
    while at < len(raw):
        tip = follow(network, tip, raw[at : at + _AT_ONCE * HEADER_SIZE], now).tip
        at += _AT_ONCE * HEADER_SIZE
        if progress is not None:
            progress(tip.height + 1 - start_height)
    if end_hash is not None and tip.hash != end_hash:
        detail = f"height {tip.height}: its hash {tip.hash[::-1].hex()} is not the end {end_hash[::-1].hex()}"
        raise PeerMisbehaved(Fault.BROKEN_HEADER_LINK, detail)
    return _report(network, start_height, x11(raw[:HEADER_SIZE]), before, tip)


def _before(network: Network, start_height: int, raw: bytes) -> ChainTip:
    """What the first judged header continues: the genesis block, or something of which only the hash is known."""
    if start_height > 1:
        check_checkpoint(network, start_height - 1, raw[4:36])
        return ChainTip(start_height - 1, raw[4:36], 0, ())
    if start_height == 0 and raw[:HEADER_SIZE] != network.genesis:
        raise PeerMisbehaved(Fault.WRONG_NETWORK, f"height 0: not the genesis block of {network.name}")
    return genesis_tip(network)


def _report(network: Network, start_height: int, first_hash: bytes, before: ChainTip, tip: ChainTip) -> HeaderReport:
    judged = first_judged(network, before)
    return HeaderReport(
        start_height,
        first_hash,
        tip.height,
        tip.hash,
        tip.work - (before.work if start_height else 0),
        judged if judged <= tip.height else None,
        tuple(between(network, start_height, tip.height)),
    )


def shown_min_difficulty(network: Network, start_height: int, raw: bytes) -> int:
    """The height up to which a devnet's file shows the limit without a break, or 0: what its nodes were told.

    A devnet's chain does not state how long its difficulty was held at the limit; who knows the number says it instead.

    Args:
        network: a devnet; for any other the answer is 0.
        start_height: of the first header.
        raw: 80-byte headers, concatenated.
    """
    if network.name != DEVNET.name:
        return 0
    limit = target_to_compact(network.pow_limit).to_bytes(4, "little")
    starts = range(0, len(raw) // HEADER_SIZE * HEADER_SIZE, HEADER_SIZE)
    held = next((at for at in starts if raw[at + 72 : at + 76] != limit), len(starts) * HEADER_SIZE)
    return start_height + held // HEADER_SIZE - 1 if held else 0
