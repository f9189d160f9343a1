"""When a sync command ends, decided on a clock that jumps."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from typing import cast

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.cli.broadcast import _Sent
from phasegate.cli.ending import Ending, Judge, Terms
from phasegate.cli.refusal import Code
from phasegate.cli.run import _failure
from phasegate.engine.broadcast_stages import Stage
from phasegate.engine.broadcasts import BroadcastLimit
from phasegate.engine.client import Client, ClientEnded, ClientFailed
from phasegate.engine.inquiry import Status
from phasegate.store import StoreCorrupt, StoreFailed, Watermarks

MARKS = Watermarks(0, 0, b"", 0, None, b"", -1, b"", -1, -1, 0, 0, 0)


@attrs.define
class Pretender:
    """A client that is whatever the test says."""

    state: str = "headers"
    struggling: bool = False
    hopeless: str = ""
    disk_refuses: bool = False
    peers: list[object] = attrs.field(factory=list)
    last_progress: float = attrs.field(factory=trio.current_time)
    gave_up: bool = False
    pending_locks: int = 0

    @property
    def status(self) -> Status:
        return Status(self.state, "nobody answers", MARKS)

    async def give_up(self) -> None:
        self.gave_up = True


Story = Callable[[Pretender], None]


async def judged(client: Pretender, *, once: bool, within: float = 1000.0) -> tuple[Ending | None, float]:
    """The verdict, None when there is none within that many seconds, and how long it took."""
    began = trio.current_time()
    with trio.move_on_after(within):
        ending = await Judge(client, Terms(once=once, give_up=15.0, linger=5.0)).verdict()
        return ending, trio.current_time() - began
    return None, within


@pytest.mark.trio
async def test_synced_ends_only_with_once(autojump_clock: MockClock) -> None:
    """Fully synced is the end with --once; without it the client goes on following the tip."""
    assert await judged(Pretender("synced"), once=True) == (Ending("synced", "", Code.SYNCED), 0.0)
    assert (await judged(Pretender("synced"), once=False))[0] is None


@pytest.mark.trio
@pytest.mark.parametrize("state", ["headers", "switching", "degraded"])
async def test_trouble_ends_when_patience_does(autojump_clock: MockClock, state: str) -> None:
    """Another attempt is no progress: in whatever state, the run ends --give-up seconds after the last stored thing."""
    client = Pretender(state, struggling=True)
    ending, seconds = await judged(client, once=True)
    assert ending == Ending("degraded", "nobody answers", Code.DEGRADED)
    assert seconds == pytest.approx(15.0, abs=0.1)
    assert client.gave_up


@pytest.mark.trio
async def test_stored_progress_renews_patience(autojump_clock: MockClock) -> None:
    """Who stores something is given the whole time again."""
    client = Pretender(struggling=True)
    async with trio.open_nursery() as nursery:

        async def progress() -> None:
            await trio.sleep(10)
            client.last_progress = trio.current_time()

        nursery.start_soon(progress)
        _, seconds = await judged(client, once=True)
    assert seconds == pytest.approx(25.0, abs=0.1)


@pytest.mark.trio
async def test_a_slow_sync_without_trouble_is_not_given_up(autojump_clock: MockClock) -> None:
    """Waiting for a first answer is no failure; the engine's own timeouts make one of it."""
    assert (await judged(Pretender("headers"), once=True))[0] is None


@pytest.mark.trio
async def test_without_once_only_a_first_meeting_is_awaited(autojump_clock: MockClock) -> None:
    """A client that never met a peer has a wrong address; one that lost its peers waits for them."""
    met = Pretender("waiting", struggling=True, peers=[object()])
    assert (await judged(met, once=False))[0] is None
    ending, seconds = await judged(Pretender("waiting", struggling=True), once=False)
    assert ending is not None
    assert ending.code is Code.DEGRADED
    assert seconds == pytest.approx(15.0, abs=0.1)


@pytest.mark.trio
@pytest.mark.parametrize("once", [True, False])
async def test_without_hope_it_ends_at_once(autojump_clock: MockClock, once: bool) -> None:
    """When every peer is banned nothing is waited for, and the bans are the reason."""
    client = Pretender("degraded", struggling=True, hopeless="1.2.3.4:9999: bad-filter", peers=[])
    assert await judged(client, once=once) == (Ending("degraded", "1.2.3.4:9999: bad-filter", Code.DEGRADED), 0.0)


@pytest.mark.trio
async def test_a_disk_that_refuses_is_the_stores_fault(autojump_clock: MockClock) -> None:
    """Patience is the same; the exit code says whose trouble it was."""
    client = Pretender("backoff", struggling=True, disk_refuses=True)
    ending, waited = await judged(client, once=True)
    assert ending is not None
    assert (ending.code, client.gave_up) == (Code.STORE, True)
    assert waited == pytest.approx(15.0, abs=1.0)


@pytest.mark.trio
async def test_pending_locks_are_waited_for(autojump_clock: MockClock) -> None:
    """A synced client ends once every lock has its answer, or when for --linger seconds there was not one less."""
    client = Pretender("synced", pending_locks=3)
    verdicts: list[tuple[Ending | None, float]] = []

    async def judge() -> None:
        verdicts.append(await judged(client, once=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(judge)
        for pending in (2, 1, 2):  # at last another one comes: that is no progress
            await trio.sleep(4.0)
            client.pending_locks = pending
    assert verdicts[0][0] == Ending("synced", "", Code.SYNCED)
    assert verdicts[0][1] == pytest.approx(8.0 + 5.0, abs=0.2)


@pytest.mark.trio
async def test_a_walk_for_a_lock_is_not_counted_as_waiting(autojump_clock: MockClock) -> None:
    """While the client fetches what a lock needs it is not synced, and the patience begins anew after it."""
    client = Pretender("synced", pending_locks=1)

    async def walk() -> None:
        await trio.sleep(4.0)
        client.state = "mnlist"
        await trio.sleep(20.0)
        client.state = "synced"
        await trio.sleep(1.0)
        client.pending_locks = 0

    async with trio.open_nursery() as nursery:
        nursery.start_soon(walk)
        ending, seconds = await judged(client, once=True)
    assert ending == Ending("synced", "", Code.SYNCED)
    assert seconds == pytest.approx(25.0, abs=0.2)


@pytest.mark.trio
async def test_one_broadcast_too_many_ends_with_its_reason() -> None:
    """The limit is a sentence, not a traceback."""
    client = Pretender(state="synced")

    async def broadcast(*_: object, **__: object) -> None:
        raise BroadcastLimit("1000 transactions are being broadcast already")

    sent = _Sent(cast(Client, Namespace(state=client.state, broadcast=broadcast)), b"", Stage.ECHOED, 60.0)
    ending = await sent.verdict()
    assert ending == Ending("synced", "1000 transactions are being broadcast already", Code.DEGRADED)


def test_what_the_client_tells_of_its_end_comes_before_what_others_saw_of_it() -> None:
    """It knows what was repaired; who waited for it knows only that it has ended."""
    damage = ClientFailed("filters 20..20 are damaged; told, start again")
    damage.__cause__ = StoreCorrupt("filters 20..20 are damaged")
    ending = _failure(ExceptionGroup("both", [StoreFailed("the client has ended"), damage]))
    assert ending == Ending("failed", str(damage), Code.STORE)
    ending = _failure(ExceptionGroup("both", [ClientEnded("the client has ended"), damage]))
    assert ending == Ending("failed", str(damage), Code.STORE)
