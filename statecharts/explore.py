"""Every story a chart can tell, held against its law."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from time import perf_counter
from typing import Any

import attrs

from phasegate.statecharts.anatomy import Arrow
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.law import Law, Response
from phasegate.statecharts.relation import Step
from phasegate.statecharts.walk import Edge, Walk, said


@attrs.frozen
class Violation:
    """What the law forbids, and a shortest story that leads there, one step a line (empty if no story shows it)."""

    text: str
    story: str = ""


@attrs.frozen
class Report:
    """The outcome of one exploration; the chart keeps the law if there are no violations.

    `nodes` counts configurations with what is proven in them, for each setting of the switches; `edges` every event in
    every node under every valuation of the guards.
    """

    name: str
    configurations: int
    nodes: int
    edges: int
    seconds: float
    violations: tuple[Violation, ...]


def verify(chart: type[Chart[Any]], law: Law) -> Report:
    """Explore every reachable configuration under every valuation of the guards, and compare with the law.

    Raises:
        ValueError: if the chart uses what no chart here uses (history, parallel states, eventless transitions ...).
    """
    started = perf_counter()
    trials = [Trial(Walk(chart, law, setting)) for setting in _settings(law)]
    found: dict[str, Violation] = {}
    for violation in _all_violations(trials, law):
        found.setdefault(violation.text, violation)
    return Report(
        name=law.name,
        configurations=len({node.configuration for trial in trials for node in trial.walk.nodes}),
        nodes=sum(len(trial.walk.nodes) for trial in trials),
        edges=sum(len(trial.walk.edges) for trial in trials),
        seconds=perf_counter() - started,
        violations=tuple(found.values()),
    )


class Trial:
    """One walk before its law. `used` collects the response lines of the law that the walk has met."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.law = walk.law
        self.used: set[Response] = set()
        self._lines = {(line.leaf, line.event, line.answers): line for line in self.law.responses}
        self._answered = {(line.leaf, line.event) for line in self.law.responses}

    def violations(self) -> Iterator[Violation]:
        """All that the law forbids in this walk, nearest to the start first."""
        begin = self.walk.leaf(self.walk.relation.initial)
        if begin != self.law.initial:
            yield Violation(f"the chart begins in {begin}, not in {self.law.initial}")
        for edge in self.walk.edges:
            for text in self._judge(edge):
                yield Violation(text, self.walk.story(edge.source, edge.step))
        yield from self._unreached()
        yield from self._stranded()

    def _judge(self, edge: Edge) -> Iterator[str]:
        yield from self._ill_formed(edge.step)
        for leaf in sorted(self.law.leaves.intersection(edge.step.entered)):
            yield from self._wrong_entry(leaf, edge)
        yield from self._wrong_response(edge.step)

    def _ill_formed(self, step: Step) -> Iterator[str]:
        leaf = self.walk.leaf(step.target)
        if leaf not in self.law.leaves or step.target != frozenset(self.walk.relation.anatomy.path(leaf)):
            yield f"{step.event} in {self.walk.leaf(step.source)} ends in the ill-formed {sorted(step.target)}"
        if doubled := step.source.difference(step.left).intersection(step.entered):
            yield f"{step.event} in {self.walk.leaf(step.source)} enters {sorted(doubled)} without leaving first"

    def _wrong_entry(self, leaf: str, edge: Edge) -> Iterator[str]:
        if not self.walk.enabled(leaf):
            yield f"{leaf} is entered although {self.law.enabled_by[leaf]} is off"
        for phase in self.law.requires.get(leaf, ()):
            if self.walk.enabled(phase) and phase not in edge.proven:
                yield f"{leaf} is entered before {phase} is proven complete"
        for guard in self.law.guarded.get(leaf, ()):
            if (guard, True) not in edge.step.answers:
                yield f"{leaf} is entered without a yes from {guard}"

    def _wrong_response(self, step: Step) -> Iterator[str]:
        leaf = self.walk.leaf(step.source)
        line = self._lines.get((leaf, step.event, step.answers))
        if line is not None:
            self.used.add(line)
            entered = [state for state in step.entered if state in self.law.leaves]
            if entered != ([line.target] if line.target else []) or step.moved != bool(line.target):
                yield f"{_case(line)} enters {' and '.join(entered) or 'nothing'}, not {line.target or 'nothing'}"
        elif (leaf, step.event) in self._answered:
            yield f"{step.event} in {leaf} is decided by [{said(step.answers)}], which the law does not know"
        elif step.moved:
            yield f"{step.event} moves {leaf}, and no line of the law allows it"

    def _unreached(self) -> Iterator[Violation]:
        reached = {state for node in self.walk.nodes for state in node.configuration}
        for leaf in sorted(self.law.leaves - reached):
            if self.walk.enabled(leaf):
                yield Violation(f"{leaf} is never reached")

    def _stranded(self) -> Iterator[Violation]:
        leading = self.walk.leading_to(self.law.goal)
        for node in self.walk.nodes:
            leaf = self.walk.leaf(node.configuration)
            if node not in leading and leaf not in self.law.ends:
                yield Violation(f"from {leaf} there is no way to {self.law.goal}", self.walk.story(node))


def _settings(law: Law) -> Iterator[dict[str, bool]]:
    for answers in product((True, False), repeat=len(law.switches)):
        yield dict(zip(law.switches, answers, strict=True))


def _all_violations(trials: list[Trial], law: Law) -> Iterator[Violation]:
    for trial in trials:
        yield from trial.violations()
    anatomy = trials[0].walk.relation.anatomy
    for one, other in combinations(anatomy.arrows, 2):
        if one.event in law.exclusive and _overlap(one, other):
            yield Violation(f"{one.event} in {one.source}: the ways to {one.target} and {other.target} may both hold")
    for box in anatomy.walk():
        if box.final != (box.id in law.ends):
            yield Violation(f"{box.id} is {'an end' if box.final else 'no end'}, against the law")
    used = frozenset[Response]().union(*(trial.used for trial in trials))
    for line in law.responses:
        if line not in used:
            yield Violation(f"{_case(line)} never happens, though the law has it")


def _overlap(one: Arrow, other: Arrow) -> bool:
    """Whether some valuation lets both pass: true unless a guard stands in one and its opposite in the other."""
    if (one.source, one.event) != (other.source, other.event):
        return False
    opposites = {(guard.name, not guard.wanted) for guard in one.guards}
    return not opposites.intersection((guard.name, guard.wanted) for guard in other.guards)


def _case(line: Response) -> str:
    return f"{line.event} in {line.leaf}" + (f" [{said(line.answers)}]" if line.answers else "")
