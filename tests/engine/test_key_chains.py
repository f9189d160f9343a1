"""Clients that watch extended keys: what is derived on the way is found as if it had been known from the start."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.primitives import Transaction, TxOut
from phasegate.consensus.watch_texts import parse_watch
from phasegate.engine.phases import filters
from phasegate.p2p.messages import GetCFilters
from phasegate.p2p.simnet.generated import GeneratedChain
from phasegate.statecharts.catalogue import CHARTS
from phasegate.store import segments
from phasegate.verification.recorded import Recorded
from phasegate.verification.replay import replay
from tests.paid_key_chains import account_text, balances, begin, descriptor, script, touched
from tests.simulated_world import Tapped

if TYPE_CHECKING:
    from phasegate.engine.config import Config
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

PLACES = ((0, 0, 0), (0, 0, 2), (0, 0, 5), (0, 0, 10), (0, 0, 21), (0, 1, 1), (0, 1, 3))
"""With a gap limit of 3 each is found once those before it are."""
ITEM = f"{account_text(0)}:gap=3"
WALK = ["headers", "cfheaders", "filters", "blocks", "synced"]


@cache
def paying(seed: int = 3, blocks: int = 250) -> GeneratedChain:
    chain = begin(PLACES, seed)
    chain.extend(blocks)
    return chain


def config(world: World, *items: str, **changes: Any) -> Config:
    watch = [parse_watch(item, paying().network) for item in items]
    chosen = world.config(1, masternodes=False, **changes)
    return attrs.evolve(
        chosen,
        watch=tuple(script for one in watch for script in one.scripts),
        key_chains=tuple(chain for one in watch for chain in one.chains),
    )


def few_kept(monkeypatch: pytest.MonkeyPatch, span: int = 10, kept: int = 10) -> None:
    """Of the filters that are stored, by `span` together, only about as many as `kept` stay."""
    monkeypatch.setattr(segments, "FILTERS_SPAN", span)
    monkeypatch.setattr(segments, "BULK", span)
    monkeypatch.setattr(filters, "KEPT", kept)


def found(run: Run) -> tuple[list[bytes], dict[bytes, int]]:
    held = {script: value for script, value in run.client.balances().items() if value}
    return [tx.txid for tx in run.client.transactions()], held


async def synced_to(run: Run, chain: GeneratedChain) -> None:
    with trio.fail_after(300):
        while run.client.state != "synced" or run.client.status.marks.tip_hash != chain.tip_hash:
            await trio.sleep(0.1)


async def knows_all(run: Run, chain: GeneratedChain) -> None:
    """All payments of `chain` were found, as far as the gap limit says is watched, and the journal is lawful."""
    assert found(run) == (touched(chain), balances(chain))
    store = run.client.store
    assert {chain.descriptor: chain.derived for chain in store.key_chains()} == {
        str(descriptor(0, 0)): 48,
        str(descriptor(0, 1)): 12,
    }
    assert {item.matched_to for item in store.watch_items()} == {chain.height}
    strategy = "interleaved" if run.client.config.strategy == "interleaved" else "sync"
    outcome = replay(map(Recorded.from_row, run.client.history()), CHARTS[strategy])
    assert outcome.breaches == ()


async def test_what_is_derived_is_found_in_the_same_walk(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Five times twice as many scripts, and the chart has gone through each phase once."""
    world.add(paying(), 1)
    async with running(config(world, ITEM)) as run:
        await run.until("synced")
        assert run.path == WALK
        await knows_all(run, paying())


async def test_it_is_so_where_phases_run_beside_each_other(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    world.add(paying(), 1)
    small = {"batch": {"cfheaders": 100, "filters": 20, "blocks": 2}, "in_flight": {"blocks": 1}}
    async with running(config(world, ITEM, limits=small, strategy="interleaved")) as run:
        await run.until("synced")
        await knows_all(run, paying())


@pytest.mark.parametrize("strategy", ["sequential", "interleaved"])
async def test_it_is_so_without_kept_filters(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    """They are downloaded again for what was derived: by another walk."""
    few_kept(monkeypatch, span=20, kept=60)
    world.add(paying(), 1)
    small = {"batch": {"filters": 50}}
    async with running(config(world, ITEM, limits=small, prune_filters=True, strategy=strategy)) as run:
        await run.until("synced")
        assert run.client.status.marks.filters_base > 100
        await knows_all(run, paying())


async def test_what_is_wanted_again_is_not_downloaded_to_the_end_before(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain of keys grows while filters come whose predecessors are not kept: the download begins anew at once."""
    few_kept(monkeypatch)
    node = world.nodes[1] = Tapped(paying(), delay=0.5)
    small = {"batch": {"filters": 10, "blocks": 1}, "in_flight": {"filters": 1, "blocks": 1}}
    async with running(config(world, ITEM, limits=small, prune_filters=True, strategy="interleaved")) as run:
        await run.until("synced")
        await knows_all(run, paying())
    starts = [message.start_height for message in node.taken if isinstance(message, GetCFilters)]
    assert starts.count(0) > 3
    assert starts.count(max(starts)) == 1
    assert len(starts) < 4 * len(set(starts))


async def test_a_block_under_way_is_searched_for_what_is_derived_meanwhile(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filters that are not kept come again, and match in it for what blocks before it have derived, before it comes."""
    few_kept(monkeypatch)
    chain = begin([(1, 0, 0), (1, 0, 1)], 5)
    chain.extend(120)
    paid = [paying_to(chain.spend_watched(), script(0, 0, index)) for index in (0, 1, 1, 1, 1, 4)]
    for txs in (paid[:1], paid[1:2], paid[2:3], paid[3:4], paid[4:], (), ()):
        chain.extend(1, include=txs)
    world.add(chain, 1, delay=0.5)
    small = {"batch": {"blocks": 1}, "in_flight": {"blocks": 1}}
    async with running(config(world, ITEM, limits=small, prune_filters=True, strategy="interleaved")) as run:
        await run.until("synced")
        assert [tx.txid for tx in run.client.transactions()] == [tx.txid for tx in paid]
        assert run.client.balances()[script(0, 0, 4)] == paid[-1].outputs[0].value


def paying_to(tx: Transaction, receiver: bytes) -> Transaction:
    return attrs.evolve(tx, outputs=(TxOut(tx.outputs[0].value, receiver),))


@pytest.mark.parametrize("phase", [*WALK[:4], "synced"])
async def test_an_extended_key_added_in_any_phase(
    world: World, running: Start, autojump_clock: MockClock, phase: str
) -> None:
    world.add(paying(), 1, delay=0.1)
    async with running(config(world, script(0, 0, 5).hex())) as run:
        await run.until(phase)
        await run.client.watch([ITEM])
        await run.settled()
        await synced_to(run, paying())
        await knows_all(run, paying())


async def test_a_new_block_makes_a_chain_longer(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Payments come block by block, to a client that follows the tip."""
    chain = begin(PLACES, 3)
    chain.extend(10)
    node = world.add(chain, 1)
    async with running(config(world, ITEM)) as run:
        for _ in range(20):
            await synced_to(run, chain)
            chain.extend(12)
            await node.announce(1)
        await synced_to(run, chain)
        assert chain.tip_hash == paying().tip_hash
        await knows_all(run, chain)


async def test_a_restart_goes_on_with_what_was_derived(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Stopped at each of the first commits that follow a use; nothing is configured any more, it is all stored."""
    world.add(paying(), 1, delay=0.05)
    async with running(config(world, ITEM)) as run:
        await run.until("headers")
    for _ in range(5):
        async with running(config(world)) as run:
            watched = run.client.status.marks.watch_items
            with trio.fail_after(300):
                while run.client.status.marks.watch_items == watched and run.client.state != "synced":
                    await trio.sleep(0.01)
    async with running(config(world)) as run:
        await run.until("synced")
        await knows_all(run, paying())


async def test_unwatching_the_key_forgets_it_all(world: World, running: Start, autojump_clock: MockClock) -> None:
    world.add(paying(), 1)
    mine = script(0, 0, 5)
    async with running(config(world, ITEM, mine.hex())) as run:
        await run.until("synced")
        await run.client.unwatch([account_text(0)])
        assert run.client.store.key_chains() == []
        assert [item.script for item in run.client.store.watch_items()] == [mine]
        assert run.client.balances() == {mine: balances(paying()).get(mine, 0)}
        await synced_to(run, paying())
