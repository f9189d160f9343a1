"""The address book through anything that may happen, beside a store that follows its differences."""

from __future__ import annotations

from random import Random

import attrs
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from phasegate.p2p.address_book import AddressBook, Entry
from phasegate.p2p.address_entries import DAY, HOUR, MINUTE
from phasegate.p2p.addresses import Address

NOW = 1_700_000_000.0
NODES = [Address(f"64.{network}.0.{number}", 9999) for number in range(4) for network in range(3)]
HOSTS = st.sampled_from(NODES)
SOURCES = st.sampled_from([Address("9.9.9.9", 9999), Address("8.8.8.8", 1), "dns", "masternodes"])
STEPS = st.sampled_from([1.0, 30.0, 61.0, 25 * MINUTE, 5 * HOUR, 8 * DAY, 31 * DAY])
NEW_BUCKETS, TRIED_BUCKETS, SLOTS = 4, 2, 2


def small_book() -> AddressBook:
    """One in which places are soon taken."""
    sizes = {"new_buckets": NEW_BUCKETS, "tried_buckets": TRIED_BUCKETS, "slots": SLOTS}
    return AddressBook(bytes(range(32)), Random(1), accepts=lambda _: True, **sizes)


def known(book: AddressBook, address: Address) -> Entry:
    entry = book.get(address)
    assert entry is not None
    return entry


class Life(RuleBasedStateMachine):
    """What each door may do; that every address has its own place; that the store, when told, has the same."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.book = small_book()
        self.now = NOW
        self.answered: set[Address] = set()
        self.rows: dict[Address, Entry] = {}

    @rule(step=STEPS)
    def wait(self, step: float) -> None:
        self.now += step

    @rule(target=held, address=HOSTS, source=SOURCES, age=STEPS, services=st.integers(0, 127))
    def add(self, address: Address, source: Address | str, age: float, services: int) -> object:
        before = self.book.dump()
        kept = self.book.add(address, source, services, self.now - age, self.now)
        gone = [entry for entry in before if entry.address not in self.book]
        assert all(entry.is_terrible(self.now) and not entry.in_tried for entry in gone)
        assert kept == (len(self.book) > len(before) or bool(gone))
        return address if kept else multiple()

    @rule(address=HOSTS | held)
    def attempt(self, address: Address) -> None:
        before = self.book.get(address)
        self.book.attempt(address, self.now)
        if before is not None:
            after = known(self.book, address)
            assert 0 <= after.attempts - before.attempts <= 1
            assert after == attrs.evolve(before, tried=self.now, attempts=after.attempts)

    @rule(address=HOSTS | held, services=st.integers(0, 127))
    def good(self, address: Address, services: int) -> None:
        before = self.book.dump()
        self.book.good(address, services, self.now)
        assert len(self.book) == len(before)
        if (after := self.book.get(address)) is not None:
            self.answered.add(address)
            assert (after.services, after.attempts, after.succeeded) == (services, 0, self.now)
            assert after.in_tried or self.book._tried.at(self.book._places.tried(address)) is not None

    @rule(address=held)
    def connected(self, address: Address) -> None:
        self.book.connected(address, self.now)
        entry = self.book.get(address)
        assert entry is None or self.now - entry.seen <= 20 * MINUTE

    @rule(address=consumes(held))
    def forget(self, address: Address) -> None:
        self.book.forget(address)
        assert self.book.get(address) is None

    @rule()
    def resolve(self) -> None:
        before = {entry.address: entry for entry in self.book.entries()}
        self.book.resolve(self.now)
        lost = [e for e in before.values() if e.in_tried and not known(self.book, e.address).in_tried]
        assert all(self.now - entry.succeeded >= 4 * HOUR for entry in lost)

    @rule(services=st.integers(0, 127), new_only=st.booleans())
    def select(self, services: int, new_only: bool) -> None:
        def wanted(entry: Entry) -> bool:
            return entry.services & services == services

        entry = self.book.select(self.now, wanted=wanted, new_only=new_only)
        fitting = [e for e in self.book.entries() if wanted(e) and not (new_only and e.in_tried)]
        assert entry in fitting if fitting else entry is None

    @rule()
    def store(self) -> None:
        written, forgotten = self.book.take_changes()
        for address in forgotten:
            del self.rows[address]
        self.rows.update((entry.address, entry) for entry in written)
        assert sorted(self.rows.values(), key=str) == sorted(self.book.entries(), key=str)

    @rule()
    def restart(self) -> None:
        self.store()
        again = small_book()
        again.load(self.rows.values())
        assert (again.dump(), again.changed) == (self.book.dump(), False)
        self.book = again

    @invariant()
    def every_address_has_one_place_its_own(self) -> None:
        book, entries = self.book, self.book.dump()
        assert (
            len(book)
            == len(entries)
            == len({entry.address for entry in entries})
            <= (NEW_BUCKETS + TRIED_BUCKETS) * SLOTS
        )
        for entry in entries:
            table, place = (
                (book._tried, book._places.tried(entry.address))
                if entry.in_tried
                else (book._new, book._places.new(entry.address, entry.source))
            )
            assert table.at(place) == entry.address
        assert (len(book._tried), len(book._new)) == (
            sum(entry.in_tried for entry in entries),
            sum(not entry.in_tried for entry in entries),
        )

    @invariant()
    def the_tried_did_answer(self) -> None:
        assert {entry.address for entry in self.book.entries() if entry.in_tried} <= self.answered
        assert all(entry.succeeded for entry in self.book.entries() if entry.in_tried)

    @invariant()
    def the_wanted_places_are_held(self) -> None:
        assert all(known(self.book, address).in_tried for address in self.book.collisions)
        assert all(not known(self.book, rival).in_tried for rival in self.book._rivals)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
