"""What blocks told, on its way to the store: in order, many together, bounded, and written when a download fails."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from phasegate.consensus.blocks import BlockFindings
from phasegate.consensus.raw_blocks import RawBlock
from phasegate.engine.errors import Failure, FailureKind
from phasegate.engine.phases.block_names import CLOSE, Names
from phasegate.engine.phases.block_records import A_MOMENT, ENOUGH, MOST, Outgrown, Records, Searched, recorded
from phasegate.engine.work import Work
from phasegate.store import Change, ForgetBroadcast, RecordBlock, Store, StoreFailed

pytestmark = pytest.mark.trio


@attrs.define
class Writing:
    """A writer that lets wait for its turn, takes its time, and tells of blocks once they are written."""

    seconds: float = 0.0
    turn: float = 0.0
    fails: bool = False
    written: list[list[Change]] = attrs.field(factory=list)
    at: list[float] = attrs.field(factory=list)
    told: list[int] = attrs.field(factory=list)

    @property
    def records(self) -> Records:
        return Records(cast("Work", _Bench(self, self)))

    async def commit(self, changes: Sequence[Change]) -> None:
        if self.turn:
            await trio.sleep(self.turn)
        with trio.CancelScope(shield=True):
            await trio.sleep(self.seconds)
        if self.fails:
            raise StoreFailed("planted")
        self.written.append(list(changes))
        self.at.append(trio.current_time())

    def searched(self, block: RawBlock, height: int) -> None:
        assert any(RecordBlock(height, BlockFindings(height)) in batch for batch in self.written)
        self.told.append(height)

    @property
    def all_heights(self) -> list[int]:
        return [height for batch in self.heights for height in batch]

    @property
    def heights(self) -> list[list[int]]:
        return [[change.height for change in batch if isinstance(change, RecordBlock)] for batch in self.written]


@attrs.frozen
class _Bench:
    writer: Writing
    broadcasts: Writing


def found(*heights: int) -> list[Searched]:
    return [Searched(BlockFindings(height)) for height in heights]


async def test_what_comes_within_a_moment_is_one_transaction(autojump_clock: MockClock) -> None:
    """And nothing waits for longer, however slowly more comes."""
    writing, start = Writing(), trio.current_time()
    records = writing.records
    async with recorded(records):
        for height in range(10):
            await records.put(found(height))
            await trio.sleep(A_MOMENT / 5)
        await trio.sleep(60)
        await records.put(found(10))
    assert writing.all_heights == list(range(11))
    assert 2 <= len(writing.written) <= 4
    assert writing.at[0] <= start + A_MOMENT * 1.01
    assert writing.at[-1] == pytest.approx(start + 60 + 2 * A_MOMENT)


async def test_much_is_written_at_once_while_more_is_put(autojump_clock: MockClock) -> None:
    """In the order in which it was put; no more waits than there is room for."""
    writing, start = Writing(seconds=1.0), trio.current_time()
    records = writing.records
    async with recorded(records):
        for height in range(0, 5 * MOST, 100):
            await records.put(found(*range(height, height + 100)))
            assert records._rows + records._under_way < MOST
        assert trio.current_time() > start
    assert writing.all_heights == list(range(5 * MOST))
    assert all(ENOUGH <= len(batch) <= MOST for batch in writing.heights[:-1])
    assert all(after - before == pytest.approx(1.0) for before, after in pairwise(writing.at))


async def test_the_end_is_waited_for_by_nobody(autojump_clock: MockClock) -> None:
    """What is left is written at once, and nothing is when there is nothing."""
    writing, start = Writing(), trio.current_time()
    async with recorded(records := writing.records):
        await records.put(found(7))
    async with recorded(writing.records):
        pass
    assert (writing.heights, trio.current_time()) == ([[7]], start)


async def test_a_download_that_fails_leaves_nothing_unwritten(autojump_clock: MockClock) -> None:
    writing = Writing()

    async def download() -> None:
        async with recorded(records := writing.records):
            await records.put(found(1, 2))
            raise Failure(FailureKind.NO_PEER, "nobody")

    with pytest.raises(Failure, match="nobody"):
        await download()
    assert writing.heights == [[1, 2]]


async def test_what_waits_for_its_turn_when_a_download_fails_is_written_before_the_rest(
    autojump_clock: MockClock,
) -> None:
    """A spend that was stored before its coin would be lost."""
    writing = Writing(turn=10.0)

    async def download() -> None:
        async with recorded(records := writing.records):
            await records.put(found(1, 2))
            await trio.sleep(A_MOMENT + 1.0)
            await records.put(found(3))
            raise Failure(FailureKind.NO_PEER, "nobody")

    with pytest.raises(Failure):
        await download()
    assert writing.heights == [[1, 2, 3]]


async def test_who_is_cancelled_has_written_what_was_handed_over_and_no_more(autojump_clock: MockClock) -> None:
    writing = Writing(seconds=1.0)
    with trio.move_on_after(A_MOMENT + 0.5):
        async with recorded(records := writing.records):
            await records.put(found(1))
            await trio.sleep(A_MOMENT + 0.1)
            await records.put(found(2))
            await trio.sleep(60)
    assert writing.heights == [[1]]


async def test_a_disk_that_refuses_ends_the_download(autojump_clock: MockClock) -> None:
    writing = Writing(fails=True)

    async def download() -> None:
        async with recorded(records := writing.records):
            await records.put(found(1))
            await trio.sleep(60)

    with pytest.raises(StoreFailed):
        await download()
    assert writing.told == []


async def test_of_a_block_that_somebody_waits_for_is_told_when_it_is_written(autojump_clock: MockClock) -> None:
    """With what else is to be stored of it; and large blocks that are kept for that are not kept long."""
    writing, more = Writing(), ForgetBroadcast(b"t" * 32)
    async with recorded(records := writing.records):
        await records.put([Searched(BlockFindings(1), [more], RawBlock(bytes(2_000_000))), *found(2)])
        assert (writing.heights, records._rows, records._under_way) == ([[1, 2]], 0, 0)
        await wait_all_tasks_blocked()
        assert writing.told == [1]
    assert writing.written[0][1] == more


@attrs.define
class Chain:
    """Blocks whose header and hash tell their height; counts what is read."""

    tip: int
    read: list[tuple[str, int, int]] = attrs.field(factory=list)

    def hash_at(self, height: int) -> bytes:
        return self.hashes(height, 1)

    def hashes(self, start: int, count: int) -> bytes:
        assert start + count - 1 <= self.tip
        self.read.append(("hashes", start, count))
        return b"".join([height.to_bytes(32, "little") for height in range(start, start + count)])

    def headers(self, start: int, count: int) -> bytes:
        self.read.append(("headers", start, count))
        return b"".join([header(height) for height in range(start, start + count)])


def header(height: int) -> bytes:
    return height.to_bytes(80, "big")


async def test_names_that_stand_close_together_are_read_once() -> None:
    """Also near the tip, and again only for heights that were not read."""
    chain: Any = Chain(tip=5 * CLOSE)
    names = Names(cast("Store", chain), chain.tip)
    for first in range(0, CLOSE, 100):
        heights = range(first, first + 100, 7)
        named = names.of(heights)
        assert named.hashes == [height.to_bytes(32, "little") for height in heights]
        assert [named.name(RawBlock(header(height))) for height in heights] == named.hashes
    assert chain.read == [("hashes", 0, CLOSE), ("headers", 0, CLOSE)]
    assert names.of([5 * CLOSE - 1, 5 * CLOSE]).hashes == [n.to_bytes(32, "little") for n in (5 * CLOSE - 1, 5 * CLOSE)]
    assert chain.read[2:] == [("hashes", 5 * CLOSE - 1, 2), ("headers", 5 * CLOSE - 1, 2)]


async def test_a_block_whose_header_is_not_among_them_is_hashed() -> None:
    """So is every block where names stand far apart."""
    chain: Any = Chain(tip=5 * CLOSE)
    stranger, names = RawBlock(b"\1" * 80), Names(cast("Store", chain), chain.tip)
    assert names.of([1, 2]).name(stranger) == RawBlock(b"\1" * 80).hash
    apart = names.of([1, CLOSE + 1])
    assert apart.hashes == [n.to_bytes(32, "little") for n in (1, CLOSE + 1)]
    assert apart.name(RawBlock(header(1))) == RawBlock(header(1)).hash


async def test_what_was_searched_for_too_little_is_not_written(autojump_clock: MockClock) -> None:
    """Its blocks are pending still; what was written before stands, and whoever records is told."""
    writing, outgrown = Writing(), False
    records = Records(cast("Work", _Bench(writing, writing)), lambda: outgrown)
    await records.put(found(1, 2))
    await records.write()
    await records.put(found(3))
    outgrown = True
    with pytest.raises(Outgrown):
        await records.run()
    assert writing.heights == [[1, 2]]


async def failing_after(records: Records, *heights: int) -> None:
    async with recorded(records):
        await records.put(found(*heights))
        raise Failure(FailureKind.NO_PEER, "planted")


async def test_why_a_download_failed_is_told_though_what_waits_was_searched_for_too_little(
    autojump_clock: MockClock,
) -> None:
    """Whoever failed first, it is the failure that the policy has to know of; what waits is pending still."""
    writing = Writing()
    records = Records(cast("Work", _Bench(writing, writing)), lambda: True)
    with pytest.raises(Failure, match="planted"):
        await failing_after(records, 1)
    assert writing.heights == []
