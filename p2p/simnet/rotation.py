"""The cycles of a rotated quorum type, from the first on: what each gave its quorums, and what it remembers [DIP24].

Before the first cycle nobody was in any quorum: its three old quarters are empty, and only the fourth cycle has whole
quorums. A cycle is fixed as soon as its work block is there.
"""

from __future__ import annotations

import attrs

from phasegate.consensus.masternodes import MasternodeEntry
from phasegate.consensus.params import QuorumType
from phasegate.consensus.quorum_members import WORK_OFFSET
from phasegate.consensus.quorums import QuorumSnapshot
from phasegate.consensus.rotation import (
    QUARTERS,
    Quarter,
    RotationPoint,
    make_snapshot,
    new_quarter,
    no_quarter,
    rotated_members,
)
from phasegate.p2p.simnet.work_blocks import Past, modifier_at


@attrs.frozen
class Cycle:
    """One cycle.

    Attributes:
        members: of each quorum, by index; fewer than the type's size while the chain is young.
        quarter: those of them who are new in this cycle.
        snapshot: what later cycles need to know, None when there were too few masternodes for one.
    """

    members: tuple[tuple[MasternodeEntry, ...], ...]
    quarter: Quarter
    snapshot: QuorumSnapshot | None


@attrs.define(eq=False, repr=False)
class Rotation:
    """All cycles of one type on one chain, made when they are first asked for."""

    past: Past
    kind: QuorumType
    _cycles: list[Cycle] = attrs.field(factory=list)

    def cycle(self, height: int) -> Cycle | None:
        """The cycle that begins at `height`, whose work block the chain must have; None if none begins there."""
        interval = self.kind.interval
        if height < interval or height % interval:
            return None
        while len(self._cycles) * interval < height:
            self._cycles.append(self._next((len(self._cycles) + 1) * interval))
        return self._cycles[height // interval - 1]

    def snapshot(self, height: int) -> QuorumSnapshot | None:
        """What the cycle at `height` remembers, if there is such a cycle and anything to remember."""
        cycle = self.cycle(height)
        return None if cycle is None else cycle.snapshot

    def _next(self, height: int) -> Cycle:
        kind, before = self.kind, self._before()
        entries = self.past.entries_at(height - WORK_OFFSET)
        point = RotationPoint(entries, modifier_at(self.past, kind, height))
        snapshot = make_snapshot(kind, point, before)
        remembered = snapshot if snapshot.active_members.size else None
        return Cycle(rotated_members(kind, point, before), new_quarter(kind, point, before), remembered)

    def _before(self) -> list[Quarter]:
        """The quarters of the newest three cycles, newest first."""
        known = [cycle.quarter for cycle in self._cycles[:-QUARTERS:-1]]
        return known + [no_quarter(self.kind)] * (QUARTERS - 1 - len(known))
