"""Sends and fetches that fail, and events of the past: scenarios 36, 49 and 53 of the list of field bugs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine import sync
from phasegate.engine.interpreter import Post
from phasegate.p2p.messages import BlockMessage, Message, NotFound, Services
from phasegate.p2p.simnet.answers import Answer, Punished
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.greeting import SERVICES, Identity
from phasegate.p2p.simnet.lies import Lie
from tests.field_bugs.fresh_clients import is_complete, nobody_is_blamed, same_as_fresh
from tests.field_bugs.uneven_lines import Line
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

PHASES = ["headers", "mnlist", "cfheaders", "filters", "blocks"]
WALK = [*PHASES, "synced"]
RECOVERING = ("backoff", "restarting", "switching", "waiting")
PLAIN = Identity(services=SERVICES & ~Services.HEADERS_COMPRESSED)


@attrs.define
class Refuses:
    """Does not send the first block that it is asked for after `begin`, in one of several ways."""

    manner: str
    on: bool = False
    refused: int = 0

    def tell(self, chain: SimulatedChain, answer: Answer, version: int) -> Answer:
        return attrs.evolve(answer, messages=self._messages(answer))

    def _messages(self, answer: Answer) -> Iterator[Message]:
        for message in answer.messages:
            if not (self.on and isinstance(message, BlockMessage)):
                yield message
                continue
            self.refused, self.on = self.refused + 1, False
            if self.manner == "hangs up":
                raise Punished("hangs up")
            yield from [NotFound(())] if self.manner == "not found" else []


@pytest.mark.parametrize("manner", ["hangs up", "says nothing", "not found"])
async def test_36_one_failed_block_fetch_does_not_end_the_rescan(
    world: World, running: Start, autojump_clock: MockClock, manner: str
) -> None:
    """Of the only peer: the rescan for new items goes on by itself, and items added later are found as well."""
    chain, refuses = small_chain(300, 5), Refuses(manner)
    world.add(chain, 1, lie=refuses)
    config = world.config(1, watch=chain.watch)
    items = config.watch
    async with running(attrs.evolve(config, watch=())) as run:
        await run.until("synced")
        for share in (items[:1], items[1:3], items[3:]):
            refuses.on = True
            await run.client.watch(share)
            await trio.sleep(1)
            await run.until("synced", within=60)
            assert not refuses.on
        assert refuses.refused == 3
        is_complete(run, chain)
        nobody_is_blamed(run)


async def test_36_a_forged_block_does_not_end_the_rescan(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Its sender is banned, and the other peer has the block."""
    chain = small_chain(300, 5)
    world.add(chain, 1, lie=Lie.parse("wrong-block-body", chain))
    world.add(chain, 2)
    config = world.config(1, 2, watch=chain.watch)
    async with running(attrs.evolve(config, watch=())) as run:
        await run.until("synced")
        for item in config.watch:
            await run.client.watch([item])
            await trio.sleep(0.1)
        await run.until("synced", within=60)
        assert "bad-block" in "".join(run.warnings)
        is_complete(run, chain)


class Holding:
    """Stands before the mailbox of the sync chart: keeps the first post of an event back until `release`."""

    def __init__(self, run: Run, event: str) -> None:
        self._interpreter = run.client._interpreter
        self._real: Any = self._interpreter._send
        self._event = event
        self.held: list[Post] = []
        self._interpreter._send = self  # type: ignore[assignment]

    async def send(self, post: Post) -> None:
        if post.event == self._event and post.origin is not None and not self.held:
            self.held.append(post)
        else:
            await self._real.send(post)

    def send_nowait(self, post: Post) -> None:
        self._real.send_nowait(post)

    async def release(self) -> None:
        await self._real.send(self.held[0])


async def test_49_an_event_of_an_earlier_stay_moves_nothing(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The end of one back-off is delivered in the middle of the next one: that lasts as long as it should."""
    chain = small_chain(120, 5)
    world.add(chain, 1, delay=0.3)
    async with running(world.config(1, limits={"backoff_first": 20.0, "backoff_cap": 20.0})) as run:
        await run.until("filters")
        holding = Holding(run, "recover")
        await world.cut(1)
        await run.until("backoff")
        await trio.sleep(30)
        assert (run.client.state, len(holding.held)) == ("backoff", 1)
        await run.client.pause()
        await run.until("paused")
        await holding.release()
        await run.settled()
        assert run.client.state == "paused"
        await run.client.resume()
        await run.until("filters")
        await world.cut(1)
        await run.until("backoff")
        stale = run.client._interpreter.stale
        await holding.release()
        await trio.sleep(5)
        assert (run.client.state, run.client._interpreter.stale) == ("backoff", stale + 1)
        await run.until("synced", within=60)
        is_complete_without_items(run, chain)


def is_complete_without_items(run: Run, chain: SimulatedChain) -> None:
    """All of `chain` is stored; nothing is watched."""
    marks = run.client.status.marks
    assert (marks.tip, marks.filters, marks.pending_blocks) == (chain.height, chain.height, 0)


@pytest.mark.parametrize("name", ["headers", "masternodes", "filter_headers", "filters", "blocks"])
async def test_49_what_was_buffered_moves_nothing_while_there_is_no_network(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The network goes as a phase ends well: whatever is delivered then, no state is set whose sends cannot succeed."""
    chain = small_chain(120, 5)
    node = world.add(chain, 1)
    real: Any = getattr(sync, f"download_{name}")

    async def unplugged(work: Any) -> None:
        await real(work)
        if world.nodes:
            world.nodes.clear()
            await world.cut(1)

    monkeypatch.setattr(sync, f"download_{name}", unplugged)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("waiting", within=60)
        path = run.path
        for event in ("advance", "rewalk", "rewind", "recover") * 3:
            assert run.client._interpreter.post_nowait(event, "buffered")
            await run.settled()
            assert run.client.state == "waiting"
        await trio.sleep(600)
        assert (run.client.state, run.path) == ("waiting", path)
        assert "synced" not in path or name == "blocks"  # all was there, and it was left as soon as the loss was seen
        world.nodes[1] = node
        monkeypatch.setattr(sync, f"download_{name}", real)
        await run.until("synced", within=30)
        assert run.path == [*path, *WALK]
        is_complete(run, chain)


@attrs.define
class Snap:
    """Breaks the client's line at the sending of the first message of one name; or that is never taken."""

    command: str
    takes_nothing: bool
    snapped: int = 0

    def over(self, stream: trio.abc.Stream) -> trio.abc.Stream:
        async def before(command: str) -> None:
            if command != self.command or self.snapped:
                return
            self.snapped += 1
            if self.takes_nothing:
                await trio.sleep_forever()
            await trio.aclose_forcefully(stream)
            raise trio.BrokenResourceError

        return Line(stream, before)


@pytest.mark.parametrize("takes_nothing", [True, False])
@pytest.mark.parametrize(
    ("command", "phase"),
    [
        ("getheaders", "headers"),
        ("getheaders2", "headers"),
        ("getmnlistd", "mnlist"),
        ("getqrinfo", "mnlist"),
        ("getcfcheckpt", "cfheaders"),
        ("getcfheaders", "cfheaders"),
        ("getcfilters", "filters"),
        ("getdata", "blocks"),
    ],
)
async def test_53_a_state_whose_first_send_fails_is_left_and_entered_again(
    world: World,
    running: Start,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    phase: str,
    takes_nothing: bool,
) -> None:
    """The connection breaks exactly then: not stuck in progress, but in a recovery, and complete without a restart."""
    chain, snap, opens = small_chain(120, 5), Snap(command, takes_nothing), world.open_stream

    async def opened(host: str, port: int, /) -> trio.abc.Stream:
        return snap.over(await opens(host, port))

    monkeypatch.setattr(world, "open_stream", opened)
    world.add(chain, 1, locks=False, identity=PLAIN if command == "getheaders" else Identity())
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced", within=60)
        assert snap.snapped == 1
        until = PHASES.index(phase) + 1
        assert run.path[:until] == PHASES[:until]
        assert run.path[until] in RECOVERING
        assert run.path[-len(WALK) :] == WALK
        assert set(run.path[until : -len(WALK)]) <= {"headers", *RECOVERING}
        is_complete(run, chain)
        nobody_is_blamed(run)
        await same_as_fresh(world, running, run)
