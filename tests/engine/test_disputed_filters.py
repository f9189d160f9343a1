"""Filter headers that stand by a false filter: settled by proof while an honest peer is there, and never by a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from trio.testing import MockClock

from phasegate.consensus.filters import build_filter, filter_hash, filter_header
from phasegate.consensus.primitives import TxOut
from phasegate.p2p.messages import BlockMessage, CFHeaders, CFilter, Message
from phasegate.p2p.simnet.answers import Answer
from phasegate.p2p.simnet.chain import SimulatedChain
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

HEIGHT = 150
P2PKH = b"\x76\xa9\x14" + b"\x33" * 20 + b"\x88\xac"


class StandsBy:
    """A lie that is at one with itself: `false` is the filter of `HEIGHT`, and the filter headers lead to it."""

    def __init__(self, chain: SimulatedChain, false: bytes) -> None:
        self._name, self._false = chain.hash_at(HEIGHT), false
        self._true = chain.filter_hash(HEIGHT)
        self._before = {bytes(32): bytes(32)}
        before = bytes(32)
        for height in range(chain.height + 1):
            told = filter_hash(false) if height == HEIGHT else chain.filter_hash(height)
            self._before[chain.filter_header(height)] = before = filter_header(told, before)

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        """The answer with everything in it that depends on the false filter."""
        return attrs.evolve(answer, messages=(self._twisted(message) for message in answer.messages))

    def _twisted(self, message: Message) -> Message:
        if isinstance(message, CFilter) and message.block_hash == self._name:
            return attrs.evolve(message, filter=self._false)
        if isinstance(message, CFHeaders):
            hashes = message.hashes.replace(self._true, filter_hash(self._false))
            return attrs.evolve(message, prev_header=self._before[message.prev_header], hashes=hashes)
        return message


def unreadable(chain: SimulatedChain) -> bytes:
    """No filter at all."""
    return b"\xff" * 40


def hiding(chain: SimulatedChain) -> bytes:
    """A well-formed filter that has nothing of the block in it."""
    return build_filter(chain.hash_at(HEIGHT), [b"something else"])


FALSE = {"unreadable": unreadable, "hiding": hiding}


@pytest.mark.parametrize("kind", FALSE)
async def test_an_honest_peer_wins_by_the_block_itself(
    world: World, running: Start, autojump_clock: MockClock, kind: str
) -> None:
    """Both are at one with themselves; the block shows who lies, the liar alone is banned."""
    chain = small_chain()
    world.add(chain, 1, lie=StandsBy(chain, FALSE[kind](chain)))
    world.add(chain, 2)
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        await run.until("synced")
        assert run.client.status.marks.filter_header == chain.filter_header(chain.height)
        assert set(run.warnings) & {"bad-filter-header", "bad-filter"}
        assert [str(peer) for peer in run.client.peers] == ["node:2"]
        assert "degraded" not in run.path


class ForgesTheBlock(StandsBy):
    """The same liar, who sends as evidence a block that pays to one script more: by that block all others lie."""

    def _twisted(self, message: Message) -> Message:
        if isinstance(message, BlockMessage) and message.block.hash == self._name:
            coinbase, *others = message.block.transactions
            coinbase = attrs.evolve(coinbase, outputs=(*coinbase.outputs, TxOut(1, P2PKH)))
            return BlockMessage(attrs.evolve(message.block, transactions=(coinbase, *others)))
        return super()._twisted(message)


async def test_a_forged_block_is_no_evidence_against_an_honest_peer(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Asked first for the block that decides, the liar sends one with its header and another body, and is banned."""
    chain = small_chain()
    world.add(chain, 1, lie=ForgesTheBlock(chain, hiding(chain)))
    world.add(chain, 2)
    async with running(world.config(1, 2, watch=chain.watch, masternodes=False)) as run:
        await run.until("synced")
        assert run.client.status.marks.filter_header == chain.filter_header(chain.height)
        assert run.warnings == ["bad-block-merkle-root"]
        assert "node:1 banned" in run.said("bad-block-merkle-root")
        assert [str(peer) for peer in run.client.peers] == ["node:2"]
        assert "degraded" not in run.path


async def test_two_liars_of_one_opinion_are_found_out_one_after_the_other(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The filter that nobody can read is stored by nobody, and the client is degraded, never failed."""
    chain = small_chain()
    for port in (1, 2):
        world.add(chain, port, lie=StandsBy(chain, unreadable(chain)))
    async with running(world.config(1, 2)) as run:
        await run.until("degraded")
        assert run.warnings.count("bad-filter") == 2
        assert run.client.status.marks.filters < HEIGHT
        assert run.client.status.marks.filter_headers < HEIGHT


async def test_an_honest_peer_that_comes_after_the_filter_headers_rescues_the_sync(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A lone liar's filter headers are stored; the honest peer that joins is left aside until they are found out."""
    chain = small_chain()
    world.add(chain, 1, lie=StandsBy(chain, unreadable(chain)), delay=0.5)
    async with running(world.config(1, 2)) as run:
        await run.until("filters")
        world.add(chain, 2)
        await run.until("synced")
        assert run.client.status.marks.filter_header == chain.filter_header(chain.height)
        assert "failed" not in run.path


async def test_a_false_filter_header_stored_before_is_replaced_when_only_honest_peers_are_left(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A hiding filter's header is stored from a lone liar in an earlier run; honest peers are not banned for it."""
    chain = small_chain()
    world.add(chain, 1, lie=StandsBy(chain, hiding(chain)), delay=0.5)
    config = world.config(1, 2)
    async with running(config) as run:
        await run.until("filters")
        assert run.client.status.marks.filter_header != chain.filter_header(chain.height)
    world.nodes.clear()
    world.add(chain, 2)
    async with running(config) as run:
        await run.until("synced")
        assert run.client.status.marks.filter_header == chain.filter_header(chain.height)
        assert not any(code.startswith("bad-") for code in run.warnings)
