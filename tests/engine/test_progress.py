"""Progress counts what is stored, never falls within a walk, and says when it does not know."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phasegate.engine.progress import PHASES, WINDOW, Meter, counts
from phasegate.store import Watermarks

EMPTY = Watermarks(
    base=0,
    tip=0,
    tip_hash=bytes(32),
    work=1,
    masternodes=None,
    masternodes_hash=b"",
    filter_headers=-1,
    filter_header=bytes(32),
    filters=-1,
    matched=-1,
    watch_items=1,
    pending_blocks=0,
    matched_blocks=0,
)


def marks(**changes: Any) -> Watermarks:
    return attrs.evolve(EMPTY, **changes)


def meter() -> Meter:
    return Meter(PHASES, mn_floor=2)


@pytest.mark.parametrize(
    ("phase", "stored", "expected"),
    [
        ("headers", {"tip": 40}, (40, 100)),
        ("headers", {"tip": 120}, (120, 120)),
        ("headers", {"base": 30, "tip": 40}, (10, 70)),
        ("mnlist", {"tip": 1}, (0, 0)),
        ("mnlist", {"tip": 40, "masternodes": 39}, (0, 1)),
        ("mnlist", {"tip": 40, "masternodes": 40}, (1, 1)),
        ("mnlist", {"tip": 40, "masternodes": 39, "quorums": 9}, (0, 10)),
        ("mnlist", {"tip": 40, "masternodes": 40, "quorums": 9, "quorums_unjudged": 9}, (1, 10)),
        ("mnlist", {"tip": 40, "masternodes": 40, "quorums": 9, "quorums_unjudged": 2}, (8, 10)),
        ("cfheaders", {"tip": 40, "filter_headers": -1}, (0, 101)),
        ("cfheaders", {"tip": 40, "filter_headers": 40}, (41, 101)),
        ("cfheaders", {"base": 30, "tip": 40, "filter_headers": 29}, (0, 71)),
        ("filters", {"tip": 40, "filters": 20, "matched": 20}, (21, 101)),
        ("filters", {"tip": 40, "filters": 40, "matched": -1}, (0, 101)),
        ("blocks", {"matched_blocks": 9, "pending_blocks": 4}, (5, 9)),
        ("blocks", {}, (0, 0)),
    ],
)
def test_a_phase_counts_what_it_has_stored(phase: str, stored: dict[str, Any], expected: tuple[int, int]) -> None:
    """Items stored of items known, with a peer announcing height 100."""
    assert counts(phase, marks(**stored), 100, 2) == expected


def test_headers_that_are_only_received_count_for_nothing() -> None:
    """The figures follow receipts (field-bugs 10): without a commit nothing moves."""
    m = meter()
    m.entered("headers", EMPTY, 0.0)
    figure = m.figure("headers", EMPTY, 1000, 5.0, 5.0)
    assert (figure.done, figure.total, figure.percent, figure.rate, figure.eta) == (0, 1000, 0.0, 0.0, None)


def test_rate_and_eta_follow_the_receipts() -> None:
    """100 a second and 800 left: eight seconds."""
    m, before = meter(), EMPTY
    m.entered("headers", EMPTY, 0.0)
    for second in (1, 2):
        after = marks(tip=100 * second)
        m.stored(before, after, float(second))
        before = after
    figure = m.figure("headers", before, 1000, 1.7e9, 2.0)
    assert (figure.rate, figure.eta, figure.time) == (100.0, 8.0, 1.7e9)


def test_a_phase_that_stalls_slows_down_and_stops_promising() -> None:
    """The rate is measured up to now, not up to the last receipt."""
    m = meter()
    m.entered("headers", EMPTY, 0.0)
    m.stored(EMPTY, marks(tip=100), 1.0)
    assert [m.rate(now) for now in (1.0, 2.0, 10.0)] == [100.0, 50.0, 10.0]


def test_the_rate_is_that_of_the_window() -> None:
    """A slow beginning is forgotten after as many seconds as the window has."""
    m, before, now = meter(), EMPTY, 0.0
    m.entered("headers", EMPTY, now)
    for step in (1,) * 20 + (50,) * 20:
        after, now = marks(tip=before.tip + step), now + 1.0
        m.stored(before, after, now)
        before = after
    assert m.rate(now) == pytest.approx(50.0)
    assert WINDOW < 20


def test_what_is_complete_needs_no_more_time() -> None:
    """Even when it was complete on entry and no rate was measured: 0 of 0 is 100 percent."""
    m = meter()
    m.entered("blocks", EMPTY, 0.0)
    figure = m.figure("blocks", EMPTY, 0, 0.0, 0.0)
    assert (figure.done, figure.total, figure.percent, figure.eta) == (0, 0, 100.0, 0.0)


def test_a_phase_that_is_not_running_has_no_rate() -> None:
    """The figures of another phase do not borrow its speed."""
    m = meter()
    m.entered("headers", EMPTY, 0.0)
    m.stored(EMPTY, marks(tip=50), 1.0)
    figure = m.figure("cfheaders", marks(tip=50), 100, 0.0, 0.0)
    assert (figure.rate, figure.eta) == (0.0, None)


def test_a_stay_that_ends_goes_into_the_history() -> None:
    """With its times and with what it stored; the next one begins at nothing."""
    m = meter()
    m.entered("headers", EMPTY, 10.0)
    m.stored(EMPTY, marks(tip=70), 12.0)
    assert m.current is not None
    assert (m.current.started, m.current.last_progress, m.current.seconds) == (10.0, 12.0, 0.0)
    m.entered("mnlist", marks(tip=70), 15.0)
    run = m.history[0]
    assert (run.phase, run.items, run.started, run.last_progress, run.ended) == ("headers", 70, 10.0, 12.0, 15.0)
    assert run.seconds == 5.0
    assert m.current is not None
    assert (m.current.phase, m.current.items) == ("mnlist", 0)
    m.entered("synced", marks(tip=70), 16.0)
    assert m.current is None


def test_stays_in_the_same_phase_add_up() -> None:
    """Totals hold items and seconds of each phase entered, however often."""
    m = meter()
    for start in (0.0, 100.0):
        m.entered("headers", EMPTY, start)
        m.stored(EMPTY, marks(tip=30), start + 1.0)
        m.entered("synced", marks(tip=30), start + 2.0)
    assert m.totals == {"headers": (60, 4.0)}


def test_the_history_is_bounded() -> None:
    """A client that runs for years keeps the newest stays, and the totals of all."""
    m = Meter(PHASES, 2, keep=3)
    for i in range(10):
        m.entered("headers", EMPTY, float(i))
    assert len(m.history) == 3
    assert m.totals["headers"] == (0, 9.0)


def test_a_list_that_replaces_another_is_one_item() -> None:
    """The masternode phase stores one verified list at a time, each of another block."""
    m = meter()
    old = marks(tip=50, masternodes=40, masternodes_hash=b"\1" * 32)
    m.entered("mnlist", old, 0.0)
    m.stored(old, marks(tip=50, masternodes=50, masternodes_hash=b"\2" * 32), 1.0)
    assert m.current is not None
    assert m.current.items == 1


def test_nothing_is_counted_outside_a_phase() -> None:
    """A watch item added while synced is a receipt without a phase."""
    m = meter()
    m.stored(EMPTY, marks(watch_items=2), 1.0)
    assert (m.current, m.rate(2.0), m.totals) == (None, 0.0, {})


def test_a_rollback_may_lower_the_figures_once() -> None:
    """Before `rewound` the old figure stands, after it the true one."""
    m = meter()
    high, low = marks(tip=90), marks(tip=45)
    assert m.figure("headers", high, 90, 0.0, 0.0).percent == 100.0
    assert m.figure("headers", low, 90, 0.0, 0.0).percent == 100.0
    m.rewound()
    figure = m.figure("headers", low, 90, 0.0, 0.0)
    assert figure.percent == 50.0
    assert figure.overall < 50.0


def test_filter_headers_that_are_dropped_lower_the_figures_at_once() -> None:
    """A phase that has to go back is not shown as complete."""
    m = meter()
    full, dropped = marks(tip=99, filter_headers=99, filters=49), marks(tip=99, filter_headers=49, filters=49)
    m.entered("cfheaders", full, 0.0)
    assert m.figure("cfheaders", full, 99, 0.0, 0.0).percent == 100.0
    m.stored(full, dropped, 1.0)
    figure = m.figure("cfheaders", dropped, 99, 0.0, 1.0)
    assert (figure.done, figure.percent, figure.rate) == (50, 50.0, 0.0)


def test_a_new_walk_counts_for_itself() -> None:
    """One new block after a day of being synced: the bar is that of the new walk."""
    m = meter()
    full = marks(tip=99, masternodes=99, filter_headers=99, filters=99, matched=99)
    assert m.figure("cfheaders", full, 99, 0.0, 0.0).percent == 100.0
    m.walk()
    assert m.figure("cfheaders", attrs.evolve(full, tip=199), 199, 0.0, 0.0).percent == 50.0


def test_the_overall_share_covers_the_enabled_phases_only() -> None:
    """Headers alone, all stored: everything is done."""
    only = Meter(("headers",), 2)
    assert only.figure("headers", marks(tip=100), 100, 0.0, 0.0).overall == 100.0
    assert meter().figure("headers", marks(tip=100), 100, 0.0, 0.0).overall < 50.0


moves = st.lists(st.tuples(st.sampled_from(PHASES), st.integers(0, 60), st.integers(-40, 150)), max_size=40)


@given(moves)
def test_percentages_never_fall_within_a_walk(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is stored and whatever peers come and go with their heights; and they stay between 0 and 100."""
    m, stored, best, overall = meter(), EMPTY, dict.fromkeys(PHASES, 0.0), 0.0
    for phase, gain, target in steps:
        stored = _grown(stored, phase, gain)
        for name in PHASES:
            figure = m.figure(name, stored, target, 0.0, 0.0)
            assert best[name] <= figure.percent <= 100.0
            assert overall <= figure.overall <= 100.0
            assert 0 <= figure.done <= figure.total
            best[name], overall = figure.percent, figure.overall


def _grown(stored: Watermarks, phase: str, gain: int) -> Watermarks:
    """What is stored after a phase has stored a little more."""
    if phase == "headers":
        return attrs.evolve(stored, tip=stored.tip + gain)
    if phase == "mnlist":
        return attrs.evolve(stored, masternodes=stored.tip)
    if phase == "blocks":
        return attrs.evolve(stored, pending_blocks=max(0, stored.pending_blocks - gain))
    if phase == "cfheaders":
        return attrs.evolve(stored, filter_headers=min(stored.tip, stored.filter_headers + gain))
    reached = min(stored.filter_headers, stored.filters + gain)
    found = stored.matched_blocks + (reached > stored.filters)
    pending = stored.pending_blocks + found - stored.matched_blocks
    return attrs.evolve(stored, filters=reached, matched=reached, matched_blocks=found, pending_blocks=pending)
