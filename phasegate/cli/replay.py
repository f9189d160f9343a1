"""`phasegate replay`: run a recorded journal again, and say where it breaks the law."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import attrs
import typer

from phasegate.cli import options
from phasegate.cli.refusal import Code, one_line, refuse

if TYPE_CHECKING:
    from phasegate.verification.journals import Journal
    from phasegate.verification.replay import Replay

BROKEN = 1
"""The exit code when the journal breaks the law."""


def replay(
    file: Annotated[
        Path,
        typer.Argument(metavar="JOURNAL", help="What `history --json` or `sync --json` printed; - is standard in."),
    ],
    as_json: options.AsJson = False,
) -> None:
    """Run a recorded journal again. Ends with 0 if it keeps the law, 1 if not, 2 if it is no journal."""
    from phasegate.verification.journals import Journal
    from phasegate.verification.recorded import NotAJournal

    try:
        with _opened(file) as stream:
            journal = Journal(stream)
            outcome = _outcome(journal)
    except NotAJournal as error:
        refuse("replay", f"{file}: {error}", Code.USAGE)
    (_say_json if as_json else _say)(journal, outcome)
    raise typer.Exit(BROKEN if outcome.breaches else 0)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    standard = str(file) == "-"
    try:
        with nullcontext(sys.stdin.buffer) if standard else file.open("rb") as stream:
            yield stream
    except OSError as error:
        refuse("replay", f"{file} cannot be read: {error.strerror}", Code.USAGE)


def _outcome(journal: Journal) -> Replay:
    """The journal held against the chart that it names, by what this version has of it.

    Raises:
        NotAJournal: there is no such chart, or a line is none of a journal.
    """
    from phasegate.statecharts.catalogue import CHARTS
    from phasegate.verification.moves import moves_of
    from phasegate.verification.recorded import NotAJournal
    from phasegate.verification.replay import replay as run_again

    header = journal.headers[0] if journal.headers else None
    if header is not None and header.chart not in CHARTS:
        raise NotAJournal(f"it is of a chart {header.chart!r}, which is not known here")
    ruled, begins = CHARTS["sync" if header is None else header.chart], journal.begins
    fingerprint = None if header is None else header.fingerprint
    outcome = run_again(journal.rows(), ruled, fingerprint=fingerprint, complete=begins in (None, 1), first_row=begins)
    changed = any(later.fingerprint != moves_of(CHARTS[later.chart].chart).fingerprint for later in journal.headers)
    return attrs.evolve(outcome, foreign=True) if changed else outcome


def _say(journal: Journal, outcome: Replay) -> None:
    if outcome.foreign:
        versions = ", ".join(dict.fromkeys(one_line(header.version) for header in journal.headers))
        typer.echo(f"written by another version of the chart ({versions}); judged by the chart and the law of this one")
    elif outcome.foreign is None:
        typer.echo("the journal does not say which chart wrote it; judged by the chart and the law of this version")
    if journal.cut is not None:
        typer.echo(f"line {journal.cut} is cut off: judged up to there")
    for breach in outcome.breaches:
        typer.echo(f"row {breach.row_id}: {breach.law.value}: {one_line(breach.text)}")
    for line in _counted(outcome):
        typer.echo(line)


def _counted(outcome: Replay) -> Iterator[str]:
    walks = f"{_many(outcome.walks, 'walk')} begun, {outcome.completed} completed"
    yield f"{_many(outcome.rows, 'row')}, {_many(outcome.restarts, 'restart')}, {walks}"
    if outcome.gaps:
        yield f"{_many(outcome.gaps, 'gap')} that the journal tells of itself, {_many(outcome.missing, 'row')} missing"
    if outcome.unstored:
        yield f"{_many(outcome.unstored, 'row')} told that a restart found not stored"
    if outcome.clock_back:
        yield f"the clock went back {_many(outcome.clock_back, 'time')}"
    if outcome.unjudged:
        yield f"{_many(outcome.unjudged, 'row')} could not be judged wholly"
    yield f"{_many(len(outcome.breaches), 'breach', 'breaches')} of the law"


def _many(count: int, one: str, several: str = "") -> str:
    return f"{count} {one if count == 1 else several or one + 's'}"


def _say_json(journal: Journal, outcome: Replay) -> None:
    from phasegate.cli.output import write_line

    for breach in outcome.breaches:
        write_line("breach", None, {"row_id": breach.row_id, "law": breach.law.value, "text": one_line(breach.text)})
    counts = attrs.asdict(outcome, filter=attrs.filters.exclude("foreign", "breaches"))
    written_by = [attrs.asdict(header) for header in journal.headers[:1]]
    write_line(
        "summary",
        None,
        {**counts, "foreign": outcome.foreign, "written_by": written_by[0] if written_by else None,
         "cut": journal.cut, "breaches": len(outcome.breaches)},
    )  # fmt: skip
