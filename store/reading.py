"""The reading half of a store: every method sees one committed state, from any thread, also during a commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from phasegate.consensus.blocks import Coin
from phasegate.consensus.primitives import OutPoint
from phasegate.store import digest, filters, journal, masternodes, repair, wallet
from phasegate.store.database import Database, Session
from phasegate.store.index import HashIndex
from phasegate.store.marks import ChainMarks, Watermarks, watermarks
from phasegate.store.segments import FILTER_HEADERS, FILTERS, HASHES, HEADERS, Series, read, read_joined


class Reading:
    """What can be asked of a store.

    Heights are absolute, hashes 32 bytes in wire order; no heights at all (a count of 0) give an empty answer. Every
    method borrows a read connection of its own, so it neither waits for a running commit nor sees half of it.

    Raises:
        LookupError: a height outside what is stored.
        StoreCorrupt: what was asked for is damaged.
        StoreFailed: the disk refuses.
    """

    _database: Database
    _index: HashIndex

    @contextmanager
    def _now(self) -> Iterator[tuple[Session, ChainMarks]]:
        with self._database.snapshot() as rows:
            yield rows, ChainMarks.read(rows)

    def read_marks(self) -> Watermarks:
        """The watermarks, fresh from the database."""
        with self._now() as (rows, chain):
            return watermarks(rows, chain)

    def header(self, height: int) -> bytes:
        """The 80 raw bytes of one header."""
        return self.headers(height, 1)

    def headers(self, start: int, count: int) -> bytes:
        """`count` headers from height `start` on, 80 bytes each."""
        return self._joined(HEADERS, start, count)

    def hash_at(self, height: int) -> bytes:
        """The hash of one block."""
        return self.hashes(height, 1)

    def hashes(self, start: int, count: int) -> bytes:
        """The hashes of `count` blocks from height `start` on, 32 bytes each."""
        return self._joined(HASHES, start, count)

    def height_of(self, block_hash: bytes) -> int | None:
        """The height of the stored block with this hash, None when there is none."""
        candidates = self._index.candidates(block_hash)
        with self._now() as (rows, chain):
            stored = [height for height in candidates if height <= chain.tip]
            return next((h for h in stored if read_joined(rows, HASHES, h, 1) == block_hash), None)

    def filter_header_at(self, height: int) -> bytes:
        """The filter header of one block; also of the block below the base, zeros before genesis."""
        with self._now() as (rows, chain):
            if height != chain.base - 1:
                _refuse_outside(FILTER_HEADERS, chain.base, chain.filter_headers, height, 1)
            return filters.filter_header(rows, chain, height)

    def filter_headers(self, start: int, count: int) -> bytes:
        """`count` filter headers from height `start` on, 32 bytes each."""
        return self._joined(FILTER_HEADERS, start, count)

    def filters(self, start: int, count: int) -> list[bytes]:
        """`count` raw filters of the contiguous part from height `start` on."""
        with self._now() as (rows, chain):
            _refuse_outside(FILTERS, chain.base, chain.filters, start, count)
            return read(rows, FILTERS, start, count)

    def _joined(self, series: Series, start: int, count: int) -> bytes:
        with self._now() as (rows, chain):
            end = chain.filter_headers if series is FILTER_HEADERS else chain.tip
            _refuse_outside(series, chain.base, end, start, count)
            return read_joined(rows, series, start, count)

    def masternode_state(self) -> bytes | None:
        """The newest masternode state, None when there is none yet."""
        with self._database.snapshot() as rows:
            newest = masternodes.newest_state(rows)
            return newest and newest[2]

    def watch_items(self) -> list[wallet.WatchItem]:
        """All watch items, by script."""
        with self._database.snapshot() as rows:
            return wallet.watch_items(rows)

    def pending(self, limit: int, after: int = -1) -> list[int]:
        """The first `limit` matched heights above `after` whose blocks have not been searched yet, ascending."""
        with self._database.snapshot() as rows:
            return wallet.pending(rows, limit, after)

    def matched_heights(self) -> list[int]:
        """All matched heights, searched or not, ascending."""
        with self._database.snapshot() as rows:
            return wallet.matched_heights(rows)

    def coins(self) -> dict[OutPoint, Coin]:
        """The unspent coins of watched scripts."""
        with self._database.snapshot() as rows:
            return wallet.coins(rows)

    def transactions(self, after: int = 0) -> list[wallet.StoredTransaction]:
        """The found transactions with a row id above `after`, in the chain's order."""
        with self._database.snapshot() as rows:
            return wallet.transactions(rows, after)

    def balances(self) -> dict[bytes, int]:
        """Every watched script with the sum of its unspent coins, in duffs."""
        with self._database.snapshot() as rows:
            return wallet.balances(rows)

    def journal(self, after: int = 0, limit: int = 1000) -> list[journal.JournalRow]:
        """The first `limit` journal rows with an id above `after`, oldest first."""
        with self._database.snapshot() as rows:
            return journal.journal(rows, after, limit)

    def journal_end(self) -> int:
        """The row id of the newest journal row, 0 when there is none."""
        with self._now() as (rows, _):
            return journal.journal_end(rows)

    def digest(self) -> str:
        """SHA-256, as hex, over all chain and wallet items, however they came to be stored."""
        with self._now() as (rows, chain):
            return digest.digest(rows, chain)

    def check(self) -> tuple[repair.Damage, ...]:
        """Read everything and name what is damaged."""
        with self._now() as (rows, chain):
            return repair.damages(rows, chain)


def _refuse_outside(series: Series, base: int, end: int, start: int, count: int) -> None:
    if count < 0 or start < base or start + count - 1 > end:
        raise LookupError(f"{series.name} {start}..{start + count - 1} are not stored: there are {base}..{end}")
