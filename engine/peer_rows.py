"""What is known of peers as rows of the store, and the rows that wait to be written.

Of each address, and of each record of what was held against one, only the newest row waits, so that a disk that refuses
for days costs no more memory than what is known. They are written a bounded number at a time, because a thread should
not be busy with one thing for long.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

import attrs

from phasegate.p2p.address_book import Entry
from phasegate.p2p.addresses import Address
from phasegate.p2p.reputation import Ban, Record
from phasegate.store import (
    Change,
    ForgetPeers,
    ForgetReputation,
    PeerRow,
    PutPeers,
    PutReputation,
    ReputationRow,
    SetAnchors,
    SetPeerKey,
)

PIECE = 2000
"""Rows of one kind that are written at once."""
MOST = 100_000
"""Rows of one kind that wait; the oldest are given up, for all of it is hearsay."""

Name = tuple[str, int]
"""A host and a port."""
R = TypeVar("R")


@attrs.define
class Backlog:
    """What is not stored yet; None stands for a row that has to go."""

    _key: SetPeerKey | None = None
    _anchors: SetAnchors | None = None
    _peers: dict[Name, PeerRow | None] = attrs.field(factory=dict)
    _records: dict[Name, ReputationRow | None] = attrs.field(factory=dict)

    def __len__(self) -> int:
        return len(self._peers) + len(self._records) + (self._anchors is not None) + (self._key is not None)

    def set_key(self, key: bytes) -> None:
        """The book has a new secret."""
        self._key = SetPeerKey(key)

    def set_anchors(self, peers: Sequence[Address]) -> None:
        """Whom the next run connects to first."""
        self._anchors = SetAnchors(tuple((peer.host, peer.port) for peer in peers))

    def add_entries(self, entries: Iterable[Entry], forgotten: Iterable[Address]) -> None:
        """The book has changed."""
        rows: dict[Name, PeerRow | None] = {
            (entry.address.host, entry.address.port): row_of(entry) for entry in entries
        }
        _add(self._peers, {**rows, **{(at.host, at.port): None for at in forgotten}})

    def add_records(self, records: Iterable[Record], pardoned: Iterable[Name]) -> None:
        """The reputation has changed."""
        rows: dict[Name, ReputationRow | None] = {(row.host, row.port): row for row in map(record_row, records)}
        _add(self._records, {**rows, **dict.fromkeys(pardoned)})

    def piece(self) -> Backlog:
        """As much of it as is written at once, what is urgent first."""
        peers, records = dict(islice(self._peers.items(), PIECE)), dict(islice(self._records.items(), PIECE))
        return Backlog(self._key, self._anchors, peers, records)

    def changes(self) -> list[Change]:
        """All of it as one batch."""
        first: list[Change] = [change for change in (self._key, self._anchors) if change is not None]
        records = [PutReputation(row) if row else ForgetReputation(*name) for name, row in self._records.items()]
        gone = tuple(name for name, row in self._peers.items() if row is None)
        rows = tuple(row for row in self._peers.values() if row is not None)
        return [*first, *records, *([ForgetPeers(gone)] if gone else []), *([PutPeers(rows)] if rows else [])]

    def stored(self, piece: Backlog) -> None:
        """`piece` need not be written any more, except what is newer by now."""
        self._key = None if self._key is piece._key else self._key
        self._anchors = None if self._anchors is piece._anchors else self._anchors
        _remove(self._peers, piece._peers)
        _remove(self._records, piece._records)


def _add(waiting: dict[Name, R], rows: Mapping[Name, R]) -> None:
    for name, row in rows.items():
        waiting.pop(name, None)
        waiting[name] = row
    for name in list(islice(waiting, max(0, len(waiting) - MOST))):
        del waiting[name]


def _remove(waiting: dict[Name, R], rows: Mapping[Name, R]) -> None:
    for name, row in rows.items():
        if name in waiting and waiting[name] is row:
            del waiting[name]


def entry_of(row: PeerRow) -> Entry:
    """What a stored row says of an address."""
    address, times = Address(row.host, row.port), (row.seen, row.tried, row.succeeded)
    return Entry(address, row.source, row.services, *times, row.attempts, row.in_tried)


def row_of(entry: Entry) -> PeerRow:
    """The row for what is known of an address."""
    address, times = entry.address, (entry.seen, entry.tried, entry.succeeded)
    source = str(entry.source)
    return PeerRow(address.host, address.port, source, entry.services, *times, entry.attempts, entry.in_tried)


def record_of(row: ReputationRow) -> Record:
    """What a stored row says is held against somebody."""
    ban = Ban(row.banned_until, row.reason, row.detail) if row.banned_until else None
    return Record(row.host, row.port, row.score, row.time, ban)


def record_row(record: Record) -> ReputationRow:
    """The row for what is held against somebody."""
    ban = record.ban or Ban(0.0, "", "")
    return ReputationRow(record.host, record.port, record.score, record.time, ban.until, ban.reason, ban.detail)
