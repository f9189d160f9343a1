"""Every mutant of a chart before the chart's law: who is caught, by what, and who gets away.

A mutant is tried by the whole law, until one of the invariants (the law without its response lines) is broken, or to
the end: then a response line may have caught it. Who is caught by neither and can reach nothing else than the chart
itself, step for step, is no wrong at all: it is listed as equivalent. Anybody else is a survivor, and the law has a
hole.

The invariants say little, but they say it about every state, and whoever writes a chart can write them down knowing
what its states and events mean, and not its single arrows. So how far they get alone is told apart, and expected to be
far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from enum import StrEnum
from time import perf_counter
from typing import Any

import attrs

from phasegate.statecharts.anatomy import read
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.explore import Memory, graph, violations
from phasegate.statecharts.law import INVARIANTS, Law
from phasegate.statecharts.mutate import Mutant, mutants
from phasegate.statecharts.violation import Violation

LEAST_SHARE = 0.6
"""So many of the mutants that are wrong at all have to be caught by the invariants alone."""


class Fate(StrEnum):
    """What became of a mutant."""

    BY_INVARIANT = "caught by an invariant"
    BY_RESPONSE = "caught by a response line"
    EQUIVALENT = "equivalent"
    SURVIVED = "survived"


@attrs.frozen
class Verdict:
    """One mutant: what was done to the chart, what became of it, and the clause and violation that caught it."""

    mutant: str
    kind: str
    fate: Fate
    law: str = ""
    text: str = ""


@attrs.frozen
class Campaign:
    """All mutants of one chart."""

    name: str
    verdicts: tuple[Verdict, ...]
    seconds: float

    def count(self, *fates: Fate) -> int:
        """How many met one of these fates."""
        return sum(verdict.fate in fates for verdict in self.verdicts)

    @property
    def caught(self) -> int:
        """How many the law caught."""
        return self.count(Fate.BY_INVARIANT, Fate.BY_RESPONSE)

    @property
    def wrong(self) -> int:
        """How many there are that do differ from the chart."""
        return len(self.verdicts) - self.count(Fate.EQUIVALENT)

    @property
    def share(self) -> float:
        """The part of the wrong ones that the invariants caught alone."""
        return self.count(Fate.BY_INVARIANT) / self.wrong if self.wrong else 1.0

    @property
    def survivors(self) -> tuple[Verdict, ...]:
        """Those that got away."""
        return tuple(verdict for verdict in self.verdicts if verdict.fate is Fate.SURVIVED)

    @property
    def kinds(self) -> Counter[str]:
        """How many there are of each kind."""
        return Counter(verdict.kind for verdict in self.verdicts)


def campaign(
    chart: type[Chart[Any]],
    law: Law,
    *,
    tried: Iterable[Mutant] | None = None,
    on_verdict: Callable[[Verdict], None] | None = None,
) -> Campaign:
    """Try every mutant of `chart` (or those given) before `law`.

    Args:
        chart: the chart class; it should keep the law.
        law: by hand, never derived from the chart.
        tried: mutants, if not all there are.
        on_verdict: called after each, to show progress.

    Raises:
        ValueError: if the chart uses what no chart here uses.
    """
    started, anatomy, verdicts = perf_counter(), read(chart), list[Verdict]()
    memory = Memory(anatomy.boxes)
    original = graph(anatomy, law, memory)
    for mutant in mutants(anatomy) if tried is None else tried:
        verdicts.append(_verdict(mutant, law, original, memory))
        if on_verdict is not None:
            on_verdict(verdicts[-1])
    return Campaign(law.name, tuple(verdicts), perf_counter() - started)


def _verdict(mutant: Mutant, law: Law, original: frozenset[tuple[object, ...]], memory: Memory) -> Verdict:
    answered: Violation | None = None
    for found in violations(mutant.anatomy, law, memory=memory):
        if found.law in INVARIANTS:
            return Verdict(mutant.name, mutant.kind, Fate.BY_INVARIANT, found.law, found.text)
        answered = answered or found
    if answered is not None:
        return Verdict(mutant.name, mutant.kind, Fate.BY_RESPONSE, answered.law, answered.text)
    same = graph(mutant.anatomy, law, memory) == original
    return Verdict(mutant.name, mutant.kind, Fate.EQUIVALENT if same else Fate.SURVIVED)
