"""Money on a generated chain: who is paid, who spends, and what a watching wallet must find.

Block 1 pays a treasury, from which all else flows: payments to the watched scripts, payments among strangers (a light
client must not fall for those), collaterals, asset locks. Watched coins are spent again, some blocks later or in the
very block that made them. The economy keeps its own books, so that the chain can say what a correct client finds.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence

import attrs

from phasegate.consensus.codec import var_bytes
from phasegate.consensus.primitives import OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.special_txs import mentioned
from phasegate.consensus.spent_scripts import hash160

DASH = 100_000_000
FEE = 1000
PREMINE, PREMINE_COINS = 2_000_000 * DASH, 64
WATCHED = 8
_SIGNATURE_SIZE = 72
_KEPT_STRANGERS = 256

Inputs = tuple[TxIn, ...]


def pay_to_key(key_id: bytes) -> bytes:
    """P2PKH script of a 20-byte key id."""
    return b"\x76\xa9\x14" + key_id + b"\x88\xac"


def pay_to_script(script_id: bytes) -> bytes:
    """P2SH script of a 20-byte script id."""
    return b"\xa9\x14" + script_id + b"\x87"


@attrs.frozen
class Held:
    """An unspent output."""

    outpoint: OutPoint
    output: TxOut


@attrs.frozen
class Spending:
    """A transaction together with the outputs it spends, whose scripts belong into the block's filter."""

    tx: Transaction
    spent: tuple[TxOut, ...] = ()

    def held(self, index: int) -> Held:
        """The coin that output `index` makes."""
        return Held(OutPoint(self.tx.txid, index), self.tx.outputs[index])


@attrs.define
class Economy:
    """All coins that can still move, and the books of the watched ones.

    Attributes:
        rng: the only source of chance; the fork of a chain reseeds it.
        watched: the scripts that a client is told to watch.
        touching: txids (wire order) that pay to, spend from or mention a watched script, in chain order.
        heights: the heights of the blocks that hold them.
        credit_pool: duffs locked for Platform.
        purse: the unspent coins of watched scripts.
        reserved: those of them that a transaction from outside spends: the chain itself leaves them alone.
    """

    rng: random.Random
    watched: tuple[bytes, ...] = ()
    touching: list[bytes] = attrs.field(factory=list)
    heights: list[int] = attrs.field(factory=list)
    credit_pool: int = 0
    purse: dict[OutPoint, Held] = attrs.field(factory=dict)
    reserved: set[OutPoint] = attrs.field(factory=set)
    treasury: deque[Held] = attrs.field(factory=deque)
    _strangers: deque[Held] = attrs.field(factory=lambda: deque(maxlen=_KEPT_STRANGERS))
    _watched_set: frozenset[bytes] = frozenset()
    _unlocking: dict[bytes, bytes] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        keys = [self.stranger() for _ in range(WATCHED - 2)]
        self.watched = (*keys, *[self._shared_script() for _ in range(2)])
        self._watched_set = frozenset(self.watched)

    def balances(self) -> dict[bytes, int]:
        """Unspent duffs of each watched script, 0 included."""
        totals = dict.fromkeys(self.watched, 0)
        for held in self.purse.values():
            totals[held.output.script] += held.output.value
        return totals

    def free_coins(self) -> list[Held]:
        """The watched coins that are not reserved, the oldest first."""
        return [held for held in self.purse.values() if held.outpoint not in self.reserved]

    def stranger(self) -> bytes:
        """A script nobody watches, of a key of its own."""
        key = self._key()
        script = pay_to_key(hash160(key))
        self._unlocking[script] = var_bytes(key)
        return script

    def old_stranger(self) -> bytes:
        """Like a stranger's, but every other one P2PK, whose spender does not tell the script."""
        if self.rng.random() < 0.5:
            return self.stranger()
        script = var_bytes(self._key()) + b"\xac"
        self._unlocking[script] = b""
        return script

    def _shared_script(self) -> bytes:
        """P2SH of a 1-of-1 multisig."""
        redeem = b"\x51" + var_bytes(self._key()) + b"\x51\xae"
        script = pay_to_script(hash160(redeem))
        self._unlocking[script] = var_bytes(redeem)
        return script

    def _key(self) -> bytes:
        return b"\x02" + self.rng.randbytes(32)

    def watched_script(self) -> bytes:
        """One of the watched scripts."""
        return self.rng.choice(self.watched)

    def amount(self, low: int, high: int) -> int:
        """A random number of duffs between `low` and `high` DASH."""
        return self.rng.randrange(low * DASH, high * DASH)

    def spend(
        self,
        coins: Sequence[Held],
        outputs: Sequence[TxOut],
        kind: int = 0,
        payload: Callable[[Inputs], bytes] | None = None,
    ) -> Spending:
        """A transaction of these coins to these outputs; `payload` is told the inputs, which it signs."""
        inputs = tuple([TxIn(c.outpoint, self.unlock(c.output.script, self.rng)) for c in coins])
        extra = payload(inputs) if payload else b""
        tx = Transaction(3 if payload else 2, kind, inputs, tuple(outputs), 0, extra)
        return Spending(tx, tuple([c.output for c in coins]))

    def unlock(self, script: bytes, rng: random.Random) -> bytes:
        """A scriptSig of the right form for `script`: a signature that nobody checks, and what the script hashes."""
        rest = rng.randbytes(_SIGNATURE_SIZE - 3)
        signature = var_bytes(bytes((0x30, _SIGNATURE_SIZE - 3)) + rest + b"\x01")
        return (b"\x00" if script[:1] == b"\xa9" else b"") + signature + self._unlocking[script]

    def pay(
        self, outputs: Sequence[TxOut], kind: int = 0, payload: Callable[[Inputs], bytes] | None = None
    ) -> Spending:
        """A transaction out of the treasury; the change comes last and goes back there."""
        cost = sum(o.value for o in outputs) + FEE
        coin = self._draw(cost)
        change = TxOut(coin.output.value - cost, self.stranger())
        spending = self.spend([coin], [*outputs, change], kind, payload)
        self.treasury.append(spending.held(len(outputs)))
        return spending

    def _draw(self, least: int) -> Held:
        for _ in range(len(self.treasury)):
            coin = self.treasury.popleft()
            if coin.output.value >= least:
                return coin
            self.treasury.append(coin)
        raise ValueError(f"the treasury has no coin of {least} duffs")

    def take_strangers(self) -> Held | None:
        """A coin of somebody nobody watches, if there is one."""
        return self._strangers.popleft() if self._strangers else None

    def book(self, height: int, spendings: Sequence[Spending]) -> list[Transaction]:
        """Enter a block's transactions, in block order, into the books; those that concern a watched script."""
        touching = [spending.tx for spending in spendings if self._book_one(spending)]
        self.touching += [tx.txid for tx in touching]
        self.heights += [height] if touching else []
        return touching

    def _book_one(self, spending: Spending) -> bool:
        touched = False
        for tx_in in spending.tx.inputs:
            touched |= self.purse.pop(tx_in.prevout, None) is not None
        for index, output in enumerate(spending.tx.outputs):
            if output.script in self._watched_set:
                held = spending.held(index)
                self.purse[held.outpoint] = held
                touched = True
        return touched or not self._watched_set.isdisjoint(mentioned(spending.tx))

    def keep_stranger(self, held: Held) -> None:
        """Let a coin circulate among strangers; the oldest falls out of sight when there are too many."""
        self._strangers.append(held)
