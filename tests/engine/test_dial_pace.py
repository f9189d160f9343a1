"""How many connections are begun in a while: bounded for dead addresses of any number, back at once with the line."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from phasegate.engine.outbound import OWN_RATE
from phasegate.engine.retries import BURST, BURST_EVERY, RATES, Pace
from tests.peer_internet import Internet, at, connecting, make_client


@pytest.mark.trio
async def test_many_configured_addresses_are_tried_at_a_pace(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Two hundred dead ones cost a few connections in a second, not thousands in a minute; each has its turn."""
    internet, own = Internet(nursery), tuple([at(n) for n in range(200)])
    client = make_client(internet, peers=own, connect_only=True)
    async with connecting(internet, client):
        with client.pool.urgent():
            await trio.sleep(60)
            mark = internet.mark()
            await trio.sleep(60)
            assert internet.mark() - mark <= 60 * OWN_RATE + 1
            assert set(internet.tried(mark)) == set(own)
            internet.add(*own)
            await client.until(200)


@pytest.mark.trio
async def test_addresses_that_all_refuse_are_tried_at_a_bounded_pace(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Ten thousand: a burst, a few in a second, and after a long row of failures only now and then one."""
    internet = Internet(nursery)
    client = make_client(internet)
    client.memory.learn([(at(n % 9000, 1 + n // 9000), 0) for n in range(20_000)], "dns")
    assert len(client.memory.book) > 2000
    async with connecting(internet, client):
        await trio.sleep(10)
        assert BURST < len(internet.tried()) <= BURST + 10 * RATES[0][1] + 1
        await trio.sleep(3600)
        assert len(internet.tried()) <= 512 + 3000 * RATES[-1][1]
        for entry in list(client.memory.book.entries())[::2]:
            internet.add(entry.address)
        await client.until(1, within=60)
        await client.until(8, within=15)


@pytest.mark.trio
async def test_a_row_of_failures_is_over_when_the_line_is_back(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Where most of the book is dead, hours without a line do not make the search slow after it: the burst is back."""
    internet, known = Internet(nursery), [at(n) for n in range(1000)]
    internet.add(*known[:30])
    client = make_client(internet)
    client.memory.learn([(address, 0) for address in known], "dns")
    async with connecting(internet, client):
        await trio.sleep(600)
        await internet.cut()
        await trio.sleep(7200)
        internet.down, mark, begun = False, internet.mark(), trio.current_time()
        with client.pool.urgent():
            await client.until(8, within=15)
        assert internet.mark() - mark <= 2 * BURST + RATES[0][1] * (trio.current_time() - begun) + 1


def test_hurry_brings_no_burst_back_all_the_time() -> None:
    """Once a minute while nothing speaks against a dead line; never when others are there and only these fail."""
    for excused in (True, False):
        pace, begun = Pace(), 0
        for second in range(600):
            pace.hurry(second)
            while pace.wait(second) <= 0:
                pace.begun(second)
                pace.failed(second, excused=excused)
                begun += 1
        least = 600 + BURST
        assert begun >= (600 + 9 * BURST if excused else least)
        assert least <= begun <= least + (600 / BURST_EVERY * BURST if excused else 64)
