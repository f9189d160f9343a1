"""Discovery and the places of a pool: from seeds over gossip to full places, and who gets one."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
import trio.testing

from phasegate.consensus.params import MAINNET, SIMNET
from phasegate.engine.config import Address, Limits
from phasegate.engine.outbound import LOOK_EVERY
from phasegate.p2p.address_groups import group
from phasegate.p2p.addresses import Kind
from phasegate.p2p.messages import GetAddr
from phasegate.p2p.seeds import built_in
from tests.peer_internet import LIE, PLAIN, Internet, at, connecting, discovering, make_client

SEED = "seed.example"


@pytest.mark.trio
async def test_two_addresses_of_a_seed_are_enough(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """What they tell of, and what those tell of, fills all places, three of them with filters, one group each."""
    internet = Internet(nursery, names={SEED: [at(0).host, at(1).host]})
    plain, full = [at(n) for n in range(20)], [at(n) for n in range(20, 26)]
    internet.add(*plain, services=PLAIN)
    internet.add(*full)
    for number, node in enumerate(internet.nodes.values()):
        node.tells = [at((number + step) % 26) for step in (1, 2, 5, 9)]
    async with discovering(internet, dns_seeds=(SEED,)) as client:
        assert await client.until(8) < 5
        peers = client.pool.connected
        assert sum(peer.serves_filters for peer in peers) >= 3
        assert len({group(peer.address) for peer in peers}) == 8
        assert client.pool.ready == peers
    assert internet.asked == [SEED]
    assert client.warnings == []


@pytest.mark.trio
async def test_every_peer_is_asked_once_for_addresses(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """And nobody is when only the configured peers are wanted; then what they tell is not even kept."""
    internet = Internet(nursery)
    [node] = internet.add(at(0), tells=[at(1)])
    for alone in (False, True):
        client = make_client(internet, peers=(at(0),), connect_only=alone)
        async with connecting(internet, client):
            await client.until(1)
            await trio.testing.wait_all_tasks_blocked()
            assert (node.heard.count(GetAddr()), at(1) in client.memory.book) == ((0, False) if alone else (1, True))
        node.heard.clear()


@pytest.mark.trio
async def test_with_connect_only_nobody_else_is_connected_to(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Not what is known, no seed, nothing built in, for an hour; and the reason says that it is so."""
    internet = Internet(nursery)
    internet.add(at(1))
    async with discovering(internet, [at(1)], peers=(at(0),), connect_only=True, dns_seeds=None) as client:
        await trio.sleep(3600)
        assert set(internet.tried()) == {at(0)}
        assert internet.asked == []
        said = "no others are searched for (connect-only)"
        assert client.pool.trouble == f"{at(0)}: connection refused; {said}"
        assert (client.pool.search, client.pool.search_limits) == ("", f"; {said}")


@pytest.mark.trio
async def test_dead_seeds_lead_to_what_is_built_in(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """All are asked at once, each dead one is named once, and the client has peers in seconds (field-bugs 47)."""
    internet = Internet(nursery)
    internet.add(*built_in(MAINNET)[::8])
    async with discovering(internet, dns_seeds=None) as client:
        assert await client.until(8) < 30
        assert sorted(internet.asked) == sorted(MAINNET.dns_seeds)
        assert client.ready <= set(built_in(MAINNET))
        assert len({group(address) for address in client.ready}) == 8
        await trio.sleep(600)
    assert sorted(code for code, _ in client.warnings) == ["seed-silent"] * len(MAINNET.dns_seeds)
    assert sorted(internet.asked) == sorted(MAINNET.dns_seeds)


@pytest.mark.trio
async def test_known_addresses_go_before_seeds(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """While those that are stored answer, no seed hears of this client."""
    internet = Internet(nursery, names={SEED: [at(30).host]})
    internet.add(*[at(n) for n in range(10)])
    async with discovering(internet, [at(n) for n in range(10)], dns_seeds=(SEED,)) as client:
        await client.until(8)
        await trio.sleep(600)
        assert (len(client.ready), internet.asked) == (8, [])


@pytest.mark.trio
async def test_through_a_proxy_no_name_is_looked_up(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """The seed is connected to by its name, tells addresses, and is left; a dead one is named once."""
    internet = Internet(nursery)
    by_name, dead, literal = Address(SEED, MAINNET.port), Address("dead.example", MAINNET.port), at(40)
    [seed] = internet.add(by_name, tells=[at(n) for n in range(9)])
    internet.add(*[at(n) for n in range(9)], literal)
    seeds, proxy = (SEED, "dead.example", literal.host), Address("127.0.0.1", 9050)
    async with discovering(internet, dns_seeds=seeds, proxy=proxy) as client:
        await client.until(8)
        await trio.sleep(900)
        assert internet.asked == []
        assert {by_name, dead, literal} <= set(internet.tried())
        assert seed.lines == []
        assert by_name not in client.ready
        assert client.warnings == [("seed-silent", "seed dead.example: connection refused")]


@pytest.mark.trio
async def test_places_are_kept_for_filters(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """Thirty nodes without them never get more than five of the eight places; the last three are found."""
    internet = Internet(nursery)
    internet.add(*[at(n) for n in range(30)], services=PLAIN)
    internet.add(*[at(n) for n in range(30, 33)])
    async with discovering(internet, [at(n) for n in range(33)]) as client:
        await client.until(8)
        assert sum(peer.serves_filters for peer in client.pool.connected) == 3


@pytest.mark.trio
async def test_the_search_for_filters_goes_on_and_is_told(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """With five peers that lack them, it says how far it is; when a capable peer comes up, it is there in seconds."""
    internet = Internet(nursery)
    known = [at(n) for n in range(12)]
    internet.add(*known[:10], services=PLAIN)
    async with discovering(internet, known) as client:
        assert client.pool.search.startswith("searching for a peer: ")
        await trio.sleep(300)
        assert len(client.ready) == 5
        assert client.pool.search == (
            "searching for a peer that serves compact filters: 12 of 12 known addresses tried"
        )
        internet.add(known[11])
        with client.pool.urgent():
            assert await client.until(6) < 7
        assert client.pool.search == ""


@pytest.mark.trio
async def test_the_search_without_addresses_says_so(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Whether or not seeds can be asked."""
    for seeds, more in (((), ""), ((SEED,), ", seeds are asked")):
        async with discovering(Internet(nursery), dns_seeds=seeds) as client:
            await trio.sleep(1)
            assert client.pool.search == f"searching for a peer: no address is known{more}"
            assert client.pool.trouble == "no peer is configured, and no address is known"


@pytest.mark.trio
async def test_filters_by_old_rules_take_no_place_of_those(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Whoever is found to make them so counts as a peer without, and makes room for others."""
    internet, known = Internet(nursery), [at(n) for n in range(14)]
    internet.add(*known[:8])
    async with discovering(internet, known[:8]) as client:
        await client.until(8)
        client.pool.outbound.outdated = set(known[:8])
        assert client.pool.outbound.seeks
        internet.add(*known[8:])
        client.memory.learn([(address, 0) for address in known[8:]], "dns")
        for _ in range(300):
            client.pool.look_after(Counter())
            await trio.sleep(1)
        assert len(client.ready - set(known[:8])) >= 3
        assert len(client.ready) == 8


@pytest.mark.trio
@pytest.mark.parametrize("places", [1, 2, 3])
async def test_few_places_are_no_dead_end_for_filters(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, places: int
) -> None:
    """Who takes the only places, an anchor or not, makes room while nobody serves filters that are of use."""
    internet, known = Internet(nursery), [at(n) for n in range(12)]
    internet.add(*known)
    async with discovering(internet, known, limits=Limits(max_peers=places)) as client:
        await client.until(places)
        client.pool.outbound.outdated = set(client.ready)
        for _ in range(300):
            client.pool.look_after(Counter())
            await trio.sleep(1)
        assert not client.pool.outbound.seeks
        assert len(client.ready) == places


@pytest.mark.trio
async def test_filters_take_one_place_at_least(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """Also with `filter_peers` of 0: else nodes without filters would take all places, and no filter were ever had."""
    internet, known = Internet(nursery), [at(n) for n in range(11)]
    internet.add(*known[:10], services=PLAIN)
    internet.add(known[10])
    async with discovering(internet, known[:10], limits=Limits(filter_peers=0)) as client:
        await client.until(7)
        client.memory.learn([(known[10], 0)], "dns")
        await client.until(8)
        assert not client.pool.outbound.seeks


@pytest.mark.trio
async def test_one_group_gets_one_place(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """Whoever owns a whole network of addresses, and tells of all of them, gets no second place."""
    internet = Internet(nursery)
    crowd, honest = [at(0, host) for host in range(1, 200)], [at(n) for n in range(1, 9)]
    internet.add(*crowd, tells=crowd)
    internet.add(*honest, tells=honest)
    async with discovering(internet, honest) as client:
        client.memory.learn([(address, 0) for address in crowd], "user")
        assert len(client.memory.book) > 60
        await client.until(8)
        await trio.sleep(1800)
        assert len(client.ready & set(crowd)) <= 1
        assert len(client.ready) == 8


@pytest.mark.trio
async def test_private_networks_have_few_groups(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """There, all places may go to one group when there is no other."""
    internet = Internet(nursery, SIMNET)
    nodes = [Address(f"127.0.0.{n}", SIMNET.port) for n in range(1, 12)]
    internet.add(*nodes)
    async with discovering(internet, nodes) as client:
        assert await client.until(8) < 2 * LOOK_EVERY


@pytest.mark.trio
async def test_what_cannot_be_reached_is_not_tried(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """I2P and CJDNS never, Tor through a proxy only; IPv6 as any other."""
    onion, i2p = (Address.of(kind, bytes(31) + b"\7", 9999) for kind in (Kind.TORV3, Kind.I2P))
    cjdns, ipv6 = Address.of(Kind.CJDNS, b"\xfc" + bytes(15), 9999), Address("2600::7", 9999)
    for proxy, reached in ((None, {ipv6}), (Address("127.0.0.1", 9050), {ipv6, onion})):
        internet = Internet(nursery)
        async with discovering(internet, [onion, i2p, cjdns, ipv6], proxy=proxy) as client:
            assert len(client.memory.book) == 4
            await trio.sleep(120)
            assert set(internet.tried()) == reached


@pytest.mark.trio
@pytest.mark.parametrize("written", ["11.0.0.1:9999", "[2600:0:0::7]:9999"])
async def test_a_configured_peer_is_not_connected_to_twice(
    written: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Others tell of it, perhaps in another spelling."""
    address = Address.parse(written, 9999)
    internet = Internet(nursery)
    internet.add(at(1), tells=[address.canonical])
    internet.add(address)
    internet.add(address.canonical)
    async with discovering(internet, [at(1)], peers=(address,)) as client:
        await client.until(2)
        await trio.sleep(300)
        assert address.canonical in client.memory.book
        assert set(internet.tried()) == {address, at(1)}


@pytest.mark.trio
@pytest.mark.parametrize("manner", ["deaf", "mute", "hangs up"])
async def test_those_that_never_greet_keep_nobody_out(
    manner: str, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Twenty of them among eight good ones: each costs its timeout once, and is tried more and more rarely."""
    internet, known = Internet(nursery), [at(n) for n in range(28)]
    internet.add(*known[:20], manner=manner)
    internet.add(*known[20:])
    async with discovering(internet, known) as client:
        assert await client.until(8, within=180) < 120
        mark = internet.mark()
        await trio.sleep(3600)
        assert client.ready == set(known[20:])
        assert len(internet.tried(mark)) < 60  # feelers only


@pytest.mark.trio
async def test_limits_decide_how_many(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """The configured peers count, too; and places for filters are not more than all places."""
    internet, known = Internet(nursery), [at(n) for n in range(12)]
    internet.add(*known)
    for limits, peers, wanted in (
        (Limits(max_peers=3), 0, 3),
        (Limits(max_peers=2), 0, 2),
        (Limits(max_peers=5), 2, 5),
    ):
        async with discovering(internet, known, peers=tuple(known[:peers]), limits=limits) as client:
            await client.until(wanted)
            await trio.sleep(60)
            assert len(client.ready) == wanted


@pytest.mark.trio
async def test_without_filters_any_peer_will_do(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """No place is kept for what is not wanted, and nothing is searched for."""
    internet, known = Internet(nursery), [at(n) for n in range(10)]
    internet.add(*known, services=PLAIN)
    async with discovering(internet, known, filters=False) as client:
        await client.until(8)
        assert client.pool.search == ""
        client.pool.ban(client.pool.connected[0], LIE)
        assert await client.until(8) < 5


@pytest.mark.trio
async def test_the_one_peer_with_filters_can_be_asked_though_none_was_wished_for(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """`filter_peers=0` is as good as 1: with full places who serves them stands behind the others, and is asked."""
    internet, own = Internet(nursery), tuple([at(n) for n in range(8)])
    internet.add(*own, services=PLAIN)
    internet.add(at(20))
    async with discovering(internet, [at(20)], peers=own, limits=Limits(filter_peers=0)) as client:
        await client.until(9)
        assert at(20) in {peer.address for peer in client.pool.ready}
        assert not client.pool.outbound.seeks
