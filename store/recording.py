"""What searched blocks told, written down: one by one, or many together, which is the same.

`record_block` is the rule. It looks at what is stored of the block already, which a block that is searched for the
first time has nothing of; and each of its statements is for one block, which costs more than what it does. So blocks
that have nothing to do with each other, but that later ones spend coins which earlier ones made, are recorded together
(`_record_new`): one look for all, and then it is known which rows there will be, so that they are written many at a
time, and added to the seals by hand. Whatever is more involved is recorded by itself, in its turn: a block that was
searched before, and one that tells again, or tells otherwise, what is stored or another one of its batch has told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import attrs

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.primitives import OutPoint
from phasegate.store import seals
from phasegate.store.changes import RecordBlock
from phasegate.store.chosen import AT
from phasegate.store.database import Row, Session, Value
from phasegate.store.marks import ChainMarks
from phasegate.store.wallet import StoredTransaction, chosen_transactions

TOGETHER = 512
"""Rows that one statement writes or looks for."""


def record_blocks(rows: Session, chain: ChainMarks, changes: Sequence[RecordBlock]) -> None:
    """Apply `changes` in their order."""
    for change in changes:
        _refuse_unfit(chain, change)
    for together in _apart(changes, _known(rows, changes)):
        if isinstance(together, RecordBlock):
            record_block(rows, together)
        else:
            _record_new(rows, [change.findings for change in together])


def _refuse_unfit(chain: ChainMarks, change: RecordBlock) -> None:
    told, height = change.findings.height, change.height
    if told != height or not chain.base <= height <= chain.tip:
        raise ValueError(f"findings of block {told} do not fit block {height} of {chain.base}..{chain.tip}")


@attrs.define
class _Told:
    """What is told so far: by blocks of the same batch, or stored."""

    heights: set[int] = attrs.field(factory=set)
    txids: set[bytes] = attrs.field(factory=set)
    spent: set[OutPoint] = attrs.field(factory=set)

    def add(self, findings: BlockFindings) -> bool:
        """Note what `findings` tell; whether that is new, told once, and has all spends by their own transactions."""
        txids = [tx.txid for tx in findings.transactions]
        spent = [point for point, _ in findings.spent]
        own, created = set(txids), [coin.outpoint for coin in findings.created]
        once = len(own) == len(txids) and len(set(spent)) == len(spent) and len(set(created)) == len(created)
        known = own.issuperset([txid for _, txid in findings.spent]) and own.issuperset([coin.txid for coin in created])
        new = findings.height not in self.heights and self.txids.isdisjoint(own)
        new = new and self.spent.isdisjoint(spent) and self.spent.isdisjoint(created)
        self.heights.add(findings.height)
        self.txids.update(own, [point.txid for point in created])
        self.spent.update(spent)
        return once and known and new


def _known(rows: Session, changes: Collection[RecordBlock]) -> _Told:
    """What is stored of that which `changes` tell."""
    heights = [(change.height,) for change in changes]
    txids = [(tx.txid,) for change in changes for tx in change.findings.transactions]
    stored = [txid for (txid,) in _each(rows, _IS_STORED, txids)]
    return _Told({height for (height,) in _each(rows, _IS_SEARCHED, heights)}, set(stored))


def _apart(changes: Iterable[RecordBlock], told: _Told) -> Iterator[RecordBlock | list[RecordBlock]]:
    """`changes` in their order: those that can be recorded together, and each of the others by itself.

    Args:
        changes: what blocks tell.
        told: what is stored of it.
    """
    together = list[RecordBlock]()
    for change in changes:
        if told.add(change.findings):
            together.append(change)
            continue
        if together:
            yield together
        yield change
        together = []
    if together:
        yield together


def _record_new(rows: Session, blocks: Sequence[BlockFindings]) -> None:
    """Record blocks that `_apart` has found to be so together."""
    found = [(tx, findings.height) for findings in blocks for tx in findings.transactions]
    spent = {point: (txid, findings.height) for findings in blocks for point, txid in findings.spent}
    made = _watched_of(rows, [coin for findings in blocks for coin in findings.created])
    mentions = _mentions_of(rows, [tx for tx, _ in found])
    new = [(*_row(coin), *spent.pop(coin.outpoint, _UNSPENT)) for coin in made]
    before = _each(rows, _COINS_AT, [(point.txid, point.index) for point in spent])
    after = [(*coin[:5], *spent[OutPoint(*coin[:2])]) for coin in before]
    with seals.by_hand(rows) as sums:
        _each(rows, _PUT_COIN, new + after)
        sums.added("coins", new)
        sums.changed("coins", before, after)
        _put_transactions(rows, sums, found)
        _each(rows, "INSERT OR IGNORE INTO mentions VALUES {rows}", mentions)
        sums.added("mentions", mentions)
        _mark_recorded(rows, sums, [findings.height for findings in blocks])
    concerned = {coin[0] for coin in new} | {coin[5] for coin in new + after} | {txid for txid, _ in mentions}
    _forget_unconcerned_of(rows, ({tx.txid for tx, _ in found} | {coin[5] for coin in before}) - concerned - {None})


def _put_transactions(rows: Session, sums: seals.Sums, found: Sequence[tuple[FoundTransaction, int]]) -> None:
    last: int = rows.run(_LAST_ROW_ID)[0][0]
    numbered = [(row_id, tx.txid, height, tx.position) for row_id, (tx, height) in enumerate(found, last + 1)]
    inputs = list(dict.fromkeys([(tx.txid, spent.txid, spent.index) for tx, _ in found for spent in tx.inputs]))
    _each(rows, "INSERT OR IGNORE INTO transactions VALUES {rows}", numbered)
    _each(rows, "INSERT OR IGNORE INTO transaction_inputs VALUES {rows}", inputs)
    sums.added("transactions", numbered)
    sums.added("inputs", inputs)


def _mark_recorded(rows: Session, sums: seals.Sums, heights: Collection[int]) -> None:
    odd: dict[int, int | None] = dict(_each(rows, _ODD_MATCHES, [(height,) for height in heights]))
    states = {height: odd.get(height, 0) for height in heights}
    before = [(height, state) for height, state in states.items() if state is not None]
    after = [(height, 1) for height, _ in before]
    _each(rows, "INSERT INTO matches VALUES {rows} ON CONFLICT DO UPDATE SET recorded = 1", after)
    sums.changed("matches", before, after)


def _each(rows: Session, sql: str, items: Sequence[Row]) -> list[Row]:
    """What `sql` finds for all `items`, which stand in it as `{rows}`, or say nothing new when they stand there twice.

    While a statement runs others may have the GIL, and whoever gives it away waits for it. So these are few, and of few
    lengths, to be prepared once: up to a power of two the last item is repeated.
    """
    found = dict[Row, None]()
    for at in range(0, len(items), TOGETHER):
        part = list(items[at : at + TOGETHER])
        part += part[-1:] * ((1 << (len(part) - 1).bit_length()) - len(part))
        row = f"({','.join('?' * len(part[0]))})"
        values = [value for item in part for value in item]
        found.update(dict.fromkeys(rows.run(sql.format(rows=",".join([row] * len(part))), values)))
    return list(found)


_UNSPENT = None, None
_LAST_ROW_ID = """SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'transactions'), 0),
    coalesce((SELECT max(row_id) FROM transactions), 0))"""
_IS_STORED = """WITH told(txid) AS (VALUES {rows}) SELECT txid FROM told
    WHERE EXISTS (SELECT 1 FROM transactions AS t WHERE t.txid = told.txid)
    OR EXISTS (SELECT 1 FROM coins AS c WHERE c.txid = told.txid)
    OR EXISTS (SELECT 1 FROM transaction_inputs AS i WHERE i.spender = told.txid)"""
_IS_SEARCHED = """WITH told(height) AS (VALUES {rows}) SELECT height FROM told
    WHERE EXISTS (SELECT 1 FROM transactions AS t WHERE t.height = told.height)"""
_COINS_AT = """WITH told(txid, position) AS (VALUES {rows}) SELECT c.* FROM told
    CROSS JOIN coins AS c ON c.txid = told.txid AND c.position = told.position"""
_ODD_MATCHES = """WITH told(height) AS (VALUES {rows})
    SELECT height, (SELECT m.recorded FROM matches AS m WHERE m.height = told.height) AS state FROM told
    WHERE state IS NOT 0"""
_UNWATCHED = """WITH told(script) AS (VALUES {rows}) SELECT script FROM told
    WHERE NOT EXISTS (SELECT 1 FROM watch AS w WHERE w.script = told.script)"""
_PUT_COIN = """INSERT INTO coins VALUES {rows} ON CONFLICT DO UPDATE
    SET spent_by = excluded.spent_by, spent_height = excluded.spent_height"""


def record_block(rows: Session, change: RecordBlock) -> None:
    """Apply one `RecordBlock` that fits; a transaction of which something new was learnt gets a new row id."""
    height, findings = change.height, change.findings
    before = {tx.txid: tx for tx in chosen_transactions(rows, AT, (height,))}
    touched = {tx.txid for tx in findings.transactions} | before.keys() | _spenders(rows, findings)
    touched -= _record_coins(rows, findings)
    rows.many("INSERT OR IGNORE INTO mentions VALUES(?, ?)", _mentions_of(rows, findings.transactions))
    rows.many(_PUT_TRANSACTION, ((tx.txid, height, tx.position) for tx in findings.transactions))
    rows.many(_PUT_INPUT, ((tx.txid, spent.txid, spent.index) for tx in findings.transactions for spent in tx.inputs))
    _forget_unconcerned_of(rows, touched)
    for tx in chosen_transactions(rows, AT, (height,)) if before else ():
        if before.get(tx.txid, tx) != tx:
            _renew(rows, tx)
    rows.run(_RECORDED, (height,))


def _spenders(rows: Session, findings: BlockFindings) -> set[bytes]:
    """Who spends, as is known so far, the coins that are spent by `findings`."""
    return {txid for spent, _ in findings.spent for (txid,) in rows.run(_SPENDER, (spent.txid, spent.index))}


def _record_coins(rows: Session, findings: BlockFindings) -> set[bytes]:
    """Who made coins that are there now."""
    made = _watched_of(rows, findings.created)
    rows.many(_PUT_UNSPENT, (_row(coin) for coin in made))
    rows.many(_SPEND, ((txid, findings.height, spent.txid, spent.index) for spent, txid in findings.spent))
    return {coin.outpoint.txid for coin in made}


def _watched_of(rows: Session, coins: Collection[Coin]) -> list[Coin]:
    """Those of `coins` whose scripts are still watched."""
    unwatched = _unwatched_of(rows, {coin.script for coin in coins})
    return [coin for coin in coins if coin.script not in unwatched]


def _mentions_of(rows: Session, found: Collection[FoundTransaction]) -> list[tuple[bytes, bytes]]:
    """What `found` mention of that which is still watched, as (txid, script)."""
    unwatched = _unwatched_of(rows, {script for tx in found for script in tx.mentions})
    return [(tx.txid, script) for tx in found for script in tx.mentions if script not in unwatched]


def _unwatched_of(rows: Session, scripts: Iterable[bytes]) -> set[bytes]:
    return {script for (script,) in _each(rows, _UNWATCHED, [(script,) for script in scripts])}


def _row(coin: Coin) -> tuple[Value, ...]:
    return coin.outpoint.txid, coin.outpoint.index, coin.value, coin.script, coin.height


def _forget_unconcerned_of(rows: Session, txids: Iterable[bytes]) -> None:
    """Forget those of these transactions that made and spent no coin and mention nothing, and their inputs."""
    for txid in txids:
        rows.run(_FORGET_IF_UNCONCERNED, (txid,))
        rows.run(_FORGET_ITS_INPUTS, (txid,))


def _renew(rows: Session, tx: StoredTransaction) -> None:
    rows.run("DELETE FROM transactions WHERE row_id = ?", (tx.row_id,))
    rows.run(_PUT_TRANSACTION, (tx.txid, tx.height, tx.position))


_SPENDER = "SELECT spent_by FROM coins WHERE txid = ? AND position = ? AND spent_by IS NOT NULL"
_PUT_UNSPENT = "INSERT OR IGNORE INTO coins VALUES(?, ?, ?, ?, ?, NULL, NULL)"
_SPEND = "UPDATE coins SET spent_by = ?, spent_height = ? WHERE txid = ? AND position = ?"
_PUT_TRANSACTION = "INSERT OR IGNORE INTO transactions(txid, height, position) VALUES(?, ?, ?)"
_PUT_INPUT = "INSERT OR IGNORE INTO transaction_inputs VALUES(?, ?, ?)"
_RECORDED = "UPDATE matches SET recorded = 1 WHERE height = ?"
_FORGET_IF_UNCONCERNED = """DELETE FROM transactions WHERE txid = ?1
    AND NOT EXISTS (SELECT 1 FROM coins WHERE txid = ?1) AND NOT EXISTS (SELECT 1 FROM coins WHERE spent_by = ?1)
    AND NOT EXISTS (SELECT 1 FROM mentions WHERE txid = ?1)"""
_FORGET_ITS_INPUTS = """DELETE FROM transaction_inputs
    WHERE spender = ?1 AND NOT EXISTS (SELECT 1 FROM transactions WHERE txid = ?1)"""
