"""What happens in a generated block besides masternodes: an ordinary day of payments.

Some happenings have a first height, so that even a chain of 50 blocks shows each kind; after that chance decides.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from phasegate.consensus.primitives import TxOut
from phasegate.p2p.simnet import protx
from phasegate.p2p.simnet.economy import DASH, FEE, Economy, Held, Spending

OP_RETURN = b"\x6a"


@attrs.frozen
class Happening:
    """One kind of event: surely at `first`, then in one block of `period` on average."""

    first: int
    period: int
    make: Callable[[Economy, int], list[Spending]]

    def due(self, height: int, chance: float) -> bool:
        return height == self.first or (height > self.first and chance * self.period < 1)


def transactions(economy: Economy, height: int) -> list[Spending]:
    """The payments of block `height`, in block order; each depends only on coins made before it."""
    made: list[Spending] = []
    for happening in HAPPENINGS:
        if happening.due(height, economy.rng.random()):
            made += happening.make(economy, height)
    return made


def _pay_watched(economy: Economy, _height: int) -> list[Spending]:
    outputs = [TxOut(economy.amount(1, 20), economy.watched_script())]
    if economy.rng.random() < 0.5:
        outputs.insert(0, TxOut(economy.amount(1, 20), economy.stranger()))
    return [economy.pay(outputs)]


def _pay_two_watched(economy: Economy, _height: int) -> list[Spending]:
    first, second = economy.rng.sample(economy.watched, 2)
    return [economy.pay([TxOut(economy.amount(1, 20), first), TxOut(economy.amount(1, 20), second)])]


def _spend_watched(economy: Economy, _height: int) -> list[Spending]:
    coins = economy.free_coins()
    count = min(len(coins), economy.rng.randrange(1, 4))
    return [_move(economy, economy.rng.sample(coins, count))] if coins else []


def _pay_and_spend(economy: Economy, _height: int) -> list[Spending]:
    paid = economy.pay([TxOut(economy.amount(1, 20), economy.watched_script())])
    return [paid, _move(economy, [paid.held(0)])]


def _move(economy: Economy, coins: list[Held]) -> Spending:
    total = sum(c.output.value for c in coins) - FEE
    outputs = [TxOut(total, economy.stranger())]
    if economy.rng.random() < 0.5 and total > DASH:
        part = total // 3
        outputs = [TxOut(part, economy.watched_script()), TxOut(total - part, economy.stranger())]
    spending = economy.spend(coins, outputs)
    economy.treasury.append(spending.held(len(outputs) - 1))
    return spending


def _stranger_pays(economy: Economy, _height: int) -> list[Spending]:
    coin = economy.take_strangers()
    if coin is None or coin.output.value < DASH // 100:
        return []
    value = coin.output.value - FEE
    first = value // 2
    outputs = [TxOut(first, economy.stranger()), TxOut(value - first, economy.old_stranger())]
    spending = economy.spend([coin], outputs)
    economy.keep_stranger(spending.held(1))
    return [spending]


def _lock_asset(economy: Economy, _height: int) -> list[Spending]:
    value = economy.amount(1, 50)
    script = economy.watched_script() if economy.rng.random() < 0.5 else economy.stranger()
    economy.credit_pool += value
    credited = (TxOut(value, script),)
    return [economy.pay([TxOut(value, OP_RETURN + b"\x00")], protx.ASSET_LOCK, lambda _: protx.asset_lock(credited))]


def _unlock_asset(economy: Economy, height: int) -> list[Spending]:
    value = economy.credit_pool // 4
    if value < DASH // 10:
        return []
    economy.credit_pool -= value
    script = economy.watched_script() if economy.rng.random() < 0.5 else economy.stranger()
    rng = economy.rng
    payload = protx.asset_unlock(height, FEE, height - 1, rng.randbytes(32), rng.randbytes(96))
    return [economy.spend([], [TxOut(value - FEE, script)], protx.ASSET_UNLOCK, lambda _: payload)]


HAPPENINGS = (
    Happening(2, 2, _stranger_pays),
    Happening(5, 24, _pay_watched),
    Happening(11, 40, _spend_watched),
    Happening(17, 150, _pay_two_watched),
    Happening(23, 150, _pay_and_spend),
    Happening(29, 300, _lock_asset),
    Happening(35, 300, _unlock_asset),
)
"""In block order. A spend and a pay-and-spend never compete for a coin: books are entered after the block."""
