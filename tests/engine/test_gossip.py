"""Addresses that peers tell of: so many as were asked for, the useful ones, by whoever told them."""

from __future__ import annotations

import attrs
import pytest
import trio
import trio.testing

from phasegate.consensus.params import MAINNET
from phasegate.engine.config import Address, Config
from phasegate.engine.gossip import ASKED, RATE, Gossip
from phasegate.engine.peer_memory import PeerMemory
from phasegate.engine.peers import Peer, PeerContext
from phasegate.engine.seams import inline_seams
from phasegate.p2p.address_forms import to_v1, to_v2
from phasegate.p2p.addresses import Kind
from phasegate.p2p.messages import Addr, AddressV2, AddrV2, Services
from tests.peer_internet import FULL, START, Internet, at, connecting, discovering, make_client


def v2(*addresses: Address, services: int = FULL, time: float = START) -> AddrV2:
    records = [to_v2(address, int(time), services) for address in addresses]
    return AddrV2(tuple([record for record in records if record is not None]))


@attrs.define
class Scene:
    """Gossip of a client that has one peer."""

    gossip: Gossip
    peer: Peer

    def take(self, message: Addr | AddrV2) -> int:
        return self.gossip.take(self.peer, message, START)

    @property
    def book(self) -> set[Address]:
        return {entry.address for entry in self.gossip.memory.book.entries()}


@pytest.fixture
def scene() -> Scene:
    """A peer that was asked."""
    config, seams = Config(MAINNET), inline_seams(1, now=lambda: START)
    gossip = Gossip(PeerMemory(config, seams))
    nothing = PeerContext(
        MAINNET, config.limits, seams, lambda: 0, lambda _p, _m: False, lambda _: None, lambda _: None
    )
    peer = Peer(at(200), nothing)
    gossip.ask(peer)
    return Scene(gossip, peer)


@pytest.mark.trio
async def test_a_thousand_are_taken_and_then_one_each_ten_seconds(
    scene: Scene, autojump_clock: trio.testing.MockClock
) -> None:
    """Whoever tells a thousand again and again fills nothing; a minute later six more are taken."""
    flood = [v2(*[at(n, host) for n in range(1000)]) for host in range(1, 50)]
    for message in flood:
        scene.take(message)
    assert (scene.gossip.taken, scene.gossip.ignored) == (ASKED + 1, 49 * 1000 - ASKED - 1)
    assert len(scene.book) <= ASKED
    await trio.sleep(60)
    scene.take(flood[1])
    assert scene.gossip.taken == ASKED + 1 + 60 * RATE


@pytest.mark.trio
async def test_who_was_not_asked_is_believed_one_at_a_time(
    scene: Scene, autojump_clock: trio.testing.MockClock
) -> None:
    """A connection that is forgotten and comes again has no thousand of its own."""
    scene.gossip.forget(scene.peer)
    assert scene.take(v2(*[at(n) for n in range(10)])) == 1
    scene.gossip.forget(scene.peer)
    assert scene.gossip._measures == {}


@pytest.mark.trio
async def test_both_forms_lead_to_the_same_book(scene: Scene) -> None:
    """`addr` for what fits it, `addrv2` for all, Tor and I2P too; what is told again is not new."""
    onion, i2p = Address.of(Kind.TORV3, bytes(31) + b"\1", 9999), Address.of(Kind.I2P, bytes(31) + b"\1", 0)
    older = to_v1(at(0), int(START), FULL)
    assert older is not None
    assert scene.take(Addr((older,))) == 1
    assert scene.take(v2(at(0), Address("2600::1", 9999), onion, i2p)) == 3
    assert scene.book == {at(0), Address("2600::1", 9999), onion, i2p}
    assert all(entry.source == at(200).host for entry in scene.gossip.memory.book.entries())


@pytest.mark.trio
async def test_what_nobody_can_connect_to_is_not_kept(scene: Scene) -> None:
    """Private addresses on a public network, port 0, networks nobody knows, and nodes without blocks."""
    told = [Address("127.0.0.1", 9999), Address("10.0.0.1", 9999), Address("11.0.0.1", 0), Address("224.0.0.1", 1)]
    assert scene.take(v2(*told)) == 0
    assert scene.take(AddrV2((AddressV2(0, FULL, 77, b"?", 1), AddressV2(0, FULL, 3, bytes(10), 1)))) == 0
    assert scene.take(v2(at(0), services=Services.COMPACT_FILTERS)) == 0
    assert scene.take(v2(at(0), services=Services.NETWORK_LIMITED)) == 1


@pytest.mark.trio
@pytest.mark.parametrize("told", [0, 4_294_967_295, START + 7200, START - 100 * 86_400])
async def test_no_time_that_is_told_makes_an_address_better(scene: Scene, told: float) -> None:
    """What was seen in the future was seen five days ago at best, and nothing is ever younger than two hours."""
    scene.take(v2(at(0), time=told))
    entry = scene.gossip.memory.book.get(at(0))
    assert entry is not None
    assert 0 <= entry.seen <= START - 7200


@pytest.mark.trio
async def test_a_flood_of_addresses_wakes_nobody(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """What is not new changes nothing: no search is begun for it, and the peer stays."""
    internet = Internet(nursery)
    [node] = internet.add(at(0), tells=[at(1)])
    async with discovering(internet, [at(0)], peers=()) as client:
        await client.until(1)
        await trio.sleep(1)
        woken = client.pool._changed
        for _ in range(100):
            await node.lines[0].send(v2(at(1)))
        await trio.testing.wait_all_tasks_blocked()
        assert client.pool._changed is woken
        assert client.pool.gossip.taken > 100
        assert at(0) in client.ready


@pytest.mark.trio
async def test_a_peer_without_a_place_is_asked_before_it_goes(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """While filters are searched for, it may know a node that serves them; if it tells nothing it goes all the same."""
    internet, plain = Internet(nursery), [at(n) for n in range(8)]
    internet.add(*plain, services=int(Services.NETWORK))
    internet.add(at(20))
    for address in plain:
        internet.nodes[address].tells = [at(20), at(21)]
    for mute in (True, False):
        client = make_client(internet)
        client.memory.learn([(address, 0) for address in plain], "dns")
        for node in internet.nodes.values():
            node.manner = "speechless" if mute else ""
        async with connecting(internet, client):
            await client.until(5 if mute else 6)
            await trio.sleep(30)
            assert len(client.ready) == (5 if mute else 6)
            lines = sum(len(node.lines) for node in internet.nodes.values())
            assert lines == len(client.ready)
