"""The address book: nobody can fill it, nobody is driven out who answers, and what is stored comes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

import attrs
import pytest

from phasegate.p2p.address_book import MAX_RIVALS, AddressBook, Count, Entry
from phasegate.p2p.address_buckets import BUCKETS_A_GROUP, BUCKETS_A_SOURCE, SLOTS, Places
from phasegate.p2p.address_entries import DAY, HOUR, MINUTE
from phasegate.p2p.address_groups import group
from phasegate.p2p.addresses import Address, Kind

NOW = 1_700_000_000.0
KEY = bytes(range(32))
PEER = Address("9.9.9.9", 9999)
FILTERS = 64


def everybody(_: object) -> bool:
    return True


def book_of(new_buckets: int = 1024, tried_buckets: int = 256, slots: int = 64, *, key: bytes = KEY) -> AddressBook:
    sizes = {"new_buckets": new_buckets, "tried_buckets": tried_buckets, "slots": slots}
    return AddressBook(key, Random(1), accepts=everybody, **sizes)


def node(number: int, network: int = 0x0101) -> Address:
    """A node of a /16 of its own for each `network`."""
    return Address(f"{network >> 8}.{network & 255}.{number >> 8}.{number & 255}", 9999)


def known(book: AddressBook, address: Address) -> Entry:
    entry = book.get(address)
    assert entry is not None
    return entry


def tell(
    book: AddressBook, addresses: Iterable[Address], source: Address | str = PEER, seen: float = NOW
) -> list[bool]:
    return [book.add(address, source, 1, seen, NOW) for address in addresses]


def share_of(book: AddressBook, mine: set[Address], draws: int, *, new_only: bool = False) -> float:
    """How often a draw gives one of `mine`."""
    chosen = [book.select(NOW, wanted=everybody, new_only=new_only) for _ in range(draws)]
    return sum(entry is not None and entry.address in mine for entry in chosen) / draws


# -- eclipse ---------------------------------------------------------------------------------------------------------


def test_a_source_owns_a_sixteenth_of_the_new_table_whatever_it_tells() -> None:
    """100,000 addresses of 25,000 groups from one source: 64 buckets of 1024, and draws give the others their share."""
    book = book_of()
    honest = [node(number, 0x4000 + number) for number in range(600)]
    assert sum(tell(book, honest, "dns")) > 500
    sources = [Address(f"77.{number}.1.1", 9999) for number in range(30)]
    spread = [book.add(node(number, 0x5000 + number), sources[number % 30], 1, NOW, NOW) for number in range(600)]
    before = {entry.address for entry in book.entries()}
    assert sum(spread) > 580
    mine = {
        Address(f"{100 + number % 100}.{number // 100 % 250}.{number // 25_000}.1", 9999) for number in range(100_000)
    }
    assert len({group(address) for address in mine}) == 25_000
    tell(book, sorted(mine, key=str), PEER)
    kept = mine & {entry.address for entry in book.entries()}
    assert len({Places(KEY, 1024, 256, SLOTS).new(address, PEER.host)[0] for address in kept}) <= BUCKETS_A_SOURCE
    assert 0.8 * BUCKETS_A_SOURCE * SLOTS < len(kept) <= BUCKETS_A_SOURCE * SLOTS
    assert before <= {entry.address for entry in book.entries()}  # nobody who was there was driven out
    assert share_of(book, kept, 2000) < 0.15  # 64 buckets of about 600, though three addresses of four


def test_newcomers_find_room_in_a_flooded_book() -> None:
    """What another source tells after the flood is kept as without it, but for the sixteenth that the flood took."""
    flooded, empty = book_of(), book_of()
    tell(flooded, [node(number, 0x6400 + number % 25_000) for number in range(100_000)])
    honest = [node(number, 0x4000 + number) for number in range(1000)]
    with_flood, without = (sum(tell(book, honest, Address("77.1.1.1", 1))) for book in (flooded, empty))
    assert 0.9 * without < with_flood <= without


@pytest.mark.parametrize(("networks", "source_groups"), [(1, 1), (5, 1), (1, 300)])
def test_a_few_networks_own_a_bucket_for_each_pair_with_a_source(networks: int, source_groups: int) -> None:
    """One /16 through one source has one bucket of 64 slots; more take more networks and more sources."""
    book = book_of()
    for number in range(100_000 if source_groups == 1 else 30_000):
        book.add(
            node(number % 65536, 0x6400 + number % networks), node(1, 0x7000 + number % source_groups), 1, NOW, NOW
        )
    assert 32 < len(book) <= networks * source_groups * SLOTS


def test_a_network_owns_eight_tried_buckets_however_many_of_it_answer() -> None:
    """20,000 nodes of one /16 that all answer hold at most 512 places of 16,384, and are a minority of the draws."""
    book = book_of()
    honest = [node(number, 0x4000 + number) for number in range(100)]
    tell(book, honest, "dns")
    for address in honest:
        book.good(address, 1, NOW)
    mine = {node(number, 0x6464) for number in range(20_000)}
    for number, address in enumerate(sorted(mine, key=str)):
        if book.add(address, node(1, 0x7000 + number % 1000), 1, NOW, NOW):
            book.good(address, 1, NOW)
    tried = {entry.address for entry in book.entries() if entry.in_tried}
    assert 0.8 * BUCKETS_A_GROUP * SLOTS < len(tried & mine) <= BUCKETS_A_GROUP * SLOTS
    assert len({Places(KEY, 1024, 256, SLOTS).tried(address)[0] for address in mine}) <= BUCKETS_A_GROUP
    assert len(tried & set(honest)) >= 95
    drawn = [book.select(NOW, wanted=lambda entry: entry.in_tried) for _ in range(1000)]
    assert sum(entry is not None and entry.address in mine for entry in drawn) < 0.2 * 1000


def test_the_key_decides_who_stands_where() -> None:
    """Without it nobody can aim at the bucket of another; a key of another size is refused."""
    places = [Places(bytes((number,)) * 32, 1024, 256, SLOTS) for number in range(200)]
    assert len({place.new(PEER, "dns") for place in places}) > 190
    assert len({place.tried(PEER) for place in places}) > 190
    with pytest.raises(ValueError, match="has 32 bytes, not 31"):
        book_of(key=bytes(31))


# -- what is believed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "seen", "believed"),
    [
        (PEER, NOW - HOUR, NOW - 3 * HOUR),
        (PEER, NOW, NOW - 2 * HOUR),
        (PEER, NOW + 9 * MINUTE, NOW - 2 * HOUR),
        (PEER, NOW + 11 * MINUTE, NOW - 5 * DAY - 2 * HOUR),
        (PEER, 0.0, NOW - 5 * DAY - 2 * HOUR),
        (node(1), NOW - HOUR, NOW - HOUR),  # of itself
        ("dns", NOW, NOW),
        ("dns", NOW + DAY, NOW - 5 * DAY),
    ],
)
def test_hearsay_is_older_than_it_says(source: Address | str, seen: float, believed: float) -> None:
    """Two hours off what a peer says of others; a time that cannot be is five days ago."""
    book = book_of()
    assert book.add(node(1), source, 1, seen, NOW)
    assert book.entries().__next__() == Entry(
        node(1), source if isinstance(source, str) else source.host, 1, seen=believed
    )


def test_what_is_told_again_adds_services_and_newer_times() -> None:
    """The source stays the first; the same news within an hour changes nothing that need be stored."""
    book = book_of()
    tell(book, [node(1)], PEER, NOW - DAY)
    book.take_changes()
    assert not book.add(node(1), Address("8.8.8.8", 1), 1, NOW - DAY + MINUTE, NOW)
    assert not book.changed
    assert not book.add(node(1), Address("8.8.8.8", 1), FILTERS, NOW, NOW)
    assert book.take_changes() == ([Entry(node(1), PEER.host, 1 | FILTERS, seen=NOW - 2 * HOUR)], [])


def test_what_is_not_accepted_is_not_kept() -> None:
    """Neither when told nor when loaded, and then it leaves the store too."""
    book = AddressBook(KEY, Random(1), accepts=lambda address: address.is_routable)
    assert tell(book, [node(1), Address("10.0.0.1", 9999)]) == [True, False]
    book.load([Entry(Address("10.0.0.2", 9999), "dns")])
    assert len(book) == 1
    assert book.take_changes()[1] == [Address("10.0.0.2", 9999)]


def test_failures_count_once_until_somebody_answers() -> None:
    """While nothing answers the network is down, and nobody is blamed twice for that."""
    book = book_of()
    tell(book, [node(1), node(2)])
    for minute in range(10):
        book.attempt(node(1), NOW + 60 * minute)
    assert known(book, node(1)) == Entry(node(1), PEER.host, 1, NOW - 2 * HOUR, NOW + 540, attempts=1)
    book.good(Address("77.1.1.1", 1), 1, NOW + 600)  # who is not in the book shows it as well
    book.attempt(node(1), NOW + 660)
    assert known(book, node(1)).attempts == 2
    book.good(node(1), FILTERS, NOW + 700)
    expected = Entry(node(1), PEER.host, FILTERS, NOW + 700, NOW + 700, NOW + 700, 0, in_tried=True)
    assert known(book, node(1)) == expected


def test_a_connected_node_is_seen_every_twenty_minutes() -> None:
    """Not more exactly, so that it is not stored at each message."""
    book = book_of()
    tell(book, [node(1)], "dns")
    book.connected(node(1), NOW + 19 * MINUTE)
    assert known(book, node(1)).seen == NOW
    book.connected(node(1), NOW + 21 * MINUTE)
    assert known(book, node(1)).seen == NOW + 21 * MINUTE


@pytest.mark.parametrize(
    ("entry", "terrible"),
    [
        (Entry(PEER, "dns", seen=NOW), False),
        (Entry(PEER, "dns", seen=NOW - 29 * DAY), False),
        (Entry(PEER, "dns", seen=NOW - 31 * DAY), True),
        (Entry(PEER, "dns", seen=NOW - 31 * DAY, tried=NOW - 59), False),
        (Entry(PEER, "dns", seen=NOW - 31 * DAY, tried=NOW + 59), True),
        (Entry(PEER, "dns", seen=NOW + 11 * MINUTE), True),
        (Entry(PEER, "dns", seen=NOW, attempts=2), False),
        (Entry(PEER, "dns", seen=NOW, attempts=3), True),
        (Entry(PEER, "dns", seen=NOW, attempts=9, succeeded=NOW - 8 * DAY), False),
        (Entry(PEER, "dns", seen=NOW, attempts=10, succeeded=NOW - 6 * DAY), False),
        (Entry(PEER, "dns", seen=NOW, attempts=10, succeeded=NOW - 8 * DAY), True),
    ],
)
def test_who_is_terrible(entry: Entry, terrible: bool) -> None:
    """Gone, never there, from the future or failing for a week; but not who was tried just now."""
    assert entry.is_terrible(NOW) == terrible
    book = book_of(1, 1, 1)
    book.load([entry])
    assert book.sample(10, NOW) == ([] if terrible else [entry])
    assert tell(book, [node(1)]) == [terrible]  # the one slot is taken
    assert (PEER in book, node(1) in book) == (not terrible, terrible)


# -- draws -----------------------------------------------------------------------------------------------------------


def test_a_draw_is_as_likely_from_either_table() -> None:
    """Ten that answered are half of the draws beside a thousand that did not."""
    book = book_of()
    tell(book, [node(number, 0x4000 + number) for number in range(1000)], "dns")
    good = {node(number, 0x4000 + number) for number in range(10)}
    for address in good:
        book.good(address, 1, NOW - HOUR)
    assert 0.45 < share_of(book, good, 2000) < 0.55
    assert share_of(book, good, 200, new_only=True) == 0


def test_who_failed_or_was_just_tried_is_drawn_less() -> None:
    """0.66 for each failure up to eight; a hundredth within ten minutes of an attempt."""
    fresh, failed, hopeless = (Entry(PEER, "dns", attempts=count, tried=NOW - HOUR) for count in (0, 2, 100))
    chances = [entry.chance(NOW) for entry in (fresh, failed, hopeless, attrs.evolve(fresh, tried=NOW - 599))]
    assert chances == pytest.approx([1.0, 0.4356, 0.66**8, 0.01])
    book = book_of()
    book.load([Entry(node(1), "dns", seen=NOW), Entry(node(2, 0x0102), "dns", seen=NOW, tried=NOW - MINUTE)])
    assert share_of(book, {node(2, 0x0102)}, 1000) < 0.05
    assert book.select(NOW, wanted=lambda entry: entry.address == node(2, 0x0102))


def test_the_one_wanted_is_found_and_nobody_is_not() -> None:
    """Among thousands, with a bounded number of looks at each."""
    book = book_of()
    tell(book, [node(number % 50, 0x4000 + number) for number in range(5000)], "user")
    for wanted in (node(7, 0x4000 + 7), None):
        looked: Counter[Address] = Counter()

        def fits(entry: Entry, wanted: Address | None = wanted, looked: Counter[Address] = looked) -> bool:
            looked[entry.address] += 1
            return entry.address == wanted

        entry = book.select(NOW, wanted=fits)
        assert (entry.address if entry else None) == wanted
        assert looked.total() <= len(book) + 64
    assert book_of().select(NOW, wanted=everybody) is None


def test_a_sample_is_of_different_entries() -> None:
    """As many as there are, at most."""
    book = book_of()
    tell(book, [node(number, 0x4000 + number) for number in range(100)], "dns")
    assert len({entry.address for entry in book.sample(30, NOW)}) == 30
    assert sorted(map(str, book.sample(1000, NOW))) == sorted(map(str, book.entries()))


def test_the_book_is_counted_by_network_and_table() -> None:
    """Only networks that occur."""
    book = book_of()
    tell(book, [node(1), node(1, 0x0102), Address("fc00::1", 1), Address("2a01::1", 1)], "dns")
    book.good(node(1), 1, NOW)
    assert book.counts == (Count(Kind.IPV4, 1, 1), Count(Kind.IPV6, 1, 0), Count(Kind.CJDNS, 1, 0))


# -- who wants a taken place -----------------------------------------------------------------------------------------


def rivals(count: int, succeeded: float, tried: float) -> tuple[AddressBook, list[Address]]:
    """A book whose one tried place is held by the first and wanted by the others, who answered at NOW."""
    book = book_of(tried_buckets=1, slots=1)
    nodes = [node(number, 0x4000 + number) for number in range(count)]
    book.load([Entry(nodes[0], "dns", 1, NOW - DAY, tried, succeeded, in_tried=True)])
    for rival in nodes[1:]:
        assert book.add(rival, rival, 1, NOW, NOW)
        book.good(rival, 1, NOW)
    return book, nodes


@pytest.mark.parametrize(
    ("succeeded", "tried", "now", "keeps"),
    [
        (NOW - HOUR, NOW - HOUR, NOW, True),  # it answered lately
        (NOW + 30, NOW + 30, NOW + MINUTE, True),  # it answered the feeler
        (NOW - DAY, NOW - DAY, NOW, None),  # not yet tested
        (NOW - DAY, NOW, NOW + 59, None),  # it may still answer
        (NOW - DAY, NOW, NOW + 61, False),  # it did not
        (NOW - DAY, NOW - DAY, NOW + 41 * MINUTE, False),  # nobody could test it
    ],
)
def test_a_holder_keeps_its_place_unless_its_test_fails(
    succeeded: float, tried: float, now: float, keeps: bool | None
) -> None:
    """The newcomer stays new, waits, or takes the place while the holder goes back to the new."""
    book, (holder, rival) = rivals(2, succeeded, tried)
    assert book.collisions == (holder,)
    book.resolve(now)
    assert book.collisions == ((holder,) if keeps is None else ())
    assert {entry.address: entry.in_tried for entry in book.entries()} == {
        holder: keeps is not False,
        rival: keeps is False,
    }


def test_ten_wait_and_the_forgotten_do_not() -> None:
    """The others stay new, until one of the ten is gone; a place that became free is taken by the first that waits."""
    book, nodes = rivals(MAX_RIVALS + 5, NOW - DAY, NOW - DAY)
    for address in nodes[1 : MAX_RIVALS + 1]:
        assert book.collisions == (nodes[0],)
        book.forget(address)
    assert not book.collisions
    for address in nodes[-2:]:
        book.good(address, 1, NOW)
    book.forget(nodes[0])
    assert not book.collisions
    book.resolve(NOW)
    assert [entry.address for entry in book.entries() if entry.in_tried] == [nodes[-2]]
    assert len(book) == 4


def test_a_holder_that_is_driven_out_takes_its_old_place() -> None:
    """Who stands there is forgotten: to have answered once is worth more than hearsay."""
    places = Places(KEY, 1, 1, 2)
    by_slots = {(places.tried(at)[1], places.new(at, "dns")[1]): at for at in map(node, range(100))}
    holder, rival, stranger = by_slots[0, 0], by_slots[0, 1], by_slots[1, 0]
    book = book_of(1, 1, 2)
    book.load([Entry(holder, "dns", 1, NOW - DAY, NOW - DAY, NOW - DAY, in_tried=True)])
    assert tell(book, [rival, stranger], "dns") == [True, True]
    book.good(rival, 1, NOW)
    book.attempt(holder, NOW + MINUTE)
    book.resolve(NOW + 3 * MINUTE)
    assert {entry.address: entry.in_tried for entry in book.entries()} == {holder: False, rival: True}
    assert (len(book), stranger in book) == (2, False)


# -- the store -------------------------------------------------------------------------------------------------------


MIDDLE = 32, 4, 8


def filled() -> AddressBook:
    book = book_of(*MIDDLE)
    for number in range(400):
        address = node(number % 5, 0x4000 + number)
        if book.add(address, node(1, 0x5000 + number % 20), 1, NOW - number * HOUR, NOW) and number % 3 == 0:
            book.good(address, 1, NOW - number)
        elif number % 5 == 0:
            book.attempt(address, NOW)
    return book


def test_a_loaded_book_is_the_dumped_one_and_draws_like_it() -> None:
    """Given the key, whatever the order of the rows; and nothing of it need be stored again."""
    book, again = filled(), book_of(*MIDDLE)
    rows = list(book.dump())
    Random(3).shuffle(rows)
    again.load(rows)
    assert again.dump() == book.dump()
    assert not again.changed
    book._random.seed(5)
    again._random.seed(5)
    for _ in range(200):
        assert book.select(NOW, wanted=everybody) == again.select(NOW, wanted=everybody)


def test_under_another_key_the_best_win_whatever_the_order() -> None:
    """Who loses a place is forgotten by the store as well; who loses only the tried one is new again."""
    rows = list(filled().dump())
    first, second = book_of(*MIDDLE, key=bytes(32)), book_of(*MIDDLE, key=bytes(32))
    first.load(rows)
    second.load(reversed(rows))
    assert first.dump() == second.dump()
    written, forgotten = first.take_changes()
    assert {row.address for row in rows} == {entry.address for entry in first.entries()} | set(forgotten)
    assert {entry.address: entry.in_tried for entry in written} == dict.fromkeys((e.address for e in written), False)
    assert forgotten
    assert written


def test_a_row_that_claims_to_be_tried_without_success_is_new() -> None:
    """Only an answer gives a place among the tried."""
    book = book_of()
    book.load([Entry(node(1), "dns", seen=NOW, in_tried=True)])
    assert book.take_changes() == ([Entry(node(1), "dns", seen=NOW)], [])


def test_what_came_and_went_between_two_stores_is_not_told() -> None:
    """The difference is to what is stored, so a flood does not make it grow."""
    book = book_of()
    for number in range(1000):
        tell(book, [node(number, 0x4000)])
        book.forget(node(number, 0x4000))
    assert not book.changed
    assert book.take_changes() == ([], [])


def test_what_was_deleted_is_written_again() -> None:
    """The store has no memory of what it deleted."""
    book = book_of()
    for step in range(3):
        tell(book, [node(1)])
        written, forgotten = book.take_changes()
        assert ([entry.address for entry in written], forgotten) == ([node(1)], []), step
        book.forget(node(1))
        assert book.take_changes() == ([], [node(1)])


def test_failures_go_on_counting_after_a_restart() -> None:
    """The last success of the run before shows that the network was up when others failed."""
    book = book_of()
    tried = NOW - 2 * HOUR
    book.load(
        [Entry(node(1), "dns", 1, NOW, tried), Entry(node(2), "dns", 1, NOW, NOW - HOUR, NOW - HOUR, in_tried=True)]
    )
    book.attempt(node(1), NOW)
    book.attempt(node(2), NOW)
    assert (known(book, node(1)).attempts, known(book, node(2)).attempts) == (1, 0)
