"""A campaign: each target under libFuzzer in a process of its own, its seeds before it, its figures after it.

What libFuzzer reports is read from what it prints. A target that ends without its figures has found something: an
exception has been written down by the process itself; what kills a process (too slow, too much memory, a crash below
Python) leaves the input as an artifact, which is written down here with the last lines that were printed.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

import phasegate
from phasegate.verification.fuzzing import libfuzzer
from phasegate.verification.fuzzing.corpus import Seed
from phasegate.verification.fuzzing.findings import place_of, write_finding
from phasegate.verification.fuzzing.targets import Target

MEMORY_MIB = 2048
LONGEST = 10
"""Seconds that one input may take."""
LAST_LINES = 40
_RUNS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_DONE = re.compile(r"^Done \d+ runs in (\d+) second", re.MULTILINE)
_STATUS = re.compile(r"^#(\d+)\s.*\bcov: (\d+)", re.MULTILINE)


@attrs.frozen
class Bounds:
    """How long a target is fuzzed: so many inputs, so many seconds (0: no bound), begun with this seed."""

    runs: int
    seconds: int
    seed: int


@attrs.frozen
class Outcome:
    """What one target came to.

    Args:
        target: its name.
        inputs: that were run.
        seconds: that took, without the start of the process; 0 when a finding ended it.
        edges: branches of the code that were reached, libFuzzer's `cov`.
        findings: where each is written down.
        failure: why the fuzzer did not run at all, "" if it did.
    """

    target: str
    inputs: int
    seconds: int
    edges: int
    findings: tuple[Path, ...]
    failure: str = ""

    def __str__(self) -> str:
        if self.failure:
            return f"{self.target}: {self.failure}"
        pace = f"{self.inputs} inputs in {self.seconds} s"
        return f"{self.target}: {pace}, {self.edges} edges, {len(self.findings)} findings"


def plant(corpus: Path, seeds: Iterable[Seed]) -> None:
    """Write the seeds into a folder for each target, each named by its hash as libFuzzer does."""
    for seed in seeds:
        folder = corpus / seed.target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha1(seed.data, usedforsecurity=False).hexdigest()).write_bytes(seed.data)


def fuzz(target: Target, corpus: Path, findings: Path, bounds: Bounds) -> Outcome:
    """Fuzz one target until its bounds or a finding.

    Args:
        target: what is fuzzed.
        corpus: the folder of all targets; what is new is added to the one of this target.
        findings: the folder for what is found; it has to exist.
        bounds: when it is enough.
    """
    folder = corpus / target.name
    folder.mkdir(parents=True, exist_ok=True)
    before, known = _written(findings, target), set(_artifacts(findings, target))
    done = subprocess.run(  # noqa: S603 - our own script with our own arguments
        [*_command(target, findings), *_arguments(target, findings, bounds), str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(phasegate.__file__).parents[1])},
        check=False,
    )
    said = done.stderr.decode(errors="replace")
    (findings / f"{target.name}.log").write_text(said, encoding="utf-8")
    told = {path for path, _ in _written(findings, target) - before}
    for artifact in set(_artifacts(findings, target)) - known:
        if place_of(findings, target.name, data := artifact.read_bytes()) not in told:  # else with its traceback
            write_finding(findings, target.name, data, "\n".join(said.splitlines()[-LAST_LINES:]))
        artifact.unlink()
    found = sorted([path for path, _ in _written(findings, target) - before])
    return _outcome(target, said, tuple(found), done.returncode)


def _command(target: Target, findings: Path) -> Sequence[str]:
    return sys.executable, "-P", str(Path(libfuzzer.__file__).resolve()), target.name, str(findings)


def _arguments(target: Target, findings: Path, bounds: Bounds) -> Sequence[str]:
    return (
        f"-runs={bounds.runs or -1}",
        f"-max_total_time={bounds.seconds}",
        f"-seed={bounds.seed}",
        f"-max_len={target.most}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-timeout={LONGEST}",
        f"-artifact_prefix={findings / _prefix(target)}",
        "-entropic_scale_per_exec_time=1",
        "-print_final_stats=1",
    )


def _written(findings: Path, target: Target) -> set[tuple[Path, int]]:
    """What is written down of a target, each with the time of that: it may be found again."""
    return {(path, path.stat().st_mtime_ns) for path in findings.glob(f"{target.name}-*.txt")}


def _prefix(target: Target) -> str:
    return f"artifact-of-{target.name}-"


def _artifacts(findings: Path, target: Target) -> Iterable[Path]:
    return findings.glob(f"{_prefix(target)}*")


def _outcome(target: Target, said: str, found: tuple[Path, ...], code: int) -> Outcome:
    status, runs, done = _STATUS.findall(said), _RUNS.search(said), _DONE.search(said)
    inputs = int(runs[1]) if runs else int(status[-1][0]) if status else 0
    edges = max([int(edges) for _, edges in status], default=0)
    failure = "" if found or (code == 0 and runs) else f"the fuzzer ended with {code}: {_last_line(said)}"
    return Outcome(target.name, inputs, int(done[1]) if done else 0, edges, found, failure)


def _last_line(said: str) -> str:
    return next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")
