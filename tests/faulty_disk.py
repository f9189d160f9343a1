"""A disk below SQLite that fails on demand.

A pytest plugin, loaded by `tests/conftest.py`: its fixtures are everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import apsw
import pytest

from phasegate.store import database


class Disk:
    """Counts what is done to the files, and fails at the chosen operation: once, or from then on with a torn write."""

    def __init__(self) -> None:
        self.count = 0
        self.fail_at = 0
        self.dead = False
        self.failed = 0
        self.error: type[apsw.Error] = apsw.FullError

    def arm(self, fail_at: int, *, dead: bool = False, error: type[apsw.Error] = apsw.FullError) -> None:
        """`error`: how a write fails, by ENOSPC or, as everything else, by EIO."""
        self.count, self.fail_at, self.dead, self.failed, self.error = 0, fail_at, dead, 0, error

    def disarm(self) -> None:
        self.arm(0)

    def fails_now(self) -> bool:
        self.count += 1
        bad = bool(self.fail_at) and (self.count >= self.fail_at if self.dead else self.count == self.fail_at)
        self.failed += bad
        return bad


class FaultyFile(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], disk: Disk) -> None:
        self._disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802 - SQLite's name, and bytes or a buffer
        if self._disk.fails_now():
            if self._disk.dead and self._disk.failed == 1:
                super().xWrite(data[: len(data) // 2], offset)
            raise self._disk.error("the disk is full, or does not answer")
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._disk.fails_now():
            raise apsw.IOError("the disk does not answer")
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:  # noqa: N802 - SQLite's name
        if self._disk.fails_now():
            raise apsw.IOError("the disk does not answer")
        super().xTruncate(size)


class FaultyVFS(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        self._disk = disk
        super().__init__(name, base="")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return FaultyFile(name, flags, self._disk)


@contextmanager
def faulty_vfs() -> Iterator[Disk]:
    """A disk for databases opened with the vfs "faulty"."""
    plan = Disk()
    vfs = FaultyVFS("faulty", plan)
    yield plan
    plan.disarm()
    vfs.unregister()


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk that fails on demand, for stores opened with the vfs "faulty"."""
    with faulty_vfs() as plan:
        yield plan


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A disk that fails on demand, under every store that is opened."""
    connect = database._connect
    monkeypatch.setattr(database, "_connect", lambda path, _: connect(path, "faulty"))
    with faulty_vfs() as plan:
        yield plan
