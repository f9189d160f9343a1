"""What a law names, held against the chart: a misspelt name would switch a clause off, and nobody would notice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from phasegate.statecharts.anatomy import Anatomy
from phasegate.statecharts.law import Law
from phasegate.statecharts.violation import Violation

NAMES = "names"
"""The name under which it is told that a law speaks of what the chart does not have."""


def unknown_names(anatomy: Anatomy, law: Law) -> Iterator[Violation]:
    """Every name in a law that is no leaf, guard, event or activity of the chart, where one of these has to stand."""
    leaves = set(anatomy.leaves)
    owners = leaves | ({law.beside.state} if law.beside is not None else set())
    boxes = {box.id for box in anatomy.walk() if box.parallel}
    for part, kind, known, named in (
        ("leaves", "leaf", leaves, law.leaves),
        ("initial and goal", "leaf", leaves, (law.initial, law.goal)),
        ("ends", "leaf", leaves, law.ends),
        ("requires", "leaf", leaves, {*law.requires, *_inside(law.requires.values())}),
        ("completed_by", "leaf", leaves, law.completed_by),
        ("completed_by", "guard", anatomy.guards, law.completed_by.values()),
        ("enabled_by", "leaf", leaves, law.enabled_by),
        ("enabled_by", "guard", anatomy.guards, law.enabled_by.values()),
        ("guarded", "leaf", leaves, law.guarded),
        ("guarded", "guard", anatomy.guards, _inside(law.guarded.values())),
        ("exclusive", "event", anatomy.events, law.exclusive),
        ("leads", "event", anatomy.events, law.leads),
        ("leads", "leaf", leaves, _inside(law.leads.values())),
        ("everywhere", "event", anatomy.events, law.everywhere),
        ("runs", "leaf", leaves, law.runs),
        ("runs", "activity", anatomy.actions, law.runs.values()),
        ("returns", "activity", anatomy.actions, law.returns),
        ("returns", "event", anatomy.events, law.returns.values()),
        ("onward", "event", anatomy.events, law.onward),
        ("responses", "leaf", owners, {line.leaf for line in law.responses}),
        ("responses", "leaf", owners, {line.target for line in law.responses if line.target}),
        ("beside", "parallel state", boxes, () if law.beside is None else (law.beside.state,)),
        ("beside", "leaf", leaves, () if law.beside is None else law.beside.leaves),
        ("bad_news", "guard", anatomy.guards, law.bad_news),
    ):
        for name in sorted(set(named) - set(known)):
            yield Violation(NAMES, f"{part} of the law names {name!r}, which is no {kind} of the chart")


def _inside(groups: Iterable[Iterable[str]]) -> set[str]:
    return {name for group in groups for name in group}
