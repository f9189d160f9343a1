"""Chains of linked but worthless headers, a disk that fails on demand, and a model of what a store means."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import apsw
import attrs
import pytest

from phasegate.consensus.blocks import BlockFindings, Coin
from phasegate.consensus.difficulty import work_of
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import BlockHeader, OutPoint
from phasegate.consensus.x11 import x11
from phasegate.store import Anchor, Change, Store, Watermarks
from phasegate.store import changes as c

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

    def arm(self, fail_at: int, *, dead: bool = False) -> None:
        self.count, self.fail_at, self.dead, self.failed = 0, fail_at, dead, 0

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
            raise apsw.FullError("the disk is full")
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


@attrs.define
class Model:
    """What a store means, with a list index for a height."""

    raw: list[bytes] = attrs.field(factory=lambda: [SIMNET.genesis])
    ids: list[bytes] = attrs.field(factory=lambda: [x11(SIMNET.genesis)])
    filter_headers: list[bytes] = attrs.field(factory=list)
    filters: dict[int, bytes] = attrs.field(factory=dict)
    lists: dict[int, bytes] = attrs.field(factory=dict)
    watch: dict[bytes, int] = attrs.field(factory=dict)
    matches: dict[int, bool] = attrs.field(factory=dict)
    coins: dict[OutPoint, Coin] = attrs.field(factory=dict)
    spends: dict[OutPoint, tuple[bytes, int]] = attrs.field(factory=dict)
    positions: dict[bytes, tuple[int, int]] = attrs.field(factory=dict)

    @property
    def tip(self) -> int:
        return len(self.raw) - 1

    @property
    def filter_end(self) -> int:
        return next(h for h in range(-1, self.tip + 2) if h + 1 not in self.filters)

    def work(self, height: int) -> int:
        return Anchor.genesis(SIMNET).work + height

    def grow(self, count: int, salt: int) -> c.AppendHeaders:
        """`count` linked headers on the tip, other ones for another salt; not yet part of the model."""
        raw, ids = [], [self.ids[-1]]
        for height in range(self.tip + 1, self.tip + 1 + count):
            root = hashlib.sha256(b"%d %d" % (salt, height)).digest()
            raw.append(b"\0\0\0\0" + ids[-1] + root + bytes(12))
            ids.append(hashlib.sha256(raw[-1]).digest())
        return c.AppendHeaders(self.tip + 1, b"".join(raw), b"".join(ids[1:]), self.work(self.tip + count))

    def marks(self) -> Watermarks:
        newest = max(self.lists, default=None)
        end = self.filter_end
        return Watermarks(
            base=0,
            tip=self.tip,
            tip_hash=self.ids[-1],
            work=self.work(self.tip),
            masternodes=newest,
            masternodes_hash=b"" if newest is None else self.ids[newest],
            filter_headers=len(self.filter_headers) - 1,
            filter_header=self.filter_headers[-1] if self.filter_headers else bytes(32),
            filters=end,
            matched=min(self.watch.values(), default=end),
            watch_items=len(self.watch),
            pending_blocks=sum(not recorded for recorded in self.matches.values()),
            matched_blocks=len(self.matches),
        )

    def found(self) -> dict[bytes, tuple[int, int, tuple[bytes, ...], int, int]]:
        """txid -> height, position, scripts, received, sent."""
        views = {}
        for txid, (height, position) in self.positions.items():
            made = [coin for point, coin in self.coins.items() if point.txid == txid]
            used = [self.coins[point] for point, (spender, _) in self.spends.items() if spender == txid]
            scripts = tuple(sorted({coin.script for coin in (*made, *used)}))
            if scripts:
                views[txid] = (height, position, scripts, sum(m.value for m in made), sum(u.value for u in used))
        return views

    def apply(self, change: Change) -> None:
        """What each change means."""
        match change:
            case c.AppendHeaders(_, raw, hashes, _):
                self.raw += [raw[i : i + 80] for i in range(0, len(raw), 80)]
                self.ids += [hashes[i : i + 32] for i in range(0, len(hashes), 32)]
            case c.RollBack(to, _):
                self._roll_back(to)
            case c.RollBackFilters(to):
                self._roll_filters_back(to)
            case c.SetMasternodes(height, _, state):
                self.lists[height] = state
                self.lists = dict(sorted(self.lists.items())[-8:])
            case c.AppendFilterHeaders(_, headers):
                self.filter_headers += [headers[i : i + 32] for i in range(0, len(headers), 32)]
            case c.PutFilters(filters):
                self.filters = {**dict(filters), **self.filters}
            case c.MarkMatched(scripts, _, end, heights):
                self.watch |= dict.fromkeys(scripts, end)
                self.matches |= dict.fromkeys(heights, False)
            case c.RecordBlock(height, findings):
                self._record(height, findings)
            case c.AddWatch(items):
                self.watch = {**{script: -1 for script, _ in items}, **self.watch}
            case c.RemoveWatch(scripts):
                self._forget(set(scripts))
            case _:
                raise AssertionError(change)

    def _roll_back(self, to: int) -> None:
        del self.raw[to + 1 :], self.ids[to + 1 :]
        self.lists = {height: state for height, state in self.lists.items() if height <= to}
        self._roll_filters_back(to)

    def _roll_filters_back(self, to: int) -> None:
        del self.filter_headers[to + 1 :]
        self.filters = {height: raw for height, raw in self.filters.items() if height <= to}
        self.matches = {height: recorded for height, recorded in self.matches.items() if height <= to}
        self.watch = {script: min(reached, to) for script, reached in self.watch.items()}
        self.coins = {point: coin for point, coin in self.coins.items() if coin.height <= to}
        self.spends = {p: (by, at) for p, (by, at) in self.spends.items() if at <= to and p in self.coins}
        self.positions = {txid: place for txid, place in self.positions.items() if place[0] <= to}

    def _record(self, height: int, findings: BlockFindings) -> None:
        for coin in findings.created:
            if coin.script in self.watch:
                self.coins.setdefault(coin.outpoint, coin)
        self.spends |= {point: (txid, height) for point, txid in findings.spent if point in self.coins}
        for tx in findings.transactions:
            self.positions.setdefault(tx.txid, (height, tx.position))
        self._drop_coinless()
        if height in self.matches:
            self.matches[height] = True

    def _forget(self, scripts: set[bytes]) -> None:
        self.watch = {script: reached for script, reached in self.watch.items() if script not in scripts}
        self.coins = {point: coin for point, coin in self.coins.items() if coin.script not in scripts}
        self.spends = {point: spend for point, spend in self.spends.items() if point in self.coins}
        self._drop_coinless()
        if not self.watch:
            self.matches = {}

    def _drop_coinless(self) -> None:
        known = self.found()
        self.positions = {txid: place for txid, place in self.positions.items() if txid in known}


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
