"""What a store holds after a kill, read from a copy, so that the next run meets the very files that the kill left."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs

from phasegate.consensus.params import SIMNET
from phasegate.store import Store

PHASES = ("headers", "mnlist", "cfheaders", "filters", "blocks")

ALL = 2**62


@attrs.frozen
class Standing:
    """How far a store reaches; the defaults are those of no store at all.

    Args:
        tip, masternodes, filter_headers, filters: the height up to which each is stored.
        recorded: the heights of the searched blocks.
        pending: the number of matched blocks that wait to be searched.
        sequence: the number of commits.
        row: the id of the newest journal row.
        phase: the target of that row; "" if the last run wrote none.
        began: when the last run wrote its first, seconds since 1970; None if it wrote none.
        lists: the heights of all stored masternode lists.
        unjudged: the number of active quorums without a verdict.
    """

    tip: int = 0
    masternodes: int = 0
    filter_headers: int = -1
    filters: int = -1
    recorded: frozenset[int] = frozenset()
    pending: int = 0
    sequence: int = 0
    row: int = 0
    phase: str = ""
    began: float | None = None
    lists: frozenset[int] = frozenset()
    unjudged: int = 0

    def keeps(self, before: Standing) -> bool:
        """Whether nothing that was stored `before` is gone."""
        reached = (self.tip, self.masternodes, self.filter_headers, self.filters, self.sequence, self.row)
        had = (before.tip, before.masternodes, before.filter_headers, before.filters, before.sequence, before.row)
        return before.recorded <= self.recorded and all(map(int.__ge__, reached, had))

    def stored(self, phase: str, heights: frozenset[int]) -> frozenset[int]:
        """Those of `heights` whose data of `phase` is stored."""
        if phase == "blocks":
            return heights & self.recorded
        if phase == "mnlist":
            return heights & self.lists
        mark = {
            "headers": self.tip,
            "cfheaders": self.filter_headers,
            "filters": self.filters,
        }[phase]
        return frozenset([height for height in heights if height <= mark])

    def left(self, phase: str, height: int) -> float:
        """The share of a phase's work for a chain up to `height` that is still to be done, 0 to 1."""
        if phase == "blocks":
            found = len(self.recorded) + self.pending
            return self.pending / found if found and self.filters == height else float(self.filters < height)
        if phase == "mnlist":
            return float(self.masternodes < height or self.unjudged > 0)
        mark = {"headers": self.tip, "cfheaders": self.filter_headers, "filters": self.filters}[phase]
        return (height - mark) / (height + 1)


def standing(datadir: Path, before: Standing) -> Standing:
    """What the simnet store in `datadir`, opened by nobody, says of itself; `before`: before the last run."""
    files = [path for path in datadir.glob("simnet.sqlite*") if path.suffix != ".lock"]
    if not files:
        return Standing()
    with TemporaryDirectory(dir=datadir.parent) as place:
        for path in files:
            shutil.copy(path, place)
        store = Store.open(Path(place), SIMNET)
        try:
            return _read(store, before.row)
        finally:
            store.close()


def _read(store: Store, last: int) -> Standing:
    damage = store.check()
    assert not damage, f"a kill left damage: {damage}"
    marks, pending, rows = store.marks, store.pending(ALL), store.journal(last)
    with store._now() as (_, chain):
        sequence = chain.sequence
    return Standing(
        marks.tip,
        marks.masternodes or 0,
        marks.filter_headers,
        marks.filters,
        frozenset(store.matched_heights()) - frozenset(pending),
        len(pending),
        sequence,
        rows[-1].row_id if rows else last,
        rows[-1].target if rows else "",
        rows[0].time if rows else None,
        frozenset(store.masternode_heights()),
        marks.quorums_unjudged,
    )
