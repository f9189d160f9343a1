"""The room in which locks wait for their answer: bounded, fair, and nothing is lost without being counted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.locks import ChainLock, InstantLock
from phasegate.engine import lock_queue
from phasegate.engine.config import Address
from phasegate.engine.lock_queue import SOURCES, Entry, LockQueue

ONE, TWO = Address("one", 1), Address("two", 2)


def entry(number: int, *sources: Address, size: int = 10, height: int = 0) -> Entry:
    name = number.to_bytes(32, "big")
    lock = ChainLock(height, bytes(32), bytes(96)) if height else InstantLock((), name, bytes(32), bytes(96))
    return Entry(name, lock, bytes(size), None, list(sources))


def names(queue: LockQueue) -> list[int]:
    return [int.from_bytes(waiting.name, "big") for waiting in queue]


def test_a_source_that_sends_too_many_loses_its_own_oldest() -> None:
    """By count; the others' stay, and what went is counted and may come again."""
    queue = LockQueue(per_source=3)
    queue.put(entry(1, ONE))
    for number in range(2, 7):
        queue.put(entry(number, TWO))
    assert (names(queue), queue.let_go) == ([1, 4, 5, 6], 2)
    assert not queue.knows(entry(2).name)
    assert queue.knows(entry(4).name)


def test_what_only_a_liar_had_goes_with_it() -> None:
    """What another had as well stays, and what went is no loss, and may come again."""
    queue = LockQueue()
    for number, sources in enumerate([(ONE,), (TWO,), (ONE, TWO), ()]):
        queue.put(entry(number, *sources))
    queue.disown(ONE)
    assert (names(queue), queue.let_go) == ([1, 2, 3], 0)
    assert not queue.knows(entry(0).name)


def test_bytes_are_bounded_too() -> None:
    """A lock of very many inputs pushes out what the same source sent before, at most itself."""
    queue = LockQueue(bytes_per_source=100)
    queue.put(entry(1, ONE, size=60))
    queue.put(entry(2, TWO, size=60))
    queue.put(entry(3, ONE, size=60))
    assert (names(queue), queue.size) == ([2, 3], 120)
    queue.put(entry(4, ONE, size=101))
    assert (names(queue), queue.size, queue.let_go) == ([2], 60, 3)


def test_a_lock_that_another_has_too_passes_to_its_share() -> None:
    """So a flood cannot push out what others brought."""
    queue = LockQueue(per_source=2)
    shared = entry(1, ONE)
    queue.put(shared)
    queue.credit(shared.name, TWO)
    queue.credit(shared.name, TWO)
    for number in range(2, 9):
        queue.put(entry(number, ONE))
    assert (names(queue), shared.sources, queue.let_go) == ([1, 7, 8], [TWO], 5)


def test_all_together_are_bounded() -> None:
    """Many sources that each keep to their share cannot add up without end: the biggest gives way."""
    queue = LockQueue(per_source=2)
    for source in range(SOURCES + 3):
        for number in range(2):
            queue.put(entry(2 * source + number, Address("host", source + 1)))
    assert len(queue) == 2 * SOURCES
    assert queue.let_go == 6


def test_the_newest_are_due_once_and_all_when_told_so() -> None:
    """Highest ChainLocks first, then InstantSend locks in the order in which they came."""
    queue = LockQueue()
    for waiting in (entry(1, ONE), entry(2, ONE, height=5), entry(3, ONE, height=9), entry(4, ONE)):
        queue.put(waiting)
    assert [int.from_bytes(due.name, "big") for due in queue.take_due()] == [3, 2, 1, 4]
    assert queue.take_due() == []
    queue.put(entry(5, ONE))
    assert [int.from_bytes(due.name, "big") for due in queue.take_due()] == [5]
    queue.look_again()
    assert len(queue.take_due()) == 5
    assert not queue.all_due


def test_names_are_remembered_for_a_while() -> None:
    """What had its answer is not fetched again, until very many others came after it."""
    queue = LockQueue(per_source=10)
    first = entry(0, ONE)
    queue.put(first)
    queue.remove(first)
    queue.remove(first)  # no error
    waits = entry(1, ONE)
    queue.put(waits)
    assert queue.knows(first.name)
    for number in range(2, lock_queue.REMEMBERED + 2):
        answered = entry(number, ONE)
        queue.put(answered)
        queue.remove(answered)
    assert not queue.knows(first.name)
    assert queue.knows(waits.name)


def test_the_same_lock_put_again_takes_the_place_of_the_first() -> None:
    """Nothing is counted twice."""
    queue = LockQueue()
    queue.put(entry(1, ONE))
    queue.put(entry(1, TWO, size=20))
    assert (len(queue), queue.size, queue.let_go) == (1, 20, 0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 3), st.integers(1, 40), st.booleans()), min_size=1, max_size=80
    )
)
def test_the_books_balance(steps: list[tuple[int, int, int, bool]]) -> None:
    """After any puts, credits and removals sizes are the sums, bounds hold, and all that came is accounted for."""
    queue = LockQueue(per_source=4, bytes_per_source=100)
    put, removed = 0, 0
    for number, source, size, remove in steps:
        address = Address("host", source + 1)
        known = next((waiting for waiting in queue if waiting.name == entry(number).name), None)
        if known is None:
            queue.put(entry(number, address, size=size))
            put += 1
        elif remove:
            queue.remove(known)
            removed += 1
        else:
            queue.credit(known.name, address)
        assert queue.size == sum(len(waiting.payload) for waiting in queue)
        shares: dict[Address | None, list[Entry]] = {}
        for waiting in queue:
            shares.setdefault(waiting.payer, []).append(waiting)
        for share in shares.values():
            assert len(share) <= 4
            assert sum(len(waiting.payload) for waiting in share) <= 100
        assert put == len(queue) + removed + queue.let_go
