"""One peer's word about filter headers is taken, and another's asked for as soon as there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.facts import Facts
from phasegate.p2p.messages import CFCheckpt, CFHeaders
from phasegate.p2p.simnet.answers import Answer
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.lies import Lie
from phasegate.store import Watermarks
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

WALK = ["headers", "cfheaders", "filters", "blocks", "synced"]


@attrs.frozen
class Mute:
    """Says nothing about filter headers."""

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        del chain, version
        return attrs.evolve(answer, messages=(m for m in answer.messages if not isinstance(m, CFHeaders | CFCheckpt)))


async def lone(world: World, run: Run, chain: SimulatedChain) -> None:
    """The client is synced from one peer, and knows that it is one's word only."""
    await run.until("synced")
    assert run.client.status.marks.corroborated == -1
    assert run.path == ["idle", *WALK] or run.path == WALK


def config(world: World, chain: SimulatedChain, *ports: int, **changes: Any) -> Any:
    return world.config(*ports, watch=chain.watch, masternodes=False, **changes)


async def test_filter_headers_are_not_complete_while_a_word_is_wanted() -> None:
    """Otherwise a tick would leave the phase before the second peer has answered."""
    marks = Watermarks(0, 9, b"", 1, None, b"", 9, b"", 9, 9, 0, 0, 0)
    facts = Facts(marks, mn_enabled=False, filters_enabled=True, mn_floor=0, min_work=0)
    assert facts.cfheaders_complete
    assert not facts.work_left
    wanted = attrs.evolve(facts, claims_open=True)
    assert not wanted.cfheaders_complete
    assert wanted.work_left


async def test_a_second_peer_is_asked_while_synced(world: World, running: Start, autojump_clock: MockClock) -> None:
    """It states the same: corroborated, by one walk, and that is all."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(config(world, chain, 1, 2)) as run:
        await lone(world, run, chain)
        world.add(chain, 2)
        with trio.fail_after(100):
            while run.client.status.marks.corroborated < 300:
                await trio.sleep(0.1)
        await run.until("synced")
        await trio.sleep(600)
        assert run.path[-10:] == WALK + WALK


async def test_a_lone_peer_is_not_asked_again_at_the_same_tip(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Its connection breaks and comes back time and again: that makes no witness, and no walk for its sake."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(config(world, chain, 1, 2)) as run:
        await lone(world, run, chain)
        asked = 0
        for _ in range(5):
            await world.cut(1)
            await trio.sleep(5)
            await run.until("synced")
            asked = asked or run.client.requests.sent
        assert run.client.status.marks.corroborated == -1
        assert run.client.requests.sent - asked <= 8


@pytest.mark.parametrize("kind", ["omitted-output", "omitted-spend", "wrong-filter-count"])
async def test_a_lie_that_comes_late_is_found_out(
    world: World, running: Start, autojump_clock: MockClock, kind: str
) -> None:
    """The second peer is the liar: it is banned, what is stored stays, and is as uncorroborated as before."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(config(world, chain, 1, 2)) as run:
        await lone(world, run, chain)
        world.add(chain, 2, lie=Lie.parse(kind, chain))
        await run.until_warned("bad-filter-header")
        await run.until("synced")
        assert [peer.address.port for peer in run.client.peers] == [1]
        assert run.client.status.marks.filter_header == chain.filter_header(300)
        assert run.client.status.marks.corroborated < 300
        assert "filter-headers-dropped" not in run.warnings


@pytest.mark.parametrize("kind", ["omitted-output", "omitted-spend", "wrong-filter-count"])
async def test_a_stored_lie_is_found_out_by_who_comes_later(
    world: World, running: Start, autojump_clock: MockClock, kind: str
) -> None:
    """The first peer is the liar: it is banned, its filters are rolled back, and the payment that it hid is found."""
    chain = small_chain()
    world.add(chain, 1, lie=Lie.parse(kind, chain))
    async with running(config(world, chain, 1, 2)) as run:
        await lone(world, run, chain)
        world.add(chain, 2)
        await run.until_warned("bad-filter-header")
        await run.until("synced")
        assert [peer.address.port for peer in run.client.peers] == [2]
        assert run.client.status.marks.filter_header == chain.filter_header(300)
        assert [tx.txid[::-1].hex() for tx in run.client.transactions()] == chain.expected["transactions"]


async def test_a_lie_without_proof_that_comes_late_is_matched_too(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """What is stored stays, of equals; the other filter is held beside it, and the client is degraded."""
    chain = small_chain()
    lie = Lie.parse("added-element", chain)
    world.add(chain, 2)
    async with running(config(world, chain, 1, 2)) as run:
        await lone(world, run, chain)
        world.add(chain, 1, lie=lie)
        await run.until("degraded")
        marks = run.client.status.marks
        assert (marks.disputed, marks.corroborated) == (lie.height, lie.height - 1)
        assert marks.filter_header == chain.filter_header(300)
        assert run.client.store.filters(lie.height, 1) == [chain.filter(lie.height)]
        before = run.client.requests.sent
        await trio.sleep(300)
        assert run.client.state == "degraded" or run.path[-1] != "synced"
        assert run.client.requests.sent - before < 40


async def test_a_second_peer_that_is_silent_changes_nothing(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """It is dropped, asked again at the next tip only, and the client stays synced."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(config(world, chain, 1, 2)) as run:
        await lone(world, run, chain)
        world.add(chain, 2, lie=Mute())
        with trio.fail_after(100):
            while not run.client.requests.silent:
                await trio.sleep(0.1)
        await run.until("synced")
        before = len(run.path)
        await trio.sleep(900)
        assert len(run.path) == before
        assert run.client.state == "synced"


async def test_a_lone_voice_against_two_is_not_followed(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Two stated what is stored; one that contradicts it without proof degrades the client, until another joins it."""
    chain = small_chain()
    lie = Lie.parse("added-element", chain)
    for port in (1, 2):
        world.add(chain, port)
    ports = config(world, chain, 1, 2, 3, 4)
    async with running(ports) as run:
        await run.until("synced")
        assert run.client.status.marks.corroborated == 300
    longer = generate(303, 7)
    world.nodes.clear()
    world.add(longer, 3, lie=Lie.parse(f"added-element@{lie.height}", longer))
    async with running(ports) as run:
        await run.until("degraded")
        assert f"disputed at {lie.height}" in run.client.status.reason
        assert run.client.status.marks.filter_headers == 300
        world.add(longer, 4)
        with trio.fail_after(200):
            while run.client.status.marks.filters < 303:
                await trio.sleep(0.1)
        await run.until("degraded")
        assert run.client.status.reason == f"filter headers disputed at {lie.height}"
        assert run.client.status.marks.filter_header == longer.filter_header(303)


async def test_new_blocks_cost_one_question_a_peer_while_all_agree(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """What continues what is stored commits to all below it: no claim is taken anew for a new tip."""
    chain = generate(300, 9)
    nodes = [world.add(chain, port) for port in (1, 2)]
    async with running(config(world, chain, 1, 2)) as run:
        await run.until("synced")
        before = run.client.requests.sent
        chain.extend(1)
        for node in nodes:
            await node.announce(1)
        with trio.fail_after(60):
            while run.client.status.marks.filters < 301 or run.client.state != "synced":
                await trio.sleep(0.1)
        assert run.client.status.marks.corroborated == 301
        assert run.client.requests.sent - before <= 9
