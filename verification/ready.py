"""Ready tests for a chart and its law: subclass `ChartTests`, say which chart, and let pytest collect it.

class TestMyChart(ChartTests):
    ruled = Ruled(MyChart, MY_LAW)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from phasegate.statecharts.campaign import LEAST_SHARE, campaign
from phasegate.statecharts.catalogue import Ruled
from phasegate.statecharts.explore import verify
from phasegate.statecharts.violation import Violation


class LawBroken(AssertionError):
    """A chart breaks its law; the message tells each violation with its story."""

    def __init__(self, violations: Iterable[Violation]) -> None:
        super().__init__("\n\n".join(f"[{v.law}] {v.text}\n{v.story}".rstrip() for v in violations))


class LawTooWeak(AssertionError):
    """A law lets wrong charts pass; the message names them."""


class ChartTests:
    """The chart keeps its law, and the law would notice if it did not.

    Class attributes, to be set by who subclasses it:
        ruled: the chart and its law.
        least_share: the part of the mutants that the invariants alone, without response lines, have to catch.
    """

    ruled: ClassVar[Ruled]
    least_share: ClassVar[float] = LEAST_SHARE

    def test_the_chart_keeps_its_law(self) -> None:
        """In every reachable configuration, under every valuation of the guards."""
        report = verify(self.ruled.chart, self.ruled.law)
        if report.violations:
            raise LawBroken(report.violations)

    def test_the_law_catches_every_mutant(self) -> None:
        """Every small wrong that can be done to the chart breaks the law, unless nobody could tell the difference."""
        outcome = campaign(self.ruled.chart, self.ruled.law)
        if outcome.survivors:
            raise LawTooWeak("survivors:\n" + "\n".join(f"{v.mutant} ({v.kind})" for v in outcome.survivors))
        if outcome.share < self.least_share:
            raise LawTooWeak(f"the invariants alone catch {outcome.share:.0%}, not {self.least_share:.0%}")
