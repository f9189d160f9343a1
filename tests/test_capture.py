"""The recording that lies in the repository is the one that was made."""

from __future__ import annotations

from pathlib import Path


def test_the_unpacked_recording_equals_the_original(capture: Path, shared: Path) -> None:
    original = shared / "captures" / "dashcore-regtest"
    names = {path.name for path in original.iterdir()}
    assert {path.name for path in capture.iterdir()} == names
    for name in names:
        assert (capture / name).read_bytes() == (original / name).read_bytes(), name
