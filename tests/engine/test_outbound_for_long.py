"""What becomes of peers over days: lost lines, bans, restarts, evictions, and floods of addresses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import pytest
import trio
import trio.testing

from phasegate.consensus.params import MAINNET
from phasegate.engine.candidates import DRAWS, WALKED, Candidates, Wanted
from phasegate.engine.company import EVICTED_EVERY, OUTRUN
from phasegate.engine.config import Address, Config, Limits
from phasegate.engine.peer_memory import PeerMemory
from phasegate.engine.retries import ASIDE, MOST, RATES, Retries
from phasegate.engine.seams import Writer, compute_inline
from phasegate.p2p.proxy import ProxyFailed
from phasegate.store import Store
from tests.peer_internet import LIE, PLAIN, Internet, at, connecting, discovering, make_client

DAY = 86_400.0


@pytest.mark.trio
async def test_hours_without_a_line_spoil_nothing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """The book is as good as before, few attempts were made for so long a time, and peers are back in seconds."""
    internet, known = Internet(nursery), [at(n) for n in range(30)]
    internet.add(*known)
    limits = Limits(feeler_interval=20.0)
    async with discovering(internet, known, limits=limits) as client:
        await client.until(8)
        await trio.sleep(1200)
        good = {entry.address: entry.in_tried for entry in client.memory.book.entries()}
        await internet.cut()
        mark = internet.mark()
        await trio.sleep(DAY / 4)
        assert client.ready == set()
        assert len(internet.tried(mark)) < 1024 + DAY / 4 * RATES[-1][1]
        entries = list(client.memory.book.entries())
        assert {entry.address: entry.in_tried for entry in entries} == good
        assert max(entry.attempts for entry in entries) <= 1
        internet.down = False
        with client.pool.urgent():
            await client.until(8, within=1)
    assert client.warnings == []


@pytest.mark.trio
async def test_a_look_at_a_large_book_is_bounded(nursery: trio.Nursery) -> None:
    """However many addresses are known and however few of them fit, at most so many are judged at once."""
    judged: list[Address] = []

    class Counting(Candidates):
        def may_try(self, address: Address, hurry: bool = False) -> bool:
            judged.append(address)
            return False

    config, seams = Config(MAINNET), Internet(nursery).seams()
    memory = PeerMemory(config, seams)
    memory.learn([(at(n), 0) for n in range(4000)], "dns")
    assert len(memory.book) > WALKED
    candidates = Counting(config, seams, memory, Retries(config.limits, seams), {})
    assert candidates.next(Wanted(filters=True)) is None
    assert 0 < len(judged) <= 2 * DRAWS
    judged.clear()
    assert candidates.next(Wanted(filters=True)) is None
    assert judged == [], "the next look is later"
    assert candidates.feeler() is None
    assert 0 < len(judged) <= DRAWS


@pytest.mark.trio
async def test_what_is_remembered_of_failures_is_bounded(nursery: trio.Nursery) -> None:
    """Ten thousand addresses that fail leave a bounded trace, of the latest."""
    retries = Retries(Limits(), Internet(nursery).seams())
    for n in range(10_000):
        retries.lost(at(n % 9000, 1 + n // 9000), 0.0, answered=False, reached=False)
        retries.put_aside(at(n % 9000, 1 + n // 9000), 0.0)
    assert len(retries) <= MOST
    assert not retries.may_try(at(999, 2), ASIDE / 2 - 1, hurry=False)
    assert retries.may_try(at(0), 0.0, hurry=False)


def store_of(path: Path) -> tuple[Store, Writer]:
    store = Store.open(path, MAINNET)
    return store, Writer(store, compute_inline)


@pytest.mark.trio
async def test_a_ban_outlasts_the_run_and_ends(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Stored at once: killed the moment after, the next run does not connect to that host, on any port, for a day."""
    internet, known = Internet(nursery), [at(0), at(0, port=19999), at(1)]
    internet.add(*known)
    store, writer = store_of(tmp_path)
    client = make_client(internet, writer=writer)
    client.memory.learn([(address, 0) for address in known], "dns")
    async with connecting(internet, client):
        await client.until(2)
        liar = next(peer for peer in client.pool.connected if peer.address != at(1))
        client.pool.ban(liar, LIE)
        await trio.sleep(1)
    store.close()
    mark = internet.mark()
    store, writer = store_of(tmp_path)
    client = make_client(internet, writer=writer)
    client.memory.learn([(address, 0) for address in known], "dns")
    async with connecting(internet, client):
        await trio.sleep(DAY - 60)
        assert set(internet.tried(mark)) == {at(1)}
        assert client.pool.banned == {}, "only the banned of this run are listed here"
        assert str(client.memory.banned(at(0, port=1))) == str(LIE)
        await trio.sleep(120)
        assert len(client.ready) == 2
    store.close()


@pytest.mark.trio
async def test_a_ban_that_ends_while_the_clock_jumps(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A configured peer is tried again within a minute of the end of its ban, even if the laptop slept through that."""
    internet = Internet(nursery)
    internet.add(at(0))
    async with discovering(internet, peers=(at(0),), connect_only=True) as client:
        await client.until(1)
        client.pool.ban(client.peer(at(0)), LIE)
        await trio.sleep(3600)
        assert client.ready == set()
        internet.epoch += DAY
        await client.until(1, within=61)


@pytest.mark.trio
async def test_who_is_banned_while_being_connected_to_gets_no_place(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Another port of its host lied meanwhile; and who is connected from that host has to go."""
    internet = Internet(nursery)
    first, slow, third = at(0), at(0, port=19999), at(0, port=20000)
    internet.add(first, third)
    internet.add(slow, late=5.0)
    async with discovering(internet, peers=(first, slow, third), connect_only=True) as client:
        await client.until(2)
        client.pool.ban(client.peer(first), LIE)
        assert client.ready == set()
        await trio.sleep(3600)
        assert client.ready == set()
        assert [internet.tried().count(address) for address in (first, slow, third)] == [1, 1, 1]


@pytest.mark.trio
async def test_anchors_are_the_first_of_the_next_run(
    tmp_path: Path, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """The two that were connected longest are; they stay stored when others come and go, and are written once."""
    internet, known = Internet(nursery), [at(n) for n in range(30)]
    internet.add(*known)
    store, writer = store_of(tmp_path)
    client = make_client(internet, writer=writer)
    client.memory.learn([(address, 0) for address in known[:2]], "dns")
    async with connecting(internet, client):
        await client.until(2)
        client.memory.learn([(address, 0) for address in known[2:]], "dns")
        await client.until(8)
        client.pool.look_after(Counter())
        assert set(client.memory.anchors) == set(known[:2])
        await client.memory.save()
        assert len(client.memory._left) == 0
        client.pool.look_after(Counter())
        assert len(client.memory._left) == 0
    store.close()
    mark = internet.mark()
    store, writer = store_of(tmp_path)
    client = make_client(internet, writer=writer, limits=Limits(max_peers=2))
    async with connecting(internet, client):
        await client.until(2)
        assert set(internet.tried(mark)) == set(known[:2])
    store.close()


@pytest.mark.trio
async def test_feelers_get_to_know_who_is_alive(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """In an hour with all places taken the book learns about some; no peer is exchanged for that, and nobody banned."""
    internet, known = Internet(nursery), [at(n) for n in range(40)]
    internet.add(*known[:20])
    async with discovering(internet, known) as client:
        await client.until(8)
        peers, mark = client.pool.connected, internet.mark()
        await trio.sleep(3600)
        assert client.pool.connected == peers
        felt = internet.tried(mark)
        assert 20 <= len(felt) <= 60
        assert {entry.address for entry in client.memory.book.entries() if entry.in_tried} > client.ready
        assert sum(len(node.lines) for node in internet.nodes.values()) == 8
        assert client.warnings == []


@pytest.mark.trio
async def test_slow_peers_make_room_one_at_a_time(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Not the anchors, not more than one each half minute, and none of them is back before minutes have passed."""
    internet, known = Internet(nursery), [at(n) for n in range(20)]
    internet.add(*known)
    async with discovering(internet, known) as client:
        await client.until(8)
        outrun = Counter(dict.fromkeys(client.ready, OUTRUN))
        by_age = sorted(client.pool.connected, key=lambda peer: peer.ready_at)
        slow, begun, mark = [peer.address for peer in by_age], trio.current_time(), internet.mark()
        while trio.current_time() - begun < 6 * EVICTED_EVERY - 1:
            client.pool.look_after(outrun)
            assert len(client.ready & set(slow)) >= 8 - 1 - (trio.current_time() - begun) // EVICTED_EVERY
            await trio.sleep(0.5)
        assert client.ready & set(slow) == set(slow[:2])
        assert len(client.ready) == 8
        assert not set(internet.tried(mark)) & set(slow)
        assert set(outrun) == set(slow[:2])


@pytest.mark.trio
async def test_nobody_makes_room_for_nobody(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """When no other address is known, a slow peer is better than none; so is the only one with filters."""
    internet, known = Internet(nursery), [at(n) for n in range(6)]
    internet.add(*known[:4], services=PLAIN)
    internet.add(known[4])
    async with discovering(internet, known[:5]) as client:
        await client.until(5)
        outrun = Counter(dict.fromkeys(known, 9))
        client.pool.look_after(outrun)
        assert len(client.ready) == 5
        client.memory.learn([(known[5], 0)], "dns")
        for _ in range(4):
            client.pool.look_after(outrun)
            await trio.sleep(EVICTED_EVERY)
        assert known[4] in client.ready


@pytest.mark.trio
async def test_a_silent_peer_is_put_aside(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """Its place goes to another, and it is tried again after minutes, later each time, though it is no offence."""
    internet, known = Internet(nursery), [at(n) for n in range(9)]
    internet.add(*known)
    async with discovering(internet, known) as client:
        await client.until(8)
        silent = client.pool.connected[0].address
        mark, dropped = internet.mark(), trio.current_time()
        client.pool.drop(client.peer(silent), "silent", silent=True)
        await client.until(8, within=5)
        await trio.sleep(ASIDE / 2 - 10)
        assert silent not in internet.tried(mark)
        assert client.memory.reputation.records == ()
        gone = next(peer.address for peer in client.pool.connected)
        for line in internet.nodes.pop(gone).lines:
            await line.aclose()
        await client.until(7)
        await client.until(8, within=ASIDE)
        assert silent in client.ready, "there is no other"
        assert ASIDE / 2 <= trio.current_time() - dropped <= ASIDE + 10
        dropped = trio.current_time()
        client.pool.drop(client.peer(silent), "silent", silent=True)
        await client.until(7)
        await client.until(8, within=2 * ASIDE + 10)
        assert trio.current_time() - dropped >= ASIDE
        assert silent in client.ready


@pytest.mark.trio
async def test_more_peers_than_places_end(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """When a configured peer comes back, one of those that took its place goes."""
    internet, known = Internet(nursery), [at(n) for n in range(9)]
    internet.add(*known[1:])
    async with discovering(internet, known[1:], peers=(known[0],)) as client:
        await client.until(8)
        internet.add(known[0])
        await client.until(9, within=61)
        client.pool.look_after(Counter())
        assert len(client.ready) == 8
        assert known[0] in client.ready


@pytest.mark.trio
async def test_a_dead_proxy_is_held_against_nobody(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """It is named as the reason, and no address has a failure more; when it is back, so are the peers."""
    internet, known, down = Internet(nursery), [at(n) for n in range(12)], [False]
    internet.add(*known)

    async def proxied(host: str, port: int, /) -> trio.abc.Stream:
        if down[0]:
            raise ProxyFailed("proxy 127.0.0.1:9050: Connection refused")
        return await internet.open_stream(host, port)

    seams = attrs.evolve(internet.seams(), open_stream=proxied)
    async with discovering(internet, known, seams=seams, proxy=Address("127.0.0.1", 9050)) as client:
        await client.until(8)
        down[0] = True
        client.pool.drop(client.pool.connected[0], "of no use")
        await trio.sleep(300)
        assert max(entry.attempts for entry in client.memory.book.entries()) == 0
        for peer in client.pool.connected:
            client.pool.drop(peer, "of no use")
        await trio.sleep(60)
        assert client.pool.trouble.endswith("; proxy 127.0.0.1:9050: Connection refused")
        down[0] = False
        await client.until(8, within=30)
        assert client.pool.outbound.proxy_trouble == ""
