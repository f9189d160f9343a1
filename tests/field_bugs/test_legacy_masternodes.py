"""Masternode lists and ChainLocks as a sequential client of others got them wrong: findings A6 and A7 of the list."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.masternodes import MasternodeState
from phasegate.engine.events import ChainLocked
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.lies import Lie
from tests.listing_clients import assert_all_verified, blamed, chain_to, listing
from tests.lock_tampering import Offering, chainlocks, flipped, message
from tests.twisted_lists import Twisted, record_requests

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio


# -- A6: masternode lists -------------------------------------------------------------------------------------------


def _silent_lists(gate: list[bool]) -> Callable[[GeneratedChain], Any]:
    return lambda chain: Twisted(chain, diff=lambda _base, _height, diff: diff if gate[0] else None)


def _silent_rotation(gate: list[bool]) -> Callable[[GeneratedChain], Any]:
    return lambda chain: Twisted(chain, rotation=lambda told: told if gate[0] else None)


@pytest.mark.parametrize("kind", [_silent_lists, _silent_rotation], ids=["mnlistdiff", "qrinfo"])
async def test_a06_the_phase_is_never_completed_because_time_is_up(
    world: World, running: Start, autojump_clock: MockClock, kind: Any
) -> None:
    """For twenty minutes nobody answers: not left for the next phase, asked again and again, complete once they do."""
    chain, gate = chain_to(300), [False]
    world.add(kind(gate)(chain), 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        sent = []
        for _ in range(20):
            await trio.sleep(60)
            sent.append(run.client.requests.sent)
            assert not run.client.facts.mnlist_complete
        assert sent[19] > sent[9] > 4
        assert not {"cfheaders", "synced", "failed"} & set(run.path)
        assert {row.event for row in run.client.history() if row.source == "mnlist"} == {"fail"}
        gate[0] = True
        await run.until("synced", within=300)
        marks, raw = run.client.status.marks, run.client.store.masternode_state(300)
        assert (marks.masternodes, marks.masternodes_hash, marks.quorums_unjudged) == (300, chain.tip_hash, 0)
        assert raw is not None
        assert MasternodeState.from_bytes(raw).entries == chain.masternodes_at(300).entries


async def test_a06_giving_up_stores_nothing_as_complete(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Lists are told up to 100 and then no more: no mark says that the list of the tip is there, and after a restart
    no mark says so either."""
    chain, gate = chain_to(300), [100]
    twisted = Twisted(chain, diff=lambda _base, height, diff: diff if height <= gate[0] else None)
    world.add(twisted, 1)
    config = listing(world, 1)
    async with running(config) as run:
        await trio.sleep(1200)
        assert run.client.status.marks.masternodes != 300
        assert run.client.store.masternode_state(300) is None
        assert run.client.store.check() == ()
    gate[0] = 300
    async with running(config) as run:
        assert not run.client.facts.masternodes_stored
        await run.until("synced")
        assert_all_verified(run, chain)


async def test_a06_the_stored_list_is_what_the_next_run_builds_on(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is rebuilt from genesis: a restart asks for no list, and for a new block by the difference to a stored
    one."""
    chain = generate(300, 7)
    world.add(chain, 1)
    config = listing(world, 1)
    asked = record_requests(monkeypatch, chain)
    async with running(config) as run:
        await run.until("synced")
        await trio.sleep(60)
    assert 0 in {base for base, _ in asked.hops}
    asked.clear()
    async with running(config) as run:
        await run.until("synced")
        assert (asked.hops, asked.rotations) == ([], [])
    chain.extend(1)
    async with running(config) as run:
        await run.until("synced")
        assert run.client.status.marks.masternodes == 301
        assert_all_verified(run, chain)
    assert asked.hops
    assert 0 not in {base for base, _ in asked.hops}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("wrong-merkle-proof@300", "bad-merkle-proof"),
        ("wrong-masternode-entry@300", "bad-masternode-root"),
        ("wrong-quorum@300", "bad-quorum-root"),
    ],
)
async def test_a06_both_roots_and_the_proof_of_the_coinbase_are_checked(
    world: World, running: Start, autojump_clock: MockClock, kind: str, code: str
) -> None:
    """Who lies about one of them is banned for it; alone it leaves nothing stored, and the honest peer's list is."""
    chain = chain_to(300)
    world.add(chain, 1, lie=Lie.parse(kind, chain))
    async with running(listing(world, 1, 2)) as run:
        await trio.sleep(60)
        assert blamed(run) == [code]
        assert run.client.store.masternode_state(300) is None
        world.add(chain, 2)
        await run.until("synced", within=300)
        assert_all_verified(run, chain)


async def test_a06_the_facts_at_the_exit_are_those_of_a_whole_list(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """At the step that leaves the phase the list is that of the tip, and no quorum of it waits for its verdict."""
    chain = chain_to(300)
    world.add(chain, 1, delay=1.0)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("cfheaders")
        assert run.client.status.marks.quorums_unjudged == 0
        (left,) = [row for row in run.client.history() if row.source == "mnlist"]
        facts = json.loads(left.facts_json)
        assert (left.event, facts["masternodes"], facts["tip"], facts["outstanding"]) == ("advance", 300, 300, 0)
        assert_all_verified(run, chain)


# -- A7: ChainLocks -------------------------------------------------------------------------------------------------


@cache
def ours() -> GeneratedChain:
    """Its last blocks are ChainLocked."""
    return generate(290, 2)


def told(run: Run) -> list[int]:
    """The heights of the ChainLocks that were told of."""
    return [event.height for event in run.told if isinstance(event, ChainLocked)]


@pytest.mark.parametrize("true", [True, False])
async def test_a07_before_it_is_verified_a_chainlock_is_neither_stored_nor_told(
    world: World, running: Start, autojump_clock: MockClock, true: bool
) -> None:
    """It comes while no list is there, and waits; with the lists a true one is told, a false one costs its sender."""
    chain, gate = ours(), [False]
    best = chainlocks(chain)[-1]
    lock = best if true else flipped(best, 3)
    twisted = Twisted(chain, diff=lambda _base, _height, diff: diff if gate[0] else None)
    world.add(Offering(twisted, [lock]), 1)  # type: ignore[arg-type]
    config = listing(world, 1)
    async with running(config) as run:
        await run.until("mnlist")
        await trio.sleep(300)
        waiting = [(entry.height, entry.lock.signature) for entry in run.client._work.locks.queue]
        assert (lock.height, lock.signature) in waiting
        assert run.client.chainlock is None
        assert run.client.store.chainlocks(-1) == []
        assert told(run) == []
    gate[0] = True
    async with running(config) as run:
        if true:
            await run.until("synced")
            await trio.sleep(60)
            assert run.client.chainlock == (best.height, best.block_hash)
            assert told(run) == [best.height]
        else:
            await run.until_warned("bad-chainlock")
            assert lock.signature not in {known.signature for known in run.client.store.chainlocks(-1)}
            assert run.client.peers == []


async def test_a07_without_masternode_lists_no_chainlock_is_ever_told_of(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Nothing could verify it; what peers push is not believed for that."""
    chain = ours()
    world.add(chain, 1)
    async with running(world.config(1, masternodes=False, watch=chain.watch)) as run:
        await run.until("synced")
        (peer,) = run.client.peers
        for lock in chainlocks(chain)[-3:]:
            run.client._work.locks.pushed(peer, message(lock))
        await trio.sleep(300)
        assert (run.client.chainlock, told(run)) == (None, [])


async def test_a07_chainlocks_are_judged_by_the_lists_of_today(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Not by those of the start: when every quorum of then has been replaced, a new lock is verified within seconds."""
    chain = generate(120, 6)
    node = world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await run.until("synced")
        kind = chain.network.roles["chainlock"]
        first = {quorum.key for quorum in chain.quorums.active_at(chain.height) if quorum.type == kind}
        active = first
        while first & active:
            chain.extend(6)
            await node.announce(6)
            with trio.fail_after(60):
                while run.client.status.marks.tip != chain.height or run.client.state != "synced":
                    await trio.sleep(0.1)
            active = {quorum.key for quorum in chain.quorums.active_at(chain.height) if quorum.type == kind}
        chain.extend(1)
        await node.announce(1)
        await trio.sleep(10)
        best = chainlocks(chain)[-1]
        assert run.client.chainlock == (best.height, best.block_hash)
        assert told(run)[-1] == best.height
        assert run.warnings == []
