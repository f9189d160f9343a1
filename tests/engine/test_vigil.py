"""The vigil of whole clients that find their peers themselves: sleep, stale tips, and an hour of nothing."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from phasegate.consensus.masternodes import MasternodeState
from phasegate.consensus.params import SIMNET
from phasegate.engine import peer_memory
from phasegate.engine.client import Client
from phasegate.engine.config import Address, Config, Limits
from phasegate.engine.hints import Hints
from phasegate.engine.listed_nodes import SOURCE, ListedNodes
from phasegate.engine.seams import inline_seams
from phasegate.engine.vigil import MOST_REMEMBERED, _forget
from phasegate.p2p.discovery import masternode_addresses
from phasegate.p2p.messages import Ping
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.gossip import known_node
from phasegate.p2p.simnet.greeting import SERVICES
from phasegate.p2p.simnet.memory_network import MemoryNetwork
from phasegate.p2p.simnet.node import Node
from tests.peer_internet import at
from tests.simulated_world import START, Run, Tapped, attended, small_chain


def place(number: int) -> Address:
    """An address in a network group of its own."""
    return Address(f"127.{number}.0.1", SIMNET.port)


@attrs.define
class Village:
    """Nodes that all know each other, behind streams in memory, and a wall clock that can be set."""

    network: MemoryNetwork
    directory: Path
    ahead: float = 0.0
    dialed: list[Address] = attrs.field(factory=list)

    def now(self) -> float:
        return START + trio.current_time() + self.ahead

    async def open_stream(self, host: str, port: int, /) -> trio.abc.Stream:
        self.dialed.append(Address(host, port))
        return await self.network.open_stream(host, port)

    @asynccontextmanager
    async def client(self, **settings: Any) -> AsyncIterator[Run]:
        """A running client that is told of the first two nodes."""
        limits = Limits(**settings.pop("limits", {}))
        seeds = tuple([str(place(n)) for n in (1, 2)])
        config = Config(SIMNET, dns_seeds=seeds, datadir=self.directory, limits=limits, check_facts=True, **settings)
        client = Client(config, inline_seams(1, self.open_stream, self.now))
        run = Run(client)
        async with attended(client, run.told):
            yield run


def village(nursery: trio.Nursery, directory: Path, chain: GeneratedChain, count: int, kind: Any = Node) -> Village:
    """So many nodes of one chain, from number 1 on."""
    records = [known_node(place(n).host, SIMNET.port, services=SERVICES, time=START - 60) for n in range(1, count + 1)]
    nodes = {place(n): kind(chain) for n in range(1, count + 1)}
    for node in nodes.values():
        node.known, node.share, node.rng = tuple(records), 100, random.Random(1)
    return Village(MemoryNetwork(nursery, nodes), directory)


async def settle_with(run: Run, count: int, within: float = 120.0) -> None:
    """Until the client is synced and has exactly so many peers."""
    with trio.fail_after(within):
        while run.client.state != "synced" or len(run.client._pool.connected) != count:
            await trio.sleep(0.5)


@pytest.mark.trio
async def test_an_hour_of_nothing_changes_nothing(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """No ban, no warning, no transition, no peer less or more; only feelers go out (field-bugs 45)."""
    world = village(nursery, tmp_path, small_chain(), 12)
    async with world.client() as run:
        await settle_with(run, 8)
        await trio.sleep(30)
        peers, path, dialed = run.client._pool.connected, list(run.path), len(world.dialed)
        await trio.sleep(3600)
        assert run.client._pool.connected == peers
        assert run.path == path
        assert run.warnings == []
        assert run.client._pool.memory.reputation.records == ()
        felt = Counter(world.dialed[dialed:])
        assert not set(felt) & {peer.address for peer in peers}
        assert sum(felt.values()) <= 60


@pytest.mark.trio
async def test_sleep_is_noticed(tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """When the wall clock ran on for an hour every peer is pinged; set back, or on by seconds, it means nothing."""
    world = village(nursery, tmp_path, small_chain(), 2, Tapped)
    async with world.client() as run:
        await settle_with(run, 2)
        world.ahead = -10 * 86_400
        await trio.sleep(2)
        world.ahead += 5
        await trio.sleep(2)
        assert run.warnings == []
        pings = [_pings(node) for node in world.network.nodes.values()]
        world.ahead += 3600
        await trio.sleep(1)
        assert run.warnings == ["woke-up"]
        assert run.said("woke-up") == "the clock went on for 3600 s without us: every peer is asked for life"
        assert [_pings(node) for node in world.network.nodes.values()] == [count + 1 for count in pings]
        await settle_with(run, 2, within=10)


def _pings(node: Node) -> int:
    assert isinstance(node, Tapped)
    return sum(isinstance(message, Ping) for message in node.taken)


@pytest.mark.trio
async def test_a_stale_tip_looks_further_and_is_content_again(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """One peer more than usual, another one each time; with the next block it is as before, and its bringer stays."""
    chain = generate(60, 5)
    world = village(nursery, tmp_path, chain, 7)
    limits = {"max_peers": 3, "filter_peers": 1, "stale_after": 600.0}
    async with world.client(limits=limits, max_tip_age=1e12) as run:
        await settle_with(run, 3)
        met = {peer.address for peer in run.client._pool.connected}
        await trio.sleep(590)
        assert "stale-tip" not in run.warnings
        await settle_with(run, 4)
        assert run.said("stale-tip") == "no block for 10 minutes: all are asked, and one peer more"
        met |= {peer.address for peer in run.client._pool.connected}
        assert len(met) == 4
        await trio.sleep(630)
        await settle_with(run, 4)
        assert len(met | {peer.address for peer in run.client._pool.connected}) == 5
        bringer = run.client._pool.connected[-1].address
        chain.extend(1)
        await world.network.nodes[bringer].announce(1)
        await settle_with(run, 3)
        assert run.client.status.marks.tip == 61
        assert bringer in {peer.address for peer in run.client._pool.connected}
        assert run.client._pool.outbound.extra == 0


@pytest.mark.trio
@pytest.mark.parametrize("lacking", ["work", "age"])
async def test_peers_that_are_all_stuck_are_replaced_while_degraded(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, lacking: str
) -> None:
    """Whoever took all places at a block of the past, the anchors' too, has to let others in, within minutes."""
    good, stuck = generate(60, 5), generate(40, 5)
    world = village(nursery, tmp_path, stuck, 8)
    honest = [place(n) for n in range(11, 17)]
    world.network.nodes = {**world.network.nodes, **{address: Node(good) for address in honest}}
    work, age = good.tip.work, START - (good.tip.window[-1][0] + stuck.tip.window[-1][0]) / 2
    need: dict[str, Any] = {"min_chainwork": work} if lacking == "work" else {"max_tip_age": age}
    async with world.client(**need) as run:
        await trio.sleep(30)
        assert (run.client.state, len(run.client._pool.connected)) == ("degraded", 8)
        anchors = sorted(run.client._pool.connected, key=lambda peer: peer.ready_at)[:2]
        run.client._pool.memory.learn([(address, 0) for address in honest], "dns")
        await settle_with(run, 8, within=600)
        assert run.client.status.marks.tip == 60
        assert not set(anchors) & set(run.client._pool.connected)
        assert run.client._pool.outbound.extra == 0


@pytest.mark.trio
async def test_configured_peers_stay_though_they_are_stuck(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Others come beside them, one after the other, when nobody that was configured has enough work to show."""
    good, stuck = generate(60, 5), generate(40, 5)
    world = village(nursery, tmp_path, stuck, 10)
    world.network.nodes = {**world.network.nodes, place(11): Node(good)}
    own = tuple([place(n) for n in range(1, 9)])
    async with world.client(peers=own, min_chainwork=good.tip.work) as run:
        await trio.sleep(30)
        named = [peer for peer in run.client._pool.connected if peer.address in own]
        assert (run.client.state, len(named)) == ("degraded", 8)
        run.client._pool.memory.learn([(place(11), 0)], "dns")
        await settle_with(run, 9, within=900)
        assert run.client.status.marks.tip == 60
        assert {peer.address for peer in run.client._pool.connected} == {*own, place(11)}
        assert not [peer.gone for peer in named if "no help" in peer.gone]


@pytest.mark.trio
async def test_the_anchors_are_those_connected_longest(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """They are stored with the end of the run, and are the first of the next one."""
    world = village(nursery, tmp_path, small_chain(), 8)
    async with world.client() as run:
        await settle_with(run, 8)
        longest = sorted(run.client._pool.connected, key=lambda peer: peer.ready_at)[:2]
        await trio.sleep(1)
    world.dialed.clear()
    async with world.client(limits={"max_peers": 2, "filter_peers": 1}) as run:
        await settle_with(run, 2)
        assert set(world.dialed) == {peer.address for peer in longest}


@pytest.mark.trio
async def test_the_stored_masternode_list_is_told_to_the_book(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as the client is synced, where that list is of use: every masternode of it that is not banned."""
    monkeypatch.setattr(ListedNodes, "is_of_use", True)
    monkeypatch.setattr(peer_memory, "acceptable", lambda _network: lambda _address: True)
    world = village(nursery, tmp_path, small_chain(), 2)
    async with world.client() as run:
        await settle_with(run, 2)
        await trio.sleep(2)
        stored = run.client.store.masternode_state()
        assert stored is not None
        listed = {address for address, _ in masternode_addresses(MasternodeState.from_bytes(stored))}
        told = {e.address for e in run.client._pool.memory.book.entries() if e.source == SOURCE}
        assert len(listed) > 5
        assert told == listed


def test_what_is_remembered_of_strangers_is_bounded() -> None:
    """Their delays and hints are forgotten when there are too many; those of the peers that are there are not."""
    delays = Counter(dict.fromkeys(map(at, range(MOST_REMEMBERED + 1)), 2))
    _forget(delays, {at(3)})
    assert delays == {at(3): 2}
    few = Counter({at(1): 1})
    _forget(few, set())
    assert few == {at(1): 1}
    hints = Hints()
    for n in range(50):
        assert hints.take(at(n), b"old", 0.0)
    assert not hints.take(at(7), b"old", 0.5)
    assert hints.take(at(50), b"new", 0.5)
    assert not hints.take(at(50), b"new", 0.6)
    hints.forget(b"new")
    assert len(hints) == 1
    assert hints.due(b"new", 2.0) == [at(50)]
