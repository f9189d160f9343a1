"""Small wrongs done to a chart, one at a time, to see whether its law notices.

A law that passes the chart proves something only if it fails the chart's mutants. Each mutant is a change of the
chart's tables; `phasegate.statecharts.campaign` tries them all.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from phasegate.statecharts.anatomy import Anatomy, Arrow, Box, Guard


@attrs.frozen
class Mutant:
    """A wronged chart: what kind of wrong was done, what exactly, in words, and its tables."""

    name: str
    anatomy: Anatomy
    kind: str


def mutants(anatomy: Anatomy) -> Iterator[Mutant]:
    """Every mutant of every kind."""
    for kind in (
        without_guard,
        with_guard_negated,
        with_priority_swapped,
        without_arrow,
        with_other_target,
        without_activity,
    ):
        yield from kind(anatomy)


def without_guard(anatomy: Anatomy) -> Iterator[Mutant]:
    """Each guard of each transition left out in turn."""
    for place, arrow in enumerate(anatomy.arrows):
        for guard in arrow.guards:
            rest = tuple(other for other in arrow.guards if other != guard)
            yield _changed("guard dropped", anatomy, place, f"without {guard}", attrs.evolve(arrow, guards=rest))


def with_guard_negated(anatomy: Anatomy) -> Iterator[Mutant]:
    """Each guard of each transition turned into its opposite in turn."""
    for place, arrow in enumerate(anatomy.arrows):
        for at, guard in enumerate(arrow.guards):
            opposite = (*arrow.guards[:at], Guard(guard.name, not guard.wanted), *arrow.guards[at + 1 :])
            yield _changed(
                "guard negated", anatomy, place, f"with {guard} negated", attrs.evolve(arrow, guards=opposite)
            )


def without_arrow(anatomy: Anatomy) -> Iterator[Mutant]:
    """Each transition left out in turn."""
    for place in range(len(anatomy.arrows)):
        yield _changed("transition deleted", anatomy, place, "left out")


def with_other_target(anatomy: Anatomy) -> Iterator[Mutant]:
    """Each transition led in turn to each leaf that it does not enter anyway."""
    for place, arrow in enumerate(anatomy.arrows):
        right = {leaf.id for leaf in anatomy.box(arrow.target).begin}
        for leaf in anatomy.leaves:
            if leaf not in right:
                yield _changed("retargeted", anatomy, place, f"led to {leaf}", attrs.evolve(arrow, target=leaf))


def with_priority_swapped(anatomy: Anatomy) -> Iterator[Mutant]:
    """Each two transitions of one state on one event that follow each other exchanged in turn, whatever is between."""
    for place, one in enumerate(anatomy.arrows):
        later = enumerate(anatomy.arrows[place + 1 :], place + 1)
        after = next((at for at, arrow in later if (arrow.source, arrow.event) == (one.source, one.event)), None)
        if after is not None:
            other, arrows = anatomy.arrows[after], list(anatomy.arrows)
            arrows[place], arrows[after] = other, one
            name = f"{_told(one)} after {_told(other)}"
            yield Mutant(name, attrs.evolve(anatomy, arrows=tuple(arrows)), "priorities swapped")


def without_activity(anatomy: Anatomy) -> Iterator[Mutant]:
    """The activities of each state that has any dropped in turn, so that it is entered and nothing happens."""
    for box in anatomy.walk():
        if box.entry:
            quiet = tuple(_without_entry(outer, box.id) for outer in anatomy.boxes)
            yield Mutant(f"{box.id} without its activity", attrs.evolve(anatomy, boxes=quiet), "activity dropped")


def _without_entry(box: Box, state: str) -> Box:
    inside = tuple(_without_entry(inner, state) for inner in box.inside)
    return attrs.evolve(box, inside=inside, entry=() if box.id == state else box.entry)


def _changed(kind: str, anatomy: Anatomy, place: int, what: str, *arrows: Arrow) -> Mutant:
    changed = (*anatomy.arrows[:place], *arrows, *anatomy.arrows[place + 1 :])
    return Mutant(f"{_told(anatomy.arrows[place])} {what}", attrs.evolve(anatomy, arrows=changed), kind)


def _told(arrow: Arrow) -> str:
    return f"{arrow.source} -> {arrow.target} on {arrow.label}"
