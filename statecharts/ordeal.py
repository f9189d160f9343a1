"""Every story of failures that a chart and a recovery policy can tell together.

The chart alone is explored with guards that answer as they like (`phasegate.statecharts.walk`). Here the guards of
advice answer as the policy does, and everything else is free: any reason may strike in any phase, again and again,
during a recovery too; recoveries may succeed or be refused; something may get stored, which begins all counts anew.

A node is a configuration, the reason that struck last, and how often it did in a row. The counts of the other reasons
are not in it, and need not be: what the policy says depends on the count of the reason that strikes and on no other,
and what the chart does depends on what the policy says. So each answer that any mixture of failures can get is also
got in a story where that reason strikes alone, and those stories are all told here. When another reason strikes, its
count begins at one. A mixture can only be longer: its length is at most the sum of what each reason is allowed.

Counts end where the policy's answer changes no more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from phasegate.statecharts.anatomy import read
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.law import Law
from phasegate.statecharts.law_interleaved import INTERLEAVED
from phasegate.statecharts.law_recovery import RECOVERING
from phasegate.statecharts.law_sync import PHASES, SYNC
from phasegate.statecharts.policy import Reason, Rule, Strategy, ruling
from phasegate.statecharts.relation import Configuration, Relation, Step
from phasegate.statecharts.table import Table
from phasegate.statecharts.walk import said

FAILING = (*PHASES.split(), "synced")
"""The leaves whose failures the policy answers."""
LEAVES = SYNC.leaves | INTERLEAVED.leaves
"""Of both charts that a client runs; what is common to them has the same name."""
ADVICE: Mapping[Strategy, str] = {
    Strategy.WAIT: "wait_advised",
    Strategy.RETRY: "retry_advised",
    Strategy.RESTART: "restart_advised",
    Strategy.SWITCH: "switch_advised",
}
"""The one guard of advice that says yes for each strategy; for `degrade` none does."""
_ADVISED = frozenset(ADVICE.values())


@attrs.frozen
class Plight:
    """A configuration, the reason that struck last since something was stored, and how often it did."""

    configuration: Configuration
    reason: Reason | None = None
    attempt: int = 0

    @property
    def leaf(self) -> str:
        """The active leaf, or several in a phrase that is no leaf's name."""
        return " and ".join(self.leaves) or f"no leaf of {sorted(self.configuration)}"

    @property
    def leaves(self) -> list[str]:
        """The active leaves, sorted."""
        return sorted(self.configuration & LEAVES)


@attrs.frozen
class Move:
    """One step of a story: what the chart did (None: something was stored), what struck, and the row that answered."""

    source: Plight
    target: Plight
    step: Step | None = None
    struck: Reason | None = None
    rule: Rule | None = None

    def __str__(self) -> str:
        if self.step is None:
            return f"{self.source.leaf}: something is stored"
        asked = f" [{said(self.step.answers)}]" if self.step.answers and not self.struck else ""
        blow = f" [{self.struck.value}, failure {self.target.attempt} in a row" if self.struck else ""
        advice = "" if not self.struck else f": {self.rule.strategy.value}]" if self.rule else "]"
        outcome = self.target.leaf if self.step.moved else "refused"
        return f"{self.source.leaf}: {self.step.event}{asked}{blow}{advice} -> {outcome}"


class Ordeal:
    """All nodes and moves of one chart and one policy under one setting of the switches.

    Args:
        chart: a chart with the leaves and guards of one of those that a client runs.
        policy: the rows.
        switches: the configuration guards with their answer.
        law: of the chart.
    """

    def __init__(
        self, chart: type[Chart[Any]], policy: Sequence[Rule], switches: Mapping[str, bool], law: Law = SYNC
    ) -> None:
        self._law = law
        self._known: dict[Configuration, tuple[Step, ...]] = {}
        self.switches = switches
        self.moves: list[Move] = []
        self.unanswered: list[tuple[Plight, str]] = []
        self.caps = {reason: 1 + _last_change(policy, reason) for reason in Reason}
        self._policy = policy
        anatomy = read(chart)  # of regions the tables, which the exploration proves to be what the library does
        self._relation = Table(anatomy, switches) if anatomy.parallel else Relation(chart, switches)
        self._came_by: dict[Plight, Move | None] = {}
        self._explore()

    @property
    def nodes(self) -> list[Plight]:
        """Every node reached, nearest first."""
        return list(self._came_by)

    def steps(self, configuration: Configuration) -> tuple[Step, ...]:
        """Every event of the chart there, under every valuation of the guards.

        Where regions are active many valuations do the same; of these one, unless it is about advice, stands for all.
        """
        if configuration not in self._known:
            steps = self._relation.steps(configuration)
            if len(configuration & LEAVES) > 1:
                alike = {(step.event, step.target, step.event == "fail" and step.answers): step for step in steps}
                steps = (*alike.values(), *(step for step in steps if self._may_be_well(step)))
            self._known[configuration] = tuple(dict.fromkeys(steps))
        return self._known[configuration]

    def _may_be_well(self, step: Step) -> bool:
        """Whether the guards that are no switches answered as they do when nothing is wrong."""
        return all(yes is (name not in self._law.bad_news) for name, yes in step.answers if name not in self.switches)

    def story(self, node: Plight, last: Move | None = None) -> str:
        """The shortest way from the start to `node`, and one move more, a line a move."""
        moves = deque([last] if last else [])
        while (came := self._came_by[node]) is not None:
            moves.appendleft(came)
            node = came.source
        settings = [f"with {name} {'on' if on else 'off'}" for name, on in self.switches.items()]
        return "\n".join([*settings, *(f"{i}. {move}" for i, move in enumerate(moves, 1))])

    def _explore(self) -> None:
        start = Plight(self._relation.initial)
        self._came_by[start] = None
        queue = deque([start])
        while queue:
            for move in self._moves_from(queue.popleft()):
                self.moves.append(move)
                if move.target not in self._came_by:
                    self._came_by[move.target] = move
                    queue.append(move.target)

    def _moves_from(self, node: Plight) -> Iterator[Move]:
        leaves = node.leaves
        if not self._law.fits(leaves) or not self._law.ends.isdisjoint(leaves):
            return
        for step in self.steps(node.configuration):
            if step.event != "fail" and step.moved:
                yield self._chosen(node, step)
        failing = [leaf for leaf in leaves if leaf in (*FAILING, *RECOVERING.split())]
        for leaf in failing:
            for reason in Reason:
                yield from self._struck(node, leaf, reason)
        if failing:
            yield from self._given_up(node)
        if node.reason is not None and not {*FAILING}.isdisjoint(leaves):
            yield Move(node, Plight(node.configuration))

    def _chosen(self, node: Plight, step: Step) -> Move:
        """A step of no failure keeps the count; only who is complete and not sound is degraded for that reason."""
        target = Plight(step.target, node.reason, node.attempt)
        if step.event == "advance" and target.leaf == "degraded":
            target = Plight(step.target, Reason.UNSOUND, self._count(node, Reason.UNSOUND))
        return Move(node, target, step)

    def _struck(self, node: Plight, leaf: str, reason: Reason) -> Iterator[Move]:
        count, rule = self._count(node, reason), None
        if leaf not in RECOVERING.split():
            try:
                rule = ruling(leaf, reason, count, self._policy)
            except LookupError as lack:
                self.unanswered.append((node, str(lack)))
                return
        for step in self._heeding(node.configuration, rule.strategy if rule else Strategy.DEGRADE):
            yield Move(node, Plight(step.target, reason, count), step, reason, rule)

    def _given_up(self, node: Plight) -> Iterator[Move]:
        """The user had enough: `degrade` is advised whatever the policy says."""
        if node.reason is not None:
            for step in self._heeding(node.configuration, Strategy.DEGRADE):
                yield Move(node, Plight(step.target, node.reason, node.attempt), step)

    def _count(self, node: Plight, reason: Reason) -> int:
        return min(self.caps[reason], node.attempt + 1) if node.reason is reason else 1

    def _heeding(self, configuration: Configuration, strategy: Strategy) -> Iterator[Step]:
        """The steps of `fail` in which the guards of advice say what `strategy` makes them say."""
        told = ADVICE.get(strategy)
        for step in self.steps(configuration):
            advice = [(name, answer) for name, answer in step.answers if name in _ADVISED]
            if step.event == "fail" and all(answer == (name == told) for name, answer in advice):
                yield step


def _last_change(policy: Sequence[Rule], reason: Reason) -> int:
    """The number of failures in a row after which the policy's answer to `reason` stays the same in every phase."""
    return max((rule.attempts for rule in policy if rule.reason is reason and rule.ends), default=0)
