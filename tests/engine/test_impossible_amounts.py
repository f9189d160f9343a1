"""A chain with real proof of work whose blocks pay amounts that cannot exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from trio.testing import MockClock

from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import TxOut
from phasegate.p2p.simnet.economy import Spending
from phasegate.p2p.simnet.generated import GeneratedChain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio


class Counterfeit(GeneratedChain):
    """Its coinbases from 30 to 33 pay `amount` to a watched script."""

    amount = 0

    def _coinbase(self, height: int) -> Spending:
        made = super()._coinbase(height)
        if not 30 <= height <= 33:
            return made
        output = TxOut(self.amount, self.economy.watched[0])
        return attrs.evolve(made, tx=attrs.evolve(made.tx, outputs=(*made.tx.outputs, output)))


@pytest.mark.parametrize("amount", [(1 << 63) - 1, -1, -(1 << 63)])
async def test_amounts_that_cannot_exist_crash_nothing(
    world: World, running: Start, autojump_clock: MockClock, amount: int
) -> None:
    """The block is invalid whatever its proof of work: it is refused by name, and a restart is not harmed."""
    chain = Counterfeit.begin(SIMNET, 3)
    chain.amount = amount
    chain.extend(60)
    world.add(chain, 1)
    config = world.config(1, watch=chain.watch)
    for _ in range(2):
        async with running(config) as run:
            await run.until("degraded")
            assert "bad-transaction" in run.client.status.reason
            assert all(0 <= value < 1 << 60 for value in run.client.balances().values())
