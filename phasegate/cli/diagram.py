"""`phasegate diagram`: a chart drawn from the object that runs."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from phasegate.statecharts.form import Form


class ChartName(StrEnum):
    """The charts that can be drawn."""

    SYNC = "sync"
    INTERLEAVED = "interleaved"
    PEER = "peer"


def diagram(
    chart: Annotated[ChartName, typer.Option(help="Which chart.")] = ChartName.SYNC,
    form: Annotated[Form, typer.Option("--format", help="svg and png need graphviz.")] = Form.MERMAID,
    active: Annotated[
        str | None, typer.Option(metavar="STATE", help="Highlight this state, by its id; several are joined by +.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: standard out.")
    ] = None,
) -> None:
    """Draw a statechart with its guards and actions."""
    from phasegate.statecharts.catalogue import CHARTS
    from phasegate.statecharts.diagram import draw
    from phasegate.statecharts.dot import GraphvizError

    if form is Form.PNG and output is None and sys.stdout.isatty():
        _refuse("a PNG picture is no text for a terminal; give it a file with -o FILE")
    try:
        _write(draw(CHARTS[chart].chart, form, active), output)
    except (ValueError, GraphvizError) as error:
        _refuse(str(error))
    except OSError as error:
        if output is None:  # standard out, which is everybody's business
            raise
        _refuse(f"cannot write {output}: {error.strerror}")


def _write(drawing: bytes, output: Path | None) -> None:
    if output is None:
        sys.stdout.buffer.write(drawing)
        sys.stdout.buffer.flush()
    else:
        output.write_bytes(drawing)


def _refuse(reason: str) -> None:
    typer.echo(f"phasegate diagram: {reason}", err=True)
    raise typer.Exit(2)
