"""What blocks told, on its way to the store: many blocks are one transaction, written while the next are searched.

A transaction has a price of its own, and writes each page of an index that it touches once, whether for one block or
for hundreds. So what is found waits until there is enough for a transaction, or for a moment where blocks come slowly,
or until nothing more comes. It is written in the order in which it was found. Only so much more may wait meanwhile that
memory is bounded; and who is killed downloads again what waited, no more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import attrs
import trio

from phasegate.consensus.blocks import BlockFindings
from phasegate.consensus.raw_blocks import RawBlock
from phasegate.engine.errors import Failure
from phasegate.engine.work import Work, unwrapped
from phasegate.store import Change, RecordBlock

ENOUGH = 2000
"""Rows that make a transaction: those of some five hundred blocks with one payment each."""
MOST = 3 * ENOUGH
"""Rows that may wait or be under way to the disk, before more is searched."""
A_MOMENT = 0.25
"""Seconds that anything waits for more."""
ROW = 300
"""Bytes of a block that is kept, for which one row less may wait."""


@attrs.frozen
class Searched:
    """What is to be stored of one block, and the block itself if somebody is to be told once it is."""

    findings: BlockFindings
    more: Sequence[Change] = ()
    block: RawBlock | None = None

    @property
    def rows(self) -> int:
        """About how many rows it makes, and what else it takes in memory."""
        found = self.findings
        inputs = sum([len(tx.inputs) for tx in found.transactions])
        kept = 0 if self.block is None else len(self.block.raw) // ROW
        return 1 + len(found.created) + len(found.spent) + len(found.transactions) + inputs + kept

    @property
    def changes(self) -> list[Change]:
        """For the store."""
        return [RecordBlock(self.findings.height, self.findings), *self.more]


class Outgrown(Exception):
    """More is watched than what waits was searched for, and another phase may have matched it already."""


class Records:
    """What one stay in the blocks phase has found and not yet written.

    Args:
        work: whose writer is used, and whose broadcasts are told.
        outgrown: whether more is watched than was searched for, and that matters.
    """

    def __init__(self, work: Work, outgrown: Callable[[], bool] = lambda: False) -> None:
        self._work = work
        self._outgrown = outgrown
        self._waiting: list[Searched] = []
        self._rows = self._under_way = 0
        self._ended = False
        self._moved = trio.Event()

    async def put(self, searched: Sequence[Searched]) -> None:
        """Have more written, after all that was put before; returns when there is room for more."""
        self._waiting += searched
        self._rows += sum([one.rows for one in searched])
        self._stir()
        while self._rows + self._under_way >= MOST:
            await self._moved.wait()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._stir()

    async def run(self) -> None:
        """Write until the end, and what is left then.

        Raises:
            StoreError: what was being written is not stored, nor what waited.
        """
        while await self._gathered():
            await self.write()

    async def write(self) -> None:
        """Write what waits; who is cancelled before it is handed over leaves it waiting, before all that came since.

        Raises:
            Outgrown: what waits does not fit what is watched by now; it is dropped, and its blocks are pending still.
        """
        if self._outgrown():
            raise Outgrown
        searched, self._waiting = self._waiting, []
        self._under_way, self._rows = self._rows, 0
        if not searched:
            return
        try:
            await self._work.writer.commit([change for one in searched for change in one.changes])
        except trio.Cancelled:
            self._waiting, self._rows = searched + self._waiting, self._under_way + self._rows
            raise
        finally:
            self._under_way = 0
            self._stir()
        for one in searched:
            if one.block is not None and self._work.broadcasts is not None:
                self._work.broadcasts.searched(one.block, one.findings.height)

    async def _gathered(self) -> bool:
        """Wait for what makes a transaction; False at the end, when nothing is left."""
        while not self._waiting and not self._ended:
            await self._moved.wait()
        with trio.move_on_after(A_MOMENT):
            while self._rows < ENOUGH and not self._ended:
                await self._moved.wait()
        return bool(self._waiting)

    def _stir(self) -> None:
        self._moved.set()
        self._moved = trio.Event()


@asynccontextmanager
async def recorded(records: Records) -> AsyncIterator[None]:
    """Write `records` while blocks are downloaded: all of them, if the download fails as well."""
    try:
        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(records.run)
                yield
                records.end()
    except Failure:
        with suppress(Outgrown):  # the reason of the end is the one that is told
            await records.write()
        raise
