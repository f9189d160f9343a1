"""The address book: where nodes may be found, kept so that nobody can fill it with his own.

Who chooses all our peers shows us any chain he likes: an eclipse. Addresses come unchecked from strangers, and telling
costs nothing, so the book must not become a mirror of whoever talks most. It follows Bitcoin Core's addrman:

- Two tables. "New" holds hearsay, "tried" those that once answered. Half of the draws come from each, so a flood of
  hearsay never hides who is known to be real, and what is known never keeps newcomers out.
- An address has one place in each table, by a keyed hash (`address_buckets`). A source reaches 64 of 1024 new buckets,
  a group of addresses 8 of 256 tried ones; buckets are drawn before addresses. However much one party tells, at most
  a sixteenth of the new table is its own.
- Who has a place keeps it. In "new" only a terrible entry gives way. In "tried" a newcomer that wants a taken place
  waits while the holder is tested by a feeler connection, and moves in only if the holder does not answer: to drive
  honest nodes out one must make them fail, not merely outnumber them.

Core keeps an address in up to 8 new buckets, more likely the more sources tell of it. Here it is one, that of its
first source: half of addrman's bookkeeping goes, and the bounds above hold as well, since they count the buckets that
a source reaches. An entry that gave way is simply told again.

The book does no I/O and has no clock: `now` is wall-clock seconds since 1970. All randomness is the one given; how it
is used depends on what the book holds, not on how that came about, so a loaded book draws as the dumped one would.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from random import Random

import attrs

from phasegate.p2p.address_buckets import NEW_BUCKETS, SLOTS, TRIED_BUCKETS, Place, Places, Table
from phasegate.p2p.address_entries import DAY, HOUR, MINUTE, Entries, Entry, believed, gives_way
from phasegate.p2p.addresses import Address, Kind

__all__ = ["AddressBook", "Count", "Entry"]

MAX_RIVALS = 10
"""Newcomers that wait for the test of a holder; others just stay new [Core ADDRMAN_SET_TRIED_COLLISION_SIZE]."""
PROBES = 64
"""Draws before `select` walks through all: enough to find anything that is not rare."""
REFRESH = 20 * MINUTE
"""How exactly the time of a connected node is kept."""


@attrs.frozen
class Count:
    """How many addresses of a network the book holds, in each table."""

    kind: Kind
    new: int
    tried: int


class AddressBook:
    """All addresses that are known, at most 81,920.

    Args:
        key: 32 secret bytes, the same for the life of the stored book.
        random: where draws come from.
        accepts: whether an address may be kept at all, such as only routable ones on a public network.
        new_buckets, tried_buckets, slots: the sizes of the tables.
    """

    def __init__(
        self,
        key: bytes,
        random: Random,
        *,
        accepts: Callable[[Address], bool],
        new_buckets: int = NEW_BUCKETS,
        tried_buckets: int = TRIED_BUCKETS,
        slots: int = SLOTS,
    ) -> None:
        self._places = Places(key, new_buckets, tried_buckets, slots)
        self._random = random
        self._accepts = accepts
        self._entries = Entries()
        self._new, self._tried = Table(), Table()
        self._rivals: dict[Address, None] = {}
        self._good_at = 1.0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, address: Address) -> bool:
        return address in self._entries

    def get(self, address: Address) -> Entry | None:
        """What is known of `address`."""
        return self._entries.get(address)

    def entries(self) -> Iterator[Entry]:
        """All entries, the tried ones first, by place; the book must not change meanwhile."""
        for table in (self._tried, self._new):
            yield from map(self._entries.__getitem__, table)

    @property
    def counts(self) -> tuple[Count, ...]:
        """The sizes by network, of those networks that occur."""
        found = Counter((entry.address.kind, entry.in_tried) for entry in self.entries())
        kinds = sorted({kind for kind, _ in found})
        return tuple(Count(kind, found[kind, False], found[kind, True]) for kind in kinds)

    def add(self, address: Address, source: Address | str, services: int, seen: float, now: float) -> bool:
        """Take note of an address that `source` tells of, and return whether it is newly kept.

        Args:
            source: the peer, or the word for another origin (see `Entry`).
            services: the service bits; they add to what was told before.
            seen: when it was seen alive; what a peer says of others is taken with a penalty of two hours.
        """
        seen = believed(seen, now, by_others=isinstance(source, Address) and source != address)
        known = self._entries.get(address)
        if known is not None:
            self._hear_again(known, services, seen, now)
            return False
        entry = Entry(address, source.host if isinstance(source, Address) else source, services, seen)
        return self._accepts(address) and self._settle(entry, now)

    def attempt(self, address: Address, now: float) -> None:
        """A connection is begun. It counts as failed until `good`.

        It counts only once after each success with any address: where nothing answers, the network is down, and that
        is no fault of those who were tried [Core addrman.cpp Attempt].
        """
        entry = self._entries.get(address)
        if entry is not None:
            counts = entry.tried < self._good_at
            self._entries.put(attrs.evolve(entry, tried=now, attempts=entry.attempts + counts))

    def good(self, address: Address, services: int, now: float) -> None:
        """It answered as a node of this network and offers `services`: it moves to the tried, or waits for a place.

        An address that the book does not hold is not added, but shows that the network is up.
        """
        self._good_at = max(self._good_at, now)
        entry = self._entries.get(address)
        if entry is None:
            return
        fresh = attrs.evolve(entry, services=services, seen=now, tried=now, succeeded=now, attempts=0)
        self._entries.put(fresh)
        if not fresh.in_tried:
            self._promote(fresh)

    def connected(self, address: Address, now: float) -> None:
        """It is still alive."""
        entry = self._entries.get(address)
        if entry is not None and now - entry.seen > REFRESH:
            self._entries.put(attrs.evolve(entry, seen=now))

    def forget(self, address: Address) -> None:
        """Hold it no longer."""
        entry = self._entries.get(address)
        if entry is not None:
            table, place = (self._tried, self._places.tried(address)) if entry.in_tried else self._new_place(entry)
            table.clear(place)
            self._entries.drop(address)
            self._rivals.pop(address, None)

    @property
    def collisions(self) -> tuple[Address, ...]:
        """The tried ones whose places are wanted: each is to be tested by a feeler connection."""
        wanted = dict.fromkeys(self._tried.at(self._places.tried(rival)) for rival in self._rivals)
        return tuple([holder for holder in wanted if holder is not None])

    def resolve(self, now: float) -> None:
        """Decide about the places that are wanted, as far as the tests tell [Core ResolveCollisions]."""
        for rival in list(self._rivals):
            entry = self._entries.get(rival)
            if entry is None or rival not in self._rivals:
                continue
            holder = self._tried.at(self._places.tried(rival))
            moves_in = holder is None or gives_way(self._entries[holder], entry, now)
            if moves_in is not None:
                del self._rivals[rival]
            if moves_in:
                self._move_in(entry)

    def select(self, now: float, *, wanted: Callable[[Entry], bool], new_only: bool = False) -> Entry | None:
        """Someone to connect to, by chance; None if nobody is wanted.

        Both tables are as likely, in a table each bucket, and those that failed or were just tried are taken less
        often. After a bounded number of draws all are looked through, so that a rare one is found, too.

        Args:
            wanted: called many times; it must be cheap and must not change the book.
            new_only: only from those that are not among the tried, as for a feeler.
        """
        tables = [table for table in (self._new, self._tried) if table and not (new_only and table is self._tried)]
        patience = 1.0
        for _ in range(PROBES if tables else 0):
            entry = self._entries[self._random.choice(tables).draw(self._random)]
            if wanted(entry):
                if self._random.random() < patience * entry.chance(now):
                    return entry
                patience *= 1.2
        found = [entry for table in tables for entry in map(self._entries.__getitem__, table) if wanted(entry)]
        return self._random.choices(found, [entry.chance(now) for entry in found])[0] if found else None

    def sample(self, most: int, now: float) -> list[Entry]:
        """At most `most` entries that are not terrible, by chance."""
        fit = [entry for entry in self.entries() if not entry.is_terrible(now)]
        return self._random.sample(fit, min(most, len(fit)))

    def dump(self) -> tuple[Entry, ...]:
        """All that is worth storing, by place. Places that are wanted are not: their rivals ask again."""
        return tuple(self.entries())

    def load(self, entries: Iterable[Entry]) -> None:
        """Fill the empty book with what was stored.

        With the key of the dump the same book comes of it. With another one, or of rows that were altered, the more
        recent success and then the more recently seen takes a place that two want, whatever the order of the rows;
        who loses, and what is not accepted any more, is among the changes as forgotten.
        """
        rows = list(entries)
        self._entries.assume_stored(rows)
        for entry in sorted(rows, key=_rank, reverse=True):
            if entry.address not in self._entries and self._accepts(entry.address):
                self._resettle(entry)
        self._good_at = max([self._good_at, *[entry.succeeded for entry in self.entries()]])

    @property
    def changed(self) -> bool:
        """Whether there is anything for the store."""
        return self._entries.changed

    def take_changes(self) -> tuple[list[Entry], list[Address]]:
        """The entries other than stored, and the addresses stored but forgotten, since the last call."""
        return self._entries.take_changes()

    def _new_place(self, entry: Entry) -> tuple[Table, Place]:
        return self._new, self._places.new(entry.address, entry.source)

    def _hear_again(self, known: Entry, services: int, seen: float, now: float) -> None:
        interval = HOUR if now - seen < DAY else DAY  # the same news again need not be stored again
        seen = seen if seen - known.seen > interval else known.seen
        services = known.services if known.succeeded else known.services | services  # what it said itself stands
        self._entries.put(attrs.evolve(known, services=services, seen=seen))

    def _settle(self, entry: Entry, now: float) -> bool:
        """Give a new address its place among the new, unless someone has it who is not terrible."""
        table, place = self._new_place(entry)
        holder = table.at(place)
        if holder is not None:
            if not self._entries[holder].is_terrible(now):
                return False
            self.forget(holder)
        table.put(place, entry.address)
        self._entries.put(entry)
        return True

    def _promote(self, entry: Entry) -> None:
        if self._tried.at(self._places.tried(entry.address)) is None:
            self._move_in(entry)
        elif len(self._rivals) < MAX_RIVALS:
            self._rivals[entry.address] = None

    def _move_in(self, entry: Entry) -> None:
        """Move a new entry to its place among the tried; who holds it goes back to the new, whoever stands there."""
        place = self._places.tried(entry.address)
        holder = self._tried.at(place)
        self.forget(entry.address)
        self._tried.put(place, entry.address)
        if holder is not None:
            self._demote(self._entries[holder])
        self._entries.put(attrs.evolve(entry, in_tried=True))

    def _demote(self, entry: Entry) -> None:
        table, place = self._new_place(entry)
        stranger = table.at(place)
        if stranger is not None:
            self.forget(stranger)
        table.put(place, entry.address)
        self._entries.put(attrs.evolve(entry, in_tried=False))

    def _resettle(self, entry: Entry) -> None:
        if entry.in_tried and entry.succeeded:
            tried = self._places.tried(entry.address)
            if self._tried.at(tried) is None:
                self._tried.put(tried, entry.address)
                self._entries.put(entry)
                return
        table, place = self._new_place(entry)
        if table.at(place) is None:
            table.put(place, entry.address)
            self._entries.put(attrs.evolve(entry, in_tried=False))


def _rank(entry: Entry) -> tuple[bool, float, float, str]:
    return entry.in_tried, entry.succeeded, entry.seen, str(entry.address)
