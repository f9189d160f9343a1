"""`phasegate bench`: what each part of a sync costs, beside the least that it could cost on the same machine.

Everything is measured in one run and told as a ratio, so that it can be compared from machine to machine. Exit code 1
means that a bound is broken; with `--against`, that a figure is worse than in the baseline, whatever its bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from phasegate.cli import options

if TYPE_CHECKING:
    from phasegate.verification.bench import Figure, Stage
    from phasegate.verification.bench.baseline import Worse

ROUNDS = 5
TRIES = 3
"""How often a figure is measured before it counts as worse than its baseline."""


def bench(
    only: Annotated[str, typer.Option(metavar="NAME,..", help="Measure these only; --list tells the names.")] = "",
    quick: Annotated[
        bool, typer.Option("--quick", help="Short chains: about a minute, some bounds do not hold.")
    ] = False,
    rounds: Annotated[int, typer.Option(metavar="N", min=1, help="How often what is short is measured.")] = ROUNDS,
    tune: Annotated[
        bool, typer.Option("--tune", help="Try batch sizes and requests in flight instead, and print the rates.")
    ] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Tell where the clients' time goes.")] = False,
    as_json: options.AsJson = False,
    listed: Annotated[bool, typer.Option("--list", help="Tell the names of the benchmarks and end.")] = False,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where long chains are kept; default: the user's cache directory."),
    ] = None,
    record: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the ratios as a baseline.")] = None,
    against: Annotated[Path | None, typer.Option(metavar="FILE", help="Compare the ratios with this baseline.")] = None,
) -> None:
    """Measure every part of a sync, beside its physical floor; ends with 1 if a bound is broken."""
    if listed:
        _list()
        return
    if against is not None and not against.is_file():
        raise typer.BadParameter(f"there is no file {against}", param_hint="--against")
    stage, names = _stage(cache, quick, rounds, profile), _chosen(only)
    if tune:
        _tune(stage, as_json)
        return
    figures, worse = _measured(stage, names, as_json), list["Worse"]()
    if record is not None:
        from phasegate.verification.bench.baseline import record as write

        write(record, figures, quick=quick)
    if against is not None:
        worse = _compared(against, figures, quick)
        for _ in range(TRIES - 1):
            if worse:  # what got slower stays so, what was only disturbed does not
                again = _measured(stage, _of({one.name for one in worse}, names), as_json)
                still = {one.name for one in _compared(against, again, quick)}
                worse = [one for one in worse if one.name in still]
    _sum_up(figures, worse, as_json)
    good = all(figure.kept for figure in figures) if against is None else not worse
    raise typer.Exit(0 if good else 1)


def _list() -> None:
    from phasegate.verification.bench import BENCHMARKS

    for name, benchmark in BENCHMARKS.items():
        typer.echo(f"{name:18} {(benchmark.__doc__ or '').strip()}")


def _chosen(only: str) -> Sequence[str]:
    from phasegate.verification.bench import BENCHMARKS

    names = [name.strip() for name in only.split(",") if name.strip()]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        raise typer.BadParameter(f"no benchmark {unknown[0]!r}: choose of {', '.join(BENCHMARKS)}", param_hint="--only")
    return [name for name in BENCHMARKS if name in names or not names]


def _of(figures: Iterable[str], names: Sequence[str]) -> Sequence[str]:
    """The benchmarks among `names` that have those figures: theirs are called as they are, or begin so."""
    begun = [[name for name in names if f"{figure}-".startswith(f"{name}-")] for figure in figures]
    wanted = {max(found, key=len) for found in begun}
    return [name for name in names if name in wanted]


def _stage(cache: Path | None, quick: bool, rounds: int, profile: bool) -> Stage:
    import platformdirs

    from phasegate.verification.bench import Stage

    kept = cache or Path(platformdirs.user_cache_dir("phasegate", appauthor=False)) / "bench"
    return Stage(kept, quick=quick, rounds=rounds, profile=profile, say=lambda text: typer.echo(text, err=True))


def _measured(stage: Stage, names: Sequence[str], as_json: bool) -> list[Figure]:
    """The figures, each told as a line as soon as it is there if lines are wished."""
    from phasegate.cli.output import write_line
    from phasegate.verification.bench import ChildFailed, run

    figures = []
    try:
        for figure in run(stage, names):
            figures.append(figure)
            if as_json:
                write_line("figure", None, {**attrs.asdict(figure), "kept": figure.kept})
    except ChildFailed as failed:
        _sum_up(figures, [], as_json)
        typer.echo(f"phasegate bench: {failed}", err=True)
        raise typer.Exit(1) from failed
    return figures


def _tune(stage: Stage, as_json: bool) -> None:
    from phasegate.cli.output import write_line
    from phasegate.verification.bench import settings

    heads = ("phase", "batch", "in flight", "window", "items/s", "an answer", "timeout")
    rows = []
    for one in settings(stage):
        if as_json:
            write_line("setting", None, {**attrs.asdict(one), "answer": one.answer, "patience": one.patience})
        figures = one.phase, one.batch, one.in_flight, one.window, f"{one.rate:,.0f}{' *' if one.default else ''}"
        rows.append((*map(str, figures), f"{one.answer:.2f} s", f"{one.patience:.0f} answers"))
    if not as_json:
        _table(heads, rows)
        typer.echo("* what a client does by itself")


def _compared(against: Path, figures: Sequence[Figure], quick: bool) -> list[Worse]:
    from phasegate.verification.bench.baseline import BadBaseline, compared

    try:
        return compared(against, figures, quick=quick)
    except BadBaseline as error:
        raise typer.BadParameter(str(error), param_hint="--against") from error


def _sum_up(figures: Sequence[Figure], worse: Sequence[Worse], as_json: bool) -> None:
    kept = all(figure.kept for figure in figures)
    if as_json:
        from phasegate.cli.output import write_line

        write_line("summary", None, {"kept": kept, "worse": [attrs.asdict(one) for one in worse]})
        return
    _say(figures)
    for one in worse:
        typer.echo(f"{one.name}: {one.ratio:.3f}, worse than the baseline {one.baseline:.3f}")


def _say(figures: Sequence[Figure]) -> None:
    rows = [(f.name, f"{f.ratio:.3g}", _bound(f), f.measured, f.floor) for f in figures]
    _table(("figure", "ratio", "bound", "measured", "floor"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, no_wrap=head not in ("measured", "floor"))
    for row in rows:
        table.add_row(*row)
    Console(highlight=False).print(table)


def _bound(figure: Figure) -> str:
    if figure.bound is None:
        return "-"
    return f"{'≤' if figure.at_most else '≥'} {figure.bound:g}{'' if figure.kept else ' BROKEN'}"
