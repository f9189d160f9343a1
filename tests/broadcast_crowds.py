"""A crowd of simulated nodes that relay transactions, and what a broadcasting client did to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from phasegate.consensus.primitives import Transaction, TxOut
from phasegate.engine.broadcast_stages import BroadcastStatus, Stage
from phasegate.engine.events import BroadcastMoved
from phasegate.p2p.messages import Inv, InvItem, InvType, Message, NotFound, TxMessage
from phasegate.p2p.simnet.generated import GeneratedChain
from phasegate.p2p.simnet.memory_pool import MemoryPool
from tests.simulated_world import Tapped

if TYPE_CHECKING:
    from tests.simulated_world import Run, World


class Talker(Tapped):
    """A node of a network with one memory pool, that tells what it was told and says what a test has it say."""

    def announced(self, txid: bytes) -> int:
        """How often the transaction was announced to it."""
        item = InvItem(InvType.TX, txid)
        return sum(isinstance(message, Inv) and item in message.items for message in self.taken)

    def given(self, txid: bytes) -> int:
        """How often the transaction was sent to it."""
        return sum(isinstance(message, TxMessage) and message.tx.txid == txid for message in self.taken)

    @property
    def denied(self) -> list[InvItem]:
        """What it was told that we do not have."""
        return [item for message in self.taken if isinstance(message, NotFound) for item in message.items]

    async def say(self, message: Message) -> None:
        """Send something to every peer."""
        for peer in self._peers:
            await peer.say(message)


def crowd(world: World, chain: GeneratedChain, count: int) -> list[Talker]:
    """Nodes at the ports from 1 on that relay transactions to each other."""
    pool, talkers = MemoryPool(), [Talker(chain) for _ in range(count)]
    for port, talker in enumerate(talkers, 1):
        talker.pool = pool
        world.nodes[port] = talker
    return talkers


def told_of(talkers: Sequence[Talker], tx: Transaction) -> list[Talker]:
    """Those to whom the client has announced `tx`."""
    return [talker for talker in talkers if talker.announced(tx.txid)]


def stages(run: Run) -> list[str]:
    """The stages told by events, each once."""
    return list(dict.fromkeys([event.stage for event in run.told if isinstance(event, BroadcastMoved)]))


async def reached(run: Run, tx: Transaction, stage: Stage, within: float = 900.0) -> BroadcastStatus:
    """Wait until `tx` is in exactly this stage."""
    with trio.fail_after(within):
        while True:
            status = run.client.broadcasting.status(tx.txid)
            if status is not None and status.stage is stage:
                return status
            await trio.sleep(0.1)


async def mine(talkers: Sequence[Talker], chain: GeneratedChain, blocks: int = 1, *txs: Transaction) -> None:
    """Have blocks mined, the first with `txs`, and announced by all."""
    chain.extend(blocks, include=txs)
    for talker in talkers:
        await talker.announce(blocks)


def rival_of(tx: Transaction) -> Transaction:
    """Another transaction that spends the same coin and pays to somebody else."""
    return attrs.evolve(tx, outputs=(TxOut(tx.outputs[0].value, b"\x76\xa9\x14" + b"\x07" * 20 + b"\x88\xac"),))
