"""The unspent coins of watched scripts, and what they come to: how much, and how sure.

A balance is a sum over coins, as everywhere in the store, so `utxos` and `balance` can never disagree. The newest
confirmed coin and one below a ChainLock are not the same thing to whoever hands out goods for it, so each coin says
what holds it, and a balance says how much of it is held.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from phasegate.consensus.primitives import OutPoint
from phasegate.store.database import Row, Session
from phasegate.store.history import COINBASE_MATURITY, locked_to
from phasegate.store.marks import ChainMarks


@attrs.frozen
class Utxo:
    """An unspent output to a watched script.

    Args:
        outpoint: where it is; the txid in wire order.
        script: the watched scriptPubKey.
        label: of the script, "" without one.
        value: in duffs.
        height: of its block.
        confirmations: blocks from its own up to the tip; at least 1.
        coinbase: whether a coinbase made it.
        chainlock: whether its block is at or below the best verified ChainLock.
        instantlock: True when a verified InstantSend lock of its transaction is known, False when one of another
            transaction spends an input of that, None when neither is.
    """

    outpoint: OutPoint
    script: bytes
    label: str
    value: int
    height: int
    confirmations: int
    coinbase: bool
    chainlock: bool
    instantlock: bool | None

    @property
    def mature(self) -> bool:
        """Whether the next block may spend it."""
        return not self.coinbase or self.confirmations >= COINBASE_MATURITY

    @property
    def locked(self) -> bool:
        """Whether a verified lock of either kind holds it."""
        return self.chainlock or bool(self.instantlock)

    @property
    def conflicted(self) -> bool:
        """Whether nothing holds it and a lock stands against it: the network will not keep its block."""
        return not self.chainlock and self.instantlock is False


@attrs.frozen
class Balance:
    """What unspent coins come to, in duffs.

    Args:
        confirmed: all that stands in a block and that the next one may spend.
        locked: the part of `confirmed` that a verified ChainLock or InstantSend lock holds.
        conflicted: the part of `confirmed` against which an InstantSend lock of another transaction stands.
        immature: paid by coinbases that have not 100 confirmations; no part of `confirmed`.
        unconfirmed: what transactions in no block would add or, below 0, take away, if they are what peers say.
    """

    confirmed: int = 0
    locked: int = 0
    conflicted: int = 0
    immature: int = 0
    unconfirmed: int = 0

    @property
    def total(self) -> int:
        """Everything unspent in blocks."""
        return self.confirmed + self.immature

    @property
    def unlocked(self) -> int:
        """The part of `confirmed` that no verified lock holds."""
        return self.confirmed - self.locked

    def __add__(self, other: Balance) -> Balance:
        """Both together."""
        pairs = zip(attrs.astuple(self), attrs.astuple(other), strict=True)
        return Balance(*[mine + theirs for mine, theirs in pairs])

    @classmethod
    def of(cls, coins: Iterable[Utxo]) -> Balance:
        """What `coins` come to."""
        confirmed = locked = conflicted = immature = 0
        for coin in coins:
            if not coin.mature:
                immature += coin.value
                continue
            confirmed += coin.value
            locked += coin.value if coin.locked else 0
            conflicted += coin.value if coin.conflicted else 0
        return cls(confirmed, locked, conflicted, immature)


def utxos(rows: Session, chain: ChainMarks, script: bytes | None = None) -> list[Utxo]:
    """The unspent coins, or those of one script, in the chain's order."""
    locked = locked_to(rows)
    found = rows.run(_ALL + _ORDER) if script is None else rows.run(f"{_ALL} AND c.script = ?{_ORDER}", (script,))
    return [_utxo(row, chain.tip, locked) for row in found]


_ALL = """SELECT c.txid, c.position, c.script, w.label, c.value, c.height, t.position,
    EXISTS (SELECT 1 FROM instantlocks AS l WHERE l.txid = c.txid),
    EXISTS (SELECT 1 FROM transaction_inputs AS i JOIN instantlock_inputs AS l
        ON l.txid = i.txid AND l.position = i.position AND l.lock <> c.txid WHERE i.spender = c.txid)
    FROM coins AS c JOIN watch AS w ON w.script = c.script JOIN transactions AS t ON t.txid = c.txid
    WHERE c.spent_by IS NULL"""
_ORDER = " ORDER BY c.height, t.position, c.position"


def _utxo(row: Row, tip: int, locked: int) -> Utxo:
    txid, index, script, label, value, height, position, own_lock, other_lock = row
    instantlock = True if own_lock else False if other_lock else None
    place, depth = OutPoint(txid, index), tip - height + 1
    return Utxo(place, script, label, value, height, depth, position == 0, height <= locked, instantlock)


def balances(rows: Session, chain: ChainMarks) -> dict[bytes, Balance]:
    """What the coins of each watched script come to, in the order of the scripts."""
    coins: dict[bytes, list[Utxo]] = {script: [] for (script,) in rows.run("SELECT script FROM watch ORDER BY script")}
    for coin in utxos(rows, chain):
        coins[coin.script].append(coin)
    return {script: Balance.of(own) for script, own in coins.items()}
