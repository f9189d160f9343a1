"""Filters that are not kept, because everything watched was matched against them; and their return.

What goes are whole segments, from below: `filters_base` rises, and the store is as one that began there. What it was
before is remembered in the file's identity as the birthday, for below the base nothing can be matched any more. So
whenever something watched is to be matched from further down (it is new, or a reorganisation, a dispute or a repair
went back so far), all filters are given up, and wanted again from the birthday on: the chain is downloaded once more,
and nothing is taken for searched that was not.
"""

from __future__ import annotations

import attrs

from phasegate.store.changes import PruneFilters
from phasegate.store.database import Session
from phasegate.store.marks import ChainMarks
from phasegate.store.segments import FILTERS, cut


def prune_filters(rows: Session, chain: ChainMarks, change: PruneFilters) -> ChainMarks:
    """Apply `PruneFilters`."""
    if change.to_height > chain.filters:
        raise ValueError(f"filters to {change.to_height} cannot go: they are stored to {chain.filters}")
    matched: int | None = rows.run("SELECT min(matched_to) FROM watch")[0][0]
    done = change.to_height if matched is None else min(matched, change.to_height)
    kept: int | None = rows.run(_FIRST_KEPT, (FILTERS.number, done))[0][0]
    if kept is None or kept <= chain.filters_base:
        return chain
    rows.run("INSERT OR IGNORE INTO meta VALUES('birthday', ?)", (chain.filters_base,))
    rows.run("DELETE FROM segments WHERE series = ? AND start < ?", (FILTERS.number, kept))
    return attrs.evolve(chain, filters_base=kept)


_FIRST_KEPT = "SELECT max(start + count) FROM segments WHERE series = ? AND start + count - 1 <= ?"


def birthday(rows: Session, chain: ChainMarks) -> int:
    """The first height whose filter was wanted, stored or not kept."""
    found = rows.run("SELECT value FROM meta WHERE key = 'birthday'")
    return int(found[0][0]) if found else chain.filters_base


def reopened(rows: Session, chain: ChainMarks) -> ChainMarks:
    """`chain` as it is, or without filters if something watched has to be matched against some that were not kept."""
    first = birthday(rows, chain)
    if first == chain.filters_base:
        return chain
    behind = rows.run("SELECT 1 FROM watch WHERE matched_to < ? LIMIT 1", (chain.filters_base - 1,))
    return wanted_again(rows, chain, first) if behind else chain


def wanted_again(rows: Session, chain: ChainMarks, first: int) -> ChainMarks:
    """No filters, and all from `first` on wanted."""
    cut(rows, FILTERS, first - 1)
    rows.run("DELETE FROM meta WHERE key = 'birthday'")
    return attrs.evolve(chain, filters_base=first, filters=first - 1)
