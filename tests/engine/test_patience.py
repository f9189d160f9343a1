"""Peers that cost time only: who drips, comes and goes, or leaves one kind of question unanswered holds nobody up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.p2p.messages import Headers, Services
from phasegate.p2p.simnet.answers import Answer
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.greeting import SERVICES, Identity
from phasegate.p2p.simnet.lies import Lie
from phasegate.p2p.simnet.node import Node
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio


class Muted:
    """Stands where a node's lie stands: leaves out every message of one command."""

    def __init__(self, command: str) -> None:
        self._command = command

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        del chain, version
        return attrs.evolve(answer, messages=(m for m in answer.messages if m.command != self._command))


class Dripping:
    """Answers each question for headers with a single one of the chain, each time the next."""

    def __init__(self) -> None:
        self.told = 0

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        del version
        messages = list(answer.messages)
        if not any(isinstance(message, Headers) for message in messages):
            return attrs.evolve(answer, messages=messages)
        self.told += 1
        return attrs.evolve(answer, messages=[Headers(chain.headers(self.told % 200, 1))])


class Restless(Node):
    """Leaves two seconds after it came."""

    calls = 0

    async def handle(self, stream: trio.abc.Stream) -> None:
        self.calls += 1
        with trio.move_on_after(2.0):
            await super().handle(stream)


async def test_known_headers_one_by_one_hold_nobody_up(world: World, running: Start, autojump_clock: MockClock) -> None:
    """They cost no work to tell and never end: after a few the peer has nothing better than what is stored."""
    chain, drip = small_chain(), Dripping()
    world.add(chain, 1)
    world.add(chain, 2, lie=drip, delay=5.0, identity=Identity(services=SERVICES & ~Services.HEADERS_COMPRESSED))
    async with running(world.config(1, 2, masternodes=False)) as run:
        await run.until("synced", 90.0)
        assert 10 < drip.told < 15
        assert len(run.client.peers) == 2
        assert not [code for code in run.warnings if code != "peer-lost"]


@pytest.mark.parametrize("command", ["mnlistdiff", "cfilter", "qrinfo"])
async def test_who_leaves_a_question_unanswered_is_asked_last(
    world: World, running: Start, autojump_clock: MockClock, command: str
) -> None:
    """It answers others, so it is connected and ready; new blocks do not wait for it again and again."""
    chain = generate(300, 7)
    world.add(chain, 1, lie=Muted(command))
    world.add(chain, 2)
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        for _ in range(3):
            await trio.sleep(60.0)
            assert len(run.client.peers) == 2
            chain.extend(1)
            for node in world.nodes.values():
                await node.announce(1)
            with trio.fail_after(5.0):
                while run.client.status.marks.tip != chain.height or run.client.state != "synced":
                    await trio.sleep(0.1)


@pytest.mark.parametrize("disputed", [False, True])
async def test_who_comes_and_goes_makes_nobody_walk_each_time(
    world: World, running: Start, autojump_clock: MockClock, *, disputed: bool
) -> None:
    """Neither a synced client nor a degraded one, though the peer has begun to answer each time that it leaves."""
    chain = small_chain()
    world.add(chain, 1)
    world.add(chain, 2, lie=Lie.parse("added-element", chain) if disputed else None)
    plain = Identity(services=SERVICES & ~Services.HEADERS_COMPRESSED)
    restless = Restless(chain, lie=cast(Any, Dripping()), delay=0.4, identity=plain)
    async with running(world.config(1, 2, 3, masternodes=False)) as run:
        await run.until("degraded" if disputed else "synced")
        before, world.nodes[3] = len(run.path), restless
        await trio.sleep(600.0)
        assert restless.calls > 10
        assert run.path[before:].count("headers") < (60 if disputed else 20)
