"""Phases beside each other: who may ask, whose requests count, what is shown, and who is stopped by whom."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from phasegate.engine.errors import LocalProtocolError, RolledBack
from phasegate.engine.facts import GUARDS, INTERLEAVED_GUARDS, Facts
from phasegate.engine.progress import PHASES, Meter
from phasegate.engine.regions import REGIONS, Regions, marks_of
from phasegate.engine.requests import Ledger
from phasegate.statecharts.anatomy import read
from phasegate.statecharts.interleaved import InterleavedChart
from phasegate.store import PutFilters, RollBackFilters
from tests import sample_facts

DONE = attrs.evolve(sample_facts.DONE, under_way={})


def marked(**changes: Any) -> Facts:
    """The facts of a client that is done but for some marks."""
    return attrs.evolve(DONE, marks=attrs.evolve(DONE.marks, **changes))


def test_only_regions_have_desks_beside_each_other() -> None:
    """One desk each, and none beside that of a phase that runs alone."""
    ledger = Ledger(REGIONS)
    with ledger.desk("filters", 1, 1.0), ledger.desk("cfheaders", 1, 1.0):
        for phase in ("filters", "headers"):
            with pytest.raises(LocalProtocolError, match=f"{phase} wants to send"), ledger.desk(phase, 1, 1.0):
                pass
    with ledger.desk("headers", 1, 1.0), pytest.raises(LocalProtocolError), ledger.desk("blocks", 1, 1.0):
        pass
    with Ledger().desk("filters", 1, 1.0) as desk:
        assert desk.phase == "filters"


def test_each_region_counts_its_own_requests() -> None:
    """A phase is complete though others ask; all together are not."""
    busy = attrs.evolve(DONE, outstanding=3, under_way={"filters": 3})
    assert (busy.mnlist_complete, busy.cfheaders_complete, busy.blocks_complete) == (True, True, True)
    assert (busy.filters_complete, busy.regions_complete, busy.all_enabled_complete) == (False, False, False)
    assert DONE.regions_complete
    assert not attrs.evolve(busy, under_way=None).cfheaders_complete


def test_a_region_is_fed_by_what_is_stored() -> None:
    """Filters by filter headers and by items that lag; blocks by matches, unless one below may follow."""
    assert (DONE.filters_fed, DONE.blocks_fed) == (False, False)
    assert marked(filters=50, matched=50).filters_fed
    assert marked(matched=50).filters_fed
    assert not marked(filters=199, matched=199, filters_base=200).filters_fed
    assert marked(pending_blocks=1).blocks_fed
    assert not marked(pending_blocks=1, matched=50).blocks_fed
    assert marked(pending_blocks=1, filters=50, matched=50).blocks_fed


def test_the_facts_answer_what_the_chart_asks() -> None:
    """No guard more and none less, and a journal has these."""
    assert set(INTERLEAVED_GUARDS) == read(InterleavedChart).guards
    assert set(DONE.as_dict()["holding"]) <= set(INTERLEAVED_GUARDS)
    assert DONE.as_dict()["under_way"] == {}
    alone = attrs.evolve(DONE, under_way=None).as_dict()
    assert set(alone["holding"]) <= set(GUARDS)
    assert "under_way" not in alone


def test_stays_beside_each_other_are_measured_each() -> None:
    """What is stored counts for the phase that it belongs to; a stay ends without ending the others."""
    before = DONE.marks
    after = attrs.evolve(before, filters=90, matched=90)
    meter = Meter(PHASES, mn_floor=2)
    meter.moved((), ("filters", "blocks", "mnlist_rest"), attrs.evolve(before, filters=40, matched=40), 10.0)
    meter.stored(attrs.evolve(before, filters=40, matched=40), after, 12.0)
    assert [(run.phase, run.items) for run in meter.running] == [("filters", 50), ("blocks", 0)]
    assert meter.figure("filters", after, 0, 0.0, 12.0).rate == 25.0
    assert meter.figure("blocks", after, 0, 0.0, 12.0).rate == 0.0
    meter.moved(("filters",), ("filters_rest",), after, 13.0)
    assert [run.phase for run in meter.running] == ["blocks"]
    assert meter.totals == {"filters": (50, 3.0)}
    assert meter.current is not None
    assert meter.current.phase == "blocks"


def test_only_its_own_progress_counts_for_a_region() -> None:
    """That another phase gets on is no progress of this one."""
    for phase in REGIONS:
        assert marks_of(phase, DONE.marks) == marks_of(phase, attrs.evolve(DONE.marks, watch_items=9))
    assert marks_of("blocks", DONE.marks) == marks_of("blocks", marked(filters=101).marks)
    assert marks_of("filters", DONE.marks) != marks_of("filters", marked(filters=101).marks)
    assert marks_of("headers", DONE.marks) == DONE.marks


@pytest.mark.trio
async def test_what_reaches_back_is_committed_alone(autojump_clock: MockClock) -> None:
    """The others are finished before, end with `RolledBack` after, and who comes meanwhile waits."""
    regions, told = Regions(), list[str]()

    async def other() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2.0)  # such as a commit that is under way
            told.append("other ended")

    async def latecomer() -> None:
        told.append("latecomer begins")

    async def taking_back() -> None:
        await trio.sleep(1.0)
        async with regions.alone([PutFilters(())]):
            told.append("harmless")
        async with regions.alone([RollBackFilters(5)]):
            nursery.start_soon(regions.run, "blocks", latecomer)
            await trio.sleep(1.0)
            told.append("committed")

    async def stopped() -> None:
        with pytest.raises(RolledBack, match="filters has to begin again"):
            await regions.run("filters", other)
        told.append("other told")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stopped)
        nursery.start_soon(regions.run, "cfheaders", taking_back)
    assert told[:3] == ["harmless", "other ended", "committed"]
    assert sorted(told[3:]) == ["latecomer begins", "other told"]


@pytest.mark.trio
async def test_a_change_that_fails_lets_the_others_go(autojump_clock: MockClock) -> None:
    """Whatever becomes of the commit, nobody waits for ever."""
    regions = Regions()

    async def failing() -> None:
        async with regions.alone([RollBackFilters(5)]):
            raise OSError("the disk refuses")

    async def beside() -> None:
        with pytest.raises(RolledBack):
            await regions.run("filters", trio.sleep_forever)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beside)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match="refuses"):
            await regions.run("cfheaders", failing)
    await regions.run("blocks", trio.lowlevel.checkpoint)
