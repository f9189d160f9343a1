"""`phasegate verify`: prove what can be proven here and now."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import attrs
import typer

from phasegate.cli.scenarios import show_scenarios
from phasegate.statecharts.catalogue import CHARTS
from phasegate.statecharts.explore import Report, Violation
from phasegate.statecharts.explore import verify as explore
from phasegate.statecharts.policy_check import PolicyReport, verify_policy


class Part(StrEnum):
    """What can be verified."""

    CHART = "chart"


def verify(
    only: Annotated[
        list[Part] | None, typer.Option(metavar="PART", help="Verify only this part (may be repeated).")
    ] = None,
    scenarios: Annotated[
        bool, typer.Option("--scenarios", help="Run the tests of failures that other clients had, instead.")
    ] = False,
    tests: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the tests of --scenarios are; default: the source tree.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Prove the charts against their laws. Explores every configuration, guard valuation and failure."""
    if scenarios:
        raise typer.Exit(0 if show_scenarios(tests, as_json) else 1)
    kept = True
    for part in only or list(Part):
        if part is Part.CHART:
            kept = _charts(as_json) and kept
    raise typer.Exit(0 if kept else 1)


def _charts(as_json: bool) -> bool:
    """The charts, and the recovery policy together with the chart that follows it."""
    reports, policy = [explore(ruled.chart, ruled.law) for ruled in CHARTS.values()], verify_policy()
    for report in reports:
        (_say_json if as_json else _say)(report)
    (_say_policy_json if as_json else _say_policy)(policy)
    total = sum(len(report.violations) for report in reports) + len(policy.violations)
    seconds = sum(report.seconds for report in reports) + policy.seconds
    if as_json:
        _line("summary", part=Part.CHART.value, violations=total, seconds=round(seconds, 3))
    else:
        typer.echo(f"{total} violations in {seconds:.2f} s")
    return total == 0


def _say(report: Report) -> None:
    counts = f"{report.configurations} configurations, {report.nodes} nodes, {report.edges} edges"
    typer.echo(f"{report.name} chart: {counts}, {len(report.violations)} violations")
    _tell(report.violations)


def _say_policy(report: PolicyReport) -> None:
    typer.echo(f"policy: {report.nodes} nodes, {report.edges} edges, {len(report.violations)} violations")
    _tell(report.violations)
    if not report.violations:
        typer.echo(f"    degraded after {report.failures} failures in a row at most, whatever their reasons are")
        typer.echo(f"    synced again in {report.steps} steps at most, once the failure has ended")


def _tell(violations: tuple[Violation, ...]) -> None:
    for violation in violations:
        typer.echo(f"\n{violation.text}\n{_indented(violation.story)}")


def _indented(story: str) -> str:
    return "".join(f"    {line}\n" for line in story.splitlines())


def _say_json(report: Report) -> None:
    for violation in report.violations:
        _line("violation", chart=report.name, **attrs.asdict(violation))
    counts = {"configurations": report.configurations, "nodes": report.nodes, "edges": report.edges}
    outcome = {"violations": len(report.violations), "seconds": round(report.seconds, 3)}
    _line("verified", part=Part.CHART.value, chart=report.name, **counts, **outcome)


def _say_policy_json(report: PolicyReport) -> None:
    for violation in report.violations:
        _line("violation", table="policy", **attrs.asdict(violation))
    counts = {"nodes": report.nodes, "edges": report.edges, "failures": report.failures, "steps": report.steps}
    outcome = {"violations": len(report.violations), "seconds": round(report.seconds, 3)}
    _line("verified", part=Part.CHART.value, table="policy", **counts, **outcome)


def _line(event: str, **fields: object) -> None:
    typer.echo(json.dumps({"event": event, "time": round(time.time(), 3), **fields}))
