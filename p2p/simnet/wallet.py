"""Transactions from outside a generated chain: made by whoever holds its watched keys, mined when asked for.

The form is that of a wallet's transaction, so that filters, locks and blocks treat it as any other; the signatures are
random bytes of the right length, for nothing in a simulated network checks them. A coin once spent this way is
reserved: the chain's own economy leaves it alone, mined or not.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from contextlib import suppress

from phasegate.consensus.primitives import OutPoint, Transaction, TxIn, TxOut
from phasegate.p2p.simnet import CannotServe
from phasegate.p2p.simnet.economy import FEE, Economy, Spending, pay_to_key


class Unspendable(CannotServe):
    """A transaction that no miner would take, or no coin to make one of."""


def spend_watched(economy: Economy) -> Transaction:
    """A transaction of the oldest watched coin that is free: half to a stranger, half back to the coin's script.

    The same coin gives the same transaction, and the chance of the chain is not touched.

    Raises:
        Unspendable: there is no such coin.
    """
    coins = economy.free_coins()
    if not coins:
        raise Unspendable("no watched coin is free to be spent")
    coin = coins[0]
    economy.reserved.add(coin.outpoint)
    rng = random.Random(f"phasegate simnet wallet {coin.outpoint.to_bytes().hex()}")
    value, script = coin.output.value - FEE, coin.output.script
    outputs = TxOut(value // 2, pay_to_key(rng.randbytes(20))), TxOut(value - value // 2, script)
    return Transaction(2, 0, (TxIn(coin.outpoint, economy.unlock(script, rng)),), outputs)


def spendings(economy: Economy, transactions: Iterable[Transaction]) -> list[Spending]:
    """Transactions to be mined, in block order, with the outputs they spend, which are reserved from now on.

    They spend watched coins of the chain, or outputs of those before them among `transactions`.

    Raises:
        Unspendable: one spends something else, something twice, or more than it has; nothing is reserved then.
    """
    coins = {point: held.output for point, held in economy.purse.items()}
    made = []
    for tx in transactions:
        made.append(Spending(tx, tuple([_taken(coins, tx_in.prevout) for tx_in in tx.inputs])))
        if not tx.inputs or sum(o.value for o in tx.outputs) > sum(o.value for o in made[-1].spent):
            raise Unspendable(f"{tx.txid[::-1].hex()} spends more than it has")
        coins |= {OutPoint(tx.txid, index): output for index, output in enumerate(tx.outputs)}
    economy.reserved.update(tx_in.prevout for spending in made for tx_in in spending.tx.inputs)
    return made


def mineable(economy: Economy, transactions: Iterable[Transaction]) -> list[Transaction]:
    """Those of `transactions` that a block can hold, after one another."""
    fitting: list[Transaction] = []
    for tx in transactions:
        with suppress(Unspendable):
            spendings(economy, [*fitting, tx])
            fitting.append(tx)
    return fitting


def _taken(coins: dict[OutPoint, TxOut], point: OutPoint) -> TxOut:
    if point not in coins:
        raise Unspendable(f"{point.txid[::-1].hex()}:{point.index} is no coin of a watched script, or is spent")
    return coins.pop(point)
