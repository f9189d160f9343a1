"""Charts read into tables and built from tables."""

from __future__ import annotations

from typing import Any

import pytest
from statemachine import HistoryState, State

from phasegate.statecharts.anatomy import Anatomy, Guard, build, read
from phasegate.statecharts.catalogue import Ruled
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.sync import SyncChart


class Nested(Chart[Any]):
    """All that can be read: nesting, guards of both kinds, entry, exit and transition actions."""

    class outer(State.Compound, name="Outer", enter="greet", exit="part"):
        class inner(State.Compound, name="Inner"):
            one = State(initial=True, enter="begin_one", exit=["end_one", "tidy"])
            two = State()

        three = State()

    over = State(final=True)

    move = outer.inner.one.to(outer.inner.two, cond=["a", "!b"], unless="c", on="note") | outer.inner.two.to(
        outer.three
    )
    back = outer.three.to(outer.inner)
    end = outer.to(over)


class Remembers(Chart[Any]):
    """Uses a history state."""

    a = State(initial=True)

    class b(State.Compound):
        c = State(initial=True)
        h = HistoryState()
        h.to(c)

    d = State(final=True)
    go = a.to(b.h)
    end = b.to(d)


class Parallel(Chart[Any]):
    """Has two regions."""

    class both(State.Parallel):
        class one(State.Compound):
            a = State(initial=True)

        class two(State.Compound):
            b = State(initial=True)

    d = State(final=True)
    end = both.to(d)


class Eventless(Chart[Any]):
    """Moves without an event."""

    a = State(initial=True)
    b = State(final=True)
    a.to(b, cond="ready")
    go = a.to(b)


class Internal(Chart[Any]):
    """Stays inside while acting."""

    a = State(initial=True)
    b = State(final=True)
    again = a.to(a, internal=True)
    go = a.to(b)


class Expression(Chart[Any]):
    """Guards by an expression."""

    a = State(initial=True)
    b = State(final=True)
    go = a.to(b, cond="x or y")


class Callback(Chart[Any]):
    """Guards by a function."""

    a = State(initial=True)
    b = State(final=True)
    go = a.to(b, cond=lambda: True)


class Invoking(Chart[Any]):
    """Runs something in a thread."""

    a = State(initial=True, invoke="work")
    b = State(final=True)
    go = a.to(b)


def test_reading_keeps_all_that_a_chart_says() -> None:
    """States, their nesting and actions, and transitions with guards in the order asked are all in the tables."""
    tables = read(Nested)
    assert [box.id for box in tables.walk()] == ["outer", "inner", "one", "two", "three", "over"]
    assert (tables.box("one").entry, tables.box("one").exit) == (("begin_one",), ("end_one", "tidy"))
    assert tables.path("two") == ("outer", "inner", "two")
    assert tables.box("outer").first.id == "one"
    assert [leaf.id for leaf in tables.box("outer").leaves] == ["one", "two", "three"]
    move = next(arrow for arrow in tables.arrows if arrow.source == "one")
    assert move.guards == (Guard("a"), Guard("b", wanted=False), Guard("c", wanted=False))
    assert move.label == "move [a, !b, !c] / note"
    assert tables.guards == {"a", "b", "c"}
    assert tables.actions == {"begin_one", "end_one", "tidy", "note", "greet", "part"}


def test_a_chart_built_from_tables_has_these_tables(anatomy: Anatomy, ruled: Ruled) -> None:
    """Reading what was built gives the same tables, and the original chart is untouched."""
    assert read(build(anatomy)) == anatomy
    assert read(ruled.chart) == anatomy
    assert read(build(read(Nested))) == read(Nested)
    assert read(build(read(Parallel))) == read(Parallel)


def test_regions_are_entered_together() -> None:
    """What is active after entering a state that holds regions is the first leaf of each."""
    tables = read(Parallel)
    assert tables.parallel
    assert [leaf.id for leaf in tables.box("both").begin] == ["a", "b"]
    assert tables.configuration(["a", "b"]) == {"both", "one", "a", "two", "b"}
    assert not read(Nested).parallel


def test_a_built_chart_shares_nothing_with_the_original() -> None:
    """A mutant never changes the chart that it was made from."""
    states = {id(state) for state in SyncChart.states}
    assert states.isdisjoint(id(state) for state in build(read(SyncChart)).states)


@pytest.mark.parametrize("chart", [Remembers, Eventless, Internal, Expression, Callback, Invoking])
def test_what_no_chart_here_uses_is_refused(chart: type[Chart[Any]]) -> None:
    """A chart that could not be explored in full is refused, not read in part."""
    with pytest.raises(ValueError, match=r"no chart here uses|not a plain name|names on the model"):
        read(chart)


def test_an_unknown_state_has_no_tables() -> None:
    """Asking for a state that is not there raises."""
    with pytest.raises(KeyError):
        read(SyncChart).box("nowhere")
