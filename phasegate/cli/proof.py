"""What a verification run says: its figures part by part, each violation with its story, and a bar while it goes on."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer

from phasegate.statecharts.anatomy import read
from phasegate.statecharts.catalogue import CHARTS
from phasegate.statecharts.diagram import draw_way
from phasegate.statecharts.violation import Violation
from phasegate.verification.part import Part
from phasegate.verification.report import Outcome, Report
from phasegate.verification.runner import Progress, Wanted

FAULT = "fault "
"""What the name of a figure that counts faults begins with."""
Say = Callable[[Report], None]


@contextmanager
def shown(wanted: Wanted, as_json: bool) -> Iterator[tuple[Progress, Say]]:
    """What is told while a run goes on, and what says its report."""
    if as_json:
        yield _tell_line, lambda report: _say_json(wanted, report)
        return
    with _bar() as progress:
        yield progress, lambda report: _say(wanted, report)


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("verify"), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("beginning", total=None)

        def progress(outcome: Outcome | None, done: int, known: int) -> None:
            told = "" if outcome is None else f"{outcome.part.value}: {outcome.name}"
            bar.update(task, completed=done, total=known, description=told)

        yield progress


# -- for people ------------------------------------------------------------------------------------------------------


def _say(wanted: Wanted, report: Report) -> None:
    for part in wanted.parts:
        typer.echo("\n".join(_WORDS[part](report)))
    for violation in report.violations:
        again = f"\n    again: {violation.reproduce}" if violation.reproduce else ""
        typer.echo(f"\n[{violation.law}] {violation.text}{again}\n{_indented(violation.story)}")
    typer.echo(f"{len(report.violations)} violations in {report.seconds:.1f} s")


def _of_charts(report: Report) -> Iterator[str]:
    for outcome in report.of(Part.CHART):
        counts, told = outcome.counts, f"{len(outcome.violations)} violations"
        if outcome.name in CHARTS:
            size = f"{counts['configurations']} configurations, {counts['transitions']} transitions"
            walked = f"{counts['nodes']} nodes, {counts['edges']} edges"
            yield f"{outcome.name} chart: {size}; {walked}, {told}"
            yield f"    {counts['compared']} steps are the library's own, {counts['restarts']} restarts begin anew"
        else:
            yield f"{outcome.name}: {counts['nodes']} nodes, {counts['edges']} edges, {told}"
            if not outcome.violations:
                failures = outcome.most["failures until degraded"]
                steps = outcome.most["steps until synced again"]
                yield f"    degraded after {failures} failures in a row at most, whatever their reasons are"
                yield f"    synced again in {steps} steps at most, once the failure has ended"


def _of_mutants(report: Report) -> Iterator[str]:
    for outcome in report.of(Part.MUTATION):
        counts = outcome.counts
        share = _percent(counts["caught"], counts["mutants"])
        alone = _percent(counts["caught by invariants alone"], counts["mutants"])
        told = f"{counts['caught']}/{counts['mutants']} caught ({share}), {alone} by ordering and invariants alone"
        yield f"{outcome.name} mutants: {told}"
        yield f"    {_listed(counts, 'kind ')}"
        yield from (f"    {note}" for note in outcome.notes)


def _of_engine(report: Report) -> Iterator[str]:
    counts = report.counts(Part.ENGINE)
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    yield f"engine: {told}, {_violations(report, Part.ENGINE)}"


def _of_simulation(report: Report) -> Iterator[str]:
    counts, most = report.counts(Part.SIMULATION), report.most(Part.SIMULATION)
    spent = f"{counts['virtual seconds']} virtual seconds"
    again = f"{counts['run twice']} run twice"
    told = f"{counts['stalls']} stalls, {_violations(report, Part.SIMULATION)}"
    yield f"simulation: {counts['seeds']} seeds ({again}), {spent}, {told}"
    yield f"    faults: {_listed(counts, FAULT)}"
    yield "    at most: " + ", ".join(f"{count} {name}" for name, count in sorted(most.items()))


_WORDS: dict[Part, Callable[[Report], Iterator[str]]] = {
    Part.CHART: _of_charts,
    Part.MUTATION: _of_mutants,
    Part.ENGINE: _of_engine,
    Part.SIMULATION: _of_simulation,
}


def _violations(report: Report, part: Part) -> str:
    return f"{sum(len(outcome.violations) for outcome in report.of(part))} violations"


def _listed(counts: Counter[str], prefix: str) -> str:
    found = {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}
    return ", ".join(f"{name} {count}" for name, count in sorted(found.items()))


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole if whole else 100:.4g} %"


def _indented(story: str) -> str:
    return "".join(f"    {line}\n" for line in story.splitlines())


# -- for machines ----------------------------------------------------------------------------------------------------


def _tell_line(outcome: Outcome | None, _done: int, _known: int) -> None:
    if outcome is None:
        return
    for violation in outcome.violations:
        fields = {"law": violation.law, "text": violation.text, "story": violation.story}
        _line("violation", part=outcome.part.value, name=outcome.name, **fields, reproduce=violation.reproduce)
    figures: dict[str, Any] = {**outcome.counts, **outcome.most}
    end = {"violations": len(outcome.violations), "notes": list(outcome.notes), "seconds": round(outcome.seconds, 3)}
    _line("verified", part=outcome.part.value, name=outcome.name, figures=figures, **end)


def _say_json(wanted: Wanted, report: Report) -> None:
    parts = {
        part.value: {
            "figures": {**report.counts(part), **report.most(part)},
            "violations": sum(len(outcome.violations) for outcome in report.of(part)),
        }
        for part in wanted.parts
    }
    total = len(report.violations)
    _line("summary", seed=wanted.seed, parts=parts, violations=total, seconds=round(report.seconds, 3))


def _line(event: str, **fields: object) -> None:
    typer.echo(json.dumps({"event": event, "time": round(time.time(), 3), **fields}))


# -- pictures --------------------------------------------------------------------------------------------------------


def drawn(report: Report) -> Iterator[tuple[str, bytes]]:
    """The ways of the counterexamples through their charts: a file name and Mermaid text for each that has one."""
    for outcome in report.of(Part.CHART):
        ways = [violation for violation in outcome.violations if violation.way]
        for number, violation in enumerate(ways, 1):
            yield f"{outcome.name}-{number}.mmd", _drawing(outcome.name, violation)


def _drawing(name: str, violation: Violation) -> bytes:
    head = f"%% [{violation.law}] {violation.text}\n"
    return head.encode() + draw_way(read(CHARTS[name].chart), violation.way)
