"""Bodies that do not belong to their header: scenario 32 of the list of field bugs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.blocks import scan_block
from phasegate.consensus.merkle import merkle_root
from phasegate.consensus.primitives import Block
from phasegate.engine.phases import blocks
from phasegate.p2p.messages import BlockMessage, Message
from phasegate.p2p.simnet.answers import Answer
from phasegate.p2p.simnet.chain import SimulatedChain
from tests.field_bugs.fresh_clients import is_complete
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

Forge = Callable[[Block], Block | None]
"""Another body under the same header; None where this cannot be forged so."""


def pays_more(block: Block) -> Block | None:
    """The first output of the last transaction has a duff more."""
    last = block.transactions[-1]
    first = attrs.evolve(last.outputs[0], value=last.outputs[0].value + 1)
    return _with(block, *block.transactions[:-1], attrs.evolve(last, outputs=(first, *last.outputs[1:])))


def hides_one(block: Block) -> Block | None:
    """The last transaction is left out."""
    return _with(block, *block.transactions[:-1]) if len(block.transactions) > 1 else None


def in_another_order(block: Block) -> Block | None:
    """The last transactions change places."""
    first, *others = block.transactions
    return _with(block, first, *reversed(others)) if len(others) > 1 else None


def repeats_the_end(block: Block) -> Block | None:
    """The end is said twice, which has the same merkle root [CVE-2012-2459]."""
    for length in range(1, len(block.transactions)):
        twice = _with(block, *block.transactions, *block.transactions[-length:])
        if twice is not None and _root(twice) == block.header.merkle_root:
            return twice
    return None


def _with(block: Block, *transactions: Any) -> Block | None:
    return attrs.evolve(block, transactions=tuple(transactions))


def _root(block: Block) -> bytes:
    return merkle_root([tx.txid for tx in block.transactions])[0]


@attrs.define
class Forger:
    """Sends every block with a forged body, where it can; keeps what it forged."""

    forge: Forge
    forged: list[Block] = attrs.field(factory=list)

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        return attrs.evolve(answer, messages=self._messages(answer))

    def _messages(self, answer: Answer) -> Iterator[Message]:
        for message in answer.messages:
            forged = self.forge(message.block) if isinstance(message, BlockMessage) else None
            if forged is None:
                yield message
                continue
            self.forged.append(forged)
            yield BlockMessage(forged)


FORGERIES = [
    (pays_more, "bad-block-merkle-root"),
    (hides_one, "bad-block-merkle-root"),
    (in_another_order, "bad-block-merkle-root"),
    (repeats_the_end, "mutated-block"),
]


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize(("forge", "code"), FORGERIES)
async def test_32_a_forged_body_under_a_true_header_never_reaches_the_wallet(
    world: World,
    running: Start,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    forge: Forge,
    code: str,
    alone: bool,
) -> None:
    """Its sender is banned with the reason; what is searched for coins are true bodies, from an honest peer if any."""
    chain, forger, searched = small_chain(300, 5), Forger(forge), list[Block]()

    def searching(block: Block, *rest: Any) -> Any:
        searched.append(block)
        return scan_block(block, *rest)

    monkeypatch.setattr(blocks, "scan_block", searching)
    world.add(chain, 1, lie=forger)
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        if not alone:
            world.add(chain, 2)
            await run.until("synced", within=120)
            is_complete(run, chain)
        else:
            await trio.sleep(120)
            assert "synced" not in run.path
            assert run.client.status.marks.pending_blocks > 0
        assert forger.forged
        assert [warned for warned in run.warnings if warned in (code, "bad-block-merkle-root")] == [code]
        assert all(ban.reason == code for ban in run.client._pool.banned.values())
        assert all(block.to_bytes() == chain.block(chain.height_of(block.hash) or 0) for block in searched)
