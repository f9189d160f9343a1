"""Rotated quorums: each cycle gives every quorum a new quarter; the others are of the three cycles before [DIP24].

A new quarter is dealt from all masternodes that could be members, those first that none of the three quarters before
uses, each part by score; a masternode is passed over for a quorum that has it already, and that is noted in a skip
list. The node that deals keeps a snapshot: which masternodes were in use, and whom it skipped. From a snapshot the
quarter is dealt again without knowing the quarters before it, which is how a light client begins in mid-chain. Core
llmq/utils.cpp: BuildNewQuorumQuarterMembers, GetQuorumQuarterMembersBySnapshot, BuildQuorumSnapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import attrs

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.masternode_entry import MasternodeEntry
from phasegate.consensus.params import QuorumType
from phasegate.consensus.quorum_members import by_score
from phasegate.consensus.quorums import BitSet, QuorumSnapshot

NO_SKIPPING, SKIPPING_ENTRIES = 0, 1
QUARTERS = 4

Quarter = tuple[tuple[MasternodeEntry, ...], ...]
"""The masternodes that one cycle gave to each quorum, by quorum index."""


@attrs.frozen(slots=False)
class RotationPoint:
    """One cycle as its work block saw it.

    Args:
        entries: the masternode list after the work block, by proTxHash.
        modifier: 32 bytes, drawn from the work block.
        snapshot: what a node keeps of this cycle; None where none is known, or before the first cycle.
    """

    entries: Mapping[bytes, MasternodeEntry]
    modifier: bytes
    snapshot: QuorumSnapshot | None = None

    def ranked(self) -> list[MasternodeEntry]:
        """All that can be members, by score."""
        return by_score(self.entries.values(), self.modifier)


def rotated_members(
    kind: QuorumType, point: RotationPoint, before: Sequence[Quarter]
) -> tuple[tuple[MasternodeEntry, ...], ...]:
    """The members of every quorum of a cycle, by index.

    Args:
        kind: a rotated type.
        point: of the cycle; its snapshot is not needed.
        before: the quarters of the three cycles before, newest first; an empty one where there was none.
    """
    return joined([new_quarter(kind, point, before), *before])


def joined(quarters: Sequence[Quarter]) -> tuple[tuple[MasternodeEntry, ...], ...]:
    """The members of every quorum, by index, from its four quarters, newest first: they stand oldest first."""
    return tuple([tuple(chain.from_iterable(parts)) for parts in zip(*reversed(quarters), strict=True)])


def no_quarter(kind: QuorumType) -> Quarter:
    """The quarter of a cycle that gave no quorum anybody."""
    return ((),) * kind.active


def new_quarter(kind: QuorumType, point: RotationPoint, before: Sequence[Quarter]) -> Quarter:
    """The quarter that a cycle gives, dealt from its list and the three quarters `before` it (newest first)."""
    return _Deal(kind, point, before).quarter


def make_snapshot(kind: QuorumType, point: RotationPoint, before: Sequence[Quarter]) -> QuorumSnapshot:
    """The snapshot that a node keeps of a cycle, from its list and the three quarters `before` it (newest first)."""
    deal = _Deal(kind, point, before)
    if deal.failed:
        return QuorumSnapshot(NO_SKIPPING, BitSet.of([]), ())
    used = [entry.pro_tx_hash in deal.used.by_name for entry in point.ranked()]
    bits = BitSet.of(used + [False] * (len(point.entries) - len(used)))
    return QuorumSnapshot(SKIPPING_ENTRIES if deal.skips else NO_SKIPPING, bits, tuple(deal.skips))


def old_quarter(kind: QuorumType, point: RotationPoint) -> Quarter:
    """The quarter that a cycle gave, dealt again from its snapshot.

    Raises:
        PeerMisbehaved: BAD_QUORUM_SNAPSHOT, for one that no node could have made of this list.
    """
    if point.snapshot is None:
        return no_quarter(kind)
    ranked = point.ranked()
    _check_form(point.snapshot, len(point.entries), len(ranked))
    used = [point.snapshot.active_members[i] for i in range(len(ranked))] if point.snapshot.active_members.size else []
    pool = [entry for entry, bit in zip(ranked, used, strict=False) if not bit]
    pool += [entry for entry, bit in zip(ranked, used, strict=False) if bit]
    if not pool:
        return no_quarter(kind)
    taken = _without_skipped(pool, _skipped(point.snapshot, len(pool)), kind.size // QUARTERS * kind.active)
    size = kind.size // QUARTERS
    return tuple([tuple(taken[i * size : (i + 1) * size]) for i in range(kind.active)])


def _check_form(snapshot: QuorumSnapshot, listed: int, ranked: int) -> None:
    bits = snapshot.active_members
    if bits.size not in (0, listed):
        raise _bad(f"{bits.size} bits for {listed} masternodes")
    if int.from_bytes(bits.raw, "little") >> ranked:
        raise _bad("a masternode that cannot be a member is in use")
    if snapshot.skip_mode != (SKIPPING_ENTRIES if snapshot.skip_list else NO_SKIPPING):
        raise _bad(f"skip mode {snapshot.skip_mode} with {len(snapshot.skip_list)} skipped")


def _skipped(snapshot: QuorumSnapshot, pool: int) -> list[int]:
    """The places in the pool that were skipped: the first that is not zero is what those after it are counted from."""
    first, places = 0, []
    for step in snapshot.skip_list:
        places.append(first + step)
        first = first or step
    if any(not 0 <= place < pool for place in places):
        raise _bad(f"a place is skipped that is none of {pool}")
    return places


def _without_skipped(pool: Sequence[MasternodeEntry], skipped: Sequence[int], wanted: int) -> list[MasternodeEntry]:
    taken: list[MasternodeEntry] = []
    at, skips = 0, 0
    while len(taken) < wanted:
        if skips < len(skipped) and skipped[skips] == at:
            skips += 1
        else:
            taken.append(pool[at])
        at = (at + 1) % len(pool)
    if skips < len(skipped):
        raise _bad(f"{len(skipped) - skips} skipped places are never reached")
    return taken


class _Held:
    """Masternodes of which each name, address and key stands here once."""

    def __init__(self) -> None:
        self.by_name: dict[bytes, MasternodeEntry] = {}
        self._traits: set[bytes] = set()

    def add(self, entry: MasternodeEntry) -> bool:
        """Whether it could be added."""
        traits = entry.unique_traits
        if not self._traits.isdisjoint(traits):
            return False
        self.by_name[entry.pro_tx_hash] = entry
        self._traits.update(traits)
        return True


class _Deal:
    """One dealing of a new quarter, with what a snapshot notes of it."""

    def __init__(self, kind: QuorumType, point: RotationPoint, before: Sequence[Quarter]) -> None:
        self.size = kind.size // QUARTERS
        self.skips: list[int] = []
        self.used, self.holding = _Held(), [_Held() for _ in range(kind.active)]
        self.failed = sum(entry.valid for entry in point.entries.values()) < self.size
        self.quarter = no_quarter(kind)
        if not self.failed:
            self._note_used(point, before)
            self._deal(self._pool(point))

    def _note_used(self, point: RotationPoint, before: Sequence[Quarter]) -> None:
        for index, held in enumerate(self.holding):
            for quarter in before:
                for entry in quarter[index]:
                    now = point.entries.get(entry.pro_tx_hash)
                    if now is not None and now.valid:
                        self.used.add(entry)
                        held.add(entry)

    def _pool(self, point: RotationPoint) -> list[MasternodeEntry]:
        ranked, used = point.ranked(), self.used.by_name
        return [entry for entry in ranked if entry.pro_tx_hash not in used] + by_score(used.values(), point.modifier)

    def _deal(self, pool: Sequence[MasternodeEntry]) -> None:
        given: list[tuple[MasternodeEntry, ...]] = []
        at = 0
        for held in self.holding:
            before, start, idle = len(held.by_name), at, True
            mine: list[MasternodeEntry] = []
            while len(mine) < self.size and before + len(mine) < len(pool):
                if held.add(pool[at]):
                    mine.append(pool[at])
                    idle = False
                else:
                    self._skip(at)
                at = (at + 1) % len(pool)
                if at == start:
                    if idle:
                        self.failed = True
                        return
                    idle = True
            given.append(tuple(mine))
        self.quarter = tuple(given)

    def _skip(self, at: int) -> None:
        first = next((step for step in self.skips if step), 0)
        self.skips.append(at - first)


def _bad(detail: str) -> PeerMisbehaved:
    return PeerMisbehaved(Fault.BAD_QUORUM_SNAPSHOT, f"rotation snapshot: {detail}")
