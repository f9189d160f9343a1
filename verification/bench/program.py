"""The benchmark of a start: what `import phasegate` and `phasegate --help` cost, in processor seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from phasegate.verification.bench.figures import Figure, at_most
from phasegate.verification.bench.stage import Stage

STARTS = {"import": (("-c", "import phasegate"), 0.2), "help": (("-m", "phasegate", "--help"), 0.3)}
"""The words after the interpreter, and the most seconds it may take."""


def start(stage: Stage) -> Sequence[Figure]:
    """Each in a process of its own, the fastest of a few; beside an interpreter that does nothing."""
    figures, bare = [], _started(("-c", "pass"), stage.rounds)
    for name, (words, bound) in STARTS.items():
        seconds = _started(words, stage.rounds)
        told, floor = f"{seconds * 1e3:.0f} ms", f"an interpreter alone: {bare * 1e3:.0f} ms"
        figures.append(at_most(f"start-{name}", seconds, bound, told, f"a bound in seconds; {floor}", guarded=False))
    return figures


def _started(words: Sequence[str], rounds: int) -> float:
    """The least processor seconds of a process with these words."""
    return min(_spent(words) for _ in range(rounds + 1))


def _spent(words: Sequence[str]) -> float:
    before = os.times()
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - ourselves
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
