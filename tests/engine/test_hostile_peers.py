"""Peers that try to hold up, wear out or fill up a client: each costs that peer its place, or nothing but a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.filters import filter_hash, filter_header
from phasegate.engine import hints
from phasegate.engine.config import Address
from phasegate.engine.hints import Hints
from phasegate.engine.peers import Peer
from phasegate.engine.requests import Ledger
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.messages import (
    CFHeaders,
    CFilter,
    Headers,
    Inv,
    InvItem,
    InvType,
    Message,
    Ping,
    Unknown,
    Version,
)
from phasegate.p2p.simnet import greeting
from phasegate.p2p.simnet.answers import Answer
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.node import Node
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

Twist = Callable[[Message], list[Message]]


@attrs.define
class Twisted:
    """Stands where a node's lie stands: replaces each message of an answer."""

    twist: Twist

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        del chain, version
        return attrs.evolve(answer, messages=self._messages(answer))

    def _messages(self, answer: Answer) -> Iterator[Message]:
        for message in answer.messages:
            yield from self.twist(message)


class Shared(trio.abc.Stream):
    """A stream that two tasks may send on."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._turn = trio.Lock()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        async with self._turn:
            await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()


class Chatterer(Node):
    """Never answers, but says 2 kB every second that nobody asked for."""

    async def handle(self, stream: trio.abc.Stream) -> None:
        shared = Shared(stream)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._chatter, shared)
            await super().handle(shared)
            nursery.cancel_scope.cancel()

    async def _chatter(self, stream: Shared) -> None:
        talk = Unknown("chatter", bytes(2000))
        while True:
            await trio.sleep(1)
            try:
                await stream.send_all(encode_frame(self.chain.network.magic, talk.command, talk.payload))
            except trio.BrokenResourceError:
                return


class Deaf(trio.abc.Stream):
    """The client's end of a stream to a node that stops reading: nothing is taken any more after some messages."""

    def __init__(self, stream: trio.abc.Stream, taken: int) -> None:
        self._stream = stream
        self._taken = taken

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._taken -= 1
        if self._taken < 0:
            await trio.sleep_forever()
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    async def aclose(self) -> None:
        await self._stream.aclose()


def unheard_of(number: int) -> Inv:
    return Inv((InvItem(InvType.BLOCK, number.to_bytes(32, "big")),))


def boasting(real: Callable[..., Sequence[Message]]) -> Callable[..., Sequence[Message]]:
    """Nodes of 300 blocks say that they have a million."""

    def said(self: greeting.Greeting, message: Message) -> Sequence[Message]:
        replies = real(self, message)
        tall = self.height == 300
        return [attrs.evolve(m, start_height=10**6) if tall and isinstance(m, Version) else m for m in replies]

    return said


def hint_with_each_answer() -> Twist:
    numbers = iter(range(1, 1 << 30))
    return lambda m: [m, unheard_of(next(numbers))] if isinstance(m, Headers) else [m]


@pytest.mark.parametrize("ports", [(1,), (1, 2)])
async def test_hints_without_end_do_not_hold_up_the_headers(
    world: World, running: Start, autojump_clock: MockClock, ports: tuple[int, ...]
) -> None:
    """A peer that announces a block nobody has with each empty answer: the walk ends all the same."""
    world.add(small_chain(), 1, delay=0.02, lie=Twisted(hint_with_each_answer()))
    world.add(small_chain(), 2)
    async with running(world.config(*ports)) as run:
        await run.until("synced", within=60)
        before = run.client.requests.sent
        await trio.sleep(600)
        assert run.client.requests.sent - before < 40
        assert len(run.path) < 250


async def test_a_true_hint_among_false_ones_is_followed(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Whoever cried wolf is heard later, but heard."""
    chain = generate(100, 4)
    node = world.add(chain, 1, delay=0.02, lie=Twisted(hint_with_each_answer()))
    async with running(world.config(1)) as run:
        await run.until("synced")
        await trio.sleep(300)
        chain.extend(1)
        await node.announce(1)
        with trio.fail_after(2 * hints.CAP):
            while run.client.status.marks.filters < 101:
                await trio.sleep(0.5)


async def test_the_second_vain_hint_waits_and_a_new_tip_forgives() -> None:
    """At once, then after 1, 2, 4 s and so on; what came too early is due later, once."""
    one, other, asked = Address("a", 1), Address("b", 1), Hints()
    assert asked.take(one, b"tip", 0.0)
    assert not asked.take(one, b"tip", 0.9)
    assert asked.take(other, b"tip", 0.9)
    assert asked.due(b"tip", 0.95) == []
    assert asked.due(b"tip", 1.0) == [one]
    assert asked.due(b"tip", 100.0) == []
    assert asked.take(one, b"tip", 100.0)
    assert not asked.take(one, b"tip", 103.9)
    assert asked.take(one, b"next", 103.9)


async def test_chatter_is_no_answer(world: World, running: Start, autojump_clock: MockClock) -> None:
    """A peer that talks all the time and answers nothing is as silent as any other."""
    world.nodes[1] = Chatterer(small_chain(), silent=True)
    world.add(small_chain(), 2)
    async with running(world.config(1, 2)) as run:
        await run.until("synced", within=60)
        assert run.client.requests.silent > 0
        assert not run.client.hopeless


@pytest.mark.parametrize("taken", [2, 4, 8])
async def test_a_peer_that_reads_nothing_does_not_hold_up_a_phase(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    """It floods us with pings, whose answers fill the queue to it: a request that finds no room is given up."""
    opens = world.open_stream

    async def open_deaf(host: str, port: int, /) -> trio.abc.Stream:
        stream = await opens(host, port)
        return Deaf(stream, taken) if port == 1 else stream

    monkeypatch.setattr(world, "open_stream", open_deaf)
    world.add(small_chain(), 1, lie=Twisted(lambda m: [m, *map(Ping, range(200))]))
    world.add(small_chain(), 2, delay=2.0)
    async with running(world.config(2, 1)) as run:
        await run.until("synced", within=120)
        assert not run.client.hopeless
        await trio.sleep(400)
        assert run.client.state in ("synced", "headers")


async def test_headers_in_crumbs_are_taken_from_another_peer(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that claims a great height and brings one header in nine seconds is not followed for an hour."""
    crumbs = Twisted(lambda m: [Headers(m.raw[:80])] if isinstance(m, Headers) else [m])
    world.add(small_chain(), 1, delay=9.0, lie=crumbs)
    monkeypatch.setattr(greeting.Greeting, "receive", boasting(greeting.Greeting.receive))
    world.add(generate(310, 7), 2)
    async with running(world.config(1, 2, masternodes=False, filters=False)) as run:
        await run.until("synced", within=90)
        assert run.client.status.marks.tip == 310


async def test_a_lone_peer_with_crumbs_is_followed_to_the_end(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Slow is better than nobody."""
    crumbs = Twisted(lambda m: [Headers(m.raw[:800])] if isinstance(m, Headers) else [m])
    world.add(small_chain(), 1, delay=1.0, lie=crumbs)
    async with running(world.config(1, masternodes=False, filters=False)) as run:
        await run.until("synced", within=200)
        assert run.client.status.marks.tip == 300


async def test_filters_are_judged_as_they_come(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand filters of a megabyte are not held in memory until the last: the first wrong one ends the request."""
    chain = small_chain()
    held = [0]
    fat = bytes(900_000)
    real = Ledger.deliver

    def watched(self: Ledger, peer: Peer, message: Message) -> bool:
        taken = real(self, peer, message)
        requests = [request for line in self._open.values() for request in line]
        held.append(sum(len(m.filter) for request in requests for m in request.replies if isinstance(m, CFilter)))
        return taken

    monkeypatch.setattr(Ledger, "deliver", watched)
    world.add(chain, 1, lie=Twisted(lambda m: [attrs.evolve(m, filter=fat)] if isinstance(m, CFilter) else [m]))
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("degraded")
        assert "bad-filter" in run.warnings
        assert len(fat) <= max(held) < 5 * len(fat)


def malformed(chain: SimulatedChain, height: int) -> Twist:
    """A filter at `height` that no one can read, and filter headers that stand by it."""
    junk = b"\xff" * 40
    true, hashes = filter_hash(chain.filter(height)), [filter_hash(chain.filter(h)) for h in range(chain.height + 1)]
    hashes[height] = filter_hash(junk)
    headers = {}
    before = bytes(32)
    for h, hash_ in enumerate(hashes):
        headers[chain.filter_header(h)] = before = filter_header(hash_, before)

    def twist(m: Message) -> list[Message]:
        if isinstance(m, CFilter) and m.block_hash == chain.hash_at(height):
            return [attrs.evolve(m, filter=junk)]
        if isinstance(m, CFHeaders):
            prev = headers.get(m.prev_header, m.prev_header)
            return [attrs.evolve(m, prev_header=prev, hashes=m.hashes.replace(true, filter_hash(junk)))]
        return [m]

    return twist


@pytest.mark.parametrize("watched", [True, False])
async def test_a_filter_that_is_none_is_its_senders_fault(
    world: World, running: Start, autojump_clock: MockClock, watched: bool
) -> None:
    """The lone peer's filter headers stand by a malformed filter: it is banned, and the next peer's are taken."""
    chain = small_chain()
    world.add(chain, 1, lie=Twisted(malformed(chain, 150)))
    async with running(world.config(1, 2, watch=chain.watch if watched else ())) as run:
        await run.until_warned("bad-filter", within=60)
        world.add(chain, 2)
        await run.until("synced")
        assert run.client.status.marks.filter_header == chain.filter_header(300)


async def test_a_long_announcement_costs_few_lookups(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty thousand known blocks in one message are not looked up one by one."""
    chain = small_chain()
    items = tuple(InvItem(InvType.BLOCK, chain.hash_at(h % 300)) for h in range(50_000))
    world.add(chain, 1, lie=Twisted(lambda m: [m, Inv(items)] if isinstance(m, Headers) else [m]))
    async with running(world.config(1)) as run:
        looked_up = 0
        real = run.client.store.height_of

        def counted(block: bytes) -> int | None:
            nonlocal looked_up
            looked_up += 1
            height: int | None = real(block)
            return height

        monkeypatch.setattr(run.client.store, "height_of", counted)
        await run.until("synced")
        assert looked_up < 200
