"""`phasegate verify`: prove what can be proven here and now."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phasegate.cli import options
from phasegate.cli.refusal import Code, refuse
from phasegate.cli.scenarios import show_scenarios
from phasegate.verification.part import Part

if TYPE_CHECKING:
    from phasegate.verification.report import Report

COMMAND = "verify"


def verify(
    only: Annotated[
        list[Part] | None, typer.Option(metavar="PART", help=f"Only this of {', '.join(Part)} (may be repeated).")
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The first seed; the same one gives the same run.")] = 0,
    examples: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Examples of the engine, for each chart; default: 200.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Simulated runs of the whole client; default: 200.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", min=0.0, help="Go on with further seeds for so long.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes; default: one a core.")] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Begin nothing more once something broke.")] = False,
    junit: Annotated[Path | None, typer.Option("--junit", metavar="FILE", help="Also write JUnit XML.")] = None,
    diagrams: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw each counterexample's way through its chart (Mermaid).")
    ] = None,
    scenarios: Annotated[
        bool, typer.Option("--scenarios", help="Run the tests of failures that other clients had, instead.")
    ] = False,
    tests: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the tests of --scenarios are; default: the source tree.")
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Prove charts, engine and whole client. Exit code 1 if anything is broken; stories tell how."""
    sizes = (only, seed or None, examples, seeds, minutes, jobs, fail_fast or None, junit, diagrams)
    if scenarios:
        if any(size is not None for size in sizes):
            refuse(COMMAND, "--scenarios goes with --tests and --json only", Code.USAGE)
        with _terminable():
            raise typer.Exit(0 if show_scenarios(tests, as_json) else 1)
    if tests is not None:
        refuse(COMMAND, "--tests goes with --scenarios only", Code.USAGE)
    with _writing():
        _prepare(junit, diagrams)
    from phasegate.cli.proof import shown
    from phasegate.verification import runner

    wanted = runner.Wanted(
        parts=tuple(dict.fromkeys(only or Part)),
        seed=seed,
        examples=examples or runner.EXAMPLES,
        seeds=seeds or runner.SEEDS,
        minutes=minutes,
        jobs=jobs,
        fail_fast=fail_fast,
    )
    with shown(wanted, as_json) as (progress, say), _terminable():
        report = runner.run(wanted, progress)
    say(report)
    with _writing():
        _write(report, junit, diagrams)
    raise typer.Exit(1 if report.violations else 0)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the run as Ctrl-C does, with all of its processes."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _writing() -> Iterator[None]:
    """A file that cannot be written is told in one line."""
    try:
        yield
    except OSError as error:
        refuse(COMMAND, f"cannot write {error.filename}: {error.strerror}", Code.USAGE)


def _prepare(xml: Path | None, diagrams: Path | None) -> None:
    """Look before the work whether its fruits can be kept."""
    if xml is not None:
        xml.open("ab").close()
    if diagrams is not None:
        diagrams.mkdir(parents=True, exist_ok=True)


def _write(report: Report, xml: Path | None, diagrams: Path | None) -> None:
    from phasegate.cli.proof import drawn
    from phasegate.verification.report import junit

    if xml is not None:
        xml.write_bytes(junit(report))
    if diagrams is not None:
        for name, drawing in drawn(report):
            (diagrams / name).write_bytes(drawing)
