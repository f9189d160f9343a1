"""A Chromium that is driven, and a sync to look at; where there is none, or no playwright, tests are skipped."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PHASEGATE = (sys.executable, "-m", "phasegate")


@attrs.frozen
class Sync:
    """A sync with its view, as a process of its own."""

    url: str
    process: subprocess.Popen[str]

    def until(self, state: str) -> None:
        """Read what it says until the chart is in `state`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            told = json.loads(line)
            if told["event"] == "transition" and told["to"] == state:
                return
        raise AssertionError(f"it ended before {state}")


@contextmanager
def syncing(datadir: Path, *arguments: str) -> Iterator[Sync]:
    """`phasegate sync --web` on simnet, with the address of its page."""
    words = [*PHASEGATE, "sync", "--network", "simnet", "--datadir", str(datadir), "--web", "127.0.0.1:0", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*words, *arguments], text=True, **pipes) as process:  # type: ignore[call-overload]
        try:
            first = process.stderr.readline()
            assert first.startswith("live view: http://127.0.0.1:"), first + process.stderr.read()
            yield Sync(first.removeprefix("live view: ").strip(), process)
        finally:
            process.terminate()


@contextmanager
def serving(*arguments: str, port: int = 0) -> Iterator[dict[str, object]]:
    """`phasegate simnet`, and what it said when it began to listen."""
    words = [*PHASEGATE, "simnet", "--port", str(port), *arguments]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def free_port() -> int:
    """A port that nobody listens at yet."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port
