"""The wallet's mempool: who leaves with whom, who counts, who goes first, and what all of it takes."""

from __future__ import annotations

import gc
import tracemalloc

import attrs
import pytest

from phasegate.consensus.primitives import OutPoint, Transaction, TxIn, TxOut
from phasegate.engine import mempool
from phasegate.engine.mempool import Held, Mempool, UnconfirmedTransaction

SCRIPT = b"\x51"


def name(number: int) -> bytes:
    return number.to_bytes(32, "big")


def one(number: int, *spends: tuple[int, int], locked: bool = False, raw: bytes = b"") -> Held:
    """The transaction `number`, which pays to us by its output 0, and spends outputs of others."""
    told = UnconfirmedTransaction(name(number), 0.0, raw, ((SCRIPT, 10),), 10, 0, locked)
    points = frozenset([OutPoint(name(txid), index) for txid, index in spends])
    return Held(told, points, {0: TxOut(10, SCRIPT)}, 0.0)


def holding(*held: Held) -> Mempool:
    pool = Mempool()
    for each in held:
        pool.put(each)
    return pool


def numbers(held: list[Held]) -> list[int]:
    return [int.from_bytes(each.txid, "big") for each in held]


def test_who_spends_of_one_that_is_given_up_goes_with_it() -> None:
    """Whichever was seen first; each after what it spends of, and once, also by two ways."""
    pool = holding(one(4, (2, 0), (3, 0)), one(1, (90, 0)), one(3, (1, 1)), one(2, (1, 0)), one(5, (91, 0)))
    gone = numbers(pool.give_up(name(1)))
    assert (gone[0], gone[-1], sorted(gone)) == (1, 4, [1, 2, 3, 4])
    assert numbers(list(pool)) == [5]


def test_who_spends_of_one_that_was_mined_stays() -> None:
    pool = holding(one(1, (90, 0)), one(2, (1, 0)))
    pool.remove(name(1))
    assert numbers(list(pool)) == [2]
    assert numbers(pool.spending_of({name(1)})) == [2]


def test_of_rivals_the_locked_one_counts_or_the_first() -> None:
    """And what spends of one that does not count does not count either."""
    first, second, child = one(1, (90, 0)), one(2, (90, 0), (91, 0)), one(3, (2, 0))
    assert numbers(holding(first, second, child).counted(set(), set())) == [1]
    second.told = attrs.evolve(second.told, instantlock=True)
    assert numbers(holding(first, second, child).counted(set(), set())) == [2, 3]
    assert numbers(holding(child, first).counted(set(), set())) == [3, 1]


def test_nothing_counts_that_is_mined_or_defeated() -> None:
    """What spends of a mined one does; what spends of a defeated one does not."""
    pool = holding(one(1, (90, 0)), one(2, (1, 0)), one(3, (91, 0)), one(4, (3, 0)))
    assert numbers(pool.counted({name(1)}, {name(3)})) == [2]


def test_the_oldest_that_nothing_holds_is_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock holds what it is of, and what that spends of; if all are held the oldest goes."""
    monkeypatch.setattr(mempool, "MOST", 2)
    assert holding(one(1), one(2)).surplus() is None
    assert holding(one(1), one(2, (1, 0), locked=True), one(3)).surplus() == name(3)
    assert holding(one(1), one(2, (3, 0)), one(3, locked=True)).surplus() == name(1)
    assert holding(one(1, locked=True), one(2, locked=True), one(3, locked=True)).surplus() == name(1)


def test_memory_is_bounded_too() -> None:
    large = one(1, raw=bytes(mempool.MOST_BYTES - mempool.EACH - 2 * mempool.PAID))
    assert holding(large).surplus() is None
    assert holding(large, one(2)).surplus() == name(1)


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 2), (1, 100), (300, 1)])
def test_what_one_takes_is_not_underestimated(inputs: int, outputs: int) -> None:
    """By as little as a tenth; the transaction as it came is not kept."""
    spends = tuple([TxIn(OutPoint(name(number), 1000 + number), bytes(107)) for number in range(inputs)])
    paid = tuple([TxOut(10_000_000 + number, bytes(25)) for number in range(outputs)])
    serialised = Transaction(2, 0, spends, paid).to_bytes()

    def read(number: int) -> Held:
        tx = Transaction.from_bytes(serialised)
        ours = {place: out for place, out in enumerate(tx.outputs) if place % 2 == 0}
        changes = tuple([(out.script + b"", out.value) for out in ours.values()])
        told = UnconfirmedTransaction(name(number), 1e9 + number, tx.to_bytes(), changes, 1 << 40, 1 << 41)
        return Held(told, frozenset([txin.prevout for txin in tx.inputs]), ours, 1e6 + number)

    pool = holding(read(0))
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(1, 21):
            pool.put(read(number))
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    told = sum([held.size for held in pool if held.txid != name(0)])
    assert taken < 1.1 * told
    assert taken > told / 3
