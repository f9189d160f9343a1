"""A simulated node as its own process, the command line as a call, and the schema of its lines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
import jsonschema
import pytest

from phasegate.cli import main

Line = dict[str, Any]
SCHEMA = Path(__file__).parent.parent.parent / "docs" / "cli-events.schema.json"
COMMAND = (sys.executable, "-m", "phasegate")


@attrs.frozen
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Line]:
        """Standard out as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    def events(self, name: str) -> list[Line]:
        """The lines of one event."""
        return [line for line in self.lines if line["event"] == name]

    @property
    def summary(self) -> Line:
        """The last line."""
        last = self.lines[-1]
        assert last["event"] == "summary"
        return last

    @property
    def path(self) -> list[str]:
        """The states that were entered."""
        return [line["to"] for line in self.events("transition")]


@attrs.frozen
class Node:
    """A listening simulated node."""

    process: subprocess.Popen[str]
    told: Line

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{self.told['host']}:{self.told['port']}"

    @property
    def watching(self) -> list[str]:
        """The arguments that watch its addresses."""
        return [word for address in self.told["watch"] for word in ("--watch", address)]


@contextmanager
def _node(*arguments: str) -> Iterator[Node]:
    words = [*COMMAND, "simnet", "--port", "0", *arguments]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Node(process, json.loads(process.stdout.readline()))
        finally:
            process.kill()


@pytest.fixture(scope="session")
def honest() -> Iterator[Node]:
    """An honest node with 120 blocks."""
    with _node("--blocks", "120", "--seed", "11") as node:
        yield node


@pytest.fixture
def start_node() -> Iterator[Callable[..., Node]]:
    """Starts nodes that end with the test."""
    with ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(_node(*arguments))


@pytest.fixture(autouse=True)
def nobodys_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is told no directory keeps out of those of the user who runs the tests."""
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs the command line in this process."""

    def call(*arguments: str) -> Outcome:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def sync(run: Callable[..., Outcome], tmp_path: Path) -> Callable[..., Outcome]:
    """Runs `sync --once --json` on simnet in a directory of this test."""

    def call(*arguments: str, network: str = "simnet") -> Outcome:
        return run("sync", "--network", network, "--datadir", str(tmp_path), "--once", "--json", *arguments)

    return call


@pytest.fixture(scope="session")
def check_line() -> Callable[[Line], None]:
    """Holds a line against the published schema."""
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    validator.check_schema(validator.schema)

    def check(line: Line) -> None:
        validator.validate(line)

    return check
