"""The law notices every small wrong: each guard deleted in turn, and more."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice

import attrs
import pytest
from statemachine.exceptions import InvalidDefinition

from phasegate.statecharts import mutate
from phasegate.statecharts.anatomy import Anatomy, build, read
from phasegate.statecharts.campaign import LEAST_SHARE, Campaign, Fate, campaign
from phasegate.statecharts.catalogue import CHARTS, Ruled
from phasegate.statecharts.explore import violations, walks
from phasegate.statecharts.law import Clause
from phasegate.statecharts.law_peer import PEER
from phasegate.statecharts.law_sync import SYNC
from phasegate.statecharts.mutate import Mutant
from phasegate.statecharts.table import Table, disagreements

Kind = Callable[[Anatomy], Iterator[Mutant]]


@cache
def tried(name: str) -> Campaign:
    """Every mutant of a chart of the house before its law, tried once."""
    return campaign(CHARTS[name].chart, CHARTS[name].law)


def test_every_mutant_of_every_kind_is_caught(ruled: Ruled) -> None:
    """Nobody survives, and the invariants alone catch most."""
    outcome = tried(ruled.law.name)
    assert outcome.survivors == ()
    assert outcome.caught == outcome.wrong
    assert outcome.share >= LEAST_SHARE


def test_there_are_as_many_mutants_as_places_to_be_wrong(anatomy: Anatomy) -> None:
    """None is forgotten: each guard twice, each transition, each other target, each activity."""
    leaves = [leaf for box in anatomy.boxes for leaf in box.leaves]
    guards = sum(len(arrow.guards) for arrow in anatomy.arrows)
    assert len(list(mutate.without_guard(anatomy))) == guards > 0
    assert len(list(mutate.with_guard_negated(anatomy))) == guards
    assert len(list(mutate.without_arrow(anatomy))) == len(anatomy.arrows)
    entered = sum(len(anatomy.box(arrow.target).begin) for arrow in anatomy.arrows)
    assert len(list(mutate.with_other_target(anatomy))) == len(anatomy.arrows) * len(leaves) - entered
    assert len(list(mutate.without_activity(anatomy))) == sum(bool(leaf.entry) for leaf in leaves) > 0


def test_only_swaps_where_order_means_nothing_are_equivalent(ruled: Ruled) -> None:
    """Equivalent are swapped neighbours among branches of which at most one can hold, and nothing else."""
    outcome = tried(ruled.law.name)
    alike = [verdict for verdict in outcome.verdicts if verdict.fate is Fate.EQUIVALENT]
    assert {verdict.kind for verdict in alike} <= {"priorities swapped"}
    assert all(any(f" on {event} " in verdict.mutant for event in ruled.law.exclusive) for verdict in alike)


def test_a_law_with_a_hole_lets_a_mutant_survive() -> None:
    """A survivor is not called equivalent: without the lines about `pause`, one that is led elsewhere gets away."""
    lines = tuple(line for line in SYNC.responses if line.event != "advance" or line.leaf != "synced")
    loose = attrs.evolve(SYNC, responses=lines, exclusive=frozenset(), guarded={}, onward=frozenset())
    guardless = mutate.without_guard(read(CHARTS["sync"].chart))
    wrong = [mutant for mutant in guardless if mutant.name.startswith("synced -> headers")]
    assert len(wrong) == 1
    holed = attrs.evolve(loose, responses=tuple(line for line in lines if line.leaf != "synced"))
    verdicts = campaign(CHARTS["sync"].chart, holed, tried=wrong).verdicts
    assert [verdict.fate for verdict in verdicts] == [Fate.BY_RESPONSE]  # a move that no line allows
    assert campaign(CHARTS["peer"].chart, attrs.evolve(PEER, runs={})).survivors


def test_a_trial_ends_with_the_first_violation(anatomy: Anatomy, ruled: Ruled) -> None:
    """Violations are found lazily: the first costs a part of the whole search."""
    first = next(mutate.without_arrow(anatomy))
    found = violations(first.anatomy, ruled.law)
    assert next(found).law in set(Clause)


@pytest.mark.parametrize("count", [12, pytest.param(400, marks=pytest.mark.soak)])
def test_the_tables_of_mutants_too_are_what_the_library_runs(ruled: Ruled, anatomy: Anatomy, count: int) -> None:
    """What the campaign computes for a wronged chart is, edge by edge, what the library does with it."""
    everything = list(mutate.mutants(anatomy))
    compared, some = 0, count // 4 if anatomy.parallel else count  # regions multiply what the library has to be asked
    for mutant in random.Random("library").sample(everything, min(some, len(everything))):
        try:
            chart = build(mutant.anatomy)
        except InvalidDefinition:  # the library itself refuses it, for example a state that nothing leads to
            continue
        for walk in walks(mutant.anatomy, ruled.law):
            edges = list(walk.explore())
            reached = list({node.configuration for node in walk.nodes})
            assert list(disagreements(chart, Table(mutant.anatomy, walk.switches), reached)) == []
            compared += len(edges)
    assert compared > 100


def test_a_wrong_table_is_found(ruled: Ruled, anatomy: Anatomy) -> None:
    """A table that is not the chart's disagrees with the library, whatever the mutation."""
    for kind in (mutate.without_arrow, mutate.with_other_target, mutate.without_activity, mutate.with_guard_negated):
        for mutant in islice(kind(anatomy), 2):
            walk = walks(mutant.anatomy, ruled.law)[0]
            assert list(walk.explore())
            table = Table(mutant.anatomy, walk.switches)
            assert list(disagreements(ruled.chart, table, [node.configuration for node in walk.nodes])), mutant.name


def test_a_mutant_is_named_after_what_was_done(ruled: Ruled) -> None:
    """The name tells the transition and the wrong, in words."""
    first = next(islice(mutate.without_guard(read(ruled.chart)), 1))
    assert " -> " in first.name
    assert " without " in first.name
    assert first.kind == "guard dropped"


def test_swapped_are_transitions_that_follow_each_other_whatever_is_between() -> None:
    """Document order may put transitions on other events, or of other states, between two that are asked in turn."""
    tables = read(CHARTS["sync"].chart)
    apart = attrs.evolve(tables, arrows=tuple(sorted(tables.arrows, key=lambda arrow: (arrow.target, arrow.source))))
    assert len(list(mutate.with_priority_swapped(apart))) == len(list(mutate.with_priority_swapped(tables))) == 15
