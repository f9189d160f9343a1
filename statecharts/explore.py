"""Every story a chart can tell, held against its law.

Violations are found lazily and nearest to the start first: a proof looks at all of them, a mutant's trial ends with the
first. The search runs on the chart's tables; `verify` also proves that these say what the library does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from itertools import chain, combinations, product
from time import perf_counter
from typing import Any

import attrs

from phasegate.statecharts.anatomy import Anatomy, Arrow, Box, read
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.law import Clause, Law, Response
from phasegate.statecharts.names import unknown_names
from phasegate.statecharts.relation import Step
from phasegate.statecharts.table import Asked, Table, disagreements
from phasegate.statecharts.trial import Judgement, Trial, told
from phasegate.statecharts.violation import Violation
from phasegate.statecharts.walk import Edge, Origin, Walk

ALL = frozenset(Clause)
TABLE = "table"
"""The name under which it is told that the tables of a chart are not what the library runs."""


@attrs.frozen
class Report:
    """The outcome of one exploration; the chart keeps the law if there are no violations.

    `nodes` counts configurations with what is proven in them, for each setting of the switches; `edges` every event in
    every node under every valuation of the guards; `compared` the steps that were asked of the library too; `restarts`
    the configurations after which a chart made anew was seen to begin at the start.
    """

    name: str
    configurations: int
    nodes: int
    edges: int
    compared: int
    restarts: int
    seconds: float
    violations: tuple[Violation, ...]


def verify(chart: type[Chart[Any]], law: Law) -> Report:
    """Explore every reachable configuration under every valuation of the guards, and compare with the law.

    Raises:
        ValueError: if the chart uses what no chart here uses (history, eventless transitions ...).
    """
    started, anatomy = perf_counter(), read(chart)
    trials = _trials(anatomy, law, None)
    found: dict[str, Violation] = {}
    judged = chain(_in_trials(trials, ALL), _in_tables(anatomy, law, ALL), _unused(trials, law, ALL))
    for violation in chain(judged, unknown_names(anatomy, law)):
        found.setdefault(violation.text, violation)
    reached = [list({node.configuration: None for node in trial.walk.nodes}) for trial in trials]
    for trial, places in zip(trials, reached, strict=True):
        for text in disagreements(chart, Table(anatomy, trial.walk.switches), places):
            found.setdefault(text, Violation(TABLE, text))
    return Report(
        name=law.name,
        configurations=len({place for places in reached for place in places}),
        nodes=sum(len(trial.walk.nodes) for trial in trials),
        edges=sum(len(trial.walk.edges) for trial in trials),
        compared=sum(
            len(t.walk.relation.steps(place)) for t, places in zip(trials, reached, strict=True) for place in places
        ),
        restarts=sum(map(len, reached)),
        seconds=perf_counter() - started,
        violations=tuple(found.values()),
    )


class Memory:
    """What was found out about one chart before its law, so that its mutants, which differ little, take less time.

    Where a mutant has the same transitions to ask as a chart before it, the same steps, edges and judgements are taken.

    Args:
        boxes: the states of the chart; a mutant with other ones is looked at without this memory.
    """

    def __init__(self, boxes: tuple[Box, ...]) -> None:
        self._boxes = boxes
        self._shared: dict[tuple[bool, ...], _Shared] = {}

    def of(self, anatomy: Anatomy, setting: Mapping[str, bool]) -> _Shared:
        """What is known of tables under a setting of the switches."""
        if anatomy.boxes != self._boxes:
            return _Shared()
        return self._shared.setdefault(tuple(setting.values()), _Shared())


@attrs.frozen(eq=False)
class _Shared:
    steps: dict[Asked, tuple[Step, ...]] = attrs.field(factory=dict)
    edges: dict[Origin, tuple[Edge, ...]] = attrs.field(factory=dict)
    judged: dict[int, Judgement] = attrs.field(factory=dict)


def walks(anatomy: Anatomy, law: Law, memory: Memory | None = None) -> list[Walk]:
    """The walk through these tables for each setting of the switches; none has been explored yet."""
    return [trial.walk for trial in _trials(anatomy, law, memory)]


def _trials(anatomy: Anatomy, law: Law, memory: Memory | None) -> list[Trial]:
    memory, trials = memory or Memory(anatomy.boxes), list[Trial]()
    for setting in settings(law):
        shared = memory.of(anatomy, setting)
        trials.append(Trial(Walk(Table(anatomy, setting, shared.steps), law, setting, shared.edges), shared.judged))
    return trials


def violations(
    anatomy: Anatomy, law: Law, clauses: Set[Clause] = ALL, memory: Memory | None = None
) -> Iterator[Violation]:
    """What the law forbids in a chart with these tables, found one after the other, by these clauses alone."""
    trials = _trials(anatomy, law, memory)
    yield from _in_tables(anatomy, law, clauses)
    yield from _in_trials(trials, clauses)
    yield from _unused(trials, law, clauses)


def graph(anatomy: Anatomy, law: Law, memory: Memory | None = None) -> frozenset[tuple[object, ...]]:
    """What can be reached and how: equal for two charts that nobody who watches them could tell apart."""
    edges = set[tuple[object, ...]]()
    for walk in walks(anatomy, law, memory):
        setting = tuple(walk.switches.items())
        edges |= {(setting, walk.relation.initial, walk.relation.begins_with)}
        edges |= {(setting, edge.source, *_seen(edge.step), edge.target) for edge in walk.explore()}
    return frozenset(edges)


def settings(law: Law) -> Iterator[dict[str, bool]]:
    """Each setting of the law's switches."""
    for answers in product((True, False), repeat=len(law.switches)):
        yield dict(zip(law.switches, answers, strict=True))


def _seen(step: Step) -> tuple[object, ...]:
    return step.event, frozenset(step.answers), step.left, step.entered, step.actions


def _in_trials(trials: list[Trial], clauses: Set[Clause]) -> Iterator[Violation]:
    for trial in trials:
        yield from trial.violations(clauses)


def _in_tables(anatomy: Anatomy, law: Law, clauses: Set[Clause]) -> Iterator[Violation]:
    if Clause.EXCLUSIVE in clauses:
        for one, other in combinations(anatomy.arrows, 2):
            if one.event in law.exclusive and _overlap(one, other):
                text = f"{one.event} in {one.source}: the ways to {one.target} and {other.target} may both hold"
                yield Violation(Clause.EXCLUSIVE, text)
    if Clause.ENDS in clauses:
        for box in anatomy.walk():
            if box.final != (box.id in law.ends):
                yield Violation(Clause.ENDS, f"{box.id} is {'an end' if box.final else 'no end'}, against the law")


def _unused(trials: list[Trial], law: Law, clauses: Set[Clause]) -> Iterator[Violation]:
    if Clause.RESPONSE in clauses:
        used = frozenset[Response]().union(*(trial.used for trial in trials))
        for line in law.responses:
            if line not in used:
                yield Violation(Clause.RESPONSE, f"{told(line)} never happens, though the law has it")


def _overlap(one: Arrow, other: Arrow) -> bool:
    """Whether some valuation lets both pass: true unless a guard stands in one and its opposite in the other."""
    if (one.source, one.event) != (other.source, other.event):
        return False
    opposites = {(guard.name, not guard.wanted) for guard in one.guards}
    return not opposites.intersection((guard.name, guard.wanted) for guard in other.guards)
