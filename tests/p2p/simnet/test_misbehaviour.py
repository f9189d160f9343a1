"""Weak nodes and nuisances: each does what it is told to, and stays in step with the protocol otherwise."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from phasegate.p2p.connection import Connection, ConnectionLost
from phasegate.p2p.framing import HEAD_SIZE
from phasegate.p2p.handshake import Handshake, our_version
from phasegate.p2p.messages import (
    Addr,
    BlockMessage,
    CFilter,
    GetCFilters,
    GetData,
    GetHeaders,
    Headers,
    Inv,
    InvItem,
    InvType,
    Message,
    Ping,
    Pong,
    Unknown,
)
from phasegate.p2p.simnet.flood import BIG, KINDS, MEMORY_RATE, Flood, UnknownFlood
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.lies import Lie
from phasegate.p2p.simnet.node import Node
from phasegate.p2p.simnet.pipe import LIMIT, pipe

Calling = Callable[[Node], Any]
GETHEADERS = GetHeaders(70240, (bytes(32),))


@pytest.fixture(scope="module")
def chain() -> GeneratedChain:
    """A chain that no test extends."""
    return generate(60, "small")


async def inline(function: Callable[..., object], *args: object) -> object:
    return function(*args)


async def until(caller: Any, kind: type[Message], within: float) -> list[Message]:
    """Everything up to and with the first message of `kind`."""
    got: list[Message] = []
    with trio.fail_after(within):
        while not got or not isinstance(got[-1], kind):
            got.append(await caller.connection.receive())
    return got


@pytest.mark.trio
async def test_a_flooding_node_still_answers(
    chain: GeneratedChain, call: Calling, autojump_clock: trio.testing.MockClock
) -> None:
    """Junk of every kind comes without end, about as much as its rate says, and the answers among it."""
    caller = call(Node(chain, flood=Flood.parse("all"), rng=random.Random(5)))
    await caller.greet()
    start, before = trio.current_time(), caller.connection.bytes_in
    got: list[Message] = []
    for _ in range(20):
        await caller.connection.send(GETHEADERS)
        got += await until(caller, Headers, 60.0)
        await trio.sleep(1.0)
    junk = [message for message in got if not isinstance(message, Headers)]
    assert {type(message) for message in junk} == {Inv, Addr, Ping, Unknown}
    sizes = [len(m.payload) for m in junk if isinstance(m, Unknown)]
    assert BIG // 2 < max(sizes) <= BIG
    assert min(sizes) < 200
    rate = (caller.connection.bytes_in - before) / (trio.current_time() - start)
    assert rate == pytest.approx(MEMORY_RATE, rel=0.3)


@pytest.mark.trio
async def test_a_flood_is_held_back_by_a_peer_that_does_not_read(
    chain: GeneratedChain, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    """A pipe is no deeper than a socket: an hour of flood is no more than it holds."""
    ours, theirs = pipe()
    nursery.start_soon(Node(chain, flood=Flood.parse("all")).handle, theirs)
    connection = Connection(ours, chain.network.magic, compute=inline)
    handshake = Handshake(our_version(nonce=1, time=0))
    await connection.send(handshake.start()[0])
    while not handshake.complete:
        for reply in handshake.receive(await connection.receive()):
            await connection.send(reply)
    await trio.sleep(3600.0)
    assert len(ours._incoming.data) == LIMIT
    await connection.aclose()


@pytest.mark.trio
async def test_over_tcp_a_flood_comes_as_fast_as_it_is_taken(chain: GeneratedChain, nursery: trio.Nursery) -> None:
    """Ten megabytes are there at once, and a question among them is answered."""
    host, port = await nursery.start(Node(chain, flood=Flood.parse("all")).serve, "127.0.0.1", 0)
    connection = Connection(await trio.open_tcp_stream(host, port), chain.network.magic, compute=inline)
    handshake = Handshake(our_version(nonce=1, time=0))
    await connection.send(handshake.start()[0])
    while not handshake.complete:
        for reply in handshake.receive(await connection.receive()):
            await connection.send(reply)
    await connection.send(Ping(7))
    answered = False
    with trio.fail_after(30.0):
        while connection.bytes_in < 10_000_000 or not answered:
            answered |= await connection.receive() == Pong(7)
    await connection.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_floods_with_the_same_junk(kind: str) -> None:
    """Junk is drawn from the node's own chance, and every piece of it can be framed and read."""

    def first(seed: int) -> list[bytes]:
        messages = Flood.parse(kind).messages(random.Random(seed))
        return [next(messages).to_payload(70240) for _ in range(30)]

    assert first(1) == first(1)
    assert first(1) != first(2)
    assert max(map(len, first(1))) <= BIG


def test_an_unknown_kind_of_junk_is_named() -> None:
    """Along with the kinds there are."""
    with pytest.raises(UnknownFlood, match="unknown junk 'mud': choose of inv, addr, ping, unknown, big, or all"):
        Flood.parse("ping,mud")


@pytest.mark.trio
async def test_a_stalling_node_answers_so_many_requests_on_each_connection(
    chain: GeneratedChain, call: Calling, autojump_clock: trio.testing.MockClock
) -> None:
    """Pings are not counted; after the last answer not even they are answered, nor is anything announced."""
    node = Node(chain, stall_after=2)
    for _ in range(2):
        caller = call(node)
        await caller.greet()
        assert await caller.ask(Ping(1)) == []
        for _ in range(2):
            await caller.connection.send(Ping(5))
            await caller.connection.send(GETHEADERS)
            assert isinstance((await caller.until(Headers))[-1], Headers)
        for request in (GETHEADERS, Ping(5)):
            await caller.connection.send(request)
        await trio.testing.wait_all_tasks_blocked()
        await node.announce(1)
        with trio.move_on_after(900.0) as patience:
            await caller.connection.receive()
        assert patience.cancelled_caught


@pytest.mark.trio
async def test_a_slow_line_takes_so_many_bytes_a_second(
    chain: GeneratedChain, call: Calling, autojump_clock: trio.testing.MockClock
) -> None:
    """An answer takes as long as its bytes do, piece by piece; the handshake is not slowed."""
    caller = call(Node(chain, trickle=100.0))
    start = trio.current_time()
    await caller.connection.send(our_version(nonce=1, time=0))
    await caller.until(Message)
    assert trio.current_time() == start
    caller = call(Node(chain, trickle=100.0, locks=False))
    await caller.greet()
    start, before = trio.current_time(), caller.connection.bytes_in
    await caller.connection.send(GETHEADERS)
    with trio.move_on_after(10.0):
        await caller.connection.receive()
    assert caller.connection.arriving("headers") == pytest.approx(1000 - HEAD_SIZE, abs=11)
    await caller.until(Headers)
    took = trio.current_time() - start
    assert took == pytest.approx((caller.connection.bytes_in - before) / 100.0, rel=0.05)
    assert took > 48.0


@pytest.mark.trio
async def test_a_node_can_hang_up(chain: GeneratedChain, call: Calling, autojump_clock: trio.testing.MockClock) -> None:
    """So many seconds after the connection was made it is closed, whatever is under way."""
    node = Node(chain, hang_up_after=40.0, trickle=100.0)
    caller = call(node)
    start = trio.current_time()
    await caller.greet()
    await caller.connection.send(GETHEADERS)
    with pytest.raises(ConnectionLost):
        await caller.until(Headers)
    assert trio.current_time() - start == pytest.approx(40.0)
    assert node.peers == 0


@pytest.mark.trio
async def test_only_false_answers_count_as_lies(chain: GeneratedChain, call: Calling) -> None:
    """Asked about other heights, or for something the lie is not about, a liar has told none."""
    node = Node(chain, lie=Lie.parse("wrong-filter@20", chain), locks=False)
    caller = call(node)
    await caller.greet()
    await caller.ask(GETHEADERS)
    await caller.ask(GetCFilters(0, 30, chain.hash_at(40)))
    await caller.ask(GetData((InvItem(InvType.BLOCK, chain.hash_at(20)),)))
    assert node.told_lies == 0
    for told in (1, 2):
        answer = await caller.ask(GetCFilters(0, 10, chain.hash_at(30)))
        assert [m for m in answer if m.block_hash == chain.hash_at(20)] == [CFilter(0, chain.hash_at(20), b"\0")]
        assert node.told_lies == told


@pytest.mark.trio
async def test_a_lie_about_one_block_of_several_counts_once(chain: GeneratedChain, call: Calling) -> None:
    """Asked for the blocks around it only, the liar is honest; asked for it among others, it has lied once."""
    node = Node(chain, lie=Lie.parse("wrong-block-body@20", chain), locks=False)
    caller = call(node)
    await caller.greet()
    for heights, lies in (((19, 21), 0), ((19, 20, 21), 1), ((20, 20), 2)):
        answer = await caller.ask(GetData(tuple([InvItem(InvType.BLOCK, chain.hash_at(h)) for h in heights])))
        assert all(isinstance(message, BlockMessage) for message in answer)
        assert (len(answer), node.told_lies) == (len(heights), lies)


@pytest.mark.trio
async def test_messages_nobody_asked_for_count_as_a_lie(chain: GeneratedChain, call: Calling) -> None:
    """An answer with more than the honest one is false too."""
    node = Node(chain, lie=Lie.parse("unasked-messages", chain), locks=False)
    caller = call(node)
    await caller.greet()
    assert len(await caller.ask(GETHEADERS)) > 1
    assert node.told_lies == 1
