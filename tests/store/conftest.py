"""Chains of linked but worthless headers, and a disk that fails on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from phasegate.consensus.difficulty import work_of
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import BlockHeader
from phasegate.consensus.x11 import x11
from phasegate.store import Anchor, Store
from phasegate.store import changes as c
from tests.store.store_model import Model

BITS = BlockHeader.from_bytes(SIMNET.genesis).bits
WORK = work_of(BITS)


class FakeChain:
    """Headers that are linked, with hashes that are not their X11; filters of all sizes, the empty one included."""

    def __init__(self, length: int, *, fork: tuple[FakeChain, int] | None = None, anchor: Anchor | None = None) -> None:
        first = anchor or Anchor.genesis(SIMNET)
        self.base = first.height
        self.anchor = anchor
        self._headers, self._hashes = [first.header], [x11(first.header)]
        self._salt = b"trunk"
        if fork:
            other, at = fork
            self._headers = other._headers[: at + 1 - self.base]
            self._hashes = other._hashes[: at + 1 - self.base]
            self._salt = b"branch"
        while len(self._headers) < length:
            self._mine()

    def _mine(self) -> None:
        height = self.base + len(self._headers)
        root = hashlib.sha256(self._salt + height.to_bytes(4, "little")).digest()
        header = BlockHeader(1, self._hashes[-1], root, height, BITS, 0).to_bytes()
        self._headers.append(header)
        self._hashes.append(hashlib.sha256(header).digest())

    def header(self, height: int) -> bytes:
        return self._headers[height - self.base]

    def hash_at(self, height: int) -> bytes:
        return self._hashes[height - self.base]

    def headers(self, start: int, count: int) -> bytes:
        return b"".join(self._headers[start - self.base : start - self.base + count])

    def hashes(self, start: int, count: int) -> bytes:
        return b"".join(self._hashes[start - self.base : start - self.base + count])

    def work(self, height: int) -> int:
        return WORK * (height + 1)

    def filter(self, height: int) -> bytes:
        seed = self.hash_at(height)
        return seed[:1] * (seed[1] % 90)

    def filter_headers(self, start: int, count: int) -> bytes:
        return b"".join(hashlib.sha256(self.hash_at(h)).digest() for h in range(start, start + count))

    def append(self, start: int, count: int) -> c.AppendHeaders:
        return c.AppendHeaders(
            start, self.headers(start, count), self.hashes(start, count), self.work(start + count - 1)
        )

    def append_filter_headers(self, start: int, count: int) -> c.AppendFilterHeaders:
        return c.AppendFilterHeaders(start, self.filter_headers(start, count))

    def put_filters(self, heights: Iterable[int]) -> c.PutFilters:
        return c.PutFilters(tuple((height, self.filter(height)) for height in heights))

    def roll_back(self, to: int) -> c.RollBack:
        return c.RollBack(to, self.work(to))


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


@pytest.fixture(scope="session")
def make_chain() -> Callable[..., FakeChain]:
    """Builds a `FakeChain`."""
    return FakeChain


@pytest.fixture(scope="session")
def trunk() -> FakeChain:
    """A chain long enough for three segments and a tail."""
    return FakeChain(9001)


@pytest.fixture(scope="session")
def branch(trunk: FakeChain) -> FakeChain:
    """A chain that leaves the trunk after height 3500."""
    return FakeChain(9001, fork=(trunk, 3500))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store."""
    opened = Store.open(tmp_path, SIMNET)
    yield opened
    opened.close()


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A disk that fails on demand, for stores opened with the vfs "faulty"."""
    plan = Disk()
    vfs = FaultyVFS("faulty", plan)
    yield plan
    plan.disarm()
    vfs.unregister()


@pytest.fixture(scope="session")
def make_model() -> type[Model]:
    """Builds a `Model`."""
    return Model
