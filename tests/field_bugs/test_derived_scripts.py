"""What went wrong in the field with scripts that came late: derived, imported, or added to a running client.

The number of each failure stands in its test's name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.filters import match_filters
from phasegate.consensus.params import SIMNET
from phasegate.consensus.watch_texts import parse_watch
from phasegate.engine.events import InstantLocked, TransactionFound
from phasegate.engine.phases import filter_rescan
from phasegate.engine.phases.filter_rescan import match_stored
from phasegate.engine.seams import Writer, compute_inline
from phasegate.p2p.simnet.generated import GeneratedChain
from phasegate.store import AddKeyChains, Store
from tests.field_bugs.bulk_filters import filled
from tests.paid_key_chains import account_text, balances, begin, descriptor, touched

if TYPE_CHECKING:
    from phasegate.engine.config import Config
    from phasegate.engine.work import Work
    from tests.simulated_world import Run, Start, World

PLACES = ((0, 0, 0), (0, 0, 2), (0, 0, 5), (0, 0, 10), (0, 1, 1))
ITEM = f"{account_text(0)}:gap=3"
FILTERS, SCRIPTS = 100_000, 500


@cache
def paying(blocks: int = 250, *, locks: bool = False) -> GeneratedChain:
    chain = begin(PLACES, 4, locks=locks)
    chain.extend(blocks)
    return chain


def watching(world: World, **changes: Any) -> Config:
    return attrs.evolve(world.config(1, **changes), key_chains=parse_watch(ITEM, SIMNET).chains)


def history(run: Run) -> list[Any]:
    return [attrs.evolve(tx, row_id=0) for tx in run.client.transactions()]


async def synced(run: Run) -> None:
    with trio.fail_after(300):
        await run.settled()
        while run.client.state != "synced" or run.client.pending_locks:
            await trio.sleep(0.1)


@pytest.mark.trio
@pytest.mark.parametrize("when", ["from the start", "when synced", "on the way"])
async def test_33_derived_scripts_are_found_as_if_they_had_been_known(
    world: World, running: Start, autojump_clock: MockClock, when: str
) -> None:
    """Everything that is stored for a chain of keys is what a scan with all its scripts stores."""
    world.add(paying(), 1, delay=0.1)
    config = watching(world, masternodes=False)
    async with running(config if when == "from the start" else attrs.evolve(config, key_chains=())) as run:
        if when != "from the start":
            await run.until("synced" if when == "when synced" else "filters")
            await run.client.watch([ITEM])
        await synced(run)
        store = run.client.store
        items, coins, found = store.watch_items(), store.coins(), history(run)
        assert ([tx.txid for tx in found], run.client.status.marks.pending_blocks) == (touched(paying()), 0)
    every = tuple(item.script for item in items)
    known = attrs.evolve(config, key_chains=(), watch=every, datadir=world.directory / "known")
    async with running(known) as run:
        await synced(run)
        assert (run.client.store.watch_items(), run.client.store.coins(), history(run)) == (items, coins, found)
        assert {script: held for script, held in run.client.balances().items() if held} == balances(paying())


@attrs.define
class Counted:
    """How many filters were read, and how often a script was looked for in one."""

    read: int = 0
    evaluated: int = 0
    longest: int = 0


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    """Counts at the one door to the kernel."""
    count, real = Counted(), match_filters

    def match(hashes: bytes, filters: Any, elements: Any) -> list[int]:
        count.read += len(filters)
        count.evaluated += len(filters) * int(elements.groups[1::2].sum())
        return real(hashes, filters, elements)

    monkeypatch.setattr(filter_rescan, "match_filters", match)
    return count


def bench(store: Store, matched: Callable[[], None]) -> Work:
    async def compute(fn: Callable[..., Any], *args: Any) -> Any:
        found = await compute_inline(fn, *args)
        matched()
        return found

    writer = Writer(store, compute_inline)
    made: Any = SimpleNamespace(store=store, writer=writer, seams=SimpleNamespace(compute=compute))
    return made  # type: ignore[no-any-return]


def derive(store: Store, accounts: range) -> None:
    """Of each account twenty scripts more are watched."""
    store.commit([AddKeyChains(tuple((str(descriptor(number, 0)), 20) for number in accounts))])


@pytest.mark.trio
async def test_34_a_sweep_for_derived_scripts_is_merged(tmp_path: Path, counted: Counted) -> None:
    """Five hundred of 25 chains: each of 100,000 filters is read once, and each script looked for in it once."""
    store = filled(tmp_path, FILTERS)
    for number in range(25):
        derive(store, range(number, number + 1))
    await match_stored(bench(store, lambda: None))
    assert (store.marks.watch_items, store.marks.matched) == (SCRIPTS, FILTERS - 1)
    assert (counted.read, counted.evaluated) == (FILTERS, SCRIPTS * FILTERS)
    store.close()


@pytest.mark.trio
async def test_34_a_sweep_that_more_scripts_come_into_does_nothing_twice(tmp_path: Path, counted: Counted) -> None:
    """The new ones are brought to where the others are, and from there on all go together."""
    store, count = filled(tmp_path, FILTERS), iter(range(1000))
    derive(store, range(5))
    with trio.CancelScope() as walk:

        def matched() -> None:
            if next(count) == 3:
                derive(store, range(5, 25))
                walk.cancel()

        await match_stored(bench(store, matched))
    reached = max(item.matched_to for item in store.watch_items()) + 1
    assert 0 < reached < FILTERS
    await match_stored(bench(store, lambda: None))
    assert (store.marks.watch_items, store.marks.matched) == (SCRIPTS, FILTERS - 1)
    assert (counted.read, counted.evaluated) == (FILTERS + reached, SCRIPTS * FILTERS)
    store.close()


@pytest.mark.trio
async def test_34_a_whole_sync_looks_for_each_script_in_each_filter_once(
    world: World, running: Start, autojump_clock: MockClock, counted: Counted
) -> None:
    """And reads them as often as the chains of keys were doubled, not as often as a script was used."""
    world.add(paying(), 1)
    async with running(watching(world, masternodes=False)) as run:
        await synced(run)
        filters, lengths = paying().height + 1, [chain.derived for chain in run.client.store.key_chains()]
        assert sorted(lengths) == [6, 24]
        assert counted.evaluated == sum(lengths) * filters
        assert counted.read == (1 + 3) * filters  # the two chains grew together the first time
        assert len(touched(paying())) > 10


@cache
def locked() -> GeneratedChain:
    """Payments to derived scripts that quorums lock."""
    return paying(300, locks=True)


def told(run: Run) -> tuple[set[bytes], set[bytes]]:
    """Which transactions were told as found, and which as locked."""
    found = {event.txid for event in run.told if isinstance(event, TransactionFound)}
    return found, {event.txid for event in run.told if isinstance(event, InstantLocked)}


@pytest.mark.trio
@pytest.mark.parametrize("when", ["filters", "blocks", "synced"])
async def test_37_what_is_watched_later_is_told_like_what_was_watched_before(
    world: World, running: Start, autojump_clock: MockClock, when: str
) -> None:
    """With blocks in flight, and with locks that were judged before anybody asked for them."""
    world.add(locked(), 1, delay=0.1)
    async with running(watching(world)) as run:
        await synced(run)
        early, early_told = history(run), told(run)
        assert len(early_told[1]) > 3
    known = descriptor(0, 0).scripts(0)[0].hex()
    late = attrs.evolve(watching(world, watch=(known,)), key_chains=(), datadir=world.directory / "late")
    async with running(late) as run:
        await run.until(when)
        if when == "synced":
            await synced(run)
        await run.client.watch([ITEM])
        await synced(run)
        await run.settled()
        assert (history(run), told(run)) == (early, early_told)


@pytest.mark.trio
async def test_37_a_payment_to_a_script_derived_a_moment_ago_is_told_with_its_lock(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Block by block: the first use of a script has those above it watched when the next block comes."""
    chain = begin(PLACES, 4, locks=True)
    chain.extend(200)
    node = world.add(chain, 1)
    async with running(watching(world)) as run:
        for _ in range(20):
            await synced(run)
            chain.extend(5)
            await node.announce(5)
            with trio.fail_after(300):
                while run.client.status.marks.tip != chain.height:
                    await trio.sleep(0.1)
        await synced(run)
        await run.settled()
        assert [tx.txid for tx in run.client.transactions()] == touched(chain)
        found, _ = told(run)
        assert found == set(touched(chain))
        assert {tx.txid for tx in run.client.transactions() if tx.instantlock} == told(run)[1] != set()
