"""`phasegate verify`: prove what can be proven here and now."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from typing import Annotated

import attrs
import typer

from phasegate.statecharts.catalogue import CHARTS
from phasegate.statecharts.explore import Report
from phasegate.statecharts.explore import verify as explore


class Part(StrEnum):
    """What can be verified."""

    CHART = "chart"


def verify(
    only: Annotated[
        list[Part] | None, typer.Option(metavar="PART", help="Verify only this part (may be repeated).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Prove the charts against their laws. Explores every reachable configuration under all guard valuations."""
    kept = True
    for part in only or list(Part):
        if part is Part.CHART:
            kept = _charts(as_json) and kept
    raise typer.Exit(0 if kept else 1)


def _charts(as_json: bool) -> bool:
    reports = [explore(ruled.chart, ruled.law) for ruled in CHARTS.values()]
    for report in reports:
        (_say_json if as_json else _say)(report)
    total = sum(len(report.violations) for report in reports)
    seconds = sum(report.seconds for report in reports)
    if as_json:
        _line("summary", part=Part.CHART.value, violations=total, seconds=round(seconds, 3))
    else:
        typer.echo(f"{total} violations in {seconds:.2f} s")
    return total == 0


def _say(report: Report) -> None:
    counts = f"{report.configurations} configurations, {report.nodes} nodes, {report.edges} edges"
    typer.echo(f"{report.name} chart: {counts}, {len(report.violations)} violations")
    for violation in report.violations:
        typer.echo(f"\n{violation.text}\n{_indented(violation.story)}")


def _indented(story: str) -> str:
    return "".join(f"    {line}\n" for line in story.splitlines())


def _say_json(report: Report) -> None:
    for violation in report.violations:
        _line("violation", chart=report.name, **attrs.asdict(violation))
    counts = {"configurations": report.configurations, "nodes": report.nodes, "edges": report.edges}
    outcome = {"violations": len(report.violations), "seconds": round(report.seconds, 3)}
    _line("verified", part=Part.CHART.value, chart=report.name, **counts, **outcome)


def _line(event: str, **fields: object) -> None:
    typer.echo(json.dumps({"event": event, "time": round(time.time(), 3), **fields}))
