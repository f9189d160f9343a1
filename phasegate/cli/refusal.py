"""How the command line says no: one line on standard error, and an exit code that tells who is at fault."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from pathlib import Path
from typing import NoReturn

import typer

from phasegate.consensus.private_keys import hushed
from phasegate.engine.errors import ConfigError


class Code(IntEnum):
    """The exit codes."""

    SYNCED = 0
    USAGE = 2
    DEGRADED = 3
    FAILED = 4
    STORE = 5
    CONFLICTED = 6
    UNFIT = 7
    INTERRUPTED = 130


def one_line(text: str) -> str:
    """`text` without line breaks and control characters, whoever wrote it."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def say_error(command: str, reason: str) -> None:
    """Write a line to standard error, without what may be a private key; `command` is "" for the whole command line."""
    who = f"phasegate {command}".strip()
    typer.echo(f"{who}: {hushed(one_line(reason))}", err=True)


def name_left_behind(command: str, directory: Path) -> None:
    """Say which files of killed runs are still in a directory; they may be large, and nobody else looks for them."""
    from phasegate.store.aside import left_behind

    with suppress(OSError):
        for path in left_behind(directory):
            say_error(command, f"{path} is left of a run that was killed: it can be removed")


def forget_stdout() -> None:
    """Standard out takes nothing more: what is still buffered has nowhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def refuse(command: str, reason: str, code: Code) -> NoReturn:
    """End the command with a line and an exit code."""
    say_error(command, reason)
    raise typer.Exit(code)


@contextmanager
def refusals(command: str) -> Iterator[None]:
    """End `command` with one line when its user asks for what cannot be, or its store cannot be used."""
    from phasegate.store import StoreCorrupt, StoreError

    try:
        yield
    except StoreCorrupt as error:
        lost = command == "sync" or error.table == "journal"
        hint = "" if lost else "; phasegate sync repairs what can be repaired"
        refuse(command, f"{error}{hint}", Code.STORE)
    except ConfigError as error:
        refuse(command, str(error), Code.USAGE)
    except StoreError as error:
        refuse(command, str(error), Code.STORE)
