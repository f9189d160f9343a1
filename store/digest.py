"""One number for all that a store knows, so that two stores can be compared.

It covers the items, never the bytes that hold them: how heights were cut into batches and segments, the order of
arrival, row ids, the journal, peers and all times are left out. So is what depends on the way to a chain and not on the
chain: older masternode states and anchors, the quorums and sets met on the way and their verdicts, the locks that
happened to be heard, who corroborated which filter header, variants in dispute, blocks that were searched (a variant or
a forgotten watch item may have pointed there; what was found is covered), what is still to be broadcast, and the
headers below the base.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from phasegate.store import masternodes, wallet
from phasegate.store.database import Row, Session
from phasegate.store.marks import ChainMarks
from phasegate.store.segments import FILTERS, SPAN, Series, heights_above, read

Update = Callable[[bytes], None]


def digest(rows: Session, chain: ChainMarks) -> str:
    """SHA-256, as hex, over all chain and wallet items in canonical order."""
    sha = hashlib.sha256(b"phasegate store 2")
    _fields(sha.update, b"identity", rows.run("SELECT value FROM meta WHERE key IN ('network', 'genesis')"))
    _fields(sha.update, b"base", [(chain.base, chain.filters_base, chain.tip, chain.work.to_bytes(32, "big"))])
    for series, start, end in chain.reach():
        _series(sha.update, rows, series, start, end)
    if chain.filter_headers >= chain.base:
        _fields(sha.update, b"previous", [(chain.previous_filter_header,)])
    waiting = heights_above(rows, FILTERS, chain.filters)
    _fields(sha.update, b"waiting filters", ((h, read(rows, FILTERS, h, 1)[0]) for h in waiting))
    _fields(sha.update, b"masternodes", [masternodes.newest_state(rows) or ()])
    _wallet(sha.update, rows)
    return sha.hexdigest()


def _series(update: Update, rows: Session, series: Series, start: int, end: int) -> None:
    update(series.name.encode())
    for first in range(start, end + 1, SPAN):
        for item in read(rows, series, first, min(SPAN, end + 1 - first)):
            update(b"%d:" % len(item) + item)


def _wallet(update: Update, rows: Session) -> None:
    for title, sql in _WALLET.items():
        _fields(update, title.encode(), rows.run(sql))
    if chains := rows.run("SELECT descriptor, gap, derived FROM key_chains ORDER BY descriptor"):
        _fields(update, b"key chains", chains)
    if mentions := rows.run("SELECT txid, script FROM mentions ORDER BY txid, script"):
        _fields(update, b"mentions", mentions)
    found = wallet.transactions(rows)
    _fields(update, b"found", [(tx.txid, tx.height, tx.position, tx.received, tx.sent, *tx.scripts) for tx in found])


_WALLET = {
    "watch": "SELECT script, label, matched_to FROM watch ORDER BY script",
    "pending": "SELECT height FROM matches WHERE recorded = 0 ORDER BY height",
    "coins": "SELECT txid, position, value, script, height, spent_by, spent_height FROM coins ORDER BY txid, position",
}


def _fields(update: Update, title: bytes, rows: Iterable[Row]) -> None:
    update(title)
    for row in rows:
        update(b"|")
        for value in row:
            raw = value if isinstance(value, bytes) else str(value).encode()
            update(b"%d:" % len(raw) + raw)
