"""Does `phasegate verify` notice a bug? Bugs are planted one at a time, each in a copy of the tree, to see.

A proof that nothing ever fails proves nothing. `tests/planted` has patches, each a mistake that a tired programmer
could make, with a line `Breaks:` that names the law, or several between bars, of which one has to be named.
For each patch the tree is copied, the patch applied without any fuzz, and `phasegate verify` run in the copy with the
sizes that it has by default: it has to end with 1 and to name that law. The copy without a patch has to end with 0.

Only the standard library is used, and nothing is imported from the tree that is judged.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLANTED = "tests/planted"
VERIFY = (sys.executable, "-P", "-m", "phasegate", "verify", "--json", "--fail-fast")
UNPATCHED = "unpatched"
LEFT_BEHIND = (".git", ".venv*", "__pycache__", "*.py[cod]", "*.nb[ci]", ".*_cache", ".hypothesis", "build", "dist")
"""What of a tree without git is no source."""
LONGEST = 3600.0
"""Seconds that one run may take."""


@dataclass(frozen=True)
class Verdict:
    """What became of one copy: `wrong` says why it is not as it has to be, "" if it is."""

    name: str
    seconds: float
    wrong: str = ""
    part: str = ""
    law: str = ""
    text: str = ""

    def __str__(self) -> str:
        found = self.wrong or (f"[{self.law}] ({self.part}) {self.text}" if self.law else "no violation")
        return f"{'FAILED' if self.wrong else 'ok':6} {self.name:32} {self.seconds:6.1f} s  {found}"


def main(arguments: Sequence[str] | None = None, verify: Sequence[str] = VERIFY, root: Path = ROOT) -> int:
    """Judge the tree at `root` and each of its patches with the command `verify`; 1 if anything is not so."""
    chosen = _arguments(arguments)
    patches = sorted((root / PLANTED).glob("*.patch"))
    wanted = [patch for patch in patches if not chosen.only or any(name in patch.stem for name in chosen.only)]
    if not wanted:
        print(f"no patch of {root / PLANTED} is meant")
        return 1
    began, verdicts = time.monotonic(), list[Verdict]()
    with ThreadPoolExecutor(chosen.jobs) as threads:
        jobs = [threads.submit(judged, root, patch, verify) for patch in (None, *wanted)]
        for job in jobs:
            verdicts.append(job.result())
            print(verdicts[-1], flush=True)
    found = sum(not verdict.wrong for verdict in verdicts[1:])
    print(f"{found} of {len(wanted)} planted bugs found, in {time.monotonic() - began:.0f} s", end="; ")
    print(f"the unpatched tree {'fails' if verdicts[0].wrong else 'passes'}")
    return int(any(verdict.wrong for verdict in verdicts))


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plant bugs one at a time; each must make `phasegate verify` fail.")
    parser.add_argument("--only", metavar="NAME", action="append", help="patches with this in their name (repeatable)")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="copies judged beside each other (default: 1)")
    return parser.parse_args(arguments)


def judged(root: Path, patch: Path | None, verify: Sequence[str]) -> Verdict:
    """Copy the tree, plant the bug, run the command, and judge what it says."""
    name, began = UNPATCHED if patch is None else patch.stem, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="phasegate-planted-") as directory:
        copy = Path(directory) / "tree"
        copy_tree(root, copy)
        refused = "" if patch is None else planted(patch, copy)
        if refused:
            return Verdict(name, time.monotonic() - began, refused)
        code, said = _run(verify, copy, Path(directory))
    expected = () if patch is None else breaks(patch.read_text(encoding="utf-8"))
    return _verdict(name, time.monotonic() - began, code, said, expected)


def _verdict(name: str, seconds: float, code: int, said: str, expected: Sequence[str]) -> Verdict:
    violations = list(_violations(said))
    if name == UNPATCHED:
        clean = code == 0 and not violations
        return Verdict(name, seconds, "" if clean else f"exit code {code}, {_named(violations)}: {said[-2000:]}")
    if code != 1:
        detail = f": {said[-2000:]}" if code else ""
        return Verdict(name, seconds, f"exit code {code}, {_named(violations)}{detail}")
    for violation in violations:
        if violation["law"] in expected:
            return Verdict(name, seconds, "", violation["part"], violation["law"], violation["text"])
    return Verdict(name, seconds, f"{' | '.join(expected) or 'nothing'} was to be named, and {_named(violations)}")


def _violations(said: str) -> Iterator[dict[str, str]]:
    for line in said.splitlines():
        if line.startswith("{") and (fields := json.loads(line)).get("event") == "violation":
            yield fields


def _named(violations: Sequence[dict[str, str]]) -> str:
    return f"named: {' | '.join(sorted({violation['law'] for violation in violations})) or 'none'}"


def breaks(patch: str) -> tuple[str, ...]:
    """The laws in the line `Breaks:` of a patch; none if there is no such line before the first difference."""
    head = patch.partition("\n--- ")[0]
    line = re.search(r"^Breaks:(.*)$", head, re.MULTILINE)
    return tuple(filter(None, map(str.strip, line[1].split("|")))) if line else ()


def planted(patch: Path, tree: Path) -> str:
    """Apply a patch; why it does not apply exactly, "" if it does."""
    if not breaks(patch.read_text(encoding="utf-8")):
        return "the patch has no line `Breaks:`"
    command = ["patch", "--batch", "--forward", "--strip=1", "--fuzz=0", "--no-backup-if-mismatch", f"--input={patch}"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"the patch does not apply: {' '.join((done.stdout + done.stderr).split())}"
    return ""


def copy_tree(root: Path, copy: Path) -> None:
    """Copy what is tracked, or everything but caches where there is no git; links stay links."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode or not (root / ".git").exists():
        shutil.copytree(root, copy, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_BEHIND))
        return
    for name in filter(None, listed.stdout.split("\0")):
        if (root / name).is_symlink() or (root / name).exists():  # else it is deleted, and not yet committed
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, copy / name, follow_symlinks=False)


def _run(verify: Sequence[str], copy: Path, home: Path) -> tuple[int, str]:
    """Run the command on a copy: its code is what is imported, and no cache of another tree is in reach.

    What is compiled stays in the copy, so that the processes of one run need not each do it again.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NUMBA_"))}
    own = {"PYTHONPATH": str(copy), "NUMBA_CACHE_DIR": str(home / "numba")}
    try:
        if not _is_imported(copy, {**kept, **own}):
            return -1, "another phasegate than that of the copy would be judged"
        done = subprocess.run(
            verify, cwd=copy, env={**kept, **own}, capture_output=True, text=True, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired as late:
        return -1, f"no end within {late.timeout:.0f} s"
    return done.returncode, done.stdout + (done.stderr if done.returncode not in (0, 1) or not done.stdout else "")


def _is_imported(copy: Path, environment: dict[str, str]) -> bool:
    where = [sys.executable, "-P", "-c", "import phasegate; print(phasegate.__file__)"]
    done = subprocess.run(where, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    return Path(done.stdout.strip()).resolve().parent == (copy / "phasegate").resolve()


if __name__ == "__main__":
    sys.exit(main())
