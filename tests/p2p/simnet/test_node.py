"""The node as a peer meets it: handshake, silence, punishment, announcements, log."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from phasegate.consensus.params import network
from phasegate.p2p.compressed import expand
from phasegate.p2p.connection import Connection, ConnectionLost
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.handshake import Handshake, our_version
from phasegate.p2p.messages import (
    BlockMessage,
    CFilter,
    GetCFHeaders,
    GetCFilters,
    GetData,
    GetHeaders,
    GetHeaders2,
    GetMnListDiff,
    Headers,
    Headers2,
    Inv,
    InvItem,
    InvType,
    Mempool,
    Message,
    Ping,
    Pong,
    SendAddrV2,
    SendHeaders,
    SendHeaders2,
    Services,
    Verack,
    Version,
)
from phasegate.p2p.simnet.conversation import HANDSHAKE_TIMEOUT, PING_INTERVAL, SILENCE_LIMIT
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.header_range import HeaderRange
from phasegate.p2p.simnet.node import Node
from phasegate.p2p.simnet.recording import RecordedChain
from phasegate.p2p.simnet.request_log import RequestLog

Calling = Callable[[Node], Any]
GETHEADERS = GetHeaders(70240, (bytes(32),))


@pytest.fixture
def small() -> GeneratedChain:
    """A short chain that may be extended."""
    return generate(60, "small")


async def inline(function: Callable[..., object], *args: object) -> object:
    return function(*args)


@pytest.mark.trio
async def test_the_node_greets_in_the_order_of_dashd(small: GeneratedChain, call: Calling) -> None:
    """Version, sendaddrv2 and verack at once; after our verack its wishes and a ping."""
    caller = call(Node(small))
    await caller.connection.send(our_version(nonce=1, time=0))
    greeting = await caller.until(Verack)
    assert [m.command for m in greeting] == ["version", "sendaddrv2", "verack"]
    await caller.connection.send(Verack())
    assert [m.command for m in await caller.until(Ping)] == ["sendheaders", "sendcmpct", "senddsq", "ping"]
    version = greeting[0]
    assert isinstance(version, Version)
    assert (version.version, version.start_height, version.services) == (70240, 60, 0xC45)
    assert version.user_agent.startswith("/Dash Core:23.1.0")


@pytest.mark.trio
async def test_compression_is_wished_from_those_who_know_it(small: GeneratedChain, call: Calling) -> None:
    """A caller with the service bit is asked for compressed announcements."""
    welcome = await call(Node(small)).greet(services=Services.HEADERS_COMPRESSED)
    assert SendHeaders2() in welcome
    assert SendHeaders() not in welcome


@pytest.mark.trio
async def test_before_the_handshake_nothing_is_answered(small: GeneratedChain, call: Calling) -> None:
    """Requests before version and before verack are ignored, and not answered later."""
    caller = call(Node(small))
    await caller.connection.send(GETHEADERS)
    await caller.connection.send(our_version(nonce=1, time=0))
    await caller.until(Verack)
    await caller.connection.send(GETHEADERS)
    await caller.connection.send(Verack())
    await caller.until(Ping)
    assert await caller.ask(Verack()) == []


@pytest.mark.trio
@pytest.mark.parametrize(
    "request_",
    [
        GetCFHeaders(0, 0, bytes(32)),
        GetCFilters(0, 9, bytes(32)),
        SendAddrV2(),
    ],
    ids=lambda request: request.command,
)
async def test_punished_peers_are_disconnected(small: GeneratedChain, call: Calling, request_: Message) -> None:
    """What dashd disconnects for ends the connection without an answer."""
    caller = call(Node(small))
    await caller.greet()
    await caller.connection.send(request_)
    with pytest.raises(ConnectionLost):
        await caller.connection.receive()


@pytest.mark.trio
async def test_a_locator_beyond_measure_disconnects(
    small: GeneratedChain, nursery: trio.Nursery, call: Calling
) -> None:
    """102 hashes are one too many; 101 are answered."""
    caller = call(Node(small))
    await caller.greet()
    assert len(await caller.ask(GetHeaders(70240, (b"\x11" * 32,) * 101))) == 1
    await caller.connection.send(GetHeaders(70240, (b"\x11" * 32,) * 102))
    with pytest.raises(ConnectionLost):
        await caller.connection.receive()


@pytest.mark.trio
@pytest.mark.parametrize(
    "fields", [{"protocol": 70220}, {"masternode": True}], ids=["obsolete", "claims to be a masternode connection"]
)
async def test_unwelcome_callers_get_no_greeting(small: GeneratedChain, call: Calling, fields: dict[str, int]) -> None:
    """An obsolete caller and one that takes the node for a masternode are disconnected at once."""
    caller = call(Node(small))
    version = our_version(nonce=1, time=0, protocol=fields.get("protocol", 70240))
    if "masternode" in fields:
        version = attrs.evolve(version, masternode=True, tail=6)
    await caller.connection.send(version)
    with pytest.raises(ConnectionLost):
        await caller.connection.receive()


@pytest.mark.trio
async def test_another_network_is_disconnected(small: GeneratedChain, nursery: trio.Nursery) -> None:
    """Frames of another network end the connection."""
    ours, theirs = trio.testing.memory_stream_pair()
    nursery.start_soon(Node(small).handle, theirs)
    await ours.send_all(encode_frame(bytes(4), "version", b""))
    assert await ours.receive_some() == b""


@pytest.mark.trio
async def test_unreadable_messages_are_ignored(small: GeneratedChain, call: Calling) -> None:
    """dashd logs a message that it cannot read and goes on."""
    caller = call(Node(small))
    await caller.greet()
    await caller.connection._stream.send_all(encode_frame(small.network.magic, "getmnlistd", b"\x01"))
    await caller.connection._stream.send_all(encode_frame(small.network.magic, "whatever", b"\x01"))
    assert await caller.ask(Verack()) == []


@pytest.mark.trio
async def test_messages_follow_the_negotiated_version(small: GeneratedChain, call: Calling) -> None:
    """To a peer of protocol 70230 a list difference is encoded as 70230."""
    node = Node(small)
    payloads = {}
    for version in (70240, 70230):
        caller = call(node)
        await caller.connection.send(our_version(nonce=1, time=0, protocol=version))
        await caller.until(Verack)
        caller.connection.version = version
        await caller.connection.send(Verack())
        await caller.until(Ping)
        (message,) = await caller.ask(GetMnListDiff(bytes(32), small.tip_hash))
        payloads[version] = message
    assert payloads[70230] == payloads[70240]


@pytest.mark.trio
async def test_a_silent_node_only_shakes_hands(
    small: GeneratedChain, call: Calling, autojump_clock: trio.testing.MockClock
) -> None:
    """Not even a ping is answered, and nothing is said unasked."""
    node = Node(small, silent=True)
    caller = call(node)
    handshake = Handshake(our_version(nonce=1, time=0))
    await caller.connection.send(handshake.start()[0])
    while not handshake.complete:
        for reply in handshake.receive(await caller.connection.receive()):
            await caller.connection.send(reply)
    await caller.connection.send(GETHEADERS)
    await caller.connection.send(Ping(5))
    await trio.testing.wait_all_tasks_blocked()
    await node.announce(1)
    with trio.move_on_after(300) as patience:
        await caller.connection.receive()
    assert patience.cancelled_caught


@pytest.mark.trio
async def test_a_slow_node_waits_before_each_answer(
    small: GeneratedChain, call: Calling, autojump_clock: trio.testing.MockClock
) -> None:
    """With a delay of 3 seconds two requests take 6."""
    caller = call(Node(small, delay=3))
    await caller.greet()
    start = trio.current_time()
    await caller.connection.send(GETHEADERS)
    await caller.connection.send(GETHEADERS)
    for _ in range(2):
        assert isinstance(await caller.connection.receive(), Headers)
    assert trio.current_time() - start == pytest.approx(6)


@pytest.mark.trio
async def test_a_caller_must_finish_its_handshake(
    small: GeneratedChain, call: Calling, autojump_clock: trio.testing.MockClock
) -> None:
    """After 60 seconds without a verack the connection ends."""
    caller = call(Node(small))
    start = trio.current_time()
    with pytest.raises(ConnectionLost):
        await caller.connection.receive()
    assert trio.current_time() - start == pytest.approx(HANDSHAKE_TIMEOUT)


@pytest.mark.trio
async def test_a_quiet_caller_is_pinged_and_dropped_at_last(
    small: GeneratedChain, call: Calling, autojump_clock: trio.testing.MockClock
) -> None:
    """A ping every two minutes; twenty minutes without a word end it."""
    node = Node(small)
    caller = call(node)
    await caller.greet()
    start, pings = trio.current_time(), 0
    with suppress(ConnectionLost):
        while isinstance(await caller.connection.receive(), Ping):
            pings += 1
    assert node.peers == 0
    assert pings >= SILENCE_LIMIT // PING_INTERVAL - 1
    assert SILENCE_LIMIT <= trio.current_time() - start <= SILENCE_LIMIT + 2 * PING_INTERVAL


@pytest.mark.trio
async def test_new_blocks_are_announced_as_wished(small: GeneratedChain, call: Calling) -> None:
    """By compressed headers, by headers, or by an inv of the tip; by inv also to a peer that lacks the block before."""
    node = Node(small, locks=False)
    callers = {}
    for name, wish, knows in (
        ("compressed", SendHeaders2(), True),
        ("headers", SendHeaders(), True),
        ("inv", None, True),
        ("behind", SendHeaders(), False),
    ):
        callers[name] = call(node)
        await callers[name].greet()
        if wish is not None:
            await callers[name].ask(wish)
        if knows:
            await callers[name].ask(GetHeaders2(70240, (small.hash_at(0),)))
    assert node.peers == 4
    for _ in range(2):
        small.extend(2)
        await node.announce(2)
        got = {name: await caller.connection.receive() for name, caller in callers.items()}
        assert isinstance(got["compressed"], Headers2)
        assert expand(got["compressed"]) == small.headers(small.height - 1, 2)
        assert got["headers"] == Headers(small.headers(small.height - 1, 2))
        assert got["inv"] == got["behind"] == Inv((InvItem(InvType.BLOCK, small.tip_hash),))


@pytest.mark.trio
@pytest.mark.parametrize(("relay", "offered"), [(True, 27), (False, 11)])
async def test_locks_are_announced_on_connect(
    recorded: RecordedChain, call: Calling, relay: bool, offered: int
) -> None:
    """ChainLocks to everybody, InstantSend locks only to those who wish transactions, as dashd does."""
    caller = call(Node(recorded))
    await caller.greet(relay=relay)
    inv = (await caller.until(Inv))[-1]
    assert isinstance(inv, Inv)
    assert len(inv.items) == offered
    locks = {lock.hash: lock.payload for lock in recorded.locks()}
    served = await caller.ask(GetData(inv.items))
    assert sorted(m.to_payload(70240) for m in served) == sorted(locks[item.hash] for item in inv.items)


@pytest.mark.trio
@pytest.mark.parametrize("relay", [True, False])
async def test_locks_come_with_their_blocks(call: Calling, relay: bool) -> None:
    """A payment's lock before its block and only to who wishes it, the block's own after it to everybody."""
    chain = generate(150, "small")
    node = Node(chain)
    while not any(lock.command == "isdlock" for lock in chain.locks_of(chain.height)):
        chain.extend(1)
    caller = call(node)
    await caller.greet(relay=relay)
    await caller.ask(Verack())
    await node.announce(1)
    told = [inv.items for inv in await caller.ask(Verack()) if isinstance(inv, Inv)]
    locks = chain.locks_of(chain.height)
    expected = [
        tuple([InvItem(lock.inv_type, lock.hash) for lock in locks if lock.command == "isdlock" and relay]),
        (InvItem(InvType.BLOCK, chain.tip_hash),),
        tuple([InvItem(lock.inv_type, lock.hash) for lock in locks if lock.command == "clsig"]),
    ]
    assert told == [items for items in expected if items]


@pytest.mark.trio
async def test_a_node_can_be_without_locks(recorded: RecordedChain, call: Calling) -> None:
    """It announces none and knows of none when asked."""
    caller = call(Node(recorded, locks=False))
    await caller.greet(relay=True)
    assert await caller.ask(Mempool()) == []


@pytest.mark.trio
@pytest.mark.parametrize(("depth", "by_headers"), [(1, True), (2, True), (7, True), (8, False), (40, False)])
async def test_a_reorganisation_is_announced(call: Calling, depth: int, by_headers: bool) -> None:
    """Few new blocks by their headers from the fork on, many by an inv of the tip; what comes later hangs on them."""
    old, new = generate(60, "small"), generate(61, "small", fork_at=60 - depth)
    node = Node(old, locks=False)
    caller = call(node)
    await caller.greet()
    await caller.ask(SendHeaders())
    await caller.ask(GetHeaders(70240, (old.hash_at(0),)))
    await node.switch(new)
    (told,) = [m for m in await caller.ask(Verack()) if isinstance(m, Inv | Headers)]
    if by_headers:
        assert told == Headers(new.headers(61 - depth, depth + 1))
    else:
        assert told == Inv((InvItem(InvType.BLOCK, new.tip_hash),))
    (after,) = await caller.ask(GetHeaders(70240, (old.tip_hash, old.hash_at(60 - depth))))
    assert after == Headers(new.headers(61 - depth, depth + 1))
    new.extend(1)
    await node.announce(1)
    assert Headers(new.header(62)) in await caller.ask(Verack())


@pytest.mark.trio
async def test_a_node_of_a_devnet_wants_its_name(call: Calling) -> None:
    """Both user agents name the devnet; a caller that does not is disconnected."""
    devnet = network("devnet", devnet_name="foo")
    chain = HeaderRange(devnet, 0, devnet.genesis)
    for agent in ("/x(devnet.devnet-foo)/", "/x(devnet.devnet-bar)/"):
        caller = call(Node(chain))
        await caller.connection.send(attrs.evolve(our_version(nonce=1, time=0), user_agent=agent))
        if "foo" in agent:
            assert "devnet.devnet-foo" in (await caller.connection.receive()).user_agent
        else:
            with pytest.raises(ConnectionLost):
                await caller.connection.receive()


@pytest.mark.trio
async def test_each_request_served_is_logged(long_chain: GeneratedChain, call: Calling, tmp_path: Path) -> None:
    """One line a request, with the heights it was about and how much was served."""
    path = tmp_path / "served.jsonl"
    at = long_chain.hash_at
    with RequestLog.open(path) as log:
        caller = call(Node(long_chain, log=log))
        await caller.greet()
        await caller.ask(GetHeaders(70240, (at(0),)))
        await caller.ask(GetHeaders2(70240, (at(300),)))
        await caller.ask(GetCFHeaders(0, 5, at(24)))
        await caller.ask(GetCFilters(0, 5, at(7)))
        await caller.ask(GetMnListDiff(at(10), at(20)))
        await caller.ask(GetData(tuple(InvItem(InvType.BLOCK, at(h)) for h in (4, 2))))
        await caller.ask(GetHeaders(70240, (long_chain.tip_hash,)))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(line.pop("peer") == "memory" and line.pop("time") > 1.7e9 for line in lines)
    assert lines == [
        {"command": "getheaders", "from": 1, "to": 2000, "served": 2000},
        {"command": "getheaders2", "from": 301, "to": 2300, "served": 2000},
        {"command": "getcfheaders", "from": 5, "to": 24, "served": 20},
        {"command": "getcfilters", "from": 5, "to": 7, "served": 3},
        {"command": "getmnlistd", "base": 10, "block": 20, "served": 1},
        {"command": "getdata", "heights": [4, 2], "served": 2},
        {"command": "getheaders", "from": 2301, "to": 2300, "served": 0},
    ]


@pytest.mark.trio
async def test_several_nodes_serve_over_tcp(nursery: trio.Nursery) -> None:
    """Two nodes with different chains listen at once, on free ports, and each serves its own blocks."""
    for seed in ("one", "two"):
        chain = generate(20, seed)
        host, port = await nursery.start(Node(chain).serve, "127.0.0.1", 0)
        stream = await trio.open_tcp_stream(host, port)
        connection = Connection(stream, chain.network.magic, compute=inline)
        handshake = Handshake(our_version(nonce=1, time=0))
        await connection.send(handshake.start()[0])
        while not handshake.complete:
            for reply in handshake.receive(await connection.receive()):
                await connection.send(reply)
        await connection.send(GetData((InvItem(InvType.BLOCK, chain.tip_hash),)))
        while not isinstance(message := await connection.receive(), BlockMessage):
            assert not isinstance(message, Pong)
        assert message.to_payload(0) == chain.block(20)
        await connection.aclose()
    nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_peer_that_leaves_in_the_middle_harms_nobody(long_chain: GeneratedChain, nursery: trio.Nursery) -> None:
    """A client killed while it is being served is forgotten, and the next one is served."""
    node = Node(long_chain)
    host, port = await nursery.start(node.serve, "127.0.0.1", 0)
    for _ in range(3):
        stream = await trio.open_tcp_stream(host, port)
        connection = Connection(stream, long_chain.network.magic, compute=inline)
        for message in (our_version(nonce=1, time=0), Verack(), GetCFilters(0, 0, long_chain.hash_at(999))):
            await connection.send(message)
        while not isinstance(answer := await connection.receive(), CFilter):
            pass
        assert answer.filter == long_chain.filter(0)
        await trio.aclose_forcefully(stream)
    with trio.fail_after(10):
        while node.peers:
            await trio.lowlevel.checkpoint()
    assert node.peers == 0
    nursery.cancel_scope.cancel()
