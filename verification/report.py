"""What a verification run found: figures that add up, and violations with their stories; for people, machines and CI.

A run is cut into units that may be done by several processes in any order. Each has an outcome; the outcomes of one
part are added to its report. Figures are counts, or the largest of something.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from xml.etree import ElementTree

import attrs

from phasegate.statecharts.violation import Violation
from phasegate.verification.part import Part


@attrs.frozen
class Outcome:
    """One unit of work that was done.

    Attributes:
        part: that it belongs to.
        name: what it was, for instance `sync` or `seeds 0 to 4`.
        counts: figures that are added up.
        most: figures of which the largest counts.
        notes: what is listed though it breaks nothing, a line each.
        seconds: of work.
    """

    part: Part
    name: str
    counts: Counter[str] = attrs.field(factory=Counter)
    most: Mapping[str, int] = attrs.field(factory=dict)
    violations: tuple[Violation, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@attrs.frozen
class Report:
    """All outcomes of one run."""

    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def violations(self) -> tuple[Violation, ...]:
        """Everything that is broken."""
        return tuple(violation for outcome in self.outcomes for violation in outcome.violations)

    def of(self, part: Part) -> tuple[Outcome, ...]:
        """The outcomes of one part."""
        return tuple(outcome for outcome in self.outcomes if outcome.part is part)

    def counts(self, part: Part) -> Counter[str]:
        """The added figures of one part."""
        return sum((outcome.counts for outcome in self.of(part)), Counter[str]())

    def most(self, part: Part) -> dict[str, int]:
        """The largest figures of one part."""
        found: dict[str, int] = {}
        for outcome in self.of(part):
            for name, value in outcome.most.items():
                found[name] = max(value, found.get(name, 0))
        return found


def junit(report: Report) -> bytes:
    """The report as JUnit XML: a suite for each part, a case for each unit."""
    root = ElementTree.Element("testsuites", name="phasegate verify", time=f"{report.seconds:.3f}")
    for part in Part:
        outcomes = report.of(part)
        if not outcomes:
            continue
        failures = sum(bool(outcome.violations) for outcome in outcomes)
        suite = ElementTree.SubElement(
            root, "testsuite", name=part.value, tests=str(len(outcomes)), failures=str(failures), errors="0",
            time=f"{sum(outcome.seconds for outcome in outcomes):.3f}",
        )  # fmt: skip
        for outcome in outcomes:
            _case(suite, outcome)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text


def _case(suite: ElementTree.Element, outcome: Outcome) -> None:
    classname = f"phasegate.verify.{outcome.part.value}"
    case = ElementTree.SubElement(
        suite, "testcase", classname=classname, name=outcome.name, time=f"{outcome.seconds:.3f}"
    )
    for violation in outcome.violations:
        failure = ElementTree.SubElement(case, "failure", type=violation.law, message=_printable(violation.text))
        failure.text = _printable("\n".join(filter(None, (violation.story, violation.reproduce))))


def _printable(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(letter for letter in text if letter in "\n\t" or " " <= letter <= "\ud7ff" or letter >= "\ue000")
