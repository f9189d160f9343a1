"""The masternode-list phase in whole clients: every active quorum is proven, and nothing is asked for twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.headers import extend, genesis_tip
from phasegate.consensus.params import SIMNET
from phasegate.engine.quorum_plan import coming
from phasegate.engine.quorums import active_at
from phasegate.engine.seams import Writer
from phasegate.p2p.simnet.generated import generate
from phasegate.p2p.simnet.recording import load_recording
from phasegate.store import Anchor, Change, JudgeQuorums, SetMasternodes, Watermarks
from tests.listing_clients import assert_all_verified, chain_to, listing, verdicts
from tests.simulated_world import START, Start, World
from tests.twisted_lists import Twisted, record_requests, without_lists

pytestmark = pytest.mark.trio


@pytest.mark.parametrize("height", [212, 240, 247, 251, 252, 257, 260, 263, 264, 271, 300])
async def test_every_active_quorum_is_verified_wherever_in_a_cycle_the_tip_is(
    world: World, running: Start, autojump_clock: MockClock, height: int
) -> None:
    """At the boundary, before, in and after the mining window, with quorums of one cycle or of several."""
    chain = chain_to(height)
    world.add(chain, 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert run.path == ["headers", "mnlist", "synced"]
        assert run.warnings == []
        assert_all_verified(run, chain)


@pytest.mark.parametrize("height", [10, 20, 60, 100, 116, 130])
async def test_a_young_chain_is_listed_too(
    world: World, running: Start, autojump_clock: MockClock, height: int
) -> None:
    """No masternodes yet, or no rotation that a node could tell of."""
    chain = chain_to(height)
    world.add(chain, 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert run.client.status.marks.masternodes == height
        assert run.client.status.marks.quorums_unjudged == 0
        assert all(verified for verified, _ in verdicts(run.client.store, height).values())


async def test_a_restart_asks_nothing_about_masternodes(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists, sets, verdicts and the lists of sessions under way: all are there."""
    chain = chain_to(300)
    world.add(chain, 1)
    asked = record_requests(monkeypatch, chain)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
    assert asked.hops
    asked.clear()
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert run.path == ["headers", "mnlist", "synced"]
    assert (asked.hops, asked.rotations) == ([], [])


async def test_only_the_first_lists_are_asked_for_in_full(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two full lists, everything else on top of what is at hand; a rotation on top of all of it."""
    chain = chain_to(300)
    world.add(chain, 1)
    asked = record_requests(monkeypatch, chain)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
    assert [base for base, _ in asked.hops].count(0) == 2
    assert len({height for _, height in asked.hops}) == len(asked.hops)
    [(bases, block, _)] = asked.rotations
    assert block == 300
    assert set(bases) >= {184, 208, 232, 256, 300}


async def test_a_client_that_follows_the_tip_never_asks_for_a_full_list_again(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Block by block through three cycles: one step a block, each quorum verified when it comes.

    Only for the first few is the set below the tip not known from an earlier walk.
    """
    chain = generate(240, 11, locks=False)  # nothing waits for lists of the past
    node = world.add(chain, 1)
    asked = record_requests(monkeypatch, chain)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        asked.clear()
        for height in range(241, 313):
            chain.extend(1)
            await node.announce(1)
            with trio.fail_after(60):
                while run.client.status.marks.masternodes != height or run.client.state != "synced":
                    await trio.sleep(0.05)
            assert_all_verified(run, chain)
        steps = [(height - 1, height) for height in range(241, 313)]
        assert [hop for hop in asked.hops if hop in steps] == steps
        assert {height for _, height in asked.hops if height < 241} <= set(range(233, 241))
        assert min(base for base, _ in asked.hops) >= 232
        assert len(asked.rotations) <= 3
        assert set(run.client.store.masternode_heights()) == {*coming(SIMNET, 312), *range(305, 313)}


async def test_a_client_that_was_away_goes_on_from_what_it_has(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few cycles later: no full list, however many sessions were missed."""
    world.add(chain_to(240), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
    chain = chain_to(330)
    world.add(chain, 1)
    asked = record_requests(monkeypatch, chain)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
    assert min(base for base, _ in asked.hops) > 0


class Killed(Exception):
    """The end of a process, as far as a test can tell."""


@pytest.mark.parametrize("commits", range(1, 9))
async def test_what_is_stored_when_a_client_is_killed_is_not_asked_for_again(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    """Killed after each commit of the phase in turn; list, verdicts and anchors go on from there."""
    chain = chain_to(300)
    world.add(chain, 1)
    stored = await _run_until_killed(world, running, monkeypatch, commits)
    asked = record_requests(monkeypatch, chain)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
    assert stored.isdisjoint(height for _, height in asked.hops)


async def _run_until_killed(world: World, running: Start, monkeypatch: pytest.MonkeyPatch, commits: int) -> set[int]:
    """Let a client hang for ever after the given number of commits about masternodes; the heights of its lists."""
    real, heights, reached, count = Writer.commit, set[int](), trio.Event(), 0

    async def commit(self: Writer, changes: Sequence[Change]) -> Watermarks:
        nonlocal count
        marks = await real(self, changes)
        if any(isinstance(change, (SetMasternodes, JudgeQuorums)) for change in changes):
            heights.update(change.height for change in changes if isinstance(change, SetMasternodes))
            count += 1
            if count == commits:
                reached.set()
                await trio.sleep_forever()
        return marks

    monkeypatch.setattr(Writer, "commit", commit)
    async with running(listing(world, 1)) as run:
        with trio.move_on_after(60):
            await reached.wait()
        await run.client.stop()
    monkeypatch.setattr(Writer, "commit", real)
    return heights


async def test_a_list_that_is_wanted_for_a_lock_is_brought_with_its_quorums_proven(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Heights noted by whoever waits for them: sets, commitments and verdicts come with the next walk."""
    chain = generate(280, 7, locks=False)
    node = world.add(chain, 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        live = run.client._live
        live.wanted_sets.update({180, 238, 241})
        chain.extend(1)
        await node.announce(1)
        with trio.fail_after(60):
            while run.client.status.marks.masternodes != 281 or run.client.state != "synced":
                await trio.sleep(0.05)
        assert live.wanted_sets == set()
        for height in (180, 238):
            found = verdicts(run.client.store, height)
            assert len(found) == len(chain.masternodes_at(height).quorums)
            assert set(found.values()) == {(True, "")}
        store = run.client.store
        assert store.quorum_set(241) is None  # nothing can happen between it and 238


@pytest.mark.parametrize("fork_at", [120, 255, 270, 281, 295])
async def test_after_a_reorganisation_the_quorums_of_the_other_branch_are_proven(
    world: World, running: Start, autojump_clock: MockClock, fork_at: int
) -> None:
    """Lists, sets and verdicts above the fork are gone with their blocks; what is below serves as base."""
    world.add(generate(300, 7, locked_until=fork_at), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
    other = generate(310, 7, fork_at=fork_at, locked_until=fork_at)
    world.add(other, 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert run.client.status.marks.tip_hash == other.tip_hash
        assert_all_verified(run, other)
        assert run.warnings == []


async def test_below_a_base_above_genesis_a_quorum_is_taken_on_its_own_signature(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """What takes lists of before the first stored block is said not to be verified, and why."""
    chain = chain_to(300)
    world.add(chain, 1)
    work = extend(SIMNET, genesis_tip(SIMNET), chain.headers(1, 270), int(START)).tip.work
    anchor = Anchor(270, chain.header(270), work)
    async with running(listing(world, 1, anchor=anchor)) as run:
        await run.until("synced")
        found = verdicts(run.client.store, 300)
        assert run.client.status.marks.quorums_unjudged == 0
        excused = {reason for verified, reason in found.values() if not verified}
        assert excused
        assert all("below the first stored block, 270" in reason for reason in excused)
        assert all(reason.endswith("the quorum root covers it, and its own key signed it") for reason in excused)
        assert any(verified for verified, _ in found.values())


async def test_the_recorded_chain_of_dash_core_is_verified_whole(
    world: World, running: Start, autojump_clock: MockClock, capture: Path
) -> None:
    """Plain and rotated quorums of a real node, drawn with and without a ChainLock."""
    chain = load_recording(capture)
    world.add(chain, 1)
    async with running(listing(world, 1, network=chain.network)) as run:
        await run.until("synced")
        assert set(verdicts(run.client.store, 356).values()) == {(True, "")}
        assert sorted(verdicts(run.client.store, 356)) == [(100, 288), (100, 336), (103, 336), (103, 337)]
        assert run.warnings == []


async def test_the_active_quorums_of_a_height_can_be_asked_for_outside_a_walk(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """With a desk, what the store cannot tell is brought and proven; where nobody tells, nothing is known."""
    chain = generate(300, 7, locks=False)
    world.add(Twisted(chain, diff=without_lists(151)), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        await run.client.pause()
        await run.until("paused")
        work, kind = run.client._work, SIMNET.quorum_types[100]
        with work.desk("mnlist") as desk:
            found = await active_at(work, desk, kind, 150)
            assert found is not None
            truth = chain.masternodes_at(150).quorums.values()
            assert {q.key for q in found} == {q.key for q in truth if q.type == 100}
            assert await active_at(work, desk, kind, 151) is None
