"""Who books what is found, and takes back what is lost, holds what the wallet holds, wherever it is cut off."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from phasegate.engine.events import Event, Lagged, TransactionFound, TransactionLost, Transition, Warned
from phasegate.engine.following import Following, Seen, found_now, lost_then, missed
from phasegate.p2p.simnet.generated import generate
from phasegate.store import JournalRow, LostTransaction, StoredTransaction
from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

PAYMENTS = 3


class _Wallet:
    """A store that holds what is found and lost, as the real one does, and what is told of it.

    After each read something of `meanwhile` is done, as if another thread had committed it. What is committed so is
    told at once, or, if `late`, when the page has been read.
    """

    def __init__(self, capacity: int) -> None:
        self.found: dict[int, tuple[int, int]] = {}
        self.losses: list[LostTransaction] = []
        self.rows = self.height = 0
        self.untold: list[Event] = []
        self.meanwhile: list[list[tuple[str, int]]] = []
        self.late = False
        self.capacity = capacity
        self.begin(Seen())

    def begin(self, seen: Seen) -> None:
        self.following = Following(self.capacity, seen, self.read)

    def do(self, what: str, which: int) -> None:
        """A block has a payment that none has, or the chain loses the blocks of the newest `which` payments."""
        if what == "find" and which not in self.found:
            self.rows, self.height = self.rows + 1, self.height + 1
            self.found[which] = self.rows, self.height
            self.untold.append(found_now(self._row(which), 0.0))
        elif what == "lose":
            for gone in sorted(self.found, key=lambda one: self.found[one][1])[-which - 1 :]:
                row = self._row(gone)
                place = row.height, b"", 1, (), ()
                self.losses.append(LostTransaction(len(self.losses) + 1, 0.0, row.txid, *place, 1, 0))
                del self.found[gone]
                self.untold.append(lost_then(self.losses[-1]))
        elif what == "warn":
            self.untold.append(Warned(0.0, "code", "stands nowhere"))

    def tell(self) -> None:
        for event in self.untold:
            self.following.put_nowait(event)
        self.untold.clear()

    def _row(self, which: int) -> StoredTransaction:
        fields: dict[str, Any] = {field.name: None for field in attrs.fields(StoredTransaction)}
        row_id, height = self.found[which]
        told = {"row_id": row_id, "height": height, "txid": bytes((which,)), "scripts": (), "received": 1, "sent": 0}
        return StoredTransaction(**{**fields, **told})

    # -- as it is read -------------------------------------------------------------------------------------------

    async def read(self, seen: Seen) -> list[Event]:
        page = await missed(self, self.compute, lambda _after: [], seen, 0.0)  # type: ignore[arg-type]
        self.tell()
        return page

    async def compute(self, fn: Any, *args: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return fn(*args)

    def journal(self, _after: int, _most: int) -> list[Any]:
        return []

    def transactions(self, after: int, most: int) -> list[StoredTransaction]:
        found = [row for row in map(self._row, self.found) if row.row_id > after]
        self._go_on()
        return sorted(found, key=lambda row: row.row_id)[:most]

    def lost_transactions(self, after: int) -> list[LostTransaction]:
        losses = [record for record in self.losses if record.row_id > after]
        self._go_on()
        return losses

    def _go_on(self) -> None:
        for what, which in self.meanwhile.pop(0) if self.meanwhile else ():
            self.do(what, which)
        if not self.late:
            self.tell()


class _Consumer:
    """Takes events from a wallet, and books."""

    def __init__(self, wallet: _Wallet) -> None:
        self.wallet = wallet
        self.book: dict[bytes, int] = {}
        self.lagged = 0

    async def take(self) -> bool:
        """Take one event; False when there is none."""
        with trio.move_on_after(0.001):
            event = await anext(self.wallet.following)
            if isinstance(event, TransactionFound):
                self.book[event.txid] = event.row_id
            elif isinstance(event, TransactionLost):
                self.book.pop(event.txid, None)
            elif isinstance(event, Lagged):
                self.lagged += event.count
            return True
        return False


STEPS = st.one_of(
    st.tuples(st.just("find"), st.integers(0, PAYMENTS - 1)),
    st.tuples(st.just("lose"), st.integers(0, PAYMENTS - 1)),
    st.tuples(st.sampled_from(["read", "cancelled", "again", "warn"]), st.just(0)),
)
HAPPENING = st.lists(st.lists(STEPS.filter(lambda step: step[0] in ("find", "lose")), max_size=3), max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.integers(1, 5), st.lists(STEPS, max_size=30), HAPPENING, st.booleans())
@example(9, [("find", 0), ("lose", 0)], [], False)  # found and lost before the first read, both buffered
@example(9, [("find", 0), ("read", 0)], [[("lose", 0), ("find", 0)]], True)  # between the reads of one page
@example(1, [("read", 0), ("find", 0), ("find", 1), ("lose", 0), ("find", 1)], [], False)
async def test_the_book_is_the_wallet(
    autojump_clock: MockClock,
    capacity: int,
    steps: list[tuple[str, int]],
    meanwhile: list[list[tuple[str, int]]],
    late: bool,
) -> None:
    """Reorganisations before, between and during its reads; slow, cancelled, or begun again with what it has seen."""
    wallet = _Wallet(capacity)
    wallet.meanwhile, wallet.late = list(meanwhile), late
    consumer = _Consumer(wallet)
    for what, which in steps:
        if what == "read":
            await consumer.take()
        elif what == "cancelled":
            with trio.CancelScope() as scope:
                scope.cancel()
                await anext(wallet.following)
        elif what == "again":
            wallet.begin(wallet.following.seen)
        else:
            wallet.do(what, which)
            wallet.tell()
    while await consumer.take():
        pass
    assert consumer.book == {bytes((which,)): row for which, (row, _) in wallet.found.items()}
    warned = sum(what == "warn" for what, _ in steps)
    assert consumer.lagged <= warned


async def test_a_slow_consumer_is_told_at_the_end_that_rows_wait(autojump_clock: MockClock) -> None:
    """The client ends, and its store with it, before the rows were read: they are counted, and seen they are not."""
    wallet = _Wallet(2)
    consumer = _Consumer(wallet)
    assert not await consumer.take()
    for which in range(PAYMENTS):
        wallet.do("find", which)
    wallet.do("warn", 0)
    wallet.tell()
    wallet.following.end()
    assert [event async for event in wallet.following] == [Lagged(PAYMENTS), Warned(0.0, "code", "stands nowhere")]
    assert wallet.following.seen == Seen()


async def test_rows_that_are_stored_while_they_are_looked_for_are_not_missed() -> None:
    """A transition that waited for the disk is stored just after the database was read: it is told all the same."""
    row = Transition(1, 0.0, "a", "b", "go", "", {})
    waiting = [JournalRow(1, 0.0, "a", "b", "go", "", "{}")]
    stored = _Journal([])

    async def compute(fn: Any, *args: Any) -> Any:
        found = fn(*args)
        await trio.lowlevel.checkpoint()
        waiting.clear()
        return found

    def waits(_after: int) -> list[JournalRow]:
        return list(waiting)

    told = await missed(stored, compute, waits, Seen(), 0.0)  # type: ignore[arg-type]
    assert told == [row]


@attrs.frozen
class _Journal:
    rows: list[Any]

    def journal(self, _after: int, _most: int) -> list[Any]:
        return self.rows

    def transactions(self, _after: int, _most: int) -> list[Any]:
        return []

    def lost_transactions(self, _after: int) -> list[Any]:
        return []


@pytest.mark.parametrize("capacity", [1, 4, 1024])
async def test_the_book_of_a_client_is_its_history(
    world: World, running: Start, autojump_clock: MockClock, capacity: int
) -> None:
    """Two reorganisations and a restart of a real client, with consumers cut off in many places."""
    first, second = generate(290, 2, locks=False), generate(295, 2, fork_at=280, fork_seed=3, locks=False)
    third = generate(300, 2, fork_at=285, fork_seed=4, locks=False)
    node, config = world.add(first, 1), world.config(1, watch=(*first.watch, *second.watch))
    cuts: list[tuple[Seen, dict[bytes, int]]] = [(Seen(), {})]

    async def read(seen: Seen, book: dict[bytes, int], most: int) -> Following:
        following: Following = run.client.events(capacity, after=seen)
        with trio.move_on_after(0.001):
            for _ in range(most):
                event = await anext(following)
                if isinstance(event, TransactionFound):
                    book[event.txid] = event.row_id
                elif isinstance(event, TransactionLost):
                    book.pop(event.txid, None)
        return following

    async with running(config) as run:
        await run.until("synced")
        for most in (12, 20, 10_000):
            book: dict[bytes, int] = {}
            cuts.append(((await read(Seen(), book, most)).seen, book))
        await node.switch(second)
        await run.until_path([*run.path, "headers", "mnlist", "cfheaders", "filters", "blocks", "synced"])
        assert run.client.lost_transactions()
        for seen, book in list(cuts):
            again = dict(book)
            cuts.append(((await read(seen, again, 3)).seen, again))
    await node.switch(third)
    async with running(config) as run:
        await run.until("synced")
        for seen, book in cuts:
            await read(seen, book, 10_000)
            assert book == {row.txid: row.row_id for row in run.client.transactions()}
