"""One walk through a chart before its law."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set

from phasegate.statecharts.law import Clause, Response
from phasegate.statecharts.lines import Lines, Said
from phasegate.statecharts.relation import Configuration, Step
from phasegate.statecharts.violation import Violation
from phasegate.statecharts.walk import Edge, Node, Walk, said

Finding = tuple[Clause, str]
Judgement = tuple[Edge, tuple[Finding, ...], tuple[Response, ...]]
"""An edge, kept so that its identity stays its own; what speaks against it; the lines of the law that are about it."""


class Trial:
    """One walk before its law. `used` collects the response lines of the law that the walk has met.

    Args:
        walk: not explored yet.
        shared: judgements made before of edges (by their identity), under the same law and setting.
    """

    def __init__(self, walk: Walk, shared: dict[int, Judgement] | None = None) -> None:
        self.walk = walk
        self._shared = {} if shared is None else shared
        self.law = walk.law
        self.used: set[Response] = set()
        self._lines = Lines(self.law)

    def violations(self, clauses: Set[Clause]) -> Iterator[Violation]:
        """All that these clauses forbid in this walk, nearest to the start first; explores as it goes."""
        for clause, text in self._wrong_beginning():
            if clause in clauses:
                yield Violation(clause, text)
        for edge in self.walk.explore():
            for clause, text in self._judged(edge):
                if clause in clauses:
                    yield self._violation(clause, text, self.walk.way(edge.source, edge.step))
        if Clause.REACHABLE in clauses:
            yield from self._unreached()
        if Clause.GOAL in clauses:
            yield from self._stranded()
        if Clause.LIVELOCK in clauses and self.law.onward:
            yield from self._circling()

    def _violation(self, clause: Clause, text: str, way: tuple[Step, ...]) -> Violation:
        return Violation(clause, text, self.walk.story(way), way)

    def _wrong_beginning(self) -> Iterator[Finding]:
        begin = self.walk.leaf(self.walk.relation.initial)
        if begin != self.law.initial:
            yield Clause.BEGINNING, f"the chart begins in {begin}, not in {self.law.initial}"
        yield from self._wrong_activity([begin], self.walk.relation.begins_with, "the start")

    def _judged(self, edge: Edge) -> tuple[Finding, ...]:
        """All that speaks against an edge; the lines that are about it count as used."""
        if id(edge) not in self._shared:
            about = self._lines.about(self.walk.active(edge.step.source), edge.step.event, edge.step.answers)
            self._shared[id(edge)] = edge, tuple(self._judge(edge, about)), about.lines
        _, findings, lines = self._shared[id(edge)]
        self.used.update(lines)
        return findings

    def _judge(self, edge: Edge, about: Said) -> Iterator[Finding]:
        yield from self._ill_formed(edge.step)
        entered = sorted(self.law.leaves.intersection(edge.step.entered))
        for leaf in entered:
            yield from self._wrong_entry(leaf, edge)
        if entered:
            yield from self._wrong_activity(entered, edge.step.actions, edge.step.event)
        yield from self._wrong_meaning(edge.step)
        yield from self._wrong_response(edge.step, about)

    def _ill_formed(self, step: Step) -> Iterator[Finding]:
        active = self.walk.active(step.target)
        if not self.law.fits(active) or step.target != self.walk.relation.anatomy.configuration(active):
            text = f"{step.event} in {self.walk.leaf(step.source)} ends in the ill-formed {sorted(step.target)}"
            yield Clause.ONE_LEAF, text
        if doubled := step.source.difference(step.left).intersection(step.entered):
            text = f"{step.event} in {self.walk.leaf(step.source)} enters {sorted(doubled)} without leaving first"
            yield Clause.ONE_LEAF, text

    def _wrong_entry(self, leaf: str, edge: Edge) -> Iterator[Finding]:
        if not self.walk.enabled(leaf):
            yield Clause.ENABLING, f"{leaf} is entered although {self.law.enabled_by[leaf]} is off"
        for phase in self.law.requires.get(leaf, ()):
            if self.walk.enabled(phase) and phase not in edge.proven:
                yield Clause.ORDERING, f"{leaf} is entered before {phase} is proven complete"
        for guard in self.law.guarded.get(leaf, ()):
            if (guard, True) not in edge.step.answers:
                yield Clause.GUARDED, f"{leaf} is entered without a yes from {guard}"

    def _wrong_activity(self, entered: Sequence[str], begun: tuple[str, ...], event: str) -> Iterator[Finding]:
        runs = [self.law.runs[leaf] for leaf in entered if leaf in self.law.runs]
        if self.law.runs and sorted(begun) != sorted(runs):
            asked, told = " and ".join(begun) or "nothing", " and ".join(runs) or "nothing"
            is_entered = f"{' and '.join(entered)} {'is' if len(entered) == 1 else 'are'} entered"
            yield Clause.ACTIVITY, f"{is_entered} by {event} and asks for {asked}, not for {told}"

    def _wrong_meaning(self, step: Step) -> Iterator[Finding]:
        leaf, entered = self.walk.leaf(step.source), self.law.leaves.intersection(step.entered)
        for wrong in sorted(entered - self.law.leads.get(step.event, entered)):
            yield Clause.MEANING, f"{step.event} in {leaf} leads to {wrong}, which is not what it means"
        if step.event in self.law.everywhere and not step.moved:
            yield Clause.EVERYWHERE, f"{step.event} is refused in {leaf}"

    def _wrong_response(self, step: Step, about: Said) -> Iterator[Finding]:
        leaf = self.walk.leaf(step.source)
        if about.lines:
            entered = [state for state in step.entered if state in self.law.leaves]
            if sorted(entered) != sorted(about.entered) or step.moved != bool(about.entered):
                case, wanted = " and ".join(map(told, about.lines)), " and ".join(about.entered)
                text = f"{case} enters {' and '.join(entered) or 'nothing'}, not {wanted or 'nothing'}"
                yield Clause.RESPONSE, text
        elif about.known:
            yield (
                Clause.RESPONSE,
                f"{step.event} in {leaf} is decided by [{said(step.answers)}], which the law does not know",
            )
        elif step.moved:
            yield Clause.RESPONSE, f"{step.event} moves {leaf}, and no line of the law allows it"

    def _unreached(self) -> Iterator[Violation]:
        reached = {state for node in self.walk.nodes for state in node.configuration}
        for leaf in sorted(self.law.leaves - reached):
            if self.walk.enabled(leaf) and self._has_use(leaf):
                yield Violation(Clause.REACHABLE, f"{leaf} is never reached")

    def _has_use(self, leaf: str) -> bool:
        """Whether it has to be reached: no region is entered in a setting in which none has anything to do."""
        beside = self.law.beside
        if beside is None or leaf not in beside.leaves:
            return True
        return any(self.walk.enabled(other) for other in beside.leaves & self.law.enabled_by.keys())

    def _stranded(self) -> Iterator[Violation]:
        leading = self.walk.leading_to(self.law.goal)
        for node in self.walk.nodes:
            leaf = self.walk.leaf(node.configuration)
            if node not in leading and self.law.ends.isdisjoint(node.configuration):
                text = f"from {leaf} there is no way to {self.law.goal}"
                yield self._violation(Clause.GOAL, text, self.walk.way(node))

    def _circling(self) -> Iterator[Violation]:
        """Where, with nothing wrong, some way does not lead to the goal: it goes round in a circle or stops short."""
        nearest: dict[Configuration, Node] = {}
        for node in self.walk.nodes:
            nearest.setdefault(node.configuration, node)
        ways = {place: self._ways_on(place) for place in nearest}
        for place, targets in ways.items():
            if self.law.goal in place and targets - {place}:
                text = f"{self.law.goal} is left, though nothing is wrong"
                yield self._violation(Clause.LIVELOCK, text, self.walk.way(nearest[place]))
        settled = {place for place in ways if self.law.goal in place}
        grown = True
        while grown:
            fresh = {place for place, targets in ways.items() if targets and targets <= settled} - settled
            settled |= fresh
            grown = bool(fresh)
        for place, node in nearest.items():
            if place not in settled and self.law.ends.isdisjoint(place):
                text = f"from {self.walk.leaf(place)} not every way leads to {self.law.goal}, though nothing is wrong"
                yield self._violation(Clause.LIVELOCK, text, self.walk.way(node))

    def _ways_on(self, place: Configuration) -> set[Configuration]:
        steps = self.walk.relation.steps(place)
        return {step.target for step in steps if step.event in self.law.onward and step.moved and self._all_well(step)}

    def _all_well(self, step: Step) -> bool:
        free = [(name, answer) for name, answer in step.answers if name not in self.law.switches]
        return all(answer == (name not in self.law.bad_news) for name, answer in free)


def told(line: Response) -> str:
    """The case that a line of the law is about, in words."""
    return f"{line.event} in {line.leaf}" + (f" [{said(line.answers)}]" if line.answers else "")
