"""When there is nothing to do, nothing is done; and a search for what is missing never ends before it has succeeded."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from phasegate.p2p.messages import Ping, Pong, Services
from phasegate.p2p.simnet.greeting import SERVICES, Identity
from phasegate.p2p.simnet.internet import Counts
from tests.internet.simulated import living, the_chain
from tests.simulated_world import Start, Tapped, World, small_chain

HOUR = 3600.0


@pytest.mark.trio
async def test_an_hour_of_silence_is_nobodys_fault(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Fully synced, with nodes that have nothing to tell: no ban, nobody lost, no state left, only pings sent."""
    nodes = [Tapped(small_chain()) for _ in range(3)]
    world.nodes = dict(enumerate(nodes, 1))
    async with running(world.config(1, 2, 3)) as run:
        await run.until("synced")
        await run.settled()
        peers, path = run.client.peers, run.path
        before = [len(node.taken) for node in nodes]
        await trio.sleep(HOUR)
        assert (run.client.peers, run.path) == (peers, path)
        assert not run.warnings
        for node, count in zip(nodes, before, strict=True):
            said = node.taken[count:]
            assert said
            assert all(isinstance(message, Ping | Pong) for message in said)  # its own, and the answers to the node's
            assert len(said) <= 2 * HOUR / run.client.config.limits.ping_interval


@pytest.mark.trio
async def test_an_hour_on_the_internet_changes_nothing(tmp_path: Path, autojump_clock: MockClock) -> None:
    """With all places taken, the same peers stay; one address in two minutes is tried to see whether it is alive."""
    counts = Counts(honest=12, filtering=6, dead=3, slow=0, silent=0, lying=0, flooding=0)
    async with living(tmp_path, the_chain(300), 3, counts=counts) as life:
        await life.until("synced", 600)
        await trio.sleep(300)
        peers, entered, tried = life.client.peers, len(life.path), life.line.tried
        assert len(peers) == life.client.config.limits.max_peers
        await trio.sleep(HOUR)
        assert (life.client.peers, len(life.path)) == (peers, entered)
        assert not life.bans
        assert life.line.tried - tried >= 10
        assert life.line.tried - tried <= HOUR / life.client.config.limits.feeler_interval * 2


@pytest.mark.trio
@pytest.mark.parametrize("connect_only", [True, False])
async def test_without_filters_it_is_degraded_and_searches(
    world: World, running: Start, autojump_clock: MockClock, connect_only: bool
) -> None:
    """The only peer lacks them: said so, never synced, and synced within seconds of a capable peer appearing."""
    world.add(small_chain(), 1, identity=Identity(services=SERVICES & ~Services.COMPACT_FILTERS))
    async with running(world.config(1, 2, connect_only=connect_only)) as run:
        await run.until("degraded")
        for _ in range(30):
            await trio.sleep(60)
            assert run.client.status.state == "degraded"
            assert run.client.status.reason.startswith("no peer serves compact filters")
            if connect_only:
                assert run.client.status.reason.endswith("no others are searched for (connect-only)")
            else:
                assert run.client.status.search.startswith("searching for a peer that serves compact filters")
                assert run.said("searching").startswith("searching for a peer that serves compact filters")
        assert run.path.count("degraded") == 1
        world.add(small_chain(), 2)
        appeared = trio.current_time()
        await run.until("synced", within=10)
        assert trio.current_time() - appeared <= 2 * run.client.config.limits.waiting_cap
