"""What was found, as a text that a person can read and `--replay` can run again: the input in hex, then what it did."""

from __future__ import annotations

import hashlib
from pathlib import Path

_HEX = "input: "


def place_of(folder: Path, target: str, data: bytes) -> Path:
    """Where it is written down what `data` does to `target`."""
    return folder / f"{target}-{hashlib.sha256(data).hexdigest()[:16]}.txt"


def write_finding(folder: Path, target: str, data: bytes, story: str) -> Path:
    """Write down that `data` made `target` do what the story tells; where it is written."""
    path = place_of(folder, target, data)
    path.write_text(f"target: {target}\n{_HEX}{data.hex()}\n\n{story}", encoding="utf-8")
    return path


def read_finding(path: Path) -> tuple[str, bytes]:
    """The target and the input of a finding.

    Raises:
        ValueError: the file is none.
    """
    target, given, *_ = [*path.read_text(encoding="utf-8").splitlines(), "", ""]
    if not (target.startswith("target: ") and given.startswith(_HEX)):
        raise ValueError(f"{path} is no finding")
    return target.removeprefix("target: "), bytes.fromhex(given.removeprefix(_HEX))
