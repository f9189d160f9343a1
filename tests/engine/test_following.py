"""Events from a known row on: nothing is missed and nothing told twice, wherever the consumer left off."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from phasegate.engine.errors import ConfigError
from phasegate.engine.events import Event, Lagged, Progress, TransactionFound, TransactionLost, Transition
from phasegate.engine.following import Following, Seen
from phasegate.engine.opening import open_store
from phasegate.p2p.simnet.generated import generate
from phasegate.store import StoreError, StoreFailed, wallet
from tests.simulated_world import small_chain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio


def rows(events: Sequence[Event]) -> tuple[list[int], list[int]]:
    """The row ids of transitions and of transactions, in the order in which they were told."""
    transitions = [event.row_id for event in events if isinstance(event, Transition)]
    return transitions, [event.row_id for event in events if isinstance(event, TransactionFound)]


def stored(run: Run) -> tuple[list[int], list[int]]:
    """The row ids that stand in the database."""
    found = sorted(row.row_id for row in run.client.transactions())
    return [row.row_id for row in run.client.history(limit=100_000)], found


async def heard(following: Following, run: Run, told: list[Event]) -> None:
    """Read until everything that stands in the database has been told."""
    with trio.fail_after(60):
        while rows(told) != stored(run):
            told.append(await anext(following))


async def test_who_comes_late_is_told_everything_and_then_goes_on(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """From the first row on, as live events; new blocks follow without a gap, and nothing comes twice."""
    chain = generate(120, 3)
    node = world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        following, told = run.client.events(after=Seen()), list[Event]()
        await heard(following, run, told)
        live = [event for event in run.told if isinstance(event, Transition | TransactionFound)]
        kinds = [event for event in told if isinstance(event, Transition | TransactionFound)]
        assert [one for one in kinds if isinstance(one, Transition)] == [t for t in live if isinstance(t, Transition)]
        assert [attrs.evolve(f, time=0) for f in kinds if isinstance(f, TransactionFound)] == [
            attrs.evolve(f, time=0) for f in live if isinstance(f, TransactionFound)
        ]
        chain.extend(11)
        await node.announce(11)
        await run.until_path([*run.path, *run.path])
        await heard(following, run, told)
        assert following.seen == Seen(stored(run)[0][-1], stored(run)[1][-1])


async def test_who_remembers_what_it_saw_goes_on_there_in_the_next_run(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """What was stored while it was away comes first; the two runs together tell every row once."""
    chain = generate(120, 3)
    world.add(chain, 1)
    config, told = world.config(1, watch=chain.watch), list[Event]()
    async with running(config) as run:
        following = run.client.events(after=Seen())
        while not (told and isinstance(told[-1], Transition) and told[-1].target == "cfheaders"):
            told.append(await anext(following))
        seen = following.seen
        await run.until("synced")
    chain.extend(7)
    async with running(config) as run:
        await run.until("synced")
        await heard(run.client.events(after=seen), run, told)
        assert len(set(rows(told)[0])) == len(rows(told)[0])


async def test_a_slow_consumer_reads_again_what_it_lost(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Its buffer was too small: all rows are told in order, so nothing was missed; progress is no loss."""
    chain = small_chain()
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        following, told = run.client.events(3, after=Seen()), list[Event]()
        told.append(await anext(following))
        with trio.move_on_after(0.001):  # there is no more yet: from now on it hears what happens
            told.append(await anext(following))
        await run.until("synced")
        await heard(following, run, told)
        assert len([event for event in told if isinstance(event, Transition | TransactionFound)]) > 2 * 3
        assert not [event for event in told if isinstance(event, Lagged)]
        assert not [event for event in told if isinstance(event, Progress)][5:]


async def test_rows_that_the_journal_did_not_keep_are_counted(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As any events that are lost."""
    monkeypatch.setattr("phasegate.engine.journal.TRIM_EVERY", 5)
    world.add(small_chain(), 1)
    async with running(attrs.evolve(world.config(1), keep_history=2)) as run:
        await run.until("synced")
        following = run.client.events(after=Seen())
        first = stored(run)[0][0]
        assert first > 1
        assert await anext(following) == Lagged(first - 1)
        following = run.client.events(after=Seen(first - 1))
        event = await anext(following)
        assert isinstance(event, Transition)
        assert event.row_id == first


async def test_transitions_that_wait_for_the_disk_are_told(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They happened under the ids that they will be stored with."""
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        end, real = stored(run)[0][-1], run.client.store.commit
        refusing = True

        def commit(batch: object) -> object:
            if refusing:
                raise StoreFailed("full")
            return real(batch)

        monkeypatch.setattr(run.client.store, "commit", commit)
        await run.client.pause()
        await run.until("paused")
        await run.client.resume()
        await run.until("degraded", within=600) if run.client.state == "degraded" else await trio.sleep(1)
        following = run.client.events(after=Seen(end))
        first, second = await anext(following), await anext(following)
        assert [getattr(event, "row_id", None) for event in (first, second)] == [end + 1, end + 2]
        refusing = False
        await run.until("synced")


async def test_after_the_end_nothing_can_be_read_again(world: World, running: Start, autojump_clock: MockClock) -> None:
    """The store is closed: an error, not a silence that looks like the end of the rows."""
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        await run.until("synced")
        read = run.client.events(after=Seen())
        await anext(read)
    with pytest.raises(StoreError):
        await anext(run.client.events(after=Seen()))


async def test_ids_that_a_power_cut_took_come_again(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Who has seen more than the store has goes on behind what it has; what was seen is not told again."""
    chain = generate(120, 3)
    node = world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        before, told = stored(run), list[Event]()
        following = run.client.events(after=Seen(10_000, 10_000))
        assert following.seen == Seen(before[0][-1], before[1][-1])
        assert run.client.events(after=following.seen).seen == following.seen
        chain.extend(11)
        await node.announce(11)
        await run.until_path([*run.path, *run.path])
        with trio.fail_after(60):
            while following.seen != Seen(stored(run)[0][-1], stored(run)[1][-1]):
                told.append(await anext(following))
        assert rows(told) == tuple(now[len(was) :] for now, was in zip(stored(run), before, strict=True))


async def test_a_power_cut_is_seen_also_when_the_client_has_run_on(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """New rows have taken the ids of those that are gone before the consumer comes back: it is told all of them."""
    chain = generate(120, 3)
    world.add(chain, 1)
    config = world.config(1, watch=chain.watch)
    async with running(config) as run:
        await run.until("synced")
    store, _ = open_store(config.datadir, config.network)
    with closing(store):
        had = Seen(store.journal_end(), store.transactions_end())
    kept = world.directory.with_name("kept")
    shutil.copytree(world.directory, kept)
    chain.extend(7)
    async with running(config) as run:
        await run.until("synced")
        following, told = run.client.events(after=Seen()), list[Event]()
        await heard(following, run, told)
        seen = following.seen
        assert run.client.events(after=seen).seen == seen
    shutil.rmtree(world.directory)
    kept.rename(world.directory)
    async with running(config) as run:
        await run.until("synced")
        assert all(ids[-1] > most for ids, most in zip(stored(run), (had.transition, had.transaction), strict=True))
        following = run.client.events(after=Seen(**attrs.asdict(seen)))
        assert following.seen == had
        told = await missed_of(following)
        assert rows(told) == tuple(
            [row for row in ids if row > most]
            for ids, most in zip(stored(run), (had.transition, had.transaction), strict=True)
        )
        assert run.client.events(after=following.seen).seen == following.seen


async def test_no_more_is_read_at_once_than_a_page(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the history is, and nothing of it to know where it ends."""
    monkeypatch.setattr("phasegate.engine.following.PAGE", 2)
    chain = generate(120, 3)
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        read, pages = wallet.chosen_transactions, list[int]()

        def counted(*arguments: Any) -> Any:
            found = read(*arguments)
            pages.append(len(found))
            return found

        monkeypatch.setattr(wallet, "chosen_transactions", counted)
        following = run.client.events(after=Seen(10_000, 10_000, 10_000))
        assert pages == []
        assert await missed_of(following) == []
        pages.clear()
        found = rows(await missed_of(run.client.events(after=Seen())))[1]
        assert (found, len(found) > 4) == (stored(run)[1], True)
        assert max(pages[: len(found) // 2]) == 2


async def missed_of(following: Following) -> list[Event]:
    """What is told from the database before it goes on live."""
    told = list[Event]()
    with trio.move_on_after(0.001):
        while True:
            told.append(await anext(following))
    return told


def not_a_step(event: Event) -> bool:
    return isinstance(event, TransactionFound | TransactionLost)


async def test_what_was_lost_meanwhile_is_told(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Payments leave the chain while the consumer is away: it hears so once, in this run and in the next."""
    before, after = generate(290, 2), generate(295, 2, fork_at=280, fork_seed=3)
    node, config = world.add(before, 1), world.config(1, watch=before.watch)
    async with running(config) as run:
        await run.until("synced")
        seen = Seen(stored(run)[0][-1], stored(run)[1][-1])
        await node.switch(after)
        with trio.fail_after(300):
            while run.client.status.marks.tip_hash != after.tip_hash or run.client.state != "synced":
                await trio.sleep(0.1)
        lost = [event for event in run.told if isinstance(event, TransactionLost)]
        assert len(lost) == 2
        following = run.client.events(after=seen)
        assert [event for event in await missed_of(following) if isinstance(event, TransactionLost)] == lost
        assert following.seen.lost == lost[-1].row_id
        assert await missed_of(run.client.events(after=following.seen)) == []
    async with running(config) as run:
        await run.until("synced")
        again = [event for event in await missed_of(run.client.events(after=seen)) if not_a_step(event)]
        assert again[: len(lost)] == lost
        assert all(isinstance(event, TransactionFound) for event in again[len(lost) :])
        assert run.client.events(after=attrs.evolve(seen, lost=99)).seen.lost == lost[-1].row_id
        one = run.client.events(after=attrs.evolve(seen, lost=lost[0].row_id))
        assert [event for event in await missed_of(one) if isinstance(event, TransactionLost)] == lost[1:]


async def test_what_cannot_be_a_place_in_the_events_harms_nobody(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A buffer without room is refused before the client publishes into it; ids below the first are the first."""
    world.add(small_chain(), 1)
    async with running(world.config(1)) as run:
        for capacity in (0, -1):
            with pytest.raises(ConfigError, match="no room"):
                run.client.events(capacity)
            with pytest.raises(ConfigError, match="no room"):
                run.client.events(capacity, after=Seen())
        await run.until("synced")
        following = run.client.events(after=Seen(-5, -5, -5))
        assert following.seen == Seen()
        assert not isinstance((await missed_of(following))[0], Lagged)


class _Rows:
    """A database of transitions that grows, and the live events of it."""

    def __init__(self, capacity: int, seen: int) -> None:
        self.stored: list[Transition] = []
        self.following = Following(capacity, Seen(transition=seen), self.read)

    def append(self, *, told: bool) -> None:
        row = Transition(len(self.stored) + 1, 0.0, "a", "b", "go", "", {})
        self.stored.append(row)
        if told:
            self.following.put_nowait(row)

    async def read(self, seen: Seen) -> list[Event]:
        await trio.lowlevel.checkpoint()
        return list(self.stored[seen.transition : seen.transition + 3])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 5), st.integers(0, 6), st.lists(st.sampled_from(["row", "read", "cancelled"]), max_size=40))
async def test_whatever_the_order_each_row_is_told_once(capacity: int, before: int, steps: list[str]) -> None:
    """Rows come while pages are read, while the buffer overflows, and while a read is cancelled."""
    world = _Rows(capacity, 0)
    for _ in range(before):
        world.append(told=False)
    told = list[int]()

    async def read() -> None:
        event = await anext(world.following)
        told.extend([event.row_id] if isinstance(event, Transition) else [])

    for step in steps:
        if step == "row":
            world.append(told=True)
        elif step == "cancelled":
            with trio.CancelScope() as scope:
                scope.cancel()
                await read()
        elif len(told) < len(world.stored):
            await read()
    while len(told) < len(world.stored):
        await read()
    assert told == [row.row_id for row in world.stored]
