"""Runs what a page tells its reader to type, in an empty folder that is also the reader's home."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.documents.printed import ROOT, Block

FILE = re.compile(r"# (\S+\.\w+)\n")
PATIENCE = 240.0


def script(blocks: Iterable[Block]) -> str:
    """What a reader would do: all `sh` in one shell, which ends at the first failure; named `python` into its file."""
    lines = ["set -eu", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for block in blocks:
        if block.language == "sh":
            lines.append(block.text)
        elif block.language == "python" and (name := FILE.match(block.text)):
            lines.append(f"cat > {shlex.quote(name[1])} <<'END-OF-FILE'\n{block.text}END-OF-FILE")
    return "\n".join(lines)


def world(place: Path, **settings: str) -> dict[str, str]:
    """The environment of a reader whose home is `place`, with the program on the path and these variables."""
    path = f"{place / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PHASEGATE_", "XDG_"))}
    shown = {"COLUMNS": "200", "NO_COLOR": "1", "HOME": str(place), "SHELL": "/bin/bash"}
    return {**kept, "PATH": path, "PHASEGATE_SOURCES": str(ROOT), **shown, **settings}


@contextmanager
def running(words: str, place: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A script in `place`; it and all that it started are gone in the end."""
    with subprocess.Popen(
        ["bash", "-c", words],
        cwd=place,
        env=world(place, **settings),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as shell:
        try:
            yield shell
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)


def bash(words: str, place: Path, **settings: str) -> tuple[int, str]:
    """The exit code of a script in `place`, and all that it prints until it ends."""
    with running(words, place, **settings) as shell:
        output = shell.communicate(timeout=PATIENCE)[0]
    return shell.returncode, output


def stopped(shell: subprocess.Popen[str]) -> tuple[int, str]:
    """The same of one that does not end by itself, sent SIGTERM now; its output from here on."""
    shell.terminate()
    return shell.wait(PATIENCE), shell.communicate(timeout=PATIENCE)[0]


def bash_until(sign: str, words: str, place: Path, **settings: str) -> tuple[int, str]:
    """A command that does not end by itself: it is sent SIGTERM once it has printed a line with `sign`, a pattern.

    Raises:
        AssertionError: it ended without.
    """
    with running(f"exec {words}", place, **settings) as shell:
        lines = list(_up_to(sign, shell))
        code, rest = stopped(shell)
    return code, "".join([*lines, rest])


def _up_to(sign: str, shell: subprocess.Popen[str]) -> Iterator[str]:
    told = []
    for line in shell.stdout or ():
        told.append(line)
        yield line
        if re.search(sign, line):
            return
    raise AssertionError(f"it ended with {shell.wait()} and did not say {sign}:\n{''.join(told)}")


def first_unsaid(expected: Iterable[str], output: str) -> str | None:
    """The first line of `expected` that does not come in the output after those before it; None: all do."""
    said = iter(output.splitlines())
    for line in expected:
        pattern = ".*".join(re.escape(part) for part in line.split("…"))
        if not any(re.fullmatch(pattern, one.rstrip()) for one in said):
            return line
    return None


def numbered(text: str) -> list[str]:
    """The lines of a sample or an output, with any number in the place of each number, and of what it counts one."""
    return [re.sub(r"\d[\d.]*( [a-z]+?)s?\b|\d[\d.]*", r"N\1", line.rstrip()) for line in text.splitlines()]
