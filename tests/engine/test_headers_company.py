"""The headers phase in mixed company: whoever is silent, slow or late costs its own place, and nobody else's time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.params import REGTEST, SIMNET
from phasegate.engine.client import Client
from phasegate.engine.config import Address, Config
from phasegate.engine.events import Event, Transition
from phasegate.engine.peers import Peer
from phasegate.engine.seams import inline_seams
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.memory_network import MemoryNetwork
from phasegate.p2p.simnet.node import Node
from phasegate.store import Store
from tests.scripted_peers import HeaderChain, Serving, bench
from tests.simulated_world import START, small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start as Starting
    from tests.simulated_world import World

pytestmark = pytest.mark.trio


def addresses(count: int, first: int = 0) -> list[Address]:
    """So many addresses, each in a group of its own."""
    return [Address(f"127.{1 + n % 250}.{n // 250}.1", SIMNET.port) for n in range(first, first + count)]


async def stays(nodes: dict[Address, Node], directory: Path, seconds: float) -> list[tuple[str, float]]:
    """The states of a client that knows all these addresses, each with the seconds it was in it."""
    told: list[tuple[float, Event]] = []
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(nursery, nodes)
        config = Config(SIMNET, datadir=directory, masternodes=False, filters=False, dns_seeds=())
        seams = inline_seams(1, network.open_stream, lambda: START + trio.current_time())
        client = Client(config, seams)
        client._pool.memory.learn([(address, 0) for address in nodes], "dns")

        async def listen() -> None:
            async for event in client.events(100_000):
                told.append((trio.current_time(), event))  # noqa: PERF401 - the list is read while this goes on

        nursery.start_soon(listen)
        await nursery.start(client.run)
        await trio.sleep(seconds)
        await client.stop()
        nursery.cancel_scope.cancel()
    entered = [(at, event.target) for at, event in told if isinstance(event, Transition)]
    ends = [at for at, _ in entered[1:]] + [trio.current_time()]
    return [(state, end - at) for (at, state), end in zip(entered, ends, strict=True)]


async def test_a_crowd_of_mute_nodes_does_not_keep_a_client_from_being_synced(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Those who take the places of the mute are mute themselves, again and again; most of the time it is synced."""
    mute = {address: Node(small_chain(), silent=True) for address in addresses(200)}
    good = {address: Node(small_chain()) for address in addresses(6, first=200)}
    times = await stays(mute | good, tmp_path, 3600.0)
    states = [state for state, _ in times]
    since = times[states.index("synced") :]
    assert sum(spent for state, spent in since if state == "synced") > 0.7 * sum(spent for _, spent in since)
    assert max(spent for state, spent in since if state == "headers") < 30


async def test_a_newcomer_with_more_work_is_heard_soon_among_mute_ones(
    world: World, running: Starting, autojump_clock: MockClock
) -> None:
    """What came too late for one walk is asked in the next, whoever is silent beside it."""
    short, longer = small_chain(200), small_chain(300)
    world.add(short, 1)
    for port in range(2, 6):
        world.add(short, port, silent=True)
    config = world.config(*range(1, 8), masternodes=False, filters=False)
    async with running(config) as run:
        await run.until("synced")
        world.add(longer, 7)
        with trio.fail_after(120):
            while run.client.status.marks.tip < longer.height:
                await trio.sleep(0.1)


async def test_who_takes_too_long_over_an_answer_is_left_for_another(
    world: World, running: Starting, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a great announced height nor a steady trickle makes a peer worth waiting for."""
    chain = generate(3000, 7, locks=False)
    announced = vars(Peer)["start_height"].fget
    monkeypatch.setattr(Peer, "start_height", property(lambda peer: announced(peer) + (peer.address.port == 1)))
    world.add(chain, 1, trickle=600)
    for port in (2, 3):
        world.add(chain, port)
    async with running(world.config(1, 2, 3, masternodes=False, filters=False)) as run:
        await run.until("synced", within=60)
        assert run.client.status.marks.tip == chain.height


async def test_a_lone_slow_peer_is_followed_to_the_end(
    world: World, running: Starting, autojump_clock: MockClock
) -> None:
    """It is better than none, however long it takes."""
    chain = generate(3000, 7, locks=False)
    world.add(chain, 1, trickle=2000)
    async with running(world.config(1, masternodes=False, filters=False)) as run:
        await run.until("synced", within=600)
        assert run.client.status.marks.tip == chain.height
        assert not run.warnings


async def test_who_came_late_and_never_answered_does_not_count(tmp_path: Path) -> None:
    """Once all who were there have agreed; whoever answered anything, or was there, still counts."""
    with_store = Store.open(tmp_path, REGTEST)
    try:
        on = bench(with_store, *[Serving(HeaderChain()) for _ in range(3)])
        work, (there, other, late) = on.work, on.peers
        tip = work.writer.marks.tip_hash
        assert work.unheard() == [there, other, late]
        work.live.heard = tip, frozenset({there, other})
        assert work.unheard() == [there, other, late]
        work.live.agreed[there] = tip
        assert work.unheard() == [other]
        work.live.agreed[other] = tip
        assert work.unheard() == []
        late.answers = 1
        assert work.unheard() == [late]
        late.answers, work.live.heard = 0, (bytes(32), frozenset({there, other}))
        assert work.unheard() == [late]
    finally:
        with_store.close()
