"""A peer that floods: it costs itself, in bounded memory, and nobody else notices."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from phasegate.consensus.faults import Fault
from phasegate.engine.outgoing import MOST_MESSAGES
from phasegate.p2p.connection import Connection, ConnectionLost
from phasegate.p2p.framing import MAX_DROPPED, encode_frame
from phasegate.p2p.messages import Inv, InvItem, InvType, Ping, Pong, Unknown
from tests.peer_internet import Client, Internet, at, discovering

BAD, GOOD = at(0), at(1)


async def endless(send: Callable[[], Awaitable[None]]) -> None:
    """Send again and again until the connection is lost."""
    try:
        while True:
            await send()
    except (ConnectionLost, trio.BrokenResourceError, trio.ClosedResourceError):
        return


async def is_heard(client: Client, internet: Internet) -> bool:
    """Whether what the good peer announces arrives, and its ping is answered, without delay."""
    hints, [line] = len(client.hints), internet.nodes[GOOD].lines
    start, pongs = trio.current_time(), internet.nodes[GOOD].heard.count(Pong(hints))
    await line.send(Inv((InvItem(InvType.BLOCK, hints.to_bytes(32, "big")),)))
    await line.send(Ping(hints))
    with trio.move_on_after(1):
        while internet.nodes[GOOD].heard.count(Pong(hints)) == pongs:
            await trio.sleep(0.01)
    return client.hints[hints:] == [client.peer(GOOD)] and trio.current_time() - start < 0.1


def line_of(internet: Internet) -> Connection:
    [line] = internet.nodes[BAD].lines
    return line


@pytest.mark.trio
async def test_pings_without_end_from_one_that_reads_nothing(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """Its pongs pile up to a bound; then it is not read either, until it is lost for not answering."""
    internet = Internet(nursery)
    internet.add(BAD, manner="reads nothing")
    internet.add(GOOD)
    async with discovering(internet, peers=(BAD, GOOD), connect_only=True) as client:
        await client.until(2)
        peer, line = client.peer(BAD), line_of(internet)
        nursery.start_soon(endless, lambda: line.send(Ping(1)))
        for _ in range(20):
            await trio.sleep(10)
            assert len(peer._bindings.outgoing) <= MOST_MESSAGES
            assert await is_heard(client, internet)
        await trio.sleep(100)
        assert peer.gone == "no pong within 120 s"
        assert peer.bytes_in < 500_000
        assert client.memory.reputation.records == ()


@pytest.mark.trio
async def test_chatter_without_end(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """It is read at its rate, dropped when patience ends, and banned when it makes a habit of it."""
    internet = Internet(nursery)
    internet.add(BAD, GOOD)
    async with discovering(internet, peers=(BAD, GOOD), connect_only=True) as client:
        for offence in range(3):
            await client.until(2, within=600)
            peer, line = client.peer(BAD), line_of(internet)
            nursery.start_soon(endless, lambda line=line: line.send(Unknown("chatter", bytes(1000))))
            begun = trio.current_time()
            while not peer.gone:
                await trio.sleep(5)
                assert await is_heard(client, internet)
            assert 60 <= trio.current_time() - begun <= 90
            assert peer.gone.startswith(Fault.FLOODING.code)
            assert (client.memory.banned(BAD) is not None) == (offence == 2)
        assert client.warnings[-1][0] == Fault.FLOODING.code
        await trio.sleep(3600)
        assert client.ready == {GOOD}


@pytest.mark.trio
async def test_frames_that_are_no_messages(nursery: trio.Nursery, autojump_clock: trio.testing.MockClock) -> None:
    """A hundred wrong checksums are borne; the next one ends the connection."""
    internet = Internet(nursery)
    internet.add(BAD, GOOD)
    frame = bytearray(encode_frame(internet.network.magic, "ping", bytes(8)))
    frame[-1] ^= 1
    async with discovering(internet, peers=(BAD, GOOD), connect_only=True) as client:
        await client.until(2)
        peer, line = client.peer(BAD), line_of(internet)
        await line._stream.send_all(bytes(frame) * MAX_DROPPED)
        await trio.testing.wait_all_tasks_blocked()
        assert peer.gone == ""
        await line._stream.send_all(bytes(frame))
        await trio.testing.wait_all_tasks_blocked()
        assert peer.gone.startswith(Fault.CORRUPTED_FRAMES.code)
        assert client.memory.reputation.score(BAD, internet.now()) == Fault.CORRUPTED_FRAMES.penalty
        assert await is_heard(client, internet)
