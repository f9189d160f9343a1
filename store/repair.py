"""Finding damage everywhere, and going back to where everything is good.

What a light client stores can be downloaded again, so repair never guesses: it goes back to the last height up to which
every row and segment is whole, in all tables, and leaves the rest to the next walk. Damaged masternode states are
dropped by themselves. Damage to the file's structure is beyond it: then the file must be moved away.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from phasegate.consensus.difficulty import work_of
from phasegate.consensus.x11 import x11
from phasegate.store import headers, masternodes
from phasegate.store.changes import AppendHeaders, RollBack
from phasegate.store.database import Session
from phasegate.store.errors import StoreCorrupt
from phasegate.store.marks import ChainMarks
from phasegate.store.schema import Anchor, empty_marks, stored_anchor
from phasegate.store.segments import ALL_SERIES, HEADERS, SPAN, contiguous_end, damaged_heights, erase, read_joined


@attrs.frozen
class Damage:
    """One damaged piece: what it is, in which table, and its first and last height."""

    what: str
    table: str
    start: int
    end: int


@attrs.frozen
class Repair:
    """What a repair found, and the heights it went back from and to."""

    damages: tuple[Damage, ...]
    from_height: int
    to_height: int


def damages(rows: Session, chain: ChainMarks) -> tuple[Damage, ...]:
    """Everything that is damaged or missing; the whole file is read.

    Raises:
        StoreCorrupt: the structure of the file itself is broken.
    """
    verdict = [line for (line,) in rows.run("PRAGMA integrity_check(3)")]
    if verdict != ["ok"]:
        raise StoreCorrupt(f"the database is damaged beyond repair, move it away: {'; '.join(verdict)}")
    states = [Damage("masternode list", "masternodes", height, height) for height in masternodes.damaged_states(rows)]
    return (*_damaged_items(rows), *_missing_items(rows, chain), *states)


def _damaged_items(rows: Session) -> Iterator[Damage]:
    for series in ALL_SERIES:
        for table, start, end in damaged_heights(rows, series):
            yield Damage(series.name, table, start, end)


def _missing_items(rows: Session, chain: ChainMarks) -> Iterator[Damage]:
    for series, mark in chain.reach():
        end = contiguous_end(rows, series, chain.base)
        if end < mark:
            yield Damage(series.name, "tail and segments", end + 1, mark)


def repaired(rows: Session, chain: ChainMarks) -> tuple[ChainMarks, Repair]:
    """Go back to the last good height, as part of the caller's transaction."""
    found = damages(rows, chain)
    masternodes.drop(rows, [damage.start for damage in found if damage.table == "masternodes"])
    lost = [damage.start for damage in found if damage.table != "masternodes"]
    good = max(min(lost, default=chain.tip + 1) - 1, chain.base)
    if lost:
        anchor = stored_anchor(rows)
        back = _start_again if good == chain.base else _back_to
        return back(rows, chain, anchor, good), Repair(found, chain.tip, good)
    return chain, Repair(found, chain.tip, chain.tip)


def _back_to(rows: Session, chain: ChainMarks, anchor: Anchor, good: int) -> ChainMarks:
    return headers.roll_back(rows, chain, RollBack(good, _work_at(rows, anchor, good)))


def _start_again(rows: Session, chain: ChainMarks, anchor: Anchor, good: int) -> ChainMarks:
    """Nothing is good but the anchor, which the file keeps apart."""
    headers.roll_back_found(rows, good)
    erase(rows)
    fresh = attrs.evolve(empty_marks(anchor), sequence=chain.sequence)
    first = AppendHeaders(anchor.height, anchor.header, x11(anchor.header), anchor.work)
    return headers.append_headers(rows, fresh, first)


def _work_at(rows: Session, anchor: Anchor, height: int) -> int:
    work = anchor.work
    for start in range(anchor.height + 1, height + 1, SPAN):
        raw = read_joined(rows, HEADERS, start, min(SPAN, height + 1 - start))
        work += sum(work_of(int.from_bytes(raw[at : at + 4], "little")) for at in range(72, len(raw), 80))
    return work
