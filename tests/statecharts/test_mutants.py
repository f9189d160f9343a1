"""The law notices every small wrong: each guard deleted in turn, and more."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import pytest
from statemachine.exceptions import InvalidDefinition

from phasegate.statecharts import mutate
from phasegate.statecharts.anatomy import Anatomy, build, read
from phasegate.statecharts.catalogue import Ruled
from phasegate.statecharts.explore import verify
from phasegate.statecharts.mutate import Mutant

Kind = Callable[[Anatomy], Iterator[Mutant]]


def survivors(ruled: Ruled, mutants: Iterable[Mutant]) -> list[str]:
    """The names of the mutants that keep the law."""
    return [mutant.name for mutant in mutants if lives(mutant, ruled)]


def lives(mutant: Mutant, ruled: Ruled) -> bool:
    try:
        chart = build(mutant.anatomy)
    except InvalidDefinition:  # the library itself refuses it, for example a state that nothing leads to
        return False
    return not verify(chart, ruled.law).violations


def sample(mutants: Iterable[Mutant], count: int) -> list[Mutant]:
    everything = list(mutants)
    return random.Random("retarget").sample(everything, min(count, len(everything)))


def test_each_guard_deleted_in_turn_makes_verification_fail(ruled: Ruled, anatomy: Anatomy) -> None:
    """No guard of any transition is superfluous or unwatched."""
    mutants = list(mutate.without_guard(anatomy))
    assert len(mutants) == sum(len(arrow.guards) for arrow in anatomy.arrows) > 0
    assert survivors(ruled, mutants) == []


def test_each_guard_negated_in_turn_makes_verification_fail(ruled: Ruled, anatomy: Anatomy) -> None:
    """No guard may be turned into its opposite unnoticed."""
    assert survivors(ruled, mutate.with_guard_negated(anatomy)) == []


def test_each_transition_left_out_makes_verification_fail(ruled: Ruled, anatomy: Anatomy) -> None:
    """No transition is superfluous."""
    mutants = list(mutate.without_arrow(anatomy))
    assert len(mutants) == len(anatomy.arrows)
    assert survivors(ruled, mutants) == []


def test_transitions_led_elsewhere_make_verification_fail(ruled: Ruled, anatomy: Anatomy) -> None:
    """A fixed sample of transitions led to another leaf."""
    assert survivors(ruled, sample(mutate.with_other_target(anatomy), 25)) == []


@pytest.mark.soak
def test_every_transition_led_to_every_other_leaf_makes_verification_fail(ruled: Ruled, anatomy: Anatomy) -> None:
    """All transitions, each led to each other leaf."""
    assert survivors(ruled, mutate.with_other_target(anatomy)) == []


def test_order_matters_only_where_the_law_says_so(ruled: Ruled, anatomy: Anatomy) -> None:
    """Swapped neighbours are noticed, except among branches of which at most one can hold."""
    alive = survivors(ruled, mutate.with_priority_swapped(anatomy))
    assert all(any(f" on {event} " in name for event in ruled.law.exclusive) for name in alive)


def test_a_mutant_is_named_after_what_was_done(ruled: Ruled) -> None:
    """The name tells the transition and the wrong, in words."""
    first = next(islice(mutate.without_guard(read(ruled.chart)), 1))
    assert " -> " in first.name
    assert " without " in first.name
