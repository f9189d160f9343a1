"""Questions and their answers: what went wrong in the field with late, slow and too large ones, by the numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.config import Limits
from phasegate.engine.errors import ConfigError
from phasegate.engine.phases import blocks
from phasegate.p2p.messages import GetData, Services
from phasegate.p2p.simnet.greeting import SERVICES, Identity
from tests.field_bugs.fresh_clients import is_complete, nobody_is_blamed, same_as_fresh
from tests.field_bugs.uneven_lines import Uneven
from tests.field_bugs.wire_limits import INVENTORY, MOST, kept_the_limits
from tests.simulated_world import Tapped, small_chain

if TYPE_CHECKING:
    from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

PLAIN = Identity(services=SERVICES & ~Services.HEADERS_COMPRESSED)
ANSWERS = ["headers", "headers2", "mnlistdiff", "qrinfo", "cfcheckpt", "cfheaders", "cfilter", "block"]
STAYS_CONNECTED = {
    ("headers", 2),
    ("headers2", 1),
    ("headers2", 2),
    ("mnlistdiff", 1),
    ("mnlistdiff", 2),
    ("cfilter", 2),
    ("block", 2),
}
"""Where a silence is no reason to part, by the answer and the number of peers; there the late reply is counted."""


def once(command: str, seconds: float, happens: Callable[[], None] = lambda: None) -> Callable[[str], float]:
    """The first message of that name takes so many seconds, all else none; `happens` is called when that begins."""
    left = [seconds]

    def pause(name: str) -> float:
        if name != command or not left:
            return 0.0
        happens()
        return left.pop()

    return pause


def identity_for(command: str) -> Identity:
    """A node that sends such messages."""
    return PLAIN if command == "headers" else Identity()


@pytest.mark.parametrize("peers", [1, 2])
@pytest.mark.parametrize("command", ANSWERS)
async def test_24_a_reply_after_its_timeout_does_no_harm(
    world: World, running: Start, autojump_clock: MockClock, command: str, peers: int
) -> None:
    """Whatever it answers: it is dropped, its peer is not blamed, and what is stored is what would be without it."""
    chain = small_chain(120, 5)
    world.nodes[1] = Uneven(chain, once(command, 12.0), identity=identity_for(command))
    if peers == 2:
        world.add(chain, 2, identity=identity_for(command))
    async with running(world.config(*range(1, peers + 1), watch=chain.watch)) as run:
        await run.until("synced", within=60)
        await trio.sleep(30)
        tally = run.client.requests
        assert run.client.state == "synced"
        assert tally.unasked == 0
        if (command, peers) in STAYS_CONNECTED:
            assert tally.late >= 1
            assert "peer-lost" not in run.warnings
        else:
            assert tally.silent >= 1
        is_complete(run, chain)
        nobody_is_blamed(run)
        await same_as_fresh(world, running, run)


@pytest.mark.parametrize("command", ANSWERS)
async def test_24_a_reply_after_its_stay_is_not_taken_for_one_to_the_next(
    world: World, running: Start, autojump_clock: MockClock, command: str
) -> None:
    """The client was paused and resumed while the peer thought: the same is asked anew, and both answers come."""
    chain, asked = small_chain(120, 5), trio.Event()
    world.nodes[1] = Uneven(chain, once(command, 6.0, asked.set), identity=identity_for(command))
    async with running(world.config(1, watch=chain.watch)) as run:
        await asked.wait()
        await trio.sleep(1)
        await run.client.pause()
        await run.until("paused")
        await run.client.resume()
        await run.until("synced", within=60)
        tally = run.client.requests
        assert tally.late >= 1
        assert (tally.silent, tally.unasked) == (0, 0)
        assert run.warnings == []
        is_complete(run, chain)
        await same_as_fresh(world, running, run)


@pytest.mark.parametrize("peers", [1, 2])
@pytest.mark.parametrize(("command", "pause", "height"), [("cfilter", 8.0, 120), ("block", 9.5, 450)])
async def test_25_steady_progress_never_times_out(
    world: World, running: Start, autojump_clock: MockClock, command: str, pause: float, height: int, peers: int
) -> None:
    """One item in eight seconds, for more than ten minutes: nobody is silent, nobody is lost, nothing begins anew."""
    chain = small_chain(height, 5)
    for port in range(1, peers + 1):
        world.nodes[port] = Uneven(chain, lambda name: pause if name == command else 0.0)
    limits = {"batch": {**Limits().batch, "blocks": 500}}
    async with running(world.config(*range(1, peers + 1), watch=chain.watch, limits=limits)) as run:
        await run.until("synced", within=1200)
        assert trio.current_time() > 600
        assert run.client.requests.silent == 0
        assert run.path == ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]
        assert run.warnings == []
        is_complete(run, chain)


async def test_25_a_fast_peer_takes_over_from_a_steady_slow_one(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Stealing breaks nothing: the slow peer is neither silent nor to blame, and what it goes on sending is late."""
    chain = small_chain(120, 5)
    world.nodes[1] = Uneven(chain, lambda name: 8.0 if name == "cfilter" else 0.0)
    world.add(chain, 2)
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        await run.until("synced", within=30)
        await trio.sleep(100)
        assert (run.client.state, run.client.requests.silent) == ("synced", 0)
        assert run.client.requests.late >= 10
        is_complete(run, chain)
        nobody_is_blamed(run)


@pytest.mark.parametrize("figure", [-5, 0, 1, 1000, 1001, 2000, 2001, 5000, 50_000, 50_001, 1 << 40])
@pytest.mark.parametrize("phase", ["cfheaders", "filters", "blocks"])
async def test_31_absurd_batches_are_refused_or_cut(
    world: World,
    running: Start,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    phase: str,
    figure: int,
) -> None:
    """A configured batch beyond what the protocol allows never gets onto the wire, and never stops a sync."""
    chain = small_chain(2100, 5)
    world.nodes[1] = tapped = Tapped(chain)
    limits = {"batch": {**Limits().batch, phase: figure}}
    if not 0 < figure <= MOST[phase]:
        with pytest.raises(ConfigError, match=rf"batch\[{phase}\] {figure} is "):
            world.config(1, watch=chain.watch, masternodes=False, limits=limits)
        return
    assert blocks.PENDING_PAGE <= INVENTORY
    monkeypatch.setattr(blocks, "PENDING_PAGE", 3)  # there are not thousands of blocks to ask for
    async with running(world.config(1, watch=chain.watch, masternodes=False, limits=limits)) as run:
        await run.until("synced", within=5)
    kept_the_limits(tapped)
    wanted = [len(request.items) for request in tapped.taken if isinstance(request, GetData)]
    most = min(3, figure) if phase == "blocks" else 3
    assert max(wanted) == most  # no more than are read from the store at once
    assert len(wanted) >= 3
