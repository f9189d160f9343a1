"""`phasegate check`: judge what stands in a file or on the command line by the rules of Dash, without any peer."""

from __future__ import annotations

import typer

from phasegate.cli.check_chainlock import chainlock
from phasegate.cli.check_headers import headers
from phasegate.cli.check_lists import mnlistdiff, qrinfo

check = typer.Typer(
    name="check",
    help="Judge recorded data. Headers, masternode lists, rotation data and ChainLocks, by every rule.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for _command in (headers, mnlistdiff, qrinfo, chainlock):
    check.command()(_command)
