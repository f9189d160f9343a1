"""Who is believed when masternode data does not fit: neither a peer, nor many, nor the store, nor ourselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState
from phasegate.consensus.params import SIMNET
from phasegate.consensus.quorums import BitSet, QuorumSnapshot
from phasegate.engine.phases import quorum_verdicts
from phasegate.engine.phases.rotations import untold
from phasegate.engine.quorum_plan import Rotation, coming
from phasegate.p2p.messages import QrInfo
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.store import SetMasternodes, Store
from tests.listing_clients import SIGN_OFFSET, assert_all_verified, blamed, chain_to, listing, verdicts
from tests.simulated_world import Start, World
from tests.twisted_lists import (
    Twisted,
    record_requests,
    with_a_false_key,
    with_false_chainlocks,
    with_false_snapshots,
    without_lists,
    without_snapshots,
)

TIP = 300
Twist = Callable[..., Any]


@pytest.mark.trio
async def test_a_list_that_nobody_has_is_given_up_and_the_phase_completes(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set below the tip is good to have: silence about it costs patience once, and nobody is dropped for it."""
    chain = chain_to(300)
    world.add(Twisted(chain, diff=without_lists(300 - SIGN_OFFSET)), 1)
    asked = record_requests(monkeypatch, chain)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert run.path == ["headers", "mnlist", "synced"]
        assert run.client.status.marks.quorums_unjudged == 0
        assert [hop for hop in asked.hops if hop[1] == 300 - SIGN_OFFSET] == [(0, 300 - SIGN_OFFSET)]
        assert run.client.requests.silent == 1


@pytest.mark.trio
async def test_a_list_that_must_be_had_is_asked_of_the_next_peer_when_one_is_silent(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The tip's list of a peer that does not tell it: the peer is dropped, the other one asked."""
    chain = chain_to(300)
    world.add(Twisted(chain, diff=without_lists(300)), 1)
    world.add(chain, 2)
    async with running(listing(world, 1, 2)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
        assert blamed(run) == []


@pytest.mark.trio
@pytest.mark.parametrize("twist", [with_a_false_key, with_false_chainlocks])
async def test_a_liar_about_lists_costs_one_peer(
    world: World, running: Start, autojump_clock: MockClock, twist: Twist
) -> None:
    """A false entry misses its root; a false ChainLock for a new quorum is found when its work block is there."""
    chain = chain_to(300)
    world.add(Twisted(chain, diff=twist), 1)
    world.add(chain, 2)
    async with running(listing(world, 1, 2)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
        assert len(blamed(run)) == 1


@pytest.mark.parametrize("twist", [with_false_snapshots, without_snapshots])
@pytest.mark.trio
async def test_a_liar_about_rotation_costs_one_peer(
    world: World, running: Start, autojump_clock: MockClock, twist: Twist
) -> None:
    """Snapshots that do not lead to the commitments, when another peer's do."""
    chain = chain_to(300)
    world.add(Twisted(chain, rotation=twist), 1)
    world.add(chain, 2)
    async with running(listing(world, 1, 2)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
        assert len(blamed(run)) == 1


@pytest.mark.trio
async def test_when_all_peers_tell_the_same_that_leads_nowhere_nobody_is_banned(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """It may be us: the client is degraded, says where, and completes once somebody tells otherwise."""
    chain = chain_to(300)
    for port in (1, 2):
        world.add(Twisted(chain, rotation=with_false_snapshots), port)
    async with running(listing(world, 1, 2, 3)) as run:
        await run.until("degraded")
        assert "rotation snapshot" in run.client.status.reason or "quorum 103:" in run.client.status.reason
        assert blamed(run) == []
        world.add(chain, 3)
        await run.until("synced")
        assert_all_verified(run, chain)


@pytest.mark.trio
async def test_a_stored_list_that_is_wrong_is_replaced(world: World, running: Start, autojump_clock: MockClock) -> None:
    """A wrong base makes every difference fail: the full list of the same peer shows who is right."""
    world.add(chain_to(280), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
    _spoil_lists(world.directory, range(200, 281))
    chain = chain_to(300)
    world.add(chain, 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert "masternodes-replaced" in run.warnings
        assert blamed(run) == []
        assert_all_verified(run, chain)


@pytest.mark.trio
async def test_a_stored_list_that_a_quorum_was_judged_by_is_doubted_before_anybody_else(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Lists kept for sessions under way are wrong: their quorums do not hold until they are brought again."""
    world.add(chain_to(287), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
    _spoil_lists(world.directory, coming(SIMNET, 287))
    chain = chain_to(303)
    world.add(chain, 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert blamed(run) == []
        assert_all_verified(run, chain)


def _spoil_lists(directory: Path, heights: Sequence[int]) -> None:
    """Have all masternodes of stored lists confirmed by another block, checksums and all."""
    store = Store.open(directory, SIMNET)
    for height in sorted(set(heights).intersection(store.masternode_heights())):
        state = MasternodeState.from_bytes(store.masternode_state(height) or b"")
        raw = state.to_bytes()
        for entry in state.entries.values():
            raw = raw.replace(entry.confirmed_hash + entry.address, bytes([1] * 32) + entry.address)
        store.commit([SetMasternodes(height, state.block_hash, raw)])
    store.close()


@pytest.mark.trio
async def test_without_a_list_the_phase_fails_and_says_so(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The only peer tells no list at all: no silent completion."""
    chain = chain_to(300)
    world.add(Twisted(chain, diff=lambda *_: None), 1)
    async with running(listing(world, 1)) as run:
        await run.until("degraded", within=3000)
        assert run.client.status.marks.masternodes is None
        assert "synced" not in run.path
        assert "no answer to getmnlistd" in run.client.status.reason


@pytest.mark.trio
async def test_a_false_list_is_brought_by_the_next_peer_in_its_turn(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A lie about the tip alone: the lists around it stay, only that one is asked for again."""
    chain = chain_to(TIP)

    def false_tip(base: int, height: int, diff: MasternodeListDiff) -> MasternodeListDiff:
        return attrs.evolve(diff, deleted=(bytes(32),)) if height == TIP else diff

    world.add(Twisted(chain, diff=false_tip), 1)
    world.add(Twisted(chain, diff=without_lists(TIP)), 2)
    world.add(chain, 3)
    async with running(listing(world, 1, 2, 3)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
        assert blamed(run) == [Fault.BAD_MASTERNODE_DIFF.code]


@pytest.mark.trio
async def test_when_the_only_peer_lies_about_the_list_the_phase_fails_and_names_it(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Banned, and said so; nothing of it is stored."""
    world.add(Twisted(chain_to(TIP), diff=with_a_false_key), 1)
    async with running(listing(world, 1)) as run:
        await run.until("degraded")
        assert Fault.BAD_MASTERNODE_ROOT.code in run.client.status.reason
        assert run.client.status.marks.masternodes is None


def with_other_snapshots(told: QrInfo) -> QrInfo:
    """Snapshots that are false in another way."""
    everybody = QuorumSnapshot(0, BitSet.of([]), ())
    earlier = tuple([attrs.evolve(share, snapshot=everybody) for share in told.earlier])
    return attrs.evolve(told, earlier=earlier)


@pytest.mark.trio
async def test_peers_that_tell_different_things_that_lead_nowhere_are_banned(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """At most one of two can be right; if neither is, nothing speaks for either."""
    chain = chain_to(TIP)
    for port, twist in ((1, with_false_snapshots), (2, with_other_snapshots)):
        world.add(Twisted(chain, rotation=twist), port)
    async with running(listing(world, 1, 2, 3)) as run:
        with trio.fail_after(60):
            while len(blamed(run)) < 2:
                await trio.sleep(0.05)
        assert run.client.status.marks.quorums_unjudged == 2
        world.add(chain, 3)
        await run.until("synced")
        assert len(blamed(run)) == 2
        assert_all_verified(run, chain)


@pytest.mark.trio
async def test_silence_about_rotation_is_answered_by_the_next_peer(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """What is needed for quorums that are active must be told: who does not is dropped, not banned."""
    chain = chain_to(TIP)
    world.add(Twisted(chain, rotation=lambda _: None), 1)
    world.add(chain, 2)
    async with running(listing(world, 1, 2)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
        assert blamed(run) == []


@pytest.mark.trio
async def test_silence_of_all_about_rotation_is_degraded_until_somebody_speaks(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The list alone never completes the phase."""
    chain = chain_to(TIP)
    node = world.add(Twisted(chain, rotation=lambda _: None), 1)
    async with running(listing(world, 1)) as run:
        await run.until("degraded", within=3000)
        assert "getqrinfo" in run.client.status.reason
        assert "synced" not in run.path
        assert run.client.status.marks.masternodes == TIP
        assert run.client.status.marks.quorums_unjudged == 2
        node.chain = chain
        await run.until("synced")


@pytest.mark.parametrize("answer", [None, with_false_snapshots])
@pytest.mark.trio
async def test_a_quorum_of_the_past_that_nobody_explains_is_taken_on_its_own_signature(
    world: World, running: Start, autojump_clock: MockClock, answer: Twist | None
) -> None:
    """It keeps nobody from being synced, and nobody is blamed; the verdict says what it rests on."""
    chain = generate(280, 7, locks=False)

    def tells(told: QrInfo) -> QrInfo | None:
        past = (chain.height_of(told.cycle.block_hash) or 0) < 240
        return (answer(told) if answer else None) if past else told

    node = world.add(Twisted(chain, rotation=tells), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        await _wanted(run, node, chain, 212)
        found = verdicts(run.client.store, 212)
        told = {verdict for (kind, _), verdict in found.items() if kind == 103}
        assert (False, "no peer tells how it rotated; the quorum root covers it, and its own key signed it") in told
        assert {verdict for (kind, _), verdict in found.items() if kind != 103} == {(True, "")}
        assert blamed(run) == []


@pytest.mark.trio
async def test_a_quorum_of_the_past_whose_lists_nobody_has_is_taken_on_its_own_signature(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Also what one list decides."""
    chain = generate(290, 7, locks=False)
    node = world.add(Twisted(chain, diff=without_lists(*range(1, 160))), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        await _wanted(run, node, chain, 170)
        reasons = {reason for _, reason in verdicts(run.client.store, 170).values()}
        assert reasons == {"no peer has the lists that it takes; the quorum root covers it, and its own key signed it"}


async def _wanted(run: Any, node: Any, chain: GeneratedChain, height: int) -> None:
    """Have the quorums of `height` brought by the walk for one new block."""
    run.client._live.wanted_sets.add(height)
    chain.extend(1)
    await node.announce(1)
    with trio.fail_after(200):
        while run.client.status.marks.masternodes != chain.height or run.client.state != "synced":
            await trio.sleep(0.05)


@pytest.mark.trio
async def test_a_stored_list_that_cannot_be_read_is_replaced(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """What an older version or a fault left behind is no base for anything."""
    world.add(chain_to(280), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
    with _opened(world.directory) as store:
        store.commit([SetMasternodes(280, store.hash_at(280), b"\7")])
    chain = chain_to(TIP)
    world.add(chain, 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert "masternodes-replaced" in run.warnings
        assert_all_verified(run, chain)


@pytest.mark.trio
async def test_a_list_stored_without_its_chainlock_is_brought_again_to_draw_by_it(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """An earlier release kept no ChainLocks with its lists."""
    world.add(chain_to(287), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
    with _opened(world.directory) as store:
        for height in coming(SIMNET, 287):
            state = MasternodeState.from_bytes(store.masternode_state(height) or b"")
            old = attrs.evolve(state, chainlock=None).to_bytes()
            store.commit([SetMasternodes(height, state.block_hash, old)])
    chain = chain_to(303)
    world.add(chain, 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert_all_verified(run, chain)
        assert blamed(run) == []


@contextmanager
def _opened(directory: Path) -> Iterator[Store]:
    store = Store.open(directory, SIMNET)
    try:
        yield store
    finally:
        store.close()


@pytest.mark.trio
async def test_what_work_alone_proves_and_yet_does_not_hold_is_nobodys_fault(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commitment in a proven list whose members did not sign: degraded, and no peer is banned for it."""

    def refuse(*_: object) -> None:
        raise PeerMisbehaved(Fault.BAD_QUORUM_COMMITMENT, "quorum of a test")

    monkeypatch.setattr(quorum_verdicts, "check_commitments", refuse)
    world.add(chain_to(TIP), 1)
    async with running(listing(world, 1)) as run:
        await run.until("degraded")
        assert "quorum of a test" in run.client.status.reason
        assert run.client.status.marks.quorums_unjudged > 0
        assert blamed(run) == []


def test_a_rotation_out_of_too_small_a_list_is_known_to_be_untold() -> None:
    """No node keeps a snapshot of a cycle that had nobody to deal."""
    chain = chain_to(TIP)
    rotation = Rotation(SIMNET.quorum_types[103], 288, ())
    states = [chain.masternodes_at(height) for height in rotation.heights]
    assert untold(rotation, states) == ""
    states[2] = attrs.evolve(states[2], entries={})
    assert untold(rotation, states) == "too few masternodes in cycle 240, so no node tells how it rotated"
