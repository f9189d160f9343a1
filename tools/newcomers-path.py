"""A newcomer's path, with a stop watch: from an empty folder to a client of one's own that prints a found payment.

    python3 tools/newcomers-path.py [REPOSITORY]

Clones the repository (default: the one that this file is in) into an empty folder and types what README.md prints under
"In your own program", block by block, in one shell, with nothing else at hand: no environment of this tree, no chain
data, no cache of compiled code. Tells the seconds of each step. Ends with 1 if a step fails, what README.md shows as
output does not come, or all of it takes longer than five minutes.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADING = "\n## In your own program\n"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MARK = "@step "
KEPT = "PATH|LANG|TERM|TMPDIR|PIP_.*|.*_PROXY|SSL_CERT_.*"
"""What a newcomer's environment has of this one: how to reach the registry, and nothing of this tree."""
LONGEST = 300.0
"""Seconds."""
LAST = 3
"""Lines of the output that are shown."""


def blocks(readme: str) -> list[tuple[str, str]]:
    """Language and text of the blocks of the path."""
    return BLOCK.findall(readme.partition(HEADING)[2].partition("\n## ")[0])


def steps(readme: str, repository: str) -> Iterator[tuple[str, str]]:
    """What each step is called, and what a shell does for it."""
    yield "git clone", f"git clone --quiet '{repository}' phasegate\ncd phasegate"
    for language, text in blocks(readme):
        if language == "sh":
            yield from ((line.partition("  ")[0], line) for line in text.splitlines())
        elif language == "python":
            name = text.partition("\n")[0].removeprefix("# ")
            yield f"write {name}", f"cat > {name} <<'END-OF-FILE'\n{text}END-OF-FILE"


def walk(readme: str, repository: str, place: str) -> tuple[int, str]:
    """Type everything; the exit code and the output."""
    lines = ["set -eu", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for name, text in steps(readme, repository):
        lines += [f"echo '{MARK}{name}'", text]
    words = ["bash", "-c", "\n".join([*lines, f"echo '{MARK}'"])]
    kept = {name: value for name, value in os.environ.items() if re.fullmatch(KEPT, name, re.IGNORECASE)}
    said, current, begun = [], "", time.monotonic()
    with subprocess.Popen(words, cwd=place, env={**kept, "HOME": place}, stdout=subprocess.PIPE, text=True) as shell:
        for line in shell.stdout or ():
            if line.startswith(MARK):
                if current:
                    print(f"{time.monotonic() - begun:7.1f} s  {current}", flush=True)
                current, begun = line.removeprefix(MARK).strip(), time.monotonic()
            else:
                said.append(line)
    return shell.returncode, "".join(said)


def main() -> int:
    """Walk the path, tell how it went."""
    repository = sys.argv[1] if len(sys.argv) > 1 else str(ROOT)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="newcomer-") as place:
        code, said = walk(readme, repository, place)
        took, used = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"{took:7.1f} s  in all, {used.ru_utime + used.ru_stime:.0f} s of a processor")
    print("\n".join(said.splitlines()[-LAST:]))
    shown = [text.strip() for language, text in blocks(readme) if language == "text"]
    missing = [text for text in shown if not re.search(".*".join(map(re.escape, text.split("…"))), said)]
    for text in missing:
        print(f"newcomers-path: this did not come: {text}", file=sys.stderr)
    if took > LONGEST:
        print(f"newcomers-path: longer than {LONGEST:.0f} s", file=sys.stderr)
    return 1 if code or missing or not shown or took > LONGEST else 0


if __name__ == "__main__":
    sys.exit(main())
