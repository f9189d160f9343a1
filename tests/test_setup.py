"""The setup names what a machine lacks before it makes or downloads anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SETUP = Path(__file__).resolve().parent.parent / "tools" / "setup.sh"
PRETEND = "import sys, sysconfig; {lack}; exec(sys.argv[1])"


def _setup(place: Path, **environment: str) -> str:
    """What the script says; it has to fail, and to leave no environment behind."""
    words = ["/bin/sh", str(SETUP), str(place / "venv")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert done.stdout == ""
    assert not (place / "venv").exists()
    return done.stderr


def _python_that(place: Path, lack: str) -> str:
    """A Python that differs from this one in what `lack`, a statement, does to it."""
    path = place / "python-with-a-lack"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{PRETEND.format(lack=lack)}" "$2"\n')
    path.chmod(0o755)
    return str(path)


def test_a_machine_without_python(tmp_path: Path) -> None:
    """With no Python at all in sight it asks for one."""
    assert "no Python 3.11, 3.12 or 3.13 found" in _setup(tmp_path, PATH=str(tmp_path))


def test_a_python_that_does_not_run(tmp_path: Path) -> None:
    """A name that is no Python is told as it was given."""
    said = _setup(tmp_path, PYTHON="no-such-python", PATH=os.environ["PATH"])
    assert said == "setup: no-such-python does not run\n"


@pytest.mark.parametrize(
    ("lack", "message"),
    [
        ("sys.version_info, sys.version = (3, 9), '3.9.1 of old'", "is Python 3.9.1; 3.11, 3.12 or 3.13 is needed"),
        ("sys.version_info, sys.version = (3, 14), '3.14.0 new'", "is Python 3.14.0; 3.11, 3.12 or 3.13 is needed"),
        ("sys.modules['ensurepip'] = None", "has no venv module"),
        ("sysconfig.get_path = lambda name: '/nowhere'", "has no Python.h"),
    ],
)
def test_a_python_that_will_not_do(tmp_path: Path, lack: str, message: str) -> None:
    """A Python that is too old or too new, without venv or without headers is refused, and the lack is named."""
    said = _setup(tmp_path, PYTHON=_python_that(tmp_path, lack), PATH=os.environ["PATH"])
    assert message in said
    assert len(said.splitlines()) == 1


def test_a_machine_without_a_compiler(tmp_path: Path) -> None:
    """The compiler that is looked for is named."""
    said = _setup(tmp_path, PYTHON=sys.executable, CC="no-such-compiler -O2", PATH=os.environ["PATH"])
    assert "no C compiler: no-such-compiler is not found" in said


def test_a_compiler_that_cannot_compile(tmp_path: Path) -> None:
    """A compiler without the C library's headers is no use, and is told apart from none."""
    said = _setup(tmp_path, PYTHON=sys.executable, CC="false", PATH=os.environ["PATH"])
    assert "the C compiler false cannot compile Python.h" in said
