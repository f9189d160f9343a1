"""What the README prints leads from an empty folder to a found payment, in less than five minutes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent.parent / "tools" / "newcomers-path.py"


@pytest.mark.soak
def test_nothing_is_missing_on_the_newcomers_path() -> None:
    """With nothing at hand but a clone and the package registry; the seconds of each step are printed."""
    done = subprocess.run([sys.executable, str(TOOL)], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
