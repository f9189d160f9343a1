"""`phasegate verify --scenarios`: failures that others had, one line each, with what came of its tests here."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from phasegate.cli.refusal import Code, refuse

if TYPE_CHECKING:
    from rich.text import Text

    from phasegate.verification.scenarios import ScenarioResult

COMMAND = "verify"
WIDE = 160
"""Columns of a table that no terminal shows: each title fits its line."""
STYLES = {"passed": "green", "failed": "bold red", "missing": "bold red", "skipped": "yellow", "pending": "dim"}


def show_scenarios(tests: Path | None, as_json: bool) -> bool:
    """Run the tests of all scenarios and show how each went; whether none failed and none is missing.

    Args:
        tests: the folder of the tests; None: that of the source tree.
        as_json: one JSON object a line.

    Raises:
        typer.Exit: the tests are not there, or cannot be run; a line has said what to do.
    """
    from phasegate.verification.scenarios import ScenariosMissing, default_tests, run_scenarios

    try:
        with _progress(hidden=as_json) as progress:
            results = run_scenarios(default_tests() if tests is None else tests, progress)
    except ScenariosMissing as missing:
        refuse(COMMAND, str(missing), Code.USAGE)
    (_say_json if as_json else _say)(results)
    return not any(result.outcome in ("failed", "missing") for result in results)


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[str], None]]:
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True)
    if hidden or not sys.stderr.isatty():
        yield lambda _: None
        return
    with console.status("scenarios") as status:
        yield lambda told: status.update(escape(told))


def _say(results: Sequence[ScenarioResult]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    for _ in ("tests", "seconds"):
        table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for result in results:
        table.add_row(*_row(result))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDE)
    console.print(table)
    console.print(_sum(results))


def _row(result: ScenarioResult) -> tuple[Text, ...]:
    from rich.text import Text

    scenario, ran = result.scenario, result.cases > 0
    outcome = f"pending: {scenario.pending}" if result.outcome == "pending" else result.outcome.value
    cases = f"{result.cases} {'test' if result.cases == 1 else 'tests'}" if ran else ""
    title = Text(scenario.title)
    if result.reason:
        title.append(f"\n{result.reason}", STYLES[result.outcome])
    styled = Text(outcome, STYLES[result.outcome])
    return Text(scenario.id), styled, Text(cases), Text(f"{result.seconds:.1f} s" if ran else ""), title


def _sum(results: Sequence[ScenarioResult]) -> str:
    counts = Counter(result.outcome.value for result in results)
    told = ", ".join(f"{counts[name]} {name}" for name in STYLES if counts[name])
    cases, seconds = sum(result.cases for result in results), sum(result.seconds for result in results)
    return f"{len(results)} scenarios: {told}; {cases} tests, {seconds:.1f} s"


def _say_json(results: Sequence[ScenarioResult]) -> None:
    from phasegate.cli.output import write_line

    for result in results:
        fields = {
            "id": result.scenario.id,
            "title": result.scenario.title,
            "outcome": result.outcome.value,
            "pending": result.scenario.pending,
            "tests": list(result.tests),
            "cases": result.cases,
            "seconds": round(result.seconds, 3),
            "reason": result.reason,
        }
        write_line("scenario", None, fields)
    counts = Counter(result.outcome.value for result in results)
    seconds, wrong = sum(result.seconds for result in results), counts["failed"] + counts["missing"]
    told = {name: counts[name] for name in STYLES}
    write_line("summary", None, {"part": "scenarios", **told, "violations": wrong, "seconds": round(seconds, 3)})
