"""The commands, and what becomes of whatever they raise.

The commands themselves are light to import: what syncs, draws a bar or opens a store is imported when it is needed, so
that `phasegate --help` answers at once and a restart loses no time.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import Abort, TyperException

from phasegate.cli.backup import backup
from phasegate.cli.bench import bench
from phasegate.cli.broadcast import broadcast
from phasegate.cli.check import check
from phasegate.cli.config import config
from phasegate.cli.demo import demo
from phasegate.cli.diagram import diagram
from phasegate.cli.doctor import doctor
from phasegate.cli.export import export
from phasegate.cli.history import history
from phasegate.cli.import_chain import import_
from phasegate.cli.label import label
from phasegate.cli.peers import peers
from phasegate.cli.policy import policy
from phasegate.cli.refusal import Code, forget_stdout, say_error
from phasegate.cli.replay import replay
from phasegate.cli.simnet import simnet
from phasegate.cli.status import status
from phasegate.cli.sync import sync
from phasegate.cli.transactions import transactions
from phasegate.cli.unwatch import unwatch
from phasegate.cli.verify import verify
from phasegate.cli.web import WithWeb

app = typer.Typer(
    name="phasegate",
    help="A Dash light client whose synchronisation is a statechart.",
    rich_markup_mode=None,
    add_completion=True,
    pretty_exceptions_enable=False,
)
app.command(cls=WithWeb)(sync)
for _command in (status, history, replay, unwatch, broadcast, demo, diagram, verify, policy, bench, simnet, config):
    app.command()(_command)
app.command()(transactions)
app.command()(label)
for _moving in (doctor, backup, export):
    app.command()(_moving)
app.command("import")(import_)
app.add_typer(peers)
app.add_typer(check)


def _show_version(wanted: bool) -> None:
    if wanted:
        from phasegate import __version__

        typer.echo(f"phasegate {__version__}")
        raise typer.Exit


@app.callback()
def _whole(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """A Dash light client whose synchronisation is a statechart."""


def call(arguments: list[str]) -> int:
    """Run one command and return the exit code; nothing that a user can cause gets out as an exception."""
    _open_closed_streams()
    try:
        code: object = app(arguments or ["--help"], prog_name="phasegate", standalone_mode=False)
    except TyperException as error:
        context: Any = getattr(error, "ctx", None)
        say_error(_who(context), f"{error.format_message().rstrip('.')}; {_command_path(context)} --help tells more")
        return error.exit_code
    except Abort:
        return Code.INTERRUPTED
    except OSError as error:
        forget_stdout()
        what = "cannot write to standard out" if error.filename is None else error.filename
        say_error("", f"{what}: {error.strerror}")
        return Code.USAGE
    if not arguments:
        return Code.USAGE
    return code if isinstance(code, int) else Code.SYNCED


def _command_path(context: Any) -> str:
    return "phasegate" if context is None else context.command_path


def _who(context: Any) -> str:
    return _command_path(context).removeprefix("phasegate").strip()


def _open_closed_streams() -> None:
    """A stream that is closed (`>&-`) swallows what is written; its number must not become that of a store's file."""
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open as long as the process
