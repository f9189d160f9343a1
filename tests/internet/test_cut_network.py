"""The network is cut for a second, a minute or a day, in every phase, and flaps: the client recovers by itself."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.config import Limits
from phasegate.engine.inquiry import RECOVERING
from phasegate.p2p.simnet.internet import Counts
from tests.internet.simulated import Life, living, the_chain

BLOCKS = 300
PHASES = ("headers", "mnlist", "cfheaders", "filters", "blocks", "synced")
CALM = Counts(honest=6, filtering=4, dead=1, slow=0, silent=0, lying=0, flooding=0)
DAY = 86_400.0
NOTICED = 60.0
"""Virtual seconds after the end of a cut within which the client has to be synced; small batches take their time."""
PATIENT = Limits(tick=30.0, waiting_cap=60.0, batch={"cfheaders": 1000, "filters": 50, "blocks": 2}, in_flight={
    "headers": 1, "mnlist": 1, "cfheaders": 1, "filters": 1, "blocks": 1, "locks": 4
})  # fmt: skip
"""Nobody wants a day's worth of half seconds; downloads in small pieces, so that there is something to cut."""

SELDOM = attrs.evolve(PATIENT, tick=300.0, reconnect_cap=600.0, waiting_cap=600.0, backoff_cap=300.0)
"""For a day in the ordinary run: what is tried once a minute else, thousands of times, is tried each ten minutes."""


async def cut(life: Life, seconds: float, *, dark: bool) -> None:
    await life.line.cut(dark=dark)
    await trio.sleep(seconds)
    life.line.mend()


async def recovered(life: Life, within: float = NOTICED) -> None:
    """Synced without a restart, with everything there is, and nobody blamed for the line."""
    await life.until("synced", within + life.client.config.limits.waiting_cap)
    marks = life.client.status.marks
    assert (marks.tip, marks.masternodes, marks.filters, marks.pending_blocks) == (BLOCKS, BLOCKS, BLOCKS, 0)
    assert life.found() == sorted(the_chain(BLOCKS).expected["transactions"])
    assert not life.bans


LENGTHS = {"second": 1.0, "minute": 60.0, "day": DAY}
CUTS = [(phase, length, dark) for phase in PHASES for length in LENGTHS for dark in (False, True)]
DAYS = (("filters", "day", False), ("synced", "day", True))
USUAL = [*[(*cut, PATIENT) for cut in CUTS if cut[1] != "day"], *[(*cut, SELDOM) for cut in DAYS]]


@pytest.mark.trio
@pytest.mark.parametrize(
    ("phase", "length", "dark", "limits"),
    [*USUAL, *[pytest.param(*cut, PATIENT, marks=pytest.mark.soak) for cut in CUTS if cut[1] == "day"]],
)
async def test_a_cut_is_survived(
    tmp_path: Path, autojump_clock: MockClock, phase: str, length: str, dark: bool, limits: Limits
) -> None:
    """In every phase, however long: synced soon after the line is whole, and the journal tells what happened."""
    async with living(tmp_path, the_chain(BLOCKS), 11, counts=CALM, limits=limits) as life:
        await life.entered(phase, 600)
        before, seconds = len(life.path), LENGTHS[length]
        await cut(life, seconds, dark=dark)
        await recovered(life)
        told = life.client.history(limit=100_000)
        assert [row.target for row in told] == life.path
        if seconds == DAY or (seconds > 1 and not dark):  # noticed, and told with its reason
            trouble = [row for row in told[before:] if row.target in RECOVERING]
            assert trouble
            assert all(row.reason and json.loads(row.facts_json)["tip"] >= 0 for row in trouble)


@pytest.mark.trio
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_line_that_flaps_is_survived(tmp_path: Path, autojump_clock: MockClock, seed: int) -> None:
    """Up for some seconds, down for some seconds, for a quarter of an hour: synced as soon as it holds."""
    async with living(tmp_path, the_chain(BLOCKS), seed, counts=CALM, limits=PATIENT) as life:
        rng = life.client._seams.random
        for number in range(60):
            await trio.sleep(rng.uniform(0.2, 8.0))
            await cut(life, rng.uniform(0.2, 20.0), dark=number % 3 == 0)
        await recovered(life, within=120)


@pytest.mark.trio
async def test_the_end_of_a_cut_is_noticed_within_seconds(tmp_path: Path, autojump_clock: MockClock) -> None:
    """After an hour without a network, with the usual limits."""
    async with living(tmp_path, the_chain(BLOCKS), 5, counts=CALM) as life:
        await life.until("synced", 600)
        await life.line.cut(dark=False)
        await trio.sleep(3600.0)
        assert life.client.state != "synced"
        life.line.mend()
        ended = trio.current_time()
        await life.until("synced", 30)
        assert trio.current_time() - ended < 2 * life.client.config.limits.waiting_cap + 5
