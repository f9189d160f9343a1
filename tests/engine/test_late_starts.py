"""Clients that begin above genesis, or have a birthday: what they hold is what a full sync holds from there on."""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.headers import work_of
from phasegate.consensus.primitives import Block
from phasegate.consensus.special_txs import mentioned
from phasegate.engine.config import Config
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.p2p.simnet.generated import generate
from phasegate.store import Anchor, Store, StoreMismatch
from tests.block_trees import LISTLESS, ListlessChain, forked, listless
from tests.simulated_world import Run, Start, World, small_chain

pytestmark = pytest.mark.trio

TIP = 300
REACH = 20
"""Blocks that a store has above its first one before all locks of its tip can be verified: quorums are older."""


def anchored(chain: SimulatedChain, height: int) -> Anchor:
    """The block at `height` as the first one of a store."""
    bits = [int.from_bytes(chain.header(at)[72:76], "little") for at in range(height + 1)]
    return Anchor(height, chain.header(height), sum(map(work_of, bits)))


@cache
def newcomers(first: int) -> tuple[str, ...]:
    """Scripts of the small chain that nothing pays or mentions below `first`; some of what they get is spent again."""
    paid: dict[bytes, int] = {}
    for height in range(1, TIP + 1):
        for transaction in Block.from_bytes(small_chain().block(height) or b"").transactions:
            for script in (*[output.script for output in transaction.outputs], *sorted(mentioned(transaction))):
                paid.setdefault(script, height)
    return tuple([script.hex() for script, height in paid.items() if height >= first and script[:1] == b"\x76"][:40])


def late(world: World, base: int, birthday: int | None = None, **changes: Any) -> Config:
    """A client of the small chain that begins at `base`, or at genesis with a birthday."""
    anchor = anchored(small_chain(), base) if base else None
    where = world.directory / f"{base} {birthday}"
    return attrs.evolve(world.config(1, 2, anchor=anchor, birthday=birthday, **changes), datadir=where)


def same_from(one: Store, other: Store, height: int) -> None:
    """Two stores have the same chain from `height` on."""
    assert (one.marks.tip_hash, one.marks.work) == (other.marks.tip_hash, other.marks.work)
    count = one.marks.tip + 1 - height
    assert one.headers(height, count) == other.headers(height, count)
    assert one.hashes(height, count) == other.hashes(height, count)
    assert one.marks.filter_header == other.marks.filter_header
    assert one.filter_headers(height, count) == other.filter_headers(height, count)
    assert one.filter_header_at(height - 1) == other.filter_header_at(height - 1)
    assert one.masternode_state() == other.masternode_state()


def wallet(store: Store, height: int) -> list[object]:
    """What was found, and where something was looked for from `height` on, in a form that can be compared."""
    found = [attrs.evolve(item, row_id=0, instantlock=None) for item in store.transactions()]
    return [found, store.coins(), store.balances(), [at for at in store.matched_heights() if at >= height]]


def locked(store: Store) -> list[object]:
    """What is known of the locks of found transactions."""
    return [(item.txid, item.instantlock) for item in store.transactions()]


@pytest.mark.parametrize(
    ("base", "birthday"),
    [(1, None), (10, None), (36, 36), (100, None), (100, 250), (299, None), (300, None), (0, 1), (0, 120), (0, 300)],
)
async def test_from_its_beginning_on_it_holds_what_a_full_sync_holds(
    world: World, running: Start, autojump_clock: MockClock, base: int, birthday: int | None
) -> None:
    """All phases: headers, lists, locks, filter headers, filters from the birthday on, transactions and balances."""
    first = max(base, birthday or 0)
    for port in (1, 2):
        world.add(small_chain(), port)
    watch = newcomers(first)
    async with running(late(world, 0, watch=watch)) as full, running(late(world, base, birthday, watch=watch)) as part:
        await full.until("synced")
        await part.until("synced")
        marks, ours, theirs = part.client.status.marks, part.client.store, full.client.store
        assert (marks.base, marks.filters_base, marks.filters, marks.matched) == (base, first, TIP, TIP)
        assert part.warnings == []
        same_from(ours, theirs, base)
        assert ours.filters(first, TIP + 1 - first) == theirs.filters(first, TIP + 1 - first)
        assert wallet(ours, first) == wallet(theirs, first)
        assert ours.transactions()
        assert part.path == ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]
        if base <= TIP - REACH:
            await trio.sleep(10)
            assert part.client.chainlock == full.client.chainlock
            assert locked(ours) == locked(theirs)


async def test_what_was_paid_before_the_birthday_is_not_found(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Later payments are, each as in a full sync; coins from before are not known, nor what spends them."""
    world.add(small_chain(), 1)
    watch = small_chain().watch
    async with running(late(world, 0, watch=watch)) as full, running(late(world, 150, 200, watch=watch)) as part:
        await full.until("synced")
        await part.until("synced")
        everything = {item.txid: item for item in full.client.transactions()}
        found = part.client.transactions()
        assert found
        assert min(item.height for item in found) >= 200
        for item in found:
            assert item.received == everything[item.txid].received
            assert item.sent <= everything[item.txid].sent
        paid = {txid for txid, item in everything.items() if item.height >= 200 and item.received}
        assert {item.txid for item in found if item.received} == paid


async def test_a_birthday_above_the_tip_waits_for_its_block(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Until then there is nothing to match; then filters begin at the birthday, not before."""
    chain = generate(280, 7)
    node = world.add(chain, 1)
    config = late(world, 0, 290, watch=chain.watch)
    async with running(config) as run:
        await run.until("synced")
        marks = run.client.status.marks
        assert (marks.filter_headers, marks.filters, marks.filters_base) == (280, 289, 290)
        chain.extend(5)
        await node.announce(5)
        await at_tip(run, 285)
        assert run.client.status.marks.filters == 289
        chain.extend(15)
        await node.announce(15)
        await at_tip(run, TIP)
        assert run.client.store.filters(290, 11) == [chain.filter(height) for height in range(290, 301)]


async def at_tip(run: Run, height: int) -> None:
    """Wait until the client is synced at `height`."""
    with trio.fail_after(300):
        while run.client.status.marks.tip != height or run.client.state != "synced":
            await trio.sleep(0.5)


@pytest.mark.parametrize(("base", "birthday"), [(100, None), (100, 250), (0, 120)])
async def test_a_second_run_needs_no_word_about_the_beginning(
    world: World, running: Start, autojump_clock: MockClock, base: int, birthday: int | None
) -> None:
    """The store knows its base and birthday; a script watched only now is matched from the birthday on."""
    world.add(small_chain(), 1)
    config = late(world, base, birthday)
    async with running(config) as run:
        await run.until("synced")
        marks = run.client.status.marks
    watch = tuple(bytes.fromhex(script) for script in newcomers(250))
    async with running(attrs.evolve(config, anchor=None, birthday=None, watch=watch)) as run:
        await run.until("synced")
        assert run.client.requests.sent <= 1 + run.client.status.marks.matched_blocks
        again = run.client.status.marks
        assert (again.base, again.filters_base, again.tip) == (marks.base, marks.filters_base, marks.tip)
        assert run.client.transactions()
        assert min(run.client.store.matched_heights()) >= 250


@pytest.mark.parametrize(
    ("stored", "wanted", "said"),
    [
        ((0, 200), (0, 199), "has filters from height 200 on, which is above the wanted 199"),
        ((0, 200), (0, 0), "has filters from height 200 on, which is above the wanted 0"),
        ((100, 200), (0, 120), "has filters from height 200 on, which is above the wanted 120"),
        ((100, 200), (100, None), ""),
        ((100, None), (0, 99), "has filters from height 100 on, which is above the wanted 99"),
        ((100, None), (99, None), "begins at height 100, which is above the wanted 99"),
        ((100, 200), (150, 200), ""),
        ((100, 200), (0, 250), ""),
        ((0, 200), (250, None), ""),
    ],
)
async def test_an_earlier_birthday_is_refused_and_a_later_one_changes_nothing(
    world: World,
    running: Start,
    autojump_clock: MockClock,
    stored: tuple[int, int | None],
    wanted: tuple[int, int | None],
    said: str,
) -> None:
    """What is not there cannot be had from above; one line names both heights."""
    world.add(small_chain(), 1)
    first = late(world, *stored)
    async with running(first) as run:
        await run.until("synced")
        digest = run.client.store.digest()
    again = attrs.evolve(late(world, *wanted), datadir=first.datadir)
    if said:
        with pytest.raises(StoreMismatch, match=said) as caught:
            async with running(again):
                pass
        assert "\n" not in str(caught.value)
        return
    async with running(again) as run:
        await run.until("synced")
        assert run.client.store.digest() == digest


TRUNK = ((200, 0),)


def branch(fork: int) -> ListlessChain:
    """Better than the trunk, from above `fork` on."""
    return listless(forked(TRUNK, fork, 210 - fork, 5))


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
@pytest.mark.parametrize(
    ("base", "birthday", "fork"),
    [(0, 150, 199), (0, 150, 150), (0, 150, 149), (0, 150, 100), (0, 205, 190), (100, 150, 120), (100, None, 100)],
)
async def test_a_reorg_around_the_beginning_leaves_what_a_fresh_sync_has(
    world: World,
    running: Start,
    autojump_clock: MockClock,
    base: int,
    birthday: int | None,
    fork: int,
    stopped: bool,
) -> None:
    """Below the birthday, at it and above it, down to the first block itself, while running and between two runs."""
    before, after = listless(TRUNK), branch(fork)
    anchor = anchored(before, base) if base else None
    node = world.add(before, 1)
    config = world.config(
        1, network=LISTLESS, masternodes=False, anchor=anchor, birthday=birthday, watch=ListlessChain.watch
    )
    async with running(config) as run:
        await run.until("synced")
        if not stopped:
            await node.switch(after)
            await at_tip(run, 210)
            digest = run.client.store.digest()
    if stopped:
        node.chain = after
        async with running(config) as run:
            await at_tip(run, 210)
            digest = run.client.store.digest()
    assert run.warnings == (["birthday-ahead"] if birthday == 205 and not stopped else [])
    async with running(attrs.evolve(config, datadir=world.directory / "fresh")) as fresh:
        await at_tip(fresh, 210)
        assert fresh.client.store.digest() == digest


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
async def test_peers_that_leave_below_the_first_block_are_of_no_use_and_honest(
    world: World, running: Start, autojump_clock: MockClock, stopped: bool
) -> None:
    """The trusted block is not on their chain: the reason says so, nobody is banned, and one that has it is enough."""
    node = world.add(listless(TRUNK), 1)
    config = world.config(1, 2, network=LISTLESS, masternodes=False, anchor=anchored(listless(TRUNK), 100))
    async with running(config) as run:
        await run.until("synced")
        if not stopped:
            await node.switch(branch(50))
            await strange(run, world)
    if stopped:
        node.chain = branch(50)
        async with running(config) as run:
            await strange(run, world)


async def strange(run: Run, world: World) -> None:
    """Only peers of another past are there; then one comes that has the trusted block."""
    await run.until("degraded")
    assert "does not have block 100, where this store begins" in run.client.status.reason
    assert run.client.status.marks.tip_hash == listless(TRUNK).tip_hash
    assert not run.client.hopeless
    world.add(listless(TRUNK), 2)
    await run.until("synced")
    assert set(run.warnings) == {"peer-lost"}
