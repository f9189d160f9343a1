"""Canaries: what python-statemachine 3.2 does that the charts here are built around.

Each holds a wrong or surprising behaviour of the library. If one fails after an upgrade, the library has changed there:
read the rule in `statecharts/chart.py` that it stands for again.
"""

from __future__ import annotations

import copy
import pickle

import pytest
from statemachine import HistoryState, State, StateChart
from statemachine.engines.async_ import AsyncEngine
from statemachine.engines.sync import SyncEngine


def twin(asynchronous: bool, name: str) -> type[StateChart[object]]:
    """Two charts of one name, whose callback is a coroutine in one and a function in the other."""
    if asynchronous:

        class Twin(StateChart[object]):
            begin = State(initial=True)
            end = State(final=True)
            go = begin.to(end)

            async def on_go(self) -> None: ...

    else:

        class Twin(StateChart[object]):  # type: ignore[no-redef]
            begin = State(initial=True)
            end = State(final=True)
            go = begin.to(end)

            def on_go(self) -> None: ...

    Twin.__name__ = name
    return Twin


class Remembering(StateChart[object]):
    """A chart with a history state that has a default."""

    out = State(initial=True)

    class box(State.Compound):
        first = State(initial=True)
        second = State()
        past = HistoryState()
        past.to(first)
        move = first.to(second) | second.to(first)

    end = State(final=True)
    enter = out.to(box)
    back = out.to(box.past)
    leave = box.to(out)
    finish = out.to(end)


class Forgetting(StateChart[object]):
    """The same without a default."""

    out = State(initial=True)

    class box(State.Compound):
        first = State(initial=True)
        second = State()
        past = HistoryState()
        move = first.to(second) | second.to(first)

    end = State(final=True)
    back = out.to(box.past)
    leave = box.to(out)
    finish = out.to(end)


class TwoRegions(StateChart[object]):
    """Two parallel regions, begun in the second state of each."""

    start_configuration_values = ["one_b", "two_b"]  # noqa: RUF012 - the library wants a list

    class both(State.Parallel):
        class one(State.Compound):
            one_a = State(initial=True)
            one_b = State()
            flip_one = one_a.to(one_b) | one_b.to(one_a)

        class two(State.Compound):
            two_a = State(initial=True)
            two_b = State()
            flip_two = two_a.to(two_b) | two_b.to(two_a)

    end = State(final=True)
    finish = both.to(end)


class Failing(StateChart[object]):
    """A chart whose entry action fails."""

    catch_errors_as_events = False
    here = State(initial=True)
    there = State(final=True)
    go = here.to(there)

    def __init__(self) -> None:
        self.noted: list[str] = []
        super().__init__()

    def on_exit_here(self) -> None:
        self.noted.append("left")

    def on_enter_there(self) -> None:
        raise KeyError("entry")


class Circling(StateChart[object]):
    """A chart with an internal transition of an atomic state to itself."""

    here = State(initial=True)
    end = State(final=True)
    again = here.to(here, internal=True)
    finish = here.to(end)

    def __init__(self) -> None:
        self.noted: list[str] = []
        super().__init__()

    def on_enter_here(self) -> None:
        self.noted.append("entered")

    def on_exit_here(self) -> None:
        self.noted.append("left")


def test_callbacks_of_charts_with_one_name_are_confused() -> None:
    """P1: of two charts of one name the first seen decides whether both are taken for coroutines."""
    assert isinstance(twin(asynchronous=True, name="Alone")()._engine, AsyncEngine)
    assert isinstance(twin(asynchronous=False, name="Twin")()._engine, SyncEngine)
    assert isinstance(twin(asynchronous=True, name="Twin")()._engine, SyncEngine)


def test_a_chart_with_recorded_history_cannot_be_copied() -> None:
    """P2: after a history has been recorded, pickle and deepcopy both fail."""
    chart = Remembering()
    chart.send("enter")
    chart.send("leave")
    with pytest.raises(TypeError, match="weakref"):
        pickle.dumps(chart)
    with pytest.raises(RecursionError):
        copy.deepcopy(chart)


def test_history_without_default_empties_the_configuration() -> None:
    """P3: entering a history state that has recorded nothing and has no default leaves nothing active."""
    chart = Forgetting()
    chart.send("back")
    assert not chart.configuration_values


def test_a_start_in_two_regions_makes_two_states_of_one_region_active() -> None:
    """P4: start values in parallel regions are added to the initial states instead of replacing them."""
    assert {"two_a", "two_b"} <= set(TwoRegions().configuration_values)


def test_a_failing_entry_keeps_the_configuration_but_not_the_exit() -> None:
    """P5: the configuration is rolled back after the exit action has already run."""
    chart = Failing()
    with pytest.raises(KeyError):
        chart.send("go")
    assert list(chart.configuration_values) == ["here"]
    assert chart.noted == ["left"]


def test_an_internal_transition_of_a_leaf_enters_without_leaving() -> None:
    """P6: the entry action runs a second time, the exit action never."""
    chart = Circling()
    chart.send("again")
    assert chart.noted == ["entered", "entered"]
