"""What searched blocks told, written down: one by one, or many together, which is the same.

`record_block` is the rule. It looks at what is stored of the block already, which a block that is searched for the
first time has nothing of; and each of its statements is for one block, which costs more than what it does. So blocks
that have nothing to do with each other, but that later ones spend coins which earlier ones made, are recorded together
(`_record_new`): one look and one statement for all. Whatever is more involved is recorded by itself, in its turn: a
block that was searched before, and one that tells again, or tells otherwise, what another one of its batch has told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import attrs

from phasegate.consensus.blocks import BlockFindings, Coin
from phasegate.consensus.primitives import OutPoint
from phasegate.store.changes import RecordBlock
from phasegate.store.database import Session, Value
from phasegate.store.marks import ChainMarks
from phasegate.store.wallet import StoredTransaction, transactions


def record_blocks(rows: Session, chain: ChainMarks, changes: Sequence[RecordBlock]) -> None:
    """Apply `changes` in their order."""
    for change in changes:
        _refuse_unfit(chain, change)
    heights = {change.height for change in changes}
    searched = {height for (height,) in rows.many(_ANY_AT, ((height,) for height in heights))}
    for together in _apart(changes, searched):
        if isinstance(together, RecordBlock):
            record_block(rows, chain, together)
        else:
            _record_new(rows, [change.findings for change in together])


_ANY_AT = "SELECT height FROM transactions WHERE height = ? LIMIT 1"


def _refuse_unfit(chain: ChainMarks, change: RecordBlock) -> None:
    told, height = change.findings.height, change.height
    if told != height or not chain.base <= height <= chain.tip:
        raise ValueError(f"findings of block {told} do not fit block {height} of {chain.base}..{chain.tip}")


def _apart(changes: Iterable[RecordBlock], searched: Collection[int]) -> Iterator[RecordBlock | list[RecordBlock]]:
    """`changes` in their order: those that can be recorded together, and each of the others by itself.

    Args:
        changes: what blocks tell.
        searched: heights of which a transaction is stored.
    """
    done, told, together = set(searched), _Told(), list[RecordBlock]()
    for change in changes:
        if together and not told.allows(change.findings):
            yield together
            told, together = _Told(), []
        if change.height in done or not told.allows(change.findings):
            if together:
                yield together
            yield change
            told, together = _Told(), []
        else:
            told.add(change.findings)
            together.append(change)
        done.add(change.height)
    if together:
        yield together


@attrs.define
class _Told:
    """What the blocks tell that are to be recorded together."""

    txids: set[bytes] = attrs.field(factory=set)
    created: set[OutPoint] = attrs.field(factory=set)
    spent: set[OutPoint] = attrs.field(factory=set)

    def allows(self, findings: BlockFindings) -> bool:
        """Whether nothing of `findings` was told before, nor twice in it, and all spends are by its transactions."""
        txids = {tx.txid for tx in findings.transactions}
        created = {coin.outpoint for coin in findings.created}
        spent = {point for point, _ in findings.spent}
        once = len(txids) == len(findings.transactions) and len(spent) == len(findings.spent)
        known = txids.issuperset([spender for _, spender in findings.spent])
        anew = self.txids.isdisjoint(txids) and self.created.isdisjoint(created) and self.spent.isdisjoint(spent)
        return once and known and anew and self.spent.isdisjoint(created) and len(created) == len(findings.created)

    def add(self, findings: BlockFindings) -> None:
        """Note what `findings` tell."""
        self.txids.update([tx.txid for tx in findings.transactions])
        self.created.update([coin.outpoint for coin in findings.created])
        self.spent.update([point for point, _ in findings.spent])


def _record_new(rows: Session, blocks: Sequence[BlockFindings]) -> None:
    """Record blocks that `_apart` has found to be so together, and of which no transaction is stored."""
    found = [tx for findings in blocks for tx in findings.transactions]
    spent = {point: (txid, findings.height) for findings in blocks for point, txid in findings.spent}
    spenders = {txid for (txid,) in rows.many(_SPENDER, ((point.txid, point.index) for point in spent))}
    made = _watched_of(rows, [coin for findings in blocks for coin in findings.created])
    rows.many(_PUT_COIN, ((*_row(coin), *spent.pop(coin.outpoint, (None, None))) for coin in made))
    rows.many(_SPEND, ((*spender, point.txid, point.index) for point, spender in spent.items()))
    rows.many(_PUT_TRANSACTION, ((tx.txid, told.height, tx.position) for told in blocks for tx in told.transactions))
    rows.many(_PUT_INPUT, ((tx.txid, spent.txid, spent.index) for tx in found for spent in tx.inputs))
    _forget_coinless_of(rows, ({tx.txid for tx in found} | spenders) - {coin.outpoint.txid for coin in made})
    rows.many(_RECORDED, ((findings.height,) for findings in blocks))


def record_block(rows: Session, chain: ChainMarks, change: RecordBlock) -> None:
    """Apply one `RecordBlock`; a transaction of which something new was learnt gets a new row id."""
    _refuse_unfit(chain, change)
    height, findings = change.height, change.findings
    before = {tx.txid: tx for tx in transactions(rows, at=height)}
    touched = {tx.txid for tx in findings.transactions} | before.keys() | _spenders(rows, findings)
    touched -= _record_coins(rows, findings)
    rows.many(_PUT_TRANSACTION, ((tx.txid, height, tx.position) for tx in findings.transactions))
    rows.many(_PUT_INPUT, ((tx.txid, spent.txid, spent.index) for tx in findings.transactions for spent in tx.inputs))
    _forget_coinless_of(rows, touched)
    for tx in transactions(rows, at=height) if before else ():
        if before.get(tx.txid, tx) != tx:
            _renew(rows, tx)
    rows.run(_RECORDED, (height,))


def _spenders(rows: Session, findings: BlockFindings) -> set[bytes]:
    """Who spends, as is known so far, the coins that are spent by `findings`."""
    return {txid for spent, _ in findings.spent for (txid,) in rows.run(_SPENDER, (spent.txid, spent.index))}


def _record_coins(rows: Session, findings: BlockFindings) -> set[bytes]:
    """Who made coins that are there now."""
    made = _watched_of(rows, findings.created)
    rows.many(_PUT_COIN, ((*_row(coin), None, None) for coin in made))
    rows.many(_SPEND, ((txid, findings.height, spent.txid, spent.index) for spent, txid in findings.spent))
    return {coin.outpoint.txid for coin in made}


def _watched_of(rows: Session, coins: Iterable[Coin]) -> list[Coin]:
    """Those of `coins` whose scripts are still watched."""
    coins = list(coins)
    scripts = {coin.script for coin in coins}
    watched = {script for (script,) in rows.many(_IS_WATCHED, ((script,) for script in scripts))}
    return [coin for coin in coins if coin.script in watched]


def _row(coin: Coin) -> tuple[Value, ...]:
    return coin.outpoint.txid, coin.outpoint.index, coin.value, coin.script, coin.height


def _forget_coinless_of(rows: Session, txids: Iterable[bytes]) -> None:
    """Forget those of these transactions that made and spent no coin, and their inputs."""
    for txid in txids:
        rows.run(_FORGET_IF_COINLESS, (txid,))
        rows.run(_FORGET_ITS_INPUTS, (txid,))


def _renew(rows: Session, tx: StoredTransaction) -> None:
    rows.run("DELETE FROM transactions WHERE row_id = ?", (tx.row_id,))
    rows.run(_PUT_TRANSACTION, (tx.txid, tx.height, tx.position))


_IS_WATCHED = "SELECT script FROM watch WHERE script = ?"
_SPENDER = "SELECT spent_by FROM coins WHERE txid = ? AND position = ? AND spent_by IS NOT NULL"
_PUT_COIN = """INSERT INTO coins VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE
    SET spent_by = excluded.spent_by, spent_height = excluded.spent_height WHERE excluded.spent_by IS NOT NULL"""
_SPEND = "UPDATE coins SET spent_by = ?, spent_height = ? WHERE txid = ? AND position = ?"
_PUT_TRANSACTION = "INSERT OR IGNORE INTO transactions(txid, height, position) VALUES(?, ?, ?)"
_PUT_INPUT = "INSERT OR IGNORE INTO transaction_inputs VALUES(?, ?, ?)"
_RECORDED = "UPDATE matches SET recorded = 1 WHERE height = ?"
_FORGET_IF_COINLESS = """DELETE FROM transactions WHERE txid = ?1
    AND NOT EXISTS (SELECT 1 FROM coins WHERE txid = ?1) AND NOT EXISTS (SELECT 1 FROM coins WHERE spent_by = ?1)"""
_FORGET_ITS_INPUTS = """DELETE FROM transaction_inputs
    WHERE spender = ?1 AND NOT EXISTS (SELECT 1 FROM transactions WHERE txid = ?1)"""
