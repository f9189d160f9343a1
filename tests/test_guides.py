"""What the tutorial and the how-tos print is run as it is printed, a page at a time, in an empty folder.

Blocks are taken in their order. `sh` is run by bash, all blocks of a page in one shell, which ends at the first command
that fails. `python` whose first line is a comment with a file's name is written to that file. `text` is what the
commands before it print: its lines have to come, in this order, among those that were printed; `…` stands for anything.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [DOCS / "tutorial.md", *sorted((DOCS / "howto").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"# (\S+\.\w+)\n")
PATIENCE = 240.0


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each block."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def script(page: Path) -> str:
    """What a reader would do."""
    lines = ["set -eu", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for language, text in blocks(page):
        if language == "sh":
            lines.append(text)
        elif language == "python" and (name := FILE.match(text)):
            lines.append(f"cat > {shlex.quote(name[1])} <<'END-OF-FILE'\n{text}END-OF-FILE")
    return "\n".join(lines)


def first_unsaid(expected: list[str], output: str) -> str | None:
    """The first line of `expected` that does not come in the output after those before it; None: all do."""
    said = iter(output.splitlines())
    for line in expected:
        pattern = ".*".join(re.escape(part) for part in line.split("…"))
        if not any(re.fullmatch(pattern, one.rstrip()) for one in said):
            return line
    return None


def test_every_block_of_a_guide_is_of_a_kind_that_is_tried() -> None:
    for page in PAGES:
        for language, text in blocks(page):
            assert language in {"sh", "python", "text"}, page.name
            assert language != "python" or FILE.match(text), f"{page.name}: a block of Python names no file"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_guide_does_what_it_prints(page: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    world = {**os.environ, "PATH": path, "PHASEGATE_SOURCES": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"}
    words = ["bash", "-c", script(page)]
    with subprocess.Popen(
        words,
        cwd=tmp_path,
        env=world,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as shell:
        try:
            output = _output(shell)
        finally:
            _end(shell)
    assert shell.returncode == 0, output
    expected = [line for language, text in blocks(page) if language == "text" for line in text.splitlines()]
    assert first_unsaid(expected, output) is None, output


def _output(shell: subprocess.Popen[str]) -> str:
    """All that is printed until the shell ends; what it started in the background writes to files, and is ended."""
    return shell.communicate(timeout=PATIENCE)[0]


def _end(shell: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("expected", "missing"),
    [(["a", "c"], None), (["a…"], None), (["c", "a"], "a"), (["b…d"], "b…d"), (["x"], "x")],
)
def test_lines_are_found_in_order(expected: list[str], missing: str | None) -> None:
    assert first_unsaid(expected, "a\nb\nc\n") == missing
