"""What to do when a phase cannot go on: a table, so that it can be read, printed and checked.

A row says: for this kind of failure, up to this many attempts without stored progress, follow this strategy. The
first row that fits decides; when none fits, the client is degraded, says why, and leaves that state by itself when
the reason ends. Nothing in here completes a phase.
"""

from __future__ import annotations

import random
from enum import Enum

import attrs

from phasegate.engine.errors import FailureKind


class Strategy(Enum):
    """The recovery strategies; each is a state of the chart."""

    RETRY = "retry"
    RESTART = "restart"
    SWITCH = "switch"
    WAIT = "wait"
    DEGRADE = "degrade"


@attrs.frozen
class Rule:
    """One row: `strategy` for `kind` while no more than `attempts` failures in a row stored nothing."""

    kind: FailureKind
    attempts: int
    strategy: Strategy


POLICY: tuple[Rule, ...] = (
    Rule(FailureKind.NO_PEER, 10, Strategy.WAIT),
    Rule(FailureKind.PEER_LOST, 3, Strategy.RETRY),
    Rule(FailureKind.PEER_LOST, 10, Strategy.SWITCH),
    Rule(FailureKind.PEER_SILENT, 10, Strategy.SWITCH),
    Rule(FailureKind.PEER_LIED, 20, Strategy.SWITCH),
    Rule(FailureKind.DISPUTED, 1, Strategy.RESTART),
    Rule(FailureKind.STALLED, 2, Strategy.RESTART),
    Rule(FailureKind.STALLED, 5, Strategy.RETRY),
    Rule(FailureKind.STALLED, 10, Strategy.SWITCH),
)


def advise(kind: FailureKind, attempt: int) -> Strategy:
    """The strategy for the `attempt`-th failure in a row (from 1) of this kind."""
    for rule in POLICY:
        if rule.kind is kind and attempt <= rule.attempts:
            return rule.strategy
    return Strategy.DEGRADE


def backoff(attempt: int, first: float, cap: float, source: random.Random) -> float:
    """Seconds before the `attempt`-th retry (from 1): doubled each time up to `cap`, then cut by up to one half."""
    ceiling = min(cap, first * 2.0 ** min(attempt - 1, 30))
    return ceiling * (0.5 + source.random() / 2)


@attrs.define
class Recovery:
    """Remembers failures since the last stored progress, and what the policy advised for the newest."""

    advice: Strategy | None = None
    kind: FailureKind | None = None
    detail: str = ""
    attempts: dict[FailureKind, int] = attrs.field(factory=dict)

    @property
    def attempt(self) -> int:
        """How often in a row the newest kind of failure has happened."""
        return 0 if self.kind is None else self.attempts.get(self.kind, 0)

    def failed(self, kind: FailureKind, detail: str) -> Strategy:
        """Note a failure and take the policy's advice for it."""
        self.kind, self.detail = kind, detail
        self.attempts[kind] = self.attempts.get(kind, 0) + 1
        self.advice = advise(kind, self.attempts[kind])
        return self.advice

    def progressed(self) -> None:
        """Something was stored: attempts count from the beginning again."""
        self.attempts.clear()
