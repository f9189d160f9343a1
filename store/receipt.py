"""The receipt of a commit, read from the tables: a few look-ups, none of which grows with the chain."""

from __future__ import annotations

from phasegate.store import chainlocks, context, disputes, masternodes, pruning, quorums
from phasegate.store.database import Session
from phasegate.store.marks import ChainMarks, Watermarks


def watermarks(rows: Session, chain: ChainMarks) -> Watermarks:
    """The receipt that goes with `chain`."""
    walked = masternodes.newest_height(rows)
    items, matched = rows.run("SELECT count(*), min(matched_to) FROM watch")[0]
    best = chainlocks.best(rows)
    return Watermarks(
        base=chain.base,
        tip=chain.tip,
        tip_hash=chain.tip_hash,
        work=chain.work,
        masternodes=walked[0] if walked else None,
        masternodes_hash=walked[1] if walked else b"",
        filter_headers=chain.filter_headers,
        filter_header=chain.filter_header,
        filters=chain.filters,
        matched=matched if items else chain.filters,
        watch_items=items,
        pending_blocks=rows.run("SELECT count(*) FROM matches WHERE recorded = 0")[0][0],
        matched_blocks=rows.run("SELECT count(*) FROM matches")[0][0],
        filters_base=chain.filters_base,
        context=context.count(rows),
        chainlock=best[0] if best else None,
        chainlock_hash=best[1] if best else b"",
        quorums=quorums.active(rows, walked[0]) if walked else 0,
        quorums_unjudged=quorums.unjudged(rows, walked[0]) if walked else 0,
        corroborated=chain.corroborated,
        disputed=disputes.lowest(rows),
        birthday=pruning.birthday(rows, chain),
    )
