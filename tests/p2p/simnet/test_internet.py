"""A population out of a seed: who is in it, what they are like, and how they are reached."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping
from ipaddress import ip_address

import attrs
import pytest
import trio
import trio.lowlevel
import trio.testing

from phasegate.p2p.addresses import Address
from phasegate.p2p.connection import Connection, ConnectionLost
from phasegate.p2p.messages import AddrV2, GetAddr, GetHeaders, Headers, Services
from phasegate.p2p.simnet import CannotServe
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.greeting import SERVICES
from phasegate.p2p.simnet.internet import Counts, Manner, Member, Population, Role, listen, serve
from phasegate.p2p.simnet.lies import Lie
from phasegate.p2p.simnet.request_log import RequestLog
from tests.p2p.simnet.conftest import Caller, inline

NOW = 1_800_000_000.0
MANNER = Manner(lambda: NOW)
GETHEADERS = GetHeaders(70240, (bytes(32),))


@pytest.fixture(scope="module")
def chain() -> GeneratedChain:
    """A chain that no test extends."""
    return generate(300, 7)


def filtering(member: Member) -> bool:
    """Whether it says that it serves filters."""
    return member.node is not None and bool(member.node.identity.services & Services.COMPACT_FILTERS)


def described(population: Population) -> list[object]:
    """Who is where, and what each node is like."""
    ways = ("known", "address", "delay", "trickle", "lie", "flood", "silent", "identity")
    return [
        (member.address, member.role, member.deaf, [getattr(member.node, way, None) for way in ways])
        for member in population.members
    ]


def test_fifty_members_of_the_kinds_asked_for(chain: GeneratedChain) -> None:
    """20 honest of which 6 serve filters, 10 dead, 5 each of slow, silent, lying and flooding, each as it should be."""
    for seed in range(20):
        members = Population.draw(chain, seed, MANNER).members
        assert Counter(m.role for m in members) == dict(zip(Role, (20, 10, 5, 5, 5, 5), strict=True))
        assert sum(filtering(m) for m in members if m.role == Role.HONEST) == 6
        assert all(filtering(m) for m in members if m.role in (Role.SILENT, Role.LYING, Role.FLOODING))
        for member in members:
            node = member.node
            assert (node is None) == (member.role == Role.DEAD)
            assert not member.deaf or node is None
            if node is not None:
                assert (node.lie is not None) == (member.role == Role.LYING)
                assert (node.flood is not None) == (member.role == Role.FLOODING)
                assert node.silent == (member.role == Role.SILENT)
                slow = 1.0 <= node.delay <= 5.0 or node.trickle is not None
                assert slow == (member.role == Role.SLOW)


def test_addresses_are_of_many_networks(chain: GeneratedChain) -> None:
    """All differ, all are loopback at the network's port, nine of ten have a /16 of their own and some share one."""
    for seed in range(20):
        addresses = [member.address for member in Population.draw(chain, seed, MANNER).members]
        assert len(set(addresses)) == 50
        assert {address.port for address in addresses} == {29899}
        assert all(ip_address(address.host).is_loopback for address in addresses)
        assert len({tuple(address.host.split(".")[:2]) for address in addresses}) == 45


def test_every_live_member_knows_a_part_of_all(chain: GeneratedChain) -> None:
    """A random 60 % of the others, dead ones too, never itself, with true services and a recent time."""
    population = Population.draw(chain, "gossip", MANNER)
    services = {m.address.host: m.node.identity.services for m in population.members if m.node}
    told: Counter[str] = Counter()
    for address, node in population.live.items():
        hosts = {str(ip_address(entry.address)): entry.services for entry in node.known}
        assert len(node.known) == len(hosts) == 29
        assert address.host not in hosts
        assert all(0 <= NOW - entry.time <= 3 * 3600 for entry in node.known)
        assert all(
            services.get(host, SERVICES) == entry.services for host, entry in zip(hosts, node.known, strict=True)
        )
        told.update(hosts)
    assert set(told) == {member.address.host for member in population.members}
    assert len({node.known for node in population.live.values()}) == 40


def test_the_seeds_are_two_honest_members(chain: GeneratedChain) -> None:
    """Whom DNS would name is alive and honest."""
    for seed in range(20):
        population = Population.draw(chain, seed, MANNER)
        roles = {member.address: member.role for member in population.members}
        assert len(set(population.seeds)) == 2
        assert {roles[address] for address in population.seeds} == {Role.HONEST}


def test_one_seed_is_one_internet(chain: GeneratedChain) -> None:
    """Drawn twice it is the same to the last detail, drawn from another seed it is another."""
    one, again, other = (Population.draw(chain, seed, MANNER) for seed in (1, 1, 2))
    assert (described(one), one.seeds) == (described(again), again.seeds)
    assert {m.address for m in one.members}.isdisjoint(m.address for m in other.members)


def test_counts_port_and_lies_can_be_chosen(chain: GeneratedChain) -> None:
    """A small internet of one kind of liar, all on another port."""
    counts = Counts(honest=3, filtering=1, dead=1, slow=0, silent=0, lying=4, flooding=0)
    manner = attrs.evolve(MANNER, lies=("wrong-pow",))
    population = Population.draw(chain, 1, manner, counts=counts, port=1234)
    assert len(population.members) == 8
    assert {member.address.port for member in population.members} == {1234}
    assert [node.lie for node in population.live.values() if node.lie] == [Lie.parse("wrong-pow", chain)] * 4
    with pytest.raises(CannotServe, match="1 honest nodes cannot hold 2 seeds"):
        Population.draw(chain, 1, MANNER, counts=Counts(honest=1, filtering=0))


def test_parts_make_the_whole(chain: GeneratedChain) -> None:
    """Every live member is in exactly one of several parts."""
    population = Population.draw(chain, 1, MANNER)
    parts: list[Mapping[Address, object]] = [population.part(index, 3) for index in (1, 2, 3)]
    assert sum(map(len, parts)) == len({address for part in parts for address in part}) == 40
    assert population.part(1, 1) == population.live


async def greeted(stream: trio.abc.Stream, chain: GeneratedChain) -> Caller:
    """A client that has shaken hands over `stream`."""
    caller = Caller(Connection(stream, chain.network.magic, compute=inline))
    await caller.greet(addrv2=True)
    return caller


@pytest.mark.trio
async def test_from_two_seeds_everybody_is_found(
    chain: GeneratedChain, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Asking whoever can be reached for addresses leads to every member, and to nobody else."""
    population = Population.draw(chain, 4, MANNER)
    network = population.network(nursery)
    found, asked = set(population.seeds), set[Address]()
    while new := sorted(found - asked, key=str):
        asked.add(new[0])
        with trio.move_on_after(30.0):
            try:
                stream = await network.open_stream(new[0].host, new[0].port)
            except ConnectionRefusedError:
                continue
            caller = await greeted(stream, chain)
            await caller.connection.send(GetAddr())
            while not isinstance(told := await caller.connection.receive(), AddrV2):
                pass
            found |= {Address(str(ip_address(entry.address)), entry.port) for entry in told.addresses}
        await trio.lowlevel.checkpoint()
    assert found == {member.address for member in population.members}
    nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_the_memory_network_refuses_is_deaf_and_can_be_cut(
    chain: GeneratedChain, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A dead address refuses or never answers; a cut breaks what is open and lets nothing through until mended."""
    population = Population.draw(chain, 5, MANNER)
    network = population.network(nursery)
    dead = {member.address: member.deaf for member in population.members if member.role == Role.DEAD}
    assert set(dead.values()) == {True, False}
    for address, deaf in dead.items():
        with trio.move_on_after(3600.0) as patience:
            with pytest.raises(ConnectionRefusedError):
                await network.open_stream(address.host, address.port)
        assert patience.cancelled_caught == deaf
    seed = population.seeds[0]
    caller = await greeted(await network.open_stream(seed.host, seed.port), chain)
    await network.cut()
    with pytest.raises(ConnectionLost):
        await caller.ask(GETHEADERS)
    with pytest.raises(OSError, match="the network is cut"):
        await network.open_stream(seed.host, seed.port)
    network.mend()
    caller = await greeted(await network.open_stream(seed.host, seed.port), chain)
    assert Headers(chain.headers(1, 300)) in await caller.ask(GETHEADERS)
    nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_liars_are_counted_by_address(
    chain: GeneratedChain, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Who was asked for headers and lies about headers has told a lie; the log names who served what."""
    file = io.StringIO()
    manner = attrs.evolve(MANNER, lies=("wrong-pow", "wrong-quorum"), log=RequestLog(file))
    population = Population.draw(chain, 6, manner)
    network, expected = population.network(nursery), {}
    for address, node in population.live.items():
        if node.lie is not None:
            caller = await greeted(await network.open_stream(address.host, address.port), chain)
            await caller.ask(GETHEADERS)
            expected[address] = int(node.lie.kind == "wrong-pow")
    assert population.told_lies == expected
    assert set(expected.values()) == {0, 1}
    served = {json.loads(line)["node"] for line in file.getvalue().splitlines()}
    assert served == {str(address) for address in expected}
    nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_all_of_it_is_served_over_tcp(chain: GeneratedChain, nursery: trio.Nursery) -> None:
    """Each live member listens on its own loopback address; two at one place cannot, and nothing stays open."""
    with trio.socket.socket() as probe:
        await probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    population = Population.draw(chain, 8, MANNER, port=port)
    listening = await listen(population.live)
    nursery.start_soon(serve, listening)
    for address in population.seeds:
        caller = await greeted(await trio.open_tcp_stream(address.host, address.port), chain)
        assert Headers(chain.headers(1, 300)) in await caller.ask(GETHEADERS)
        await caller.connection.aclose()
    with pytest.raises(CannotServe, match="Address already in use"):
        await listen(population.live)
    nursery.cancel_scope.cancel()
