"""Seeds: asked when nobody is there or nobody of use, more and more rarely, each dead one named once."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
import trio.testing

from phasegate.consensus.params import MAINNET, REGTEST
from phasegate.engine.config import Address
from phasegate.engine.seeding import FALL_BACK_AFTER, FIRST_PAUSE, HEAD_START, LONGEST_PAUSE, SEED_TIMEOUT, SOON
from phasegate.p2p.seeds import built_in
from tests.peer_internet import PLAIN, Internet, at, discovering

SEED, OTHER = "seed.example", "other.example"


@pytest.mark.trio
async def test_one_that_hangs_holds_up_no_other(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """All are asked at once and have a time limit each; what one answers is used at once."""
    internet = Internet(nursery, names={SEED: [at(n).host for n in range(8)]}, hanging={OTHER})
    internet.add(*[at(n) for n in range(8)])
    async with discovering(internet, dns_seeds=(OTHER, SEED)) as client:
        assert await client.until(8) < 1
        await trio.sleep(SEED_TIMEOUT + 1)
        assert client.warnings == [("seed-silent", f"seed {OTHER}: no answer within 30 s")]


@pytest.mark.trio
async def test_seeds_that_all_hang_do_not_hold_up_what_is_built_in(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A name server that swallows every question costs some seconds, not the time limits of all seeds."""
    internet = Internet(nursery, hanging=set(MAINNET.dns_seeds))
    internet.add(*built_in(MAINNET)[::6])
    async with discovering(internet, dns_seeds=None) as client:
        assert await client.until(8) < FALL_BACK_AFTER + 20


@pytest.mark.trio
async def test_all_answers_are_taken(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """IPv4 and IPv6, each once, at the network's port or at the one that is named; not what is no public address."""
    answers = ["11.0.0.1", "2600::1", "127.0.0.1", "11.0.0.1", "rubbish"]
    internet = Internet(nursery, names={SEED: answers, OTHER: ["11.1.0.1"]})
    async with discovering(internet, dns_seeds=(SEED, f"{OTHER}:1234", "11.2.0.1:7777")) as client:
        await trio.sleep(1)
        known = {entry.address for entry in client.memory.book.entries()}
        assert known == {at(0), Address("2600::1", MAINNET.port), Address("11.1.0.1", 1234), Address("11.2.0.1", 7777)}


@pytest.mark.trio
async def test_who_is_known_has_a_head_start(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """Nobody is asked before those had their time; then all are, and what is told twice is told to the user once."""
    internet = Internet(nursery)
    async with discovering(internet, [at(0)], dns_seeds=(SEED,)) as client:
        await trio.sleep(HEAD_START - 1)
        assert internet.asked == []
        await trio.sleep(2)
        assert internet.asked == [SEED]
        await trio.sleep(3600)
        assert client.warnings == [("seed-silent", f"seed {SEED}: no such name")]


@pytest.mark.trio
async def test_rounds_become_rare(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """Hours of answers that lead nowhere: the pauses grow to some minutes; one that leads on then brings peers."""
    internet = Internet(nursery, names={SEED: [at(20).host]})
    async with discovering(internet, dns_seeds=(SEED,)) as client:
        await trio.sleep(20_000)
        gaps = [after - before for before, after in pairwise(internet.asked_at)]
        assert FIRST_PAUSE <= gaps[0] <= 2 * FIRST_PAUSE + FALL_BACK_AFTER
        assert all(LONGEST_PAUSE / 2 <= gap <= LONGEST_PAUSE + FALL_BACK_AFTER + 1 for gap in gaps[6:])
        internet.add(*[at(n) for n in range(8)])
        internet.names[SEED] = [at(n).host for n in range(8)]
        await client.until(8, within=LONGEST_PAUSE + 30)


@pytest.mark.trio
@pytest.mark.parametrize("hours", [2, 24])
async def test_with_an_empty_book_the_line_is_noticed_in_seconds(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, hours: int
) -> None:
    """First started without a line: however long that lasts, peers are there seconds after it is back."""
    internet = Internet(nursery, names={SEED: [at(n).host for n in range(8)]}, down=True)
    internet.add(*[at(n) for n in range(8)])
    async with discovering(internet, dns_seeds=(SEED,)) as client:
        await trio.sleep(hours * 3600 + 1.5)
        internet.down = False
        await client.until(8, within=SOON + 1)


@pytest.mark.trio
async def test_hurry_has_seeds_asked_but_not_all_the_time(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """It ends a long pause; who is in a hurry again and again has them asked no more often than a down line has."""
    internet = Internet(nursery, names={SEED: [at(20).host]})
    async with discovering(internet, dns_seeds=(SEED,)) as client:
        await trio.sleep(5000)
        asked = len(internet.asked)
        client.pool.reconnect_now()
        await trio.sleep(1)
        assert len(internet.asked) == asked + 1
        for _ in range(600):
            client.pool.reconnect_now()
            await trio.sleep(1)
        assert len(internet.asked) - asked <= 1 + 600 / (SOON / 2)


@pytest.mark.trio
async def test_seeds_are_asked_when_nobody_serves_filters(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Five peers that lack them are not enough to stop asking; one capable node is."""
    internet = Internet(nursery, names={SEED: [at(20).host]})
    internet.add(*[at(n) for n in range(5)], services=PLAIN)
    internet.add(at(20))
    async with discovering(internet, [at(n) for n in range(5)], dns_seeds=(SEED,)) as client:
        await client.until(6, within=HEAD_START + 5)
        assert not client.pool.outbound.seeks
        await trio.sleep(3600)
        assert internet.asked == [SEED]


@pytest.mark.trio
async def test_a_network_without_seeds_asks_nobody(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """And nothing built in is used where the user chose the seeds himself."""
    for network, seeds in ((REGTEST, None), (MAINNET, ())):
        internet = Internet(nursery, network)
        async with discovering(internet, dns_seeds=seeds) as client:
            await trio.sleep(3600)
            assert (internet.asked, internet.dialed, len(client.memory.book)) == ([], [], 0)
            assert not client.pool.seeding.has_sources


@pytest.mark.trio
async def test_a_name_that_is_none_is_told(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """With or without a proxy, once."""
    for proxy in (None, Address("127.0.0.1", 9050)):
        async with discovering(Internet(nursery), dns_seeds=("not a name",), proxy=proxy) as client:
            await trio.sleep(3600)
            [(code, line)] = client.warnings
            assert code == "seed-silent"
            assert "'not a name' is not HOST:PORT" in line
