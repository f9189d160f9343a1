"""Finding damage everywhere, and going back to where everything is good.

What a light client stores can be downloaded again, so repair never guesses: it goes back to the last height up to which
every row and segment is whole, in all tables, and leaves the rest to the next walk. What stands above the marks was
never stored by us, and goes. What stands beside the chain is dropped by itself: masternode states, quorums (with the
lists that speak of them), locks, the headers below the base, what is remembered of peers. A damaged filter variant
takes the filter headers from there on along, so that its dispute is found again. What was found for the watched scripts
is searched for again. Damage to the file's structure, to its identity, its marks or the list of what is watched is
beyond it: then the file must be moved away.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from phasegate.consensus.difficulty import work_of
from phasegate.consensus.x11 import x11
from phasegate.store import (
    broadcasts,
    chainlocks,
    context,
    disputes,
    filters,
    headers,
    instantlocks,
    lost,
    masternodes,
    peers,
    pruning,
    quorums,
    reputations,
    seals,
)
from phasegate.store.changes import AppendHeaders, RollBack, RollBackFilters
from phasegate.store.damage import Damage
from phasegate.store.database import Session
from phasegate.store.errors import StoreCorrupt
from phasegate.store.identity import Anchor, empty_marks, stored_anchor
from phasegate.store.marks import ChainMarks
from phasegate.store.segments import ALL_SERIES, HEADERS, SPAN, contiguous_end, cut, damaged_heights, erase, read_joined

_BESIDE_THE_CHAIN = (masternodes, quorums, chainlocks, instantlocks)
_HINTS = (peers, reputations, broadcasts, lost)
_ABOVE = "above the marks"
_NOT_THE_CHAIN = (
    _ABOVE,
    "masternodes",
    "quorums",
    "quorum_sets",
    "chainlocks",
    "instantlocks",
    "instantlock_inputs",
    "context",
    "filter_variants",
    "peers",
    "peer_anchors",
    "peer_key",
    "reputations",
    "broadcasts",
    "lost_transactions",
    *seals.TABLES,
)


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
    verdict = [" ".join(line.split()) for (line,) in rows.run("PRAGMA integrity_check(3)")]
    if verdict != ["ok"]:
        raise StoreCorrupt(f"the database is damaged beyond repair, move it away: {'; '.join(verdict)}")
    beside = [damage for part in _BESIDE_THE_CHAIN for damage in part.damages(rows)]
    beside += [*context.damages(rows, chain), *disputes.damages(rows), *seals.damages(rows, chain)]
    beside += [damage for part in _HINTS for damage in part.damages(rows, chain.tip)]
    return (*_damaged_items(rows), *_misplaced_items(rows, chain), *beside)


def _damaged_items(rows: Session) -> Iterator[Damage]:
    for series in ALL_SERIES:
        for table, start, end in damaged_heights(rows, series):
            yield Damage(series.name, table, start, end)


def _misplaced_items(rows: Session, chain: ChainMarks) -> Iterator[Damage]:
    for series, start, mark in chain.reach():
        end = contiguous_end(rows, series, start)
        if end < mark:
            yield Damage(series.name, "tail and segments", end + 1, mark)
        elif end > mark:
            yield Damage(series.name, _ABOVE, mark + 1, end)


def repaired(rows: Session, chain: ChainMarks) -> tuple[ChainMarks, Repair]:
    """Go back to the last good height, as part of the caller's transaction."""
    found = damages(rows, chain)
    seals.mend(rows, chain)
    for part in (*_BESIDE_THE_CHAIN, context, *_HINTS):
        part.mend(rows)
    lost = [damage.start for damage in found if damage.table not in _NOT_THE_CHAIN]
    good, before = max(min(lost, default=chain.tip + 1) - 1, chain.base), chain.tip
    if lost:
        back = _start_again if good == chain.base else _back_to
        chain = back(rows, chain, stored_anchor(rows), good)
    unsure = [damage.start - 1 for damage in found if damage.table == "filter_variants"]
    if unsure and min(unsure) < chain.filter_headers:
        chain = filters.roll_back_filters(rows, chain, RollBackFilters(min(unsure)))
    chain = pruning.reopened(rows, chain)
    for series, start, mark in chain.reach():
        if contiguous_end(rows, series, start) > mark:
            cut(rows, series, mark)
    return chain, Repair(found, before, chain.tip)


def _back_to(rows: Session, chain: ChainMarks, anchor: Anchor, good: int) -> ChainMarks:
    return headers.roll_back(rows, chain, RollBack(good, _work_at(rows, anchor, good)))


def _start_again(rows: Session, chain: ChainMarks, anchor: Anchor, good: int) -> ChainMarks:
    """Nothing is good but the anchor, which the file keeps apart."""
    headers.roll_back_found(rows, chain, good)
    disputes.roll_back(rows, chain, chain.base - 1)
    erase(rows)
    chain = pruning.wanted_again(rows, chain, pruning.birthday(rows, chain))
    fresh = attrs.evolve(empty_marks(anchor, chain.filters_base), sequence=chain.sequence)
    first = AppendHeaders(anchor.height, anchor.header, x11(anchor.header), anchor.work)
    return headers.append_headers(rows, fresh, first)


def _work_at(rows: Session, anchor: Anchor, height: int) -> int:
    work = anchor.work
    for start in range(anchor.height + 1, height + 1, SPAN):
        raw = read_joined(rows, HEADERS, start, min(SPAN, height + 1 - start))
        work += sum(work_of(int.from_bytes(raw[at : at + 4], "little")) for at in range(72, len(raw), 80))
    return work
