"""The options that say how much of a run is shown, and what is logged where."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class LogForm(StrEnum):
    """How a log is written."""

    TEXT = "text"
    JSON = "json"


LogFormat = Annotated[
    LogForm | None,
    typer.Option(
        "--log-format",
        metavar="{text,json}",
        help="Write a log: to the file of --log-file, else to standard error, and then only the summary is shown.",
    ),
]
LogFile = Annotated[
    Path | None,
    typer.Option("--log-file", metavar="FILE", help="Append the log to this file, which may be moved away meanwhile."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show and log warnings only, and the summary.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show and log everything, progress and peers as well.")]
