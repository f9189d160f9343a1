"""Processes: a simulated node, and syncs from it that are killed at a chosen moment."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import attrs

PHASEGATE = (sys.executable, "-m", "phasegate")
KILLED_SYNC = (sys.executable, "-P", str(Path(__file__).with_name("killed_sync.py")))


@attrs.frozen
class Moment:
    """SIGKILL `delay` seconds after the line that tells of entering `phase`; after the start when that is ""."""

    phase: str
    delay: float


@attrs.frozen
class Inside:
    """SIGKILL inside a transaction, see `killed_sync.py`."""

    phase: str
    transaction: int
    step: int


Aim = Moment | Inside | None
"""When a run is to be killed; None: not at all."""


@attrs.frozen
class Ended:
    """One run of the client: its exit code, the states it entered, its summary, and the note of a kill inside."""

    started: float
    code: int
    states: tuple[str, ...]
    summary: dict[str, Any]
    note: dict[str, Any] | None

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


@attrs.frozen
class Node:
    """A running `phasegate simnet`: its first line, and where its log is."""

    listening: dict[str, Any]
    log: Path

    def run(self, datadir: Path, aim: Aim = None) -> Ended:
        """Sync `datadir` from this node until it is synced or `aim` is met.

        Raises:
            AssertionError: the run ended by itself, but not fully synced.
        """
        note, errors = datadir.with_suffix(".note"), datadir.with_suffix(".errors")
        note.unlink(missing_ok=True)
        arguments = (*_command(aim, note), *self._arguments(datadir))
        started, told = time.time(), _Told()
        with (
            errors.open("w") as file,
            subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=file, text=True) as process,
        ):
            assert process.stdout is not None
            if isinstance(aim, Moment):
                told.read(process.stdout, until=aim.phase)
                _kill(process, aim.delay)
            told.read(process.stdout)
        assert process.returncode in (0, -signal.SIGKILL), errors.read_text()
        found = json.loads(note.read_text()) if note.exists() else None
        return Ended(started, process.returncode, tuple(told.states), told.summary, found)

    def _arguments(self, datadir: Path) -> tuple[str, ...]:
        peer = f"{self.listening['host']}:{self.listening['port']}"
        watch = [word for address in self.listening["watch"] for word in ("--watch", address)]
        return "sync", "--network", "simnet", "--peer", peer, *watch, "--datadir", str(datadir), "--once", "--json"


def _command(aim: Aim, note: Path) -> tuple[str, ...]:
    if not isinstance(aim, Inside):
        return PHASEGATE
    return (*KILLED_SYNC, str(note), *map(str, attrs.astuple(aim)), "--")


def _kill(process: subprocess.Popen[str], delay: float) -> None:
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        process.kill()


@attrs.define
class _Told:
    """What the lines of a run tell; a line that a kill cut short tells nothing."""

    states: list[str] = attrs.field(factory=list)
    summary: dict[str, Any] = attrs.field(factory=dict)

    def read(self, lines: IO[str], until: str | None = None) -> None:
        """Read on to the end, or to the entry into the state `until` ("": nothing at all)."""
        while until != "" and (line := lines.readline()).endswith("\n"):
            fields = json.loads(line)
            if fields["event"] == "summary":
                self.summary = fields
            elif fields["event"] == "transition":
                self.states.append(fields["to"])
                if fields["to"] == until:
                    return


@contextmanager
def node(place: Path, blocks: int, seed: int, delay: float) -> Iterator[Node]:
    """A node with a generated chain that waits `delay` seconds before each answer."""
    log = place / "requests.jsonl"
    options = {"--port": 0, "--blocks": blocks, "--seed": seed, "--delay": delay, "--log": log}
    words = [str(word) for option in options.items() for word in option]
    with subprocess.Popen([*PHASEGATE, "simnet", *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Node(json.loads(process.stdout.readline()), log)
        finally:
            process.terminate()


def digest(datadir: Path) -> str:
    """The last line of `phasegate status --digest`."""
    arguments = (*PHASEGATE, "status", "--network", "simnet", "--datadir", str(datadir), "--digest")
    return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
