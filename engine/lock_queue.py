"""Locks that have come and wait for their answer, in bounded room.

A lock may come before its block, its quorum or the list that proves its quorum. It is then neither believed nor called
false, but kept. Each source (the address of a peer, or the chain itself for locks found in coinbases) has its own
share of the room, by count and by bytes; who sends more loses its own oldest. A lock that several peers have is charged
to one of them and passes to the next instead of being lost, so nobody can push out what others brought.

The names of locks that wait or had their answer are remembered for a while, so that each is fetched and judged once;
one that was let go for want of room is forgotten, and may come again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from phasegate.consensus.locks import ChainLock, InstantLock

if TYPE_CHECKING:
    from phasegate.engine.config import Address
    from phasegate.engine.peers import Peer

SOURCES = 8
"""How many full shares there is room for."""
REMEMBERED = 20_000
"""Names of locks that wait or had their answer."""


@attrs.define(eq=False)
class Entry:
    """One lock that waits.

    Args:
        name: its inventory hash.
        lock: what it says.
        payload: as it came.
        peer: who sent it; None for one that stands in the chain.
        sources: the addresses of all that had it, the one that it is charged to first; empty for the chain.
        refuted: hashes of quorums that did not sign it.
        outlived: it came before a roll-back, so from a chain that may have had other quorums.
    """

    name: bytes
    lock: ChainLock | InstantLock
    payload: bytes
    peer: Peer | None = None
    sources: list[Address] = attrs.field(factory=list)
    refuted: set[bytes] = attrs.field(factory=set)
    outlived: bool = False

    @property
    def height(self) -> int:
        """Of the locked block; 0 for an InstantSend lock."""
        return self.lock.height if isinstance(self.lock, ChainLock) else 0

    @property
    def payer(self) -> Address | None:
        """Whose share of the room it takes."""
        return self.sources[0] if self.sources else None


class LockQueue:
    """Entries by name, oldest first; `per_source` and `bytes_per_source` bound the share of one source.

    `let_go` counts the entries that had to make room.
    """

    def __init__(self, per_source: int = 2048, bytes_per_source: int = 1 << 20) -> None:
        self.let_go = 0
        self._per_source = per_source
        self._bytes_per_source = bytes_per_source
        self._shares: dict[Address | None, dict[bytes, Entry]] = {}
        self._sizes: dict[Address | None, int] = {}
        self._entries: dict[bytes, Entry] = {}
        self._names: dict[bytes, None] = {}
        self._fresh: dict[bytes, Entry] = {}
        self._all_due = False

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def __contains__(self, entry: Entry) -> bool:
        return self._entries.get(entry.name) is entry

    @property
    def size(self) -> int:
        """Bytes of all payloads."""
        return sum(self._sizes.values())

    def knows(self, name: bytes) -> bool:
        """Whether a lock of that name waits or had its answer."""
        return name in self._names or name in self._entries

    def forget(self, name: bytes) -> None:
        """Let a lock of that name come again."""
        self._names.pop(name, None)

    def put(self, entry: Entry) -> None:
        """Take `entry` in, and let go what has no room any more."""
        self._names[entry.name] = None
        if len(self._names) > REMEMBERED:
            del self._names[next(iter(self._names))]
        if (known := self._entries.get(entry.name)) is not None:
            self.remove(known)
        self._entries[entry.name] = entry
        self._charge(entry)
        self._fresh[entry.name] = entry
        while (oldest := self._surplus()) is not None:
            self._make_room(oldest)

    def _make_room(self, oldest: Entry) -> None:
        """Have the next source that had `oldest` pay for it, or let it go when there is none."""
        self._discharge(oldest)
        del oldest.sources[:1]
        if oldest.sources:
            self._charge(oldest)
        else:
            del self._entries[oldest.name]
            self._fresh.pop(oldest.name, None)
            self.forget(oldest.name)
            self.let_go += 1

    @property
    def all_due(self) -> bool:
        """Whether the next look is at everything."""
        return self._all_due

    @property
    def due(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self._fresh or (self._all_due and self._entries))

    def look_again(self) -> None:
        """Everything is due."""
        self._all_due = True

    def take_due(self) -> list[Entry]:
        """What is to be looked at: what came since the last call, or everything; highest ChainLocks first."""
        due = list(self) if self._all_due else list(self._fresh.values())
        self._all_due, self._fresh = False, {}
        return sorted(due, key=lambda entry: -entry.height)

    def credit(self, name: bytes, source: Address) -> None:
        """Note that `source` has the lock too."""
        entry = self._entries.get(name)
        if entry is not None and entry.sources and source not in entry.sources:
            entry.sources.append(source)

    def remove(self, entry: Entry) -> None:
        """Take an entry out; one that is not there is no error."""
        if entry in self:
            del self._entries[entry.name]
            self._fresh.pop(entry.name, None)
            self._discharge(entry)

    def disown(self, source: Address) -> None:
        """Take out what only `source` had, which lied; another may bring it again."""
        for entry in self:
            if entry.sources == [source]:
                self.remove(entry)
                self.forget(entry.name)

    def _charge(self, entry: Entry) -> None:
        self._shares.setdefault(entry.payer, {})[entry.name] = entry
        self._sizes[entry.payer] = self._sizes.get(entry.payer, 0) + len(entry.payload)

    def _discharge(self, entry: Entry) -> None:
        share = self._shares[entry.payer]
        del share[entry.name]
        self._sizes[entry.payer] -= len(entry.payload)
        if not share:
            del self._shares[entry.payer], self._sizes[entry.payer]

    def _surplus(self) -> Entry | None:
        """The oldest of a source that has more than its share, or of the biggest when all together have too much."""
        for source, share in self._shares.items():
            if len(share) > self._per_source or self._sizes[source] > self._bytes_per_source:
                return next(iter(share.values()))
        if len(self._entries) > SOURCES * self._per_source:
            return next(iter(max(self._shares.values(), key=len).values()))
        if self.size > SOURCES * self._bytes_per_source:
            return next(iter(self._shares[max(self._sizes, key=lambda source: self._sizes[source])].values()))
        return None
