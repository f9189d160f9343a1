"""What is watched and what was found: items, matched blocks, coins and transactions.

Only facts are stored: which output made a coin, which transaction spent it, at what heights, and which one mentions
something watched in its payload. Amounts and scripts of a transaction, and balances, follow from these. So a block may
be searched again, by a walk that was killed or for a newly watched script, and what it tells is merged: nothing is
counted twice and no known spend is forgotten, even when the second search no longer saw the spent coin. Only coins and
mentions of what is watched are kept.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from phasegate.consensus.blocks import Coin
from phasegate.consensus.primitives import OutPoint
from phasegate.store.changes import MarkMatched, Rematch, SearchBlocks
from phasegate.store.chosen import BETWEEN, Chosen
from phasegate.store.database import Session, Value
from phasegate.store.marks import ChainMarks
from phasegate.store.pruning import birthday
from phasegate.store.watch_changes import AddWatch, LabelWatch, RemoveWatch


@attrs.frozen
class WatchItem:
    """A watched script or other element of filters, its label, and the height up to which it has been matched."""

    script: bytes
    label: str
    matched_to: int


@attrs.frozen
class StoredTransaction:
    """A transaction that concerns watched scripts (sorted); amounts in duffs; a higher `row_id` was stored later.

    Among the scripts are those that it mentions in its payload, where a masternode's keys and proTxHash stand as well.

    `instantlock` is True when a verified InstantSend lock of it is known, False when one of another transaction spends
    an input of it, None when neither is.
    """

    row_id: int
    txid: bytes
    height: int
    position: int
    scripts: tuple[bytes, ...]
    received: int
    sent: int
    instantlock: bool | None = None


def add_watch(rows: Session, chain: ChainMarks, change: AddWatch) -> None:
    """Apply `AddWatch`."""
    below = birthday(rows, chain) - 1
    rows.many("INSERT OR IGNORE INTO watch VALUES(?, ?, ?)", ((script, label, below) for script, label in change.items))


def label_watch(rows: Session, change: LabelWatch) -> None:
    """Apply `LabelWatch`."""
    rows.many("UPDATE watch SET label = ? WHERE script = ?", ((label, script) for script, label in change.items))


def remove_watch(rows: Session, change: RemoveWatch) -> None:
    """Apply `RemoveWatch`; with the last item go the matches too."""
    scripts = [(script,) for script in change.scripts]
    rows.many("DELETE FROM watch WHERE script = ?", scripts)
    rows.many("DELETE FROM coins WHERE script = ?", scripts)
    rows.many("DELETE FROM mentions WHERE script = ?", scripts)
    _forget_unconcerned(rows)
    rows.run("DELETE FROM matches WHERE NOT EXISTS (SELECT 1 FROM watch)")


def _forget_unconcerned(rows: Session) -> None:
    """Forget the transactions that made and spent no coin and mention nothing, and the inputs of those."""
    rows.run(_FORGET_UNCONCERNED)
    rows.run(_FORGET_INPUTS)


_FORGET_INPUTS = """DELETE FROM transaction_inputs AS i
    WHERE NOT EXISTS (SELECT 1 FROM transactions WHERE txid = i.spender)"""
_FORGET_MENTIONS = """DELETE FROM mentions AS m
    WHERE NOT EXISTS (SELECT 1 FROM transactions WHERE txid = m.txid)"""
_FORGET_UNCONCERNED = """DELETE FROM transactions AS t
    WHERE NOT EXISTS (SELECT 1 FROM coins WHERE txid = t.txid)
    AND NOT EXISTS (SELECT 1 FROM coins WHERE spent_by = t.txid)
    AND NOT EXISTS (SELECT 1 FROM mentions WHERE txid = t.txid)"""


def start_again(rows: Session, chain: ChainMarks) -> None:
    """Forget everything that was found: all that is watched is to be matched from the first filter on."""
    for table in ("matches", "coins", "transactions", "transaction_inputs", "mentions"):
        rows.run(f"DELETE FROM {table}")  # noqa: S608 - a name of ours
    rows.run("UPDATE watch SET matched_to = ?", (birthday(rows, chain) - 1,))


def transaction_height(rows: Session, txid: bytes) -> int | None:
    """The height of the found transaction `txid` (32 bytes, wire order); None if it was not found."""
    found = rows.run("SELECT height FROM transactions WHERE txid = ?", (txid,))
    return found[0][0] if found else None


def mark_matched(rows: Session, chain: ChainMarks, change: MarkMatched) -> None:
    """Apply `MarkMatched`."""
    _refuse_unfit(rows, chain, change)
    rows.many("UPDATE watch SET matched_to = ? WHERE script = ?", ((change.end, script) for script in change.scripts))
    rows.many(_TO_SEARCH, ((height,) for height in change.heights))


def rematch(rows: Session, chain: ChainMarks, change: Rematch) -> None:
    """Apply `Rematch`; a block that matches again is searched again, as `mark_matched` has it."""
    if not 0 <= change.from_height <= chain.tip:
        raise ValueError(f"nothing can be matched from {change.from_height}: the tip is {chain.tip}")
    below = max(change.from_height, birthday(rows, chain)) - 1
    rows.run("UPDATE watch SET matched_to = min(matched_to, ?)", (below,))


_TO_SEARCH = "INSERT INTO matches VALUES(?, 0) ON CONFLICT(height) DO UPDATE SET recorded = 0"


def search_blocks(rows: Session, chain: ChainMarks, change: SearchBlocks) -> None:
    """Apply `SearchBlocks`."""
    if any(not chain.base <= height <= chain.tip for height in change.heights):
        raise ValueError(f"a block to be searched is none of {chain.base}..{chain.tip}")
    rows.many(_TO_SEARCH, ((height,) for height in change.heights))


def _refuse_unfit(rows: Session, chain: ChainMarks, change: MarkMatched) -> None:
    start, end = change.start, change.end
    if not chain.filters_base <= start <= end <= chain.filters:
        stored = f"{chain.filters_base}..{chain.filters} are stored"
        raise ValueError(f"filters {start}..{end} cannot be matched: {stored}")
    if any(not start <= height <= end for height in change.heights):
        raise ValueError(f"a matched height lies outside {start}..{end}")
    reached: dict[bytes, int] = dict(rows.run("SELECT script, matched_to FROM watch"))
    wrong = [script.hex() for script in change.scripts if reached.get(script) != start - 1]
    if wrong or not change.scripts:
        raise ValueError(f"these scripts are not matched to {start - 1}: {', '.join(wrong) or 'none given'}")


def roll_back(rows: Session, chain: ChainMarks, to: int) -> None:
    """Forget what was found above `to`, and undo the spends made there."""
    rows.run("UPDATE watch SET matched_to = min(matched_to, ?)", (max(to, birthday(rows, chain) - 1),))
    rows.run("UPDATE coins SET spent_by = NULL, spent_height = NULL WHERE spent_height > ?", (to,))
    rows.run("DELETE FROM coins WHERE height > ?", (to,))
    rows.run("DELETE FROM matches WHERE height > ?", (to,))
    rows.run("DELETE FROM transactions WHERE height > ?", (to,))
    rows.run(_FORGET_INPUTS)
    rows.run(_FORGET_MENTIONS)


def watch_items(rows: Session) -> list[WatchItem]:
    """All watch items, by script."""
    return [WatchItem(*row) for row in rows.run("SELECT script, label, matched_to FROM watch ORDER BY script")]


def pending(rows: Session, limit: int, after: int) -> list[int]:
    """The first `limit` matched heights above `after` whose blocks have not been searched, ascending."""
    sql = "SELECT height FROM matches WHERE recorded = 0 AND height > ? ORDER BY height LIMIT ?"
    return [height for (height,) in rows.run(sql, (after, limit))]


def matched_heights(rows: Session) -> list[int]:
    """All matched heights, searched or not, ascending."""
    return [height for (height,) in rows.run("SELECT height FROM matches ORDER BY height")]


def watched(rows: Session, scripts: Iterable[bytes]) -> set[bytes]:
    """Those of `scripts` that are watched."""
    return {script for script in scripts if rows.run("SELECT 1 FROM watch WHERE script = ?", (script,))}


def coins_at(rows: Session, points: Iterable[OutPoint]) -> list[Coin]:
    """The coins at these places, unspent or not."""
    sql = "SELECT value, script, height FROM coins WHERE txid = ? AND position = ?"
    return [Coin(point, *row) for point in points for row in rows.run(sql, (point.txid, point.index))]


def coins(rows: Session) -> dict[OutPoint, Coin]:
    """The unspent coins."""
    found = rows.run("SELECT txid, position, value, script, height FROM coins WHERE spent_by IS NULL")
    points = [(OutPoint(txid, index), rest) for txid, index, *rest in found]
    return {point: Coin(point, *rest) for point, rest in points}


def balances(rows: Session) -> dict[bytes, int]:
    """The unspent sum of every watched script, in duffs."""
    return _summed(rows.run(_UNSPENT))


def _summed(rows: Iterable[tuple[bytes, int]]) -> dict[bytes, int]:
    """Sums by key; SQLite's own would overflow where a chain invents money."""
    sums: dict[bytes, int] = {}
    for key, value in rows:
        sums[key] = sums.get(key, 0) + value
    return sums


_UNSPENT = """SELECT w.script, coalesce(c.value, 0) FROM watch AS w
    LEFT JOIN coins AS c ON c.script = w.script AND c.spent_by IS NULL"""


def transactions(rows: Session, after: int = 0, limit: int | None = None) -> list[StoredTransaction]:
    """The found transactions above row id `after`, in the chain's order; at most `limit`, those with the lowest ids."""
    return chosen_transactions(rows, BETWEEN, (after, last_of(rows, BETWEEN, (after, HIGHEST_ID), limit)))


def transactions_end(rows: Session) -> int:
    """The row id of the transaction that was stored last, 0 when there is none."""
    end: int = rows.run("SELECT coalesce(max(row_id), 0) FROM transactions")[0][0]
    return end


def last_of(rows: Session, chosen: Chosen, bounds: tuple[Value, ...], limit: int | None) -> Value:
    """Up to which row id to read for the `limit` lowest of those that `chosen` names with `bounds`."""
    if limit is None:
        return bounds[1]
    last = rows.run(_LAST.format(chosen.condition), (*bounds, limit))[0][0]
    return bounds[0] if last is None else last


HIGHEST_ID = (1 << 63) - 1
_LAST = "SELECT max(row_id) FROM (SELECT row_id FROM transactions AS t WHERE {} ORDER BY row_id LIMIT ?)"


def chosen_transactions(rows: Session, chosen: Chosen, bounds: tuple[Value, ...]) -> list[StoredTransaction]:
    """The found transactions for which the condition of `chosen` holds with these values, in the chain's order."""
    found = rows.run(chosen.transactions, bounds)
    if not found:
        return []
    scripts: dict[int, set[bytes]] = {}
    for row_id, script in rows.run(chosen.scripts, bounds):
        scripts.setdefault(row_id, set()).add(script)
    received, sent = (_summed(rows.run(amounts, bounds)) for amounts in (chosen.received, chosen.sent))
    locked: dict[bytes, int] = dict(rows.run(chosen.contradicted, bounds) + rows.run(chosen.locked, bounds))
    return [
        StoredTransaction(
            row_id,
            txid,
            height,
            position,
            tuple(sorted(scripts.get(row_id, ()))),
            received.get(txid, 0),
            sent.get(txid, 0),
            bool(locked[txid]) if txid in locked else None,
        )
        for row_id, txid, height, position in found
    ]
