"""What the engine remembers between failures: how often each reason struck in a row, and what was advised last.

The advice itself is a table, `phasegate.statecharts.policy`: it is proven together with the chart, without an engine.
"""

from __future__ import annotations

import random

import attrs

from phasegate.statecharts.policy import POLICY, Reason, Rule, Strategy, advise

__all__ = ["POLICY", "Recovery", "Rule", "Strategy", "advise", "backoff"]


def backoff(attempt: int, first: float, cap: float, source: random.Random) -> float:
    """Seconds before the `attempt`-th retry (from 1): doubled each time up to `cap`, then cut by up to one half."""
    ceiling = min(cap, first * 2.0 ** min(attempt - 1, 30))
    return ceiling * (0.5 + source.random() / 2)


@attrs.define
class Recovery:
    """Remembers failures since the last stored progress, and what the policy advised for the newest.

    Attempts are counted by reason, whatever the phase: phases that are complete already are passed without progress,
    and must not win a failure new patience.
    """

    advice: Strategy | None = None
    kind: Reason | None = None
    detail: str = ""
    attempts: dict[Reason, int] = attrs.field(factory=dict)

    @property
    def attempt(self) -> int:
        """How often in a row the newest reason has struck."""
        return 0 if self.kind is None else self.attempts.get(self.kind, 0)

    def failed(self, phase: str, reason: Reason, detail: str) -> Strategy:
        """Note a failure of `phase` (any state of the chart) and take the policy's advice for it."""
        self.kind, self.detail = reason, detail
        self.attempts[reason] = self.attempts.get(reason, 0) + 1
        self.advice = advise(phase, reason, self.attempts[reason])
        return self.advice

    def progressed(self) -> None:
        """Something was stored: attempts count from the beginning again."""
        self.attempts.clear()
