"""Whole clients on real headers of mainnet and testnet: from genesis and from a trusted header, past checkpoints."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus import checkpoints as known
from phasegate.consensus.params import MAINNET, TESTNET
from phasegate.consensus.x11 import x11
from phasegate.p2p.simnet.header_range import HEADERS_ONLY, HeaderRange
from tests.real_headers import CONTEXT, chainwork, config, ended, headers_of, trusted
from tests.simulated_world import Start, World

pytestmark = pytest.mark.trio

MAIN = "mainnet_1737084_1742083"
MAIN_BASE, MAIN_TIP = 1737084 + CONTEXT, 1742083
TEST = "testnet_900776_905775"
TEST_BASE, TEST_TIP = 900776 + CONTEXT, 905775


async def test_by_default_so_few_blocks_are_not_enough_work(
    shared: Path, world: World, running: Start, autojump_clock: MockClock
) -> None:
    """All of it is stored, and counted from the trusted chainwork on; the network's minimum is far above."""
    world.add(headers_of(shared, MAIN), 1, identity=HEADERS_ONLY)
    start = trusted(shared, MAIN, MAIN_BASE)
    async with running(config(world, "mainnet", trusted_header=start, min_chainwork=None)) as run:
        state, tip, reason = await ended(run, "degraded")
        assert (state, tip) == ("degraded", MAIN_TIP)
        assert reason.startswith(f"not enough work: the chain at {MAIN_TIP} has ")
        assert run.client.status.marks.work == chainwork(shared, MAIN, MAIN_TIP) == 0x78B79E67AF610AE12C3B
        assert (run.path, run.warnings) == (["headers", "degraded"], [])


async def test_with_less_wanted_it_is_a_stale_tip(
    shared: Path, world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The newest block is of 2022; the reason tells its age in hours."""
    world.add(headers_of(shared, MAIN), 1, identity=HEADERS_ONLY)
    async with running(config(world, "mainnet", trusted_header=trusted(shared, MAIN, MAIN_BASE))) as run:
        _, tip, reason = await ended(run, "degraded")
        assert tip == MAIN_TIP
        assert reason.startswith(f"stale tip: the newest block, {MAIN_TIP}, is 378")
        assert run.path == ["headers", "degraded"]


async def test_if_age_does_not_matter_it_is_synced(
    shared: Path, world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The checkpoint on the way is met, and the first new header judged like any other."""
    chain = headers_of(shared, MAIN)
    world.add(chain, 1, identity=HEADERS_ONLY)
    start = trusted(shared, MAIN, MAIN_BASE)
    async with running(config(world, "mainnet", trusted_header=start, max_tip_age=0)) as run:
        assert await ended(run, "synced") == ("synced", MAIN_TIP, "")
        marks, store = run.client.status.marks, run.client.store
        assert (marks.base, marks.tip_hash, marks.context) == (MAIN_BASE, chain.tip_hash, CONTEXT)
        assert store.context() == chain.headers(MAIN_BASE - CONTEXT, CONTEXT)
        assert store.hash_at(1739520) == known.checkpoints(MAINNET)[1739520].hash


async def test_a_second_run_asks_for_nothing_that_is_stored(
    shared: Path, world: World, running: Start, autojump_clock: MockClock
) -> None:
    """With the same words or with none: the store knows where it begins, and one question is enough."""
    world.add(headers_of(shared, MAIN), 1, identity=HEADERS_ONLY)
    start, asked = trusted(shared, MAIN, MAIN_BASE), []
    for word in (start, start, ""):
        async with running(config(world, "mainnet", max_tip_age=0, trusted_header=word)) as run:
            assert await ended(run, "synced") == ("synced", MAIN_TIP, "")
            asked.append(run.client.requests.sent)
    assert asked[1:] == [1, 1]
    assert asked[0] > CONTEXT


async def test_without_a_checkpoint_it_begins_at_genesis(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A node that has only the genesis block has nothing to add, and that is no complete chain."""
    world.add(HeaderRange(MAINNET, 0, MAINNET.genesis), 1, identity=HEADERS_ONLY)
    async with running(config(world, "mainnet", min_chainwork=None)) as run:
        _, tip, reason = await ended(run, "degraded")
        assert (tip, run.client.status.marks.tip_hash) == (0, x11(MAINNET.genesis))
        assert "not enough work" in reason


@pytest.mark.parametrize("words", [{"checkpoint": "1739520"}, {"checkpoint": "1740000"}, {"birthday": "2022-09-18"}])
async def test_it_begins_at_a_built_in_checkpoint(
    shared: Path, world: World, running: Start, autojump_clock: MockClock, words: dict[str, str]
) -> None:
    """By its height, and by the day after it was mined; the chainwork goes on from the built-in one."""
    chain = headers_of(shared, MAIN)
    world.add(chain, 1, identity=HEADERS_ONLY)
    checkpoint, birthday = words.get("checkpoint", ""), words.get("birthday", "")
    settings = config(world, "mainnet", checkpoint=checkpoint, birthday=birthday, max_tip_age=0)
    async with running(settings) as run:
        assert await ended(run, "synced") == ("synced", MAIN_TIP, "")
        marks = run.client.status.marks
        assert (marks.base, marks.tip_hash) == (1739520, chain.tip_hash)
        assert marks.work == chainwork(shared, MAIN, MAIN_TIP)


async def test_a_peer_without_our_first_block_is_of_no_use_and_honest(
    shared: Path, world: World, running: Start, autojump_clock: MockClock
) -> None:
    """It is still far below: it is dropped without a ban while another one serves."""
    world.add(HeaderRange(MAINNET, 0, MAINNET.genesis), 1, identity=HEADERS_ONLY)
    world.add(headers_of(shared, MAIN), 2, identity=HEADERS_ONLY)
    start = trusted(shared, MAIN, MAIN_BASE)
    async with running(config(world, "mainnet", (1, 2), trusted_header=start, max_tip_age=0)) as run:
        assert await ended(run, "synced") == ("synced", MAIN_TIP, "")
        assert set(run.warnings) == {"peer-lost"}


async def test_the_first_blocks_follow_the_first_rules(
    shared: Path, world: World, running: Start, autojump_clock: MockClock
) -> None:
    """From genesis to the first checkpoint, by Bitcoin's rule with its minimum difficulty."""
    chain = headers_of(shared, "testnet_0_255")
    world.add(chain, 1, identity=HEADERS_ONLY)
    async with running(config(world, "testnet", max_tip_age=0)) as run:
        assert await ended(run, "synced") == ("synced", 255, "")
        marks = run.client.status.marks
        assert (marks.base, marks.tip_hash) == (0, known.checkpoints(TESTNET)[255].hash)


async def test_a_real_fork_below_a_checkpoint_is_left_and_then_refused(
    shared: Path, world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Two headers that Core's tests fork testnet with: first nothing else is there, then they contradict 255."""
    text = (shared / "vectors" / "headers" / "blockheader_testnet3.hex").read_text()
    forks = [bytes.fromhex(line.removeprefix("fork:")) for line in text.split() if line.startswith("fork:")]
    forked = HeaderRange(TESTNET, 0, TESTNET.genesis + b"".join(forks))
    world.add(forked, 1, identity=HEADERS_ONLY)
    settings = config(world, "testnet", (1, 2), max_tip_age=0)
    async with running(settings) as run:
        await run.until("synced")
        assert run.client.status.marks.tip_hash == forked.tip_hash
        world.add(headers_of(shared, "testnet_0_255"), 2, identity=HEADERS_ONLY)
        with trio.fail_after(300):
            while run.client.status.marks.tip != 255:
                await trio.sleep(1)
        await run.until("synced")
        await run.until_warned("checkpoint-contradicted")
        assert run.client.status.marks.tip_hash == known.checkpoints(TESTNET)[255].hash
        assert "at 255" in run.said("checkpoint-contradicted")


async def test_a_checkpoint_is_met_on_the_way(
    shared: Path, world: World, running: Start, autojump_clock: MockClock
) -> None:
    """95 of these blocks have the difficulty of late ones."""
    chain = headers_of(shared, TEST)
    world.add(chain, 1, identity=HEADERS_ONLY)
    start = trusted(shared, TEST, TEST_BASE)
    async with running(config(world, "testnet", trusted_header=start, max_tip_age=0)) as run:
        assert await ended(run, "synced") == ("synced", TEST_TIP, "")
        assert run.client.store.hash_at(905100) == known.checkpoints(TESTNET)[905100].hash
        assert run.client.status.marks.work == chainwork(shared, TEST, TEST_TIP)


@pytest.mark.parametrize("before", [False, True], ids=["new store", "stored chain"])
async def test_a_chain_that_contradicts_a_checkpoint_is_refused(
    shared: Path,
    world: World,
    running: Start,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    before: bool,
) -> None:
    """The checkpoint is named, nothing above it is kept, and what was stored before it was known is left."""
    world.add(headers_of(shared, TEST), 1, identity=HEADERS_ONLY)
    settings = config(world, "testnet", trusted_header=trusted(shared, TEST, TEST_BASE), max_tip_age=0)
    if before:
        async with running(settings) as run:
            await run.until("synced")
    real = known.checkpoints(TESTNET)
    other = MappingProxyType({**real, 905100: attrs.evolve(real[905100], hash=b"\x07" * 32)})
    monkeypatch.setattr(known, "_listed", lambda _: other)
    async with running(settings) as run:
        _, tip, reason = await ended(run, "degraded")
        assert TEST_BASE <= tip < 905100
        named = f"{real[905100].hash[::-1].hex()} contradicts the checkpoint {'07' * 32} of testnet"
        assert f"checkpoint-contradicted: height 905100: {named}" in reason
        assert ("headers-repaired" in run.warnings) == before
