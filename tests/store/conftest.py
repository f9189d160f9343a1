"""Chains of linked but worthless headers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

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


@pytest.fixture(scope="session")
def make_model() -> type[Model]:
    """Builds a `Model`."""
    return Model
