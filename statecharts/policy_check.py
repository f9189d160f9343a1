"""What recovery promises, held against the chart and the policy together.

1. Every failure of a phase, or of `synced`, has an answer, and the answer leads to the state that is named after it. A
   failure during a recovery leads to `degraded`.
2. From every state, once the failure has ended, `synced` is reached, on each way that is left and in a bounded number
   of steps. The failure has ended when the guards answer well: peers are ready, the remedy is found, phases complete.
3. While a failure lasts and nothing gets stored, `degraded`, which says why, is entered after a bounded number of
   failures, and again after each way out of it: nothing is tried for ever in silence.
4. Nothing completes by giving up: neither `fail` nor `recover` enters a later phase or `synced`.
5. Every row and every strategy is used, and every reason has a remedy.

The tables here are by hand; none is derived from a chart or from the policy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from time import perf_counter
from typing import Any

import attrs

from phasegate.statecharts.chart import Chart
from phasegate.statecharts.interleaved import InterleavedChart
from phasegate.statecharts.law import Law
from phasegate.statecharts.law_interleaved import INTERLEAVED
from phasegate.statecharts.law_recovery import RECOVERING
from phasegate.statecharts.law_sync import PHASES, SYNC
from phasegate.statecharts.ordeal import FAILING, LEAVES, Move, Ordeal, Plight
from phasegate.statecharts.policy import POLICY, REMEDIES, Reason, Rule, Strategy
from phasegate.statecharts.relation import Configuration, Step
from phasegate.statecharts.sync import SyncChart
from phasegate.statecharts.violation import Violation

STATES: Mapping[Strategy, str] = {
    Strategy.RETRY: "backoff",
    Strategy.RESTART: "restarting",
    Strategy.SWITCH: "switching",
    Strategy.WAIT: "waiting",
    Strategy.DEGRADE: "degraded",
}
"""The leaf that is each strategy."""
NEVER_BY_FAILING = frozenset((*PHASES.split()[1:], "synced"))
"""What only completeness leads to."""
ANSWERED, ENDED, TOLD, HONEST, ALIVE = (
    "answered",
    "never a dead end",
    "never in silence",
    "nothing completes by giving up",
    "nothing is dead",
)
"""The five promises, as they are named when one is broken."""


@attrs.frozen
class PolicyReport:
    """The outcome: what was explored, and how long the two promises that are bounded may take at most.

    `failures` is how often reasons may strike, in any mixture and with nothing stored, until the client is degraded;
    `steps` how many steps of the chart lead back to `synced` from wherever it is.
    """

    nodes: int
    edges: int
    failures: int
    steps: int
    seconds: float
    violations: tuple[Violation, ...]


def verify_policy(
    chart: type[Chart[Any]] = SyncChart,
    policy: Sequence[Rule] = POLICY,
    remedies: Mapping[Reason, str] = REMEDIES,
    law: Law = SYNC,
) -> PolicyReport:
    """Explore chart and policy under every setting of the configuration switches, and compare with the promises."""
    started = perf_counter()
    settings = [dict(zip(law.switches, on, strict=True)) for on in product((True, False), repeat=len(law.switches))]
    trials = [_Trial(Ordeal(chart, policy, setting, law), law) for setting in settings]
    found: dict[str, Violation] = {}
    for violation in (*_violations(trials), *_unused(trials, policy), *_without_remedy(remedies)):
        found.setdefault(violation.text, violation)
    return PolicyReport(
        nodes=sum(len(trial.ordeal.nodes) for trial in trials),
        edges=sum(len(trial.ordeal.moves) for trial in trials),
        failures=max(1 + sum(trial.tolerated.values()) for trial in trials),
        steps=max((steps for trial in trials for steps in trial.way_back.values()), default=0),
        seconds=perf_counter() - started,
        violations=tuple(found.values()),
    )


def verify_interleaved() -> PolicyReport:
    """The same of the other chart that a client runs."""
    return verify_policy(InterleavedChart, law=INTERLEAVED)


class _Trial:
    """One ordeal before the promises.

    `tolerated` is how often each reason may strike alone before `degraded`, `way_back` the longest way to `synced`
    from each configuration from which every way leads there.
    """

    def __init__(self, ordeal: Ordeal, law: Law) -> None:
        self.ordeal = ordeal
        self._law = law
        self.way_back: dict[Configuration, int] = {}
        self.tolerated: dict[Reason, int] = {}
        self._endless: list[Violation] = []
        self._measure_ways_back()
        for reason in Reason:
            self._measure_patience(reason)

    def violations(self) -> Iterator[Violation]:
        """What is not kept, nearest to the start first."""
        for node, text in self.ordeal.unanswered:
            yield Violation(ANSWERED, text, self.ordeal.story(node))
        for move in self.ordeal.moves:
            for promise, text in _broken_by(move):
                yield Violation(promise, text, self.ordeal.story(move.source, move))
        for node in self.ordeal.nodes:
            if node.configuration not in self.way_back and self._law.ends.isdisjoint(node.leaves):
                text = f"from {node.leaf} not every way leads to synced when the failure has ended"
                yield Violation(ENDED, text, self.ordeal.story(node))
        yield from self._endless

    def _measure_ways_back(self) -> None:
        """Beginning at `synced`: a configuration is settled when all its ways on lead to settled ones."""
        ways = {node.configuration: self._ways_on(node) for node in self.ordeal.nodes}
        self.way_back = {configuration: 0 for configuration in ways if self._law.goal in configuration}
        grown = True
        while grown:
            grown = False
            for configuration, targets in ways.items():
                if configuration not in self.way_back and targets and all(t in self.way_back for t in targets):
                    self.way_back[configuration] = 1 + max(self.way_back[target] for target in targets)
                    grown = True

    def _ways_on(self, node: Plight) -> list[Configuration]:
        steps = self.ordeal.steps(node.configuration)
        well = [step for step in steps if step.event in self._law.onward and step.moved and self._all_well(step)]
        return [step.target for step in well]

    def _all_well(self, step: Step) -> bool:
        """Whether the guards that are no switches answered as they do when no failure is left."""
        free = [(name, answer) for name, answer in step.answers if name not in self._law.switches]
        return all(answer == (name not in self._law.bad_news) for name, answer in free)

    def _measure_patience(self, reason: Reason) -> None:
        """Follow the stories in which `reason` strikes alone and nothing gets stored, up to `degraded`."""
        onward: dict[Plight, list[Move]] = {}
        for move in self.ordeal.moves:
            alone = move.target.reason in (None, reason) and (move.struck or move.step)
            if alone and move.source.leaf != "degraded" != move.target.leaf:
                onward.setdefault(move.source, []).append(move)
        reached, queue = {self.ordeal.nodes[0]}, deque([self.ordeal.nodes[0]])
        while queue:
            for move in onward.get(queue.popleft(), ()):
                if move.struck and move.source.attempt == self.ordeal.caps[reason]:
                    text = f"{reason.value} may strike {move.source.leaf} for ever, and the client is never degraded"
                    self._endless.append(Violation(TOLD, text, self.ordeal.story(move.source, move)))
                if move.target not in reached:
                    reached.add(move.target)
                    queue.append(move.target)
        self.tolerated[reason] = max(node.attempt for node in reached)


def _broken_by(move: Move) -> Iterator[tuple[str, str]]:
    if move.step is None:
        return
    entered = LEAVES.intersection(move.step.entered)
    source, target = move.source.leaf, move.target.leaf
    if move.step.event in ("fail", "recover"):
        for leaf in sorted(entered & NEVER_BY_FAILING):
            yield HONEST, f"{move.step.event} in {source} enters {leaf}, which only completeness may"
    if move.rule is not None and entered != {STATES[move.rule.strategy]}:
        led = target if move.step.moved else "nothing"
        yield (
            ANSWERED,
            f"{move.rule.strategy.value}, advised in {source}, leads to {led}, not to {STATES[move.rule.strategy]}",
        )
    if move.struck and source in RECOVERING.split() and entered != {"degraded"}:
        yield ANSWERED, f"a failure in {source} leads to {target if move.step.moved else 'nothing'}, not to degraded"


def _violations(trials: Iterable[_Trial]) -> Iterator[Violation]:
    for trial in trials:
        yield from trial.violations()


def _unused(trials: Iterable[_Trial], policy: Sequence[Rule]) -> Iterator[Violation]:
    used = {id(move.rule): move.rule for trial in trials for move in trial.ordeal.moves if move.rule is not None}
    for rule in policy:
        if id(rule) not in used:
            where = f"{rule.phase}, {rule.reason.value}, {rule.strategy.value}"
            dead = "" if rule.phase in (*FAILING, "*") else f"; {rule.phase} never fails"
            yield Violation(ALIVE, f"the row ({where}) is never used{dead}")
    for strategy in Strategy:
        if all(rule.strategy is not strategy for rule in used.values()):
            yield Violation(ALIVE, f"the strategy {strategy.value} is never used")


def _without_remedy(remedies: Mapping[Reason, str]) -> Iterator[Violation]:
    for reason in Reason:
        if not remedies.get(reason):
            yield Violation(ALIVE, f"nothing is said to end {reason.value}")
