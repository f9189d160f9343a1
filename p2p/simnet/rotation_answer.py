"""Building a `qrinfo`, as Core does [Core llmq/snapshot.cpp BuildQuorumRotationInfo].

The answer is about the cycle H that holds the block asked about: the lists at its work block and at those of the cycles
before, the newest commitment of each quorum index, and snapshots and lists of older cycles that those still need. Since
protocol 70236 each list starts from the newest block at or below its own that the asker has by then, those of earlier
lists in the same answer included, oldest list first; before, all start from what the asker has named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from phasegate.consensus.masternodes import MasternodeListDiff
from phasegate.consensus.params import Network, QuorumType
from phasegate.consensus.quorum_members import WORK_OFFSET
from phasegate.consensus.quorums import QuorumCommitment, QuorumSnapshot
from phasegate.consensus.rotation_info import RotationShare
from phasegate.p2p.messages import GetQrInfo, QrInfo

PROTOCOL_INCREMENTAL = 70236
EARLIER = (1, 2, 3)
EXTRA = 4


class Rotating(Protocol):
    """A chain that knows its cycles."""

    @property
    def network(self) -> Network: ...

    @property
    def height(self) -> int: ...

    def height_of(self, block_hash: bytes) -> int | None: ...

    def mnlistdiff(self, base: int, height: int) -> MasternodeListDiff | None: ...

    def last_commitments(self, kind: QuorumType, height: int) -> Sequence[QuorumCommitment] | None:
        """The newest commitment of each index mined at or below `height`, by index; None where that is not known."""

    def snapshot(self, kind: QuorumType, height: int) -> QuorumSnapshot | None:
        """What the cycle that begins at `height` remembers."""


class _Untold(Exception):
    """Something that the answer needs is not there: dashd is silent then."""


def rotation_info(chain: Rotating, request: GetQrInfo, version: int) -> QrInfo | None:
    """The answer to `request` of a peer of protocol `version`; None where dashd is silent."""
    block = chain.height_of(request.block)
    bases = [chain.height_of(base) for base in request.bases]
    known = [base for base in bases if base is not None]
    if block is None or len(known) < len(bases):
        return None
    kind = chain.network.quorum_types[chain.network.roles["instantsend"]]
    making = _Answer(chain, kind, sorted(known) or [0], version >= PROTOCOL_INCREMENTAL)
    try:
        return making.build(block, request.extra_share)
    except _Untold:
        return None


@attrs.define
class _Answer:
    """One answer while it is made; `bases` are the heights whose lists the asker has by now."""

    chain: Rotating
    kind: QuorumType
    bases: list[int]
    incremental: bool

    def build(self, block: int, extra_share: bool) -> QrInfo:
        cycle = block - block % self.kind.interval
        back = [*EARLIER, *([EXTRA] if extra_share else [])]
        starts = [cycle - number * self.kind.interval for number in back]
        commitments = self.chain.last_commitments(self.kind, block)
        if commitments is None:
            raise _Untold
        older = [(self._snapshot(start), self._list(start)) for start in self._needed(commitments, starts)]
        shares = [RotationShare(self._snapshot(start), self._list(start)) for start in reversed(starts)][::-1]
        newest = self._list(cycle)
        tip = self._diff(self.chain.height, self._base(self.chain.height))
        extra = shares[-1] if extra_share else None
        snapshots, diffs = tuple([s for s, _ in older]), tuple([d for _, d in older])
        return QrInfo(tip, newest, tuple(shares[:3]), extra, tuple(commitments), snapshots, diffs)

    def _needed(self, commitments: Sequence[QuorumCommitment], told: Sequence[int]) -> list[int]:
        """The starts of the older cycles that the members of these quorums come from, ascending."""
        cycles = [(self.chain.height_of(quorum.quorum_hash) or 0) - (quorum.index or 0) for quorum in commitments]
        needed = {start - number * self.kind.interval for start in cycles for number in EARLIER}
        return sorted(needed - set(told))

    def _snapshot(self, start: int) -> QuorumSnapshot:
        snapshot = self.chain.snapshot(self.kind, start)
        if snapshot is None:
            raise _Untold
        return snapshot

    def _list(self, start: int) -> MasternodeListDiff:
        """What leads to the list at the work block of a cycle, which the asker has from then on."""
        height = start - WORK_OFFSET
        if height < 0:
            raise _Untold
        diff = self._diff(height, self._base(height))
        if self.incremental:
            self.bases.append(height)
        return diff

    def _base(self, height: int) -> int:
        return max([base for base in self.bases if base <= height], default=0)

    def _diff(self, height: int, base: int) -> MasternodeListDiff:
        diff = self.chain.mnlistdiff(base, height)
        if diff is None:
            raise _Untold
        return diff
