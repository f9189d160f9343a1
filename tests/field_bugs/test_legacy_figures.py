"""Figures, checks and the journal as a sequential client of others got them wrong: findings A10 and A12 of the list."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine import sync
from phasegate.engine.config import Limits
from phasegate.engine.events import Progress, Transition
from phasegate.engine.facts import GUARDS
from phasegate.engine.progress import PHASES, counts
from phasegate.statecharts import mutate
from phasegate.statecharts.anatomy import build, read
from phasegate.statecharts.catalogue import CHARTS
from phasegate.statecharts.explore import verify
from phasegate.statecharts.policy import POLICY
from phasegate.statecharts.policy_check import verify_policy
from phasegate.statecharts.sync import SyncChart
from tests.field_bugs.fresh_clients import is_complete
from tests.simulated_world import START, small_chain

if TYPE_CHECKING:
    from phasegate.engine.work import Work
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

WALK = [*PHASES, "synced"]
SLOWLY = {"batch": {**Limits().batch, "filters": 20, "blocks": 2}, "in_flight": {"filters": 2, "blocks": 2}}


# -- A10: progress --------------------------------------------------------------------------------------------------


async def figures(run: Run) -> list[Progress]:
    """All that the client says of its progress until it is synced, each held against the database."""
    said = list[Progress]()
    with trio.fail_after(300):
        while run.client.state != "synced":
            figure = run.client.progress()
            if figure is not None:
                stored = run.client.store.read_marks()
                target = max((peer.start_height for peer in run.client.peers), default=0)
                assert (figure.done, figure.total) == counts(figure.phase, stored, target, run.client.network.dip3)
                said.append(figure)
            await trio.sleep(0.05)
    return said


async def test_a10_progress_is_what_is_stored_and_never_falls(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """In each phase, at every moment: the figures are the database's, percentages only rise, 100 is all of it."""
    chain = small_chain(300, 5)
    world.add(chain, 1, delay=0.3)
    async with running(world.config(1, watch=chain.watch, limits=SLOWLY)) as run:
        said = await figures(run)
        assert {figure.phase for figure in said} == set(PHASES)
        for phase in PHASES:
            shown = [figure.percent for figure in said if figure.phase == phase]
            assert shown == sorted(shown)
            whole = [figure for figure in said if figure.phase == phase and figure.percent == 100.0]
            assert all(figure.done == figure.total for figure in whole)
        assert len({figure.percent for figure in said if figure.phase == "filters"}) > 5
        overall = [figure.overall for figure in said]
        assert overall == sorted(overall)
        ended = [event for event in run.told if isinstance(event, Progress)]
        assert (ended[-1].phase, ended[-1].percent, ended[-1].overall) == ("blocks", 100.0, 100.0)


async def test_a10_nothing_is_called_whole_while_filters_remain(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """All headers are there, and no filter: far from 100 percent, on the whole as in the phase."""
    chain = small_chain(300, 5)
    node = world.add(chain, 1, delay=0.3)
    async with running(world.config(1, watch=chain.watch, limits=SLOWLY)) as run:
        await run.until("filters")
        figure = run.client.progress()
        assert figure is not None
        assert run.client.status.marks.tip == chain.height
        assert figure.percent == 0.0
        assert 40.0 < figure.overall < 75.0
        node.stall_after = 0
        await trio.sleep(30)
        figure = run.client.progress()
        assert figure is None or figure.overall < 100.0


async def test_a10_speed_and_remaining_time_are_measured_in_each_phase(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Half way through, what is said to remain is about what it then takes."""
    chain = small_chain(300, 5)
    world.add(chain, 1, delay=0.5)
    async with running(world.config(1, watch=chain.watch, limits=SLOWLY)) as run:
        for phase in ("filters", "blocks"):
            await run.until(phase)
            with trio.fail_after(60):
                while (figure := run.client.progress()) is None or figure.percent < 50.0:
                    await trio.sleep(0.05)
            assert figure.phase == phase
            assert figure.rate > 0.0
            assert figure.eta is not None
            began = trio.current_time()
            with trio.fail_after(60):
                while run.client.state == phase:
                    await trio.sleep(0.02)
            assert trio.current_time() - began == pytest.approx(figure.eta, rel=0.5)


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_a10_the_peers_that_are_told_of_are_those_that_are_there(
    world: World, running: Start, autojump_clock: MockClock, count: int
) -> None:
    """As many as nodes count connections, in the journal too; one fewer when one has gone."""
    chain = small_chain(120, 5)
    nodes = [world.add(chain, port) for port in range(1, count + 1)]
    async with running(world.config(*range(1, count + 1), watch=chain.watch)) as run:
        await run.until("synced")
        await trio.sleep(5)
        assert len(run.client.peers) == run.client.facts.ready_peers == sum(node.peers for node in nodes) == count
        last = json.loads(run.client.history()[-1].facts_json)
        assert last["ready_peers"] == count
        del world.nodes[count]
        await world.cut(count)
        await trio.sleep(5)
        assert len(run.client.peers) == run.client.facts.ready_peers == count - 1


# -- A12: nothing is without effect ---------------------------------------------------------------------------------


async def test_a12_every_guard_of_the_chart_is_asked_and_decides() -> None:
    """Each guard that the chart has is answered by the engine, and one that is left out breaks a law."""
    anatomy, law = read(SyncChart), CHARTS["sync"].law
    asked = {guard.name for arrow in anatomy.arrows for guard in arrow.guards}
    assert asked == set(GUARDS)
    mutants = list(mutate.without_guard(anatomy))
    assert len(mutants) > 30
    for mutant in mutants[::6]:
        assert verify(build(mutant.anatomy), law).violations, mutant


async def test_a12_every_rule_of_the_policy_is_used_by_some_story() -> None:
    """The exploration finds no dead row, and finds one that is put in."""
    assert verify_policy().violations == ()
    dead = attrs.evolve(POLICY[0], why="all that it could answer is answered above it")
    found = [violation.text for violation in verify_policy(policy=(*POLICY, dead)).violations]
    assert found == ["the row (*, no-peer, wait) is never used"]


async def test_a12_a_phase_that_returns_without_being_complete_is_acted_upon(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is started again, and when that is in vain for some times, recovery is told: it is not only logged."""
    chain, calls = small_chain(120, 5), list[float]()
    real: Any = vars(sync)["download_filters"]

    async def idle(work: Work) -> None:
        calls.append(trio.current_time())
        await trio.sleep(0.1)

    monkeypatch.setattr(sync, "download_filters", idle)
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        with trio.fail_after(60):
            while "restarting" not in run.path:
                await trio.sleep(0.05)
        failed = next(row for row in run.client.history() if row.target == "restarting")
        assert (failed.source, failed.event) == ("filters", "fail")
        assert "stalled: filters ended 5 times without progress" in failed.reason
        assert calls[sync.VAIN_RETURNS - 1] < failed.time - START <= calls[sync.VAIN_RETURNS - 1] + 0.2
        monkeypatch.setattr(sync, "download_filters", real)
        await run.until("synced", within=60)
        is_complete(run, chain)


async def test_a12_the_debug_check_of_the_facts_ends_the_run(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Facts that differ from the database are no line in a log: nothing goes on, and the error says which they are."""
    chain = small_chain(60, 5)
    world.add(chain, 1)

    async def led_astray() -> None:
        async with running(world.config(1, watch=chain.watch)) as run:
            await run.until("synced")
            run.client._writer.marks = attrs.evolve(run.client._writer.marks, filters=17)
            await trio.sleep(10)

    with pytest.raises(BaseExceptionGroup) as caught:
        await led_astray()
    assert "the database says" in "".join(map(str, _leaves(caught.value)))


def _leaves(group: BaseException) -> list[BaseException]:
    if not isinstance(group, BaseExceptionGroup):
        return [group]
    return [leaf for inner in group.exceptions for leaf in _leaves(inner)]


async def test_a12_the_journal_keeps_figures_and_the_times_are_measured(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Each row holds what the guards saw, as numbers that can be computed with; what a stay took adds up."""
    chain = small_chain(120, 5)
    world.add(chain, 1, delay=0.4)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        rows = run.client.history()
        assert [row.target for row in rows] == WALK
        facts = [json.loads(row.facts_json) for row in rows]
        assert [fact["tip"] for fact in facts] == [0] + [120] * 5
        assert [fact["filters"] for fact in facts] == [-1] * 4 + [120] * 2
        assert [fact["masternodes"] for fact in facts] == [None] * 2 + [120] * 4
        assert facts[4]["pending_blocks"] > facts[5]["pending_blocks"] == 0
        assert all(fact["outstanding"] == 0 for fact in facts)
        told = [event for event in run.told if isinstance(event, Transition)]
        assert [dict(event.facts) for event in told] == facts
        for phase, before, after in zip(PHASES, rows, rows[1:], strict=False):
            items, seconds = run.client.totals[phase]
            assert seconds == pytest.approx(after.time - before.time, abs=0.05)
            assert seconds > 0.3
            assert items > 0
