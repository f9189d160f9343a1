"""Recovery in whole clients: retry, restart, switch, wait; none of them is a dead end, and none completes a phase."""

from __future__ import annotations

from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.headers import extend, genesis_tip
from phasegate.consensus.params import SIMNET
from phasegate.engine import sync
from phasegate.engine.client import ClientFailed
from phasegate.engine.errors import FailureKind, leaves
from phasegate.engine.events import Transition, Warned
from phasegate.engine.opening import open_store
from phasegate.engine.phases import headers
from phasegate.engine.recovery import POLICY
from phasegate.p2p.messages import Services
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.greeting import Identity
from phasegate.p2p.simnet.lies import Lie
from tests.simulated_world import START, small_chain

if TYPE_CHECKING:
    from phasegate.engine.work import Work
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

WALK = ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]


async def test_without_a_network_the_client_waits_and_goes_on_when_it_comes(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """No peer can be reached: waiting, with the reason; a minute later one can, and the walk completes."""
    async with running(world.config(1)) as run:
        await run.until("waiting")
        assert "nothing listens at node:1" in run.client.status.reason
        await trio.sleep(60)
        assert run.client.state == "waiting"
        world.add(small_chain(), 1)
        await run.until("synced")
        assert run.path == ["headers", "waiting", *WALK]


async def test_a_silent_peer_is_replaced(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Silence is no offence: the peer is dropped, not banned, and the other one serves."""
    world.add(small_chain(), 1, silent=True)
    world.add(small_chain(), 2)
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        assert run.client.requests.silent >= 1
        assert not run.client.hopeless
        assert not any(code.startswith("bad-") for code in run.warnings)


async def test_with_only_a_silent_peer_the_client_switches_in_vain_and_is_degraded(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """It never says synced; when the peer finds its voice the client leaves degraded by itself."""
    node = world.add(small_chain(), 1, silent=True)
    async with running(world.config(1)) as run:
        await run.until("switching")
        await run.until("degraded", within=1000)
        assert "synced" not in run.path
        node.silent = False
        await run.until("synced", within=1000)


async def test_a_lost_connection_is_retried_after_a_growing_while(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """It breaks among filters and twice more with nothing stored between: each wait lies in its own, doubled bounds."""
    chain = small_chain()
    world.add(chain, 1, delay=0.5)
    limits = {"backoff_first": 4.0, "reconnect_first": 0.5}  # connected again before the shortest wait is over
    path = ["headers", "mnlist", "cfheaders", "filters"]
    async with running(world.config(1, limits=limits)) as run:
        for _ in range(3):
            await run.until_path(path)
            await world.cut(1)
            path += ["backoff", "headers"]
        await run.until("synced")
        assert run.path == [*path[:-1], *WALK]
        for ceiling, wait in zip((4.0, 8.0, 16.0), _stays(run, "backoff"), strict=True):
            assert ceiling / 2 <= wait < ceiling
        assert run.client.status.marks.filters == chain.height


def _stays(run: Run, state: str) -> list[float]:
    """Seconds that each stay in `state` lasted, of those that have ended."""
    moves = [event for event in run.told if isinstance(event, Transition)]
    return [left.time - entered.time for entered, left in pairwise(moves) if entered.target == state]


async def test_a_phase_that_ends_without_progress_is_restarted_from_its_watermark(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An activity that returns again and again with nothing stored leads to `restarting`, then the phase works."""
    calls = 0
    real = headers.download_headers

    async def idle_at_first(work: Work) -> None:
        nonlocal calls
        calls += 1
        if calls <= sync.VAIN_RETURNS:
            await trio.sleep(1)
        else:
            await real(work)

    monkeypatch.setattr(sync, "download_headers", idle_at_first)
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        assert run.path == ["headers", "restarting", *WALK]


async def test_a_phase_that_stays_without_progress_is_tried_with_another_peer(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When neither restarting nor waiting helped, the peer served by so far is left for the other, and not banned."""
    real = headers.download_headers

    async def idle_with_the_first(work: Work) -> None:
        await work.pool.first_contact()
        if work.pool.ready[0].address.port == 1:
            await trio.sleep(1)
        else:
            await real(work)

    monkeypatch.setattr(sync, "download_headers", idle_with_the_first)
    world.add(small_chain(), 1)
    world.add(small_chain(), 2)
    async with running(world.config(1, 2, limits={"reconnect_first": 50.0})) as run:
        await run.until("synced")
        tries = [rule for rule in POLICY if (rule.phase, rule.reason) == ("*", FailureKind.STALLED)]
        assert [(rule.attempts, rule.strategy.value) for rule in tries[:2]] == [(2, "restart"), (5, "retry")]
        vain = ["restarting"] * 2 + ["backoff"] * 3 + ["switching"]
        assert run.path == [state for recovery in vain for state in ("headers", recovery)] + WALK
        assert [(event.code, event.message) for event in run.told if isinstance(event, Warned)] == [
            ("peer-lost", "peer node:1: another peer is tried")
        ]


async def test_a_peer_that_lied_is_switched_from(world: World, running: Start, autojump_clock: MockClock) -> None:
    """The only peer's lie ends the phase and the peer's time with us; the next that comes takes the walk on."""
    chain = small_chain()
    world.add(chain, 1, lie=Lie.parse("wrong-merkle-proof", chain))
    async with running(world.config(1, 2)) as run:
        await run.until("switching")
        assert "bad-merkle-proof" in run.client.status.reason
        world.add(chain, 2)
        await run.until("synced")
        assert run.path == ["headers", "mnlist", "switching", *WALK]
        (why,) = [event.reason for event in run.told if isinstance(event, Transition) and event.trigger == "fail"]
        assert why.startswith(f"{FailureKind.PEER_LIED.value}: node:1: bad-merkle-proof")


async def test_a_chain_with_too_little_work_is_never_synced(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """One unit short of the network's minimum: degraded for that reason, however often it is tried."""
    chain = generate(120, 8)
    work = extend(SIMNET, genesis_tip(SIMNET), chain.headers(1, 120), int(START)).tip.work
    world.add(chain, 1)
    async with running(world.config(1, network=attrs.evolve(SIMNET, min_chainwork=work + 1))) as run:
        await run.until("degraded")
        await trio.sleep(200)
        assert run.path == ["headers", "degraded"] * (len(run.path) // 2)
        assert len(run.path) > 2
        work, least = run.client.status.marks.work, run.client.config.least_work
        assert run.client.status.reason == (
            f"not enough work: the chain at 120 has {work:x}, less than {least:x}, the least that counts"
        )
        assert {e.reason for e in run.told if isinstance(e, Transition) and e.target == "degraded"} == {
            f"{FailureKind.NOT_ENOUGH_WORK.value}: {run.client.status.reason}"
        }
        chain.extend(1)
        await run.until("synced")


async def test_exactly_the_minimum_work_is_enough(world: World, running: Start, autojump_clock: MockClock) -> None:
    """The bound itself belongs to the good side."""
    chain = small_chain()
    work = extend(SIMNET, genesis_tip(SIMNET), chain.headers(1, chain.height), int(START)).tip.work
    world.add(chain, 1)
    async with running(world.config(1, network=attrs.evolve(SIMNET, min_chainwork=work))) as run:
        await run.until("synced")
        assert run.path == WALK


async def test_a_peer_without_filters_degrades_and_one_with_them_is_the_remedy(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Headers and masternodes complete; then the reason is named, and ends by itself."""
    world.add(small_chain(), 1, identity=Identity(services=Services.NETWORK))
    async with running(world.config(1, 2)) as run:
        await run.until("degraded")
        assert "no peer serves compact filters" in run.client.status.reason
        assert run.client.status.marks.masternodes == 300
        assert run.client.status.marks.filters == -1
        world.add(small_chain(), 2)
        await run.until("synced")


async def test_giving_up_is_degraded_never_synced(world: World, running: Start, autojump_clock: MockClock) -> None:
    """`give_up` ends the waiting with the reason that recovery had no success against."""
    async with running(world.config(1)) as run:
        await run.until("waiting")
        await run.client.give_up()
        await run.until("degraded")
        assert "nothing listens" in run.client.status.reason


async def test_the_last_peer_lost_while_synced_leads_through_waiting_back_to_synced(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Being synced ends with the last peer, and comes back with it, new blocks included."""
    chain = generate(120, 8)
    world.add(chain, 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        node = world.nodes.pop(1)
        await world.cut(1)
        await run.until("waiting")
        chain.extend(2)
        world.nodes[1] = node
        await run.until("synced")
        assert run.client.status.marks.filters == 122


async def test_a_crash_is_failed_and_keeps_its_error(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug in an activity ends in `failed` and flies out of `run` with its cause; it is journalled."""

    async def broken(work: Work) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(sync, "download_masternodes", broken)
    world.add(small_chain(), 1)
    config = world.config(1)
    with pytest.raises(ExceptionGroup) as caught:
        async with running(config) as run:
            await run.until("failed")
    (failed,) = leaves(caught.value)
    assert isinstance(failed, ClientFailed)
    assert failed.__cause__ is not None
    assert [(type(leaf), leaf.args) for leaf in leaves(failed.__cause__)] == [(ZeroDivisionError, ("a bug",))]
    with closing(open_store(config.datadir, config.network)[0]) as store:
        row = store.journal()[-1]
    assert (row.source, row.target, row.event, row.reason) == ("mnlist", "failed", "crash", "ZeroDivisionError: a bug")
