"""Directories and files that may not be written or read, and two processes on one directory: one line, and what it is.

The one who tests may be root, whom no permission stops. So the commands run in a process of their own, which becomes
nobody before the command that counts, after one that loads all there is to load.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from phasegate.consensus.params import SIMNET
from phasegate.store import Store

Run = Callable[..., Any]
NOBODY = 65534
AS_NOBODY = f"""
import contextlib, io, json, os, sys
from phasegate.cli import main
place, elsewhere, *commands = sys.argv[1:]
sync = ["sync", "--network", "simnet", "--peer", "127.0.0.1:1", "--once", "--give-up", "0"]
lines = [sync, *[[command, "--network", "simnet"] for command in commands]]
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    for line in lines:
        main([*line, "--datadir", elsewhere])
if os.geteuid() == 0:
    os.setegid({NOBODY})
    os.seteuid({NOBODY})
for line in lines:
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main([*line, "--datadir", place])
    print(json.dumps([line[0], code, said.getvalue()]))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody can reach, with a data directory of nobody's in it."""
    with tempfile.TemporaryDirectory() as room:
        Path(room).chmod(0o755)
        data = Path(room) / "data"
        Store.open(data, SIMNET).close()
        for path in (Path(room), data, *data.iterdir()):
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)
        yield data
        for path in (Path(room), data):
            if path.is_dir():
                path.chmod(0o755)


def said_of(place: Path, *commands: str) -> list[list[Any]]:
    """Each command, `sync` before all, its exit code and what it wrote to standard error."""
    with tempfile.TemporaryDirectory() as elsewhere:
        words = [sys.executable, "-c", AS_NOBODY, str(place), elsewhere, *commands]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def read_only_directory(data: Path) -> None:
    """Its files may be written, but none made beside them."""
    data.chmod(0o555)


def read_only_file(data: Path) -> None:
    """The database may only be read."""
    (data / "simnet.sqlite").chmod(0o444)


def read_only_lock(data: Path) -> None:
    """The lock file may only be read."""
    (data / "simnet.sqlite.lock").chmod(0o444)


def unreadable_directory(data: Path) -> None:
    """Nobody may look into it."""
    data.chmod(0o000)


def unreadable_file(data: Path) -> None:
    """Nobody may read the database."""
    (data / "simnet.sqlite").chmod(0o000)


@pytest.mark.parametrize(
    ("forbid", "words"),
    [
        (read_only_directory, "simnet.sqlite: attempt to write a readonly database"),
        (read_only_file, "simnet.sqlite: attempt to write a readonly database"),
        (read_only_lock, "simnet.sqlite.lock: Permission denied"),
        (unreadable_directory, "Permission denied"),
        (unreadable_file, "simnet.sqlite: unable to open database file"),
    ],
)
def test_what_is_not_permitted_is_one_line_of_every_command(
    place: Path, forbid: Callable[[Path], None], words: str
) -> None:
    """The store's exit code and the file's name; what was stored is there when it is permitted again."""
    forbid(place)
    told = said_of(place, "status", "history", "peers")
    assert [(command, code) for command, code, _ in told] == [(c, 5) for c in ("sync", "status", "history", "peers")]
    for command, _, line in told:
        assert line.startswith(f"phasegate {command}: {place}")
        assert line.endswith(f"{words}\n")
        assert line.count("\n") == 1
    place.chmod(0o755)
    for path in place.iterdir():
        path.chmod(0o644)
    store = Store.open(place, SIMNET)
    assert (store.header(0), store.check()) == (SIMNET.genesis, ())
    store.close()


def test_a_directory_that_cannot_be_made_is_one_line(place: Path) -> None:
    """Its parent may only be read."""
    place.parent.chmod(0o555)
    wanted = place.with_name("other")
    ((command, code, line),) = said_of(wanted)
    assert (command, code) == ("sync", 5)
    assert line == f"phasegate sync: {wanted} cannot be a data directory: Permission denied\n"


@pytest.mark.parametrize("command", ["sync", "status", "history", "peers", "unwatch", "label"])
def test_a_file_in_the_place_of_the_directory_is_one_line(run: Run, tmp_path: Path, command: str) -> None:
    """It is left as it is."""
    (tmp_path / "data").write_text("mine")
    more = {"sync": ("--peer", "127.0.0.1:1", "--once", "--give-up", "0"), "unwatch": ("51",), "label": ("51",)}.get(
        command, ()
    )
    outcome = run(command, "--network", "simnet", "--datadir", tmp_path / "data", *more)
    assert outcome.code == 5
    assert str(tmp_path / "data") in outcome.err
    assert outcome.err.count("\n") == 1
    assert (tmp_path / "data").read_text() == "mine"


# -- two processes --------------------------------------------------------------------------------------------------


@contextmanager
def syncing(honest: Any, place: Path) -> Iterator[subprocess.Popen[str]]:
    """A client in its own process that is synced and stays so."""
    words = ["sync", "--network", "simnet", "--peer", honest.address, "--datadir", str(place), "--json"]
    with subprocess.Popen([sys.executable, "-m", "phasegate", *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            while '"to": "synced"' not in (line := process.stdout.readline()):
                assert line
            yield process
        finally:
            process.kill()


def test_a_second_client_is_told_who_has_the_directory_and_harms_nothing(run: Run, honest: Any, tmp_path: Path) -> None:
    """Every command that needs the store says the process; the first goes on and ends as if nothing had been."""
    with syncing(honest, tmp_path) as first:
        for command in ("sync", "status", "history", "peers"):
            more = ("--peer", honest.address, "--once") if command == "sync" else ()
            outcome = run(command, "--network", "simnet", "--datadir", tmp_path, *more)
            assert (outcome.code, outcome.out) == (5, "")
            assert outcome.err == f"phasegate {command}: {tmp_path}/simnet.sqlite is in use by process {first.pid}\n"
        first.send_signal(signal.SIGINT)
        assert first.wait(30) == 130
    assert "synced" in run("status", "--network", "simnet", "--datadir", tmp_path).out


def test_a_second_client_that_starts_while_the_first_is_being_killed_goes_on_from_it(
    run: Run, honest: Any, tmp_path: Path
) -> None:
    """The lock of a dead process holds nobody up, and what it had committed is not downloaded again."""
    arguments = ("sync", "--network", "simnet", "--peer", honest.address, "--datadir", tmp_path, "--once", "--json")
    with syncing(honest, tmp_path) as first:
        assert run(*arguments).code == 5
        first.kill()
        deadline = time.monotonic() + 30
        while (outcome := run(*arguments)).code == 5:  # it may not be quite dead yet
            assert "is in use by process" in outcome.err
            assert time.monotonic() < deadline
        assert outcome.code == 0
        assert outcome.summary["state"] == "synced"
        assert all(phase["items"] == 0 for name, phase in outcome.summary["phases"].items() if name != "mnlist")
    assert first.returncode == -signal.SIGKILL
    assert (tmp_path / "simnet.sqlite.lock").read_text() == f"{os.getpid()}\n"
