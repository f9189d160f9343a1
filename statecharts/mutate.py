"""Small wrongs done to a chart, one at a time, to see whether its law notices.

A law that passes the chart proves something only if it fails the chart's mutants. Each mutant is a change of the
chart's tables, from which `anatomy.build` makes a chart that shares nothing with the original.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from phasegate.statecharts.anatomy import Anatomy, Arrow, Guard


@attrs.frozen
class Mutant:
    """A wronged chart: what was done, in words, and its tables."""

    name: str
    anatomy: Anatomy


def without_guard(anatomy: Anatomy) -> Iterator[Mutant]:
    """Each guard of each transition left out in turn."""
    for place, arrow in enumerate(anatomy.arrows):
        for guard in arrow.guards:
            rest = tuple(other for other in arrow.guards if other != guard)
            yield _changed(anatomy, place, f"without {guard}", attrs.evolve(arrow, guards=rest))


def with_guard_negated(anatomy: Anatomy) -> Iterator[Mutant]:
    """Each guard of each transition turned into its opposite in turn."""
    for place, arrow in enumerate(anatomy.arrows):
        for at, guard in enumerate(arrow.guards):
            opposite = (*arrow.guards[:at], Guard(guard.name, not guard.wanted), *arrow.guards[at + 1 :])
            yield _changed(anatomy, place, f"with {guard} negated", attrs.evolve(arrow, guards=opposite))


def without_arrow(anatomy: Anatomy) -> Iterator[Mutant]:
    """Each transition left out in turn."""
    for place in range(len(anatomy.arrows)):
        yield _changed(anatomy, place, "left out")


def with_other_target(anatomy: Anatomy) -> Iterator[Mutant]:
    """Each transition led to each other leaf in turn."""
    leaves = [leaf.id for box in anatomy.boxes for leaf in box.leaves]
    for place, arrow in enumerate(anatomy.arrows):
        right = anatomy.box(arrow.target).first.id
        for leaf in leaves:
            if leaf != right:
                yield _changed(anatomy, place, f"led to {leaf}", attrs.evolve(arrow, target=leaf))


def with_priority_swapped(anatomy: Anatomy) -> Iterator[Mutant]:
    """Each two neighbouring transitions of one state on one event exchanged in turn."""
    for place, (one, other) in enumerate(zip(anatomy.arrows, anatomy.arrows[1:], strict=False)):
        if (one.source, one.event) == (other.source, other.event):
            arrows = (*anatomy.arrows[:place], other, one, *anatomy.arrows[place + 2 :])
            name = f"{_told(one)} after {_told(other)}"
            yield Mutant(name, attrs.evolve(anatomy, arrows=arrows))


def _changed(anatomy: Anatomy, place: int, what: str, *arrows: Arrow) -> Mutant:
    changed = (*anatomy.arrows[:place], *arrows, *anatomy.arrows[place + 1 :])
    return Mutant(f"{_told(anatomy.arrows[place])} {what}", attrs.evolve(anatomy, arrows=changed))


def _told(arrow: Arrow) -> str:
    return f"{arrow.source} -> {arrow.target} on {arrow.label}"
