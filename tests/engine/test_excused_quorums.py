"""Quorums whose members cannot be told: what they are taken on all the same, and who is blamed if they are false.

The chains here are mined with one false commitment in them, so that every root and every proof of work is right: only
what the quorum itself signed, and the form of its type, can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.headers import extend, genesis_tip
from phasegate.consensus.params import SIMNET
from phasegate.consensus.quorums import LEGACY, BitSet, QuorumCommitment
from phasegate.engine.phases.quorum_verdicts import excuse
from phasegate.engine.seams import inline_seams
from phasegate.p2p.simnet import dkg
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.signing import final_commitment
from phasegate.store import Anchor
from tests.listing_clients import blamed, chain_to, listing
from tests.simulated_world import START, Start, World
from tests.twisted_lists import Twisted, without_lists

pytestmark = pytest.mark.trio

BASE, BEGUN, MINED = 270, 264, 277
"""The first stored block; where the false quorum begins, whose list is below that; where it is mined."""
PAST = 144
"""Where one begins that is long active no more."""
PLAIN = 100


def unsigned(commitment: QuorumCommitment) -> QuorumCommitment:
    """Another signature, a good one of somebody else, stands where that of the quorum should."""
    return attrs.evolve(commitment, quorum_signature=commitment.members_signature)


def lonely(commitment: QuorumCommitment) -> QuorumCommitment:
    """One member alone signed, which the quorum's own signature says nothing about."""
    return attrs.evolve(commitment, signers=BitSet.of([True, False, False]))


def outdated(commitment: QuorumCommitment) -> QuorumCommitment:
    """It says to be of before V19, whose signatures nobody can check."""
    return attrs.evolve(unsigned(commitment), version=LEGACY)


def with_false_quorum(
    monkeypatch: pytest.MonkeyPatch,
    height: int,
    begun: int,
    twist: Callable[[QuorumCommitment], QuorumCommitment],
    **how: Any,
) -> GeneratedChain:
    """The chain of seed 7, but for the plain quorum that begins at `begun`, and what follows from it."""
    name = generate(begun, 7, **how).hash_at(begun)

    def commitment(session: Any, *rest: Any) -> QuorumCommitment:
        made = final_commitment(session, *rest)
        return twist(made) if (made.type, made.quorum_hash) == (PLAIN, name) else made

    with monkeypatch.context() as patched:
        patched.setattr(dkg, "final_commitment", commitment)
        return generate(height, 7, **how)


def anchor() -> Anchor:
    """The first block that is stored; all chains here have it."""
    chain = chain_to(300)
    return Anchor(
        BASE, chain.header(BASE), extend(SIMNET, genesis_tip(SIMNET), chain.headers(1, BASE), int(START)).tip.work
    )


FALSE = {
    "signed by another key": (unsigned, "its key did not sign it"),
    "signed by too few": (lonely, "1 signers, fewer than 2"),
}


@pytest.mark.parametrize("lie", FALSE)
async def test_a_false_quorum_whose_list_is_below_the_first_block_gets_its_teller_banned(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    """The liar has the most work; nothing of its lists is stored, no lock is believed, and the fault is named."""
    twist, detail = FALSE[lie]
    chain = with_false_quorum(monkeypatch, 303, BEGUN, twist)
    assert [chain.hash_at(at) == chain_to(300).hash_at(at) for at in (MINED - 1, MINED)] == [True, False]
    world.add(chain, 1)
    world.add(chain_to(300), 2)
    async with running(listing(world, 1, 2, anchor=anchor())) as run:
        await run.until("degraded")
        assert blamed(run) == ["bad-quorum-commitment"]
        assert f"node:1 banned: quorum {PLAIN}:{chain.hash_at(BEGUN)[::-1].hex()}: {detail}" in run.said(blamed(run)[0])
        assert run.client.status.marks.masternodes is None
        assert run.client.store.unjudged_quorums() == []
        assert run.client.chainlock is None
        assert "synced" not in run.path


class Bench:
    """The little of a workbench that excusing takes; `blamed` has whoever was."""

    def __init__(self) -> None:
        self.network, self.seams, self.blamed = SIMNET, inline_seams(1), list[object]()

    @contextmanager
    def blame(self, peer: object) -> Iterator[None]:
        """Note the peer."""
        self.blamed.append(peer)
        yield


async def test_of_many_quorums_the_false_one_tells_who_is_blamed() -> None:
    """They are judged together and came from several peers; where nobody is known to have told it, nobody is blamed."""
    quorums = list(chain_to(300).masternodes_at(300).quorums.values())
    assert len(quorums) > 8
    tellers = {quorum.key: f"peer {place}" for place, quorum in enumerate(quorums)}
    bench, lists = Bench(), SimpleNamespace(tellers=tellers)
    pairs = [(quorum, "untold") for quorum in quorums]
    assert {verdict.verified for verdict in await excuse(bench, lists, pairs)} == {False}  # type: ignore[arg-type]
    for place in (0, 3, 8):
        false = [*pairs]
        false[place] = unsigned(quorums[place]), "untold"
        for expected in ([f"peer {place}"], []):
            with pytest.raises(PeerMisbehaved, match=quorums[place].quorum_hash[::-1].hex()):
                await excuse(bench, lists, false)  # type: ignore[arg-type]
            assert bench.blamed == expected
            bench.blamed.clear()
            tellers.pop(quorums[place].key, None)


async def test_an_honest_chain_of_more_work_is_synced_in_spite_of_it(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the liar left behind, headers alone, goes with the reorganisation; the same quorum is true there."""
    chain, honest = with_false_quorum(monkeypatch, 303, BEGUN, unsigned), generate(300, 7)
    world.add(chain, 1)
    node = world.add(honest, 2)
    async with running(listing(world, 1, 2, anchor=anchor())) as run:
        await run.until("degraded")
        honest.extend(8)
        await node.announce(8)
        await run.until("synced")
        assert run.client.status.marks.tip_hash == honest.tip_hash
        quorum = run.client.store.quorum(PLAIN, honest.hash_at(BEGUN))
        assert quorum is not None
        assert quorum.verified is False
        assert quorum.reason.startswith(f"it begins below the first stored block, {BASE}; ")
        assert quorum.reason.endswith("the quorum root covers it, and its own key signed it")
        assert run.client.chainlock is not None
        assert blamed(run) == ["bad-quorum-commitment"]


async def test_a_false_quorum_of_the_past_whose_lists_nobody_has_gets_its_teller_banned(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is wanted for a lock, is active no more, and what its members are drawn from is not told."""
    chain = with_false_quorum(monkeypatch, 290, PAST, unsigned, locks=False)
    assert (PLAIN, chain.hash_at(PAST)) in chain.masternodes_at(170).quorums
    assert (PLAIN, chain.hash_at(PAST)) not in chain.masternodes_at(290).quorums
    node = world.add(Twisted(chain, diff=without_lists(*range(1, 160))), 1)
    async with running(listing(world, 1)) as run:
        await run.until("synced")
        assert blamed(run) == []
        run.client._live.wanted_sets.add(170)
        chain.extend(1)
        await node.announce(1)
        with trio.fail_after(200):
            while not blamed(run):
                await trio.sleep(0.05)
        assert "its key did not sign it" in run.said("bad-quorum-commitment")
        stored = run.client.store.quorum(PLAIN, chain.hash_at(PAST))
        assert stored is None or stored.verified is None


async def test_a_quorum_after_v19_is_not_taken_for_one_of_before(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of what it signed could be checked then: it is refused for its version, and no lock is believed."""
    world.add(with_false_quorum(monkeypatch, 300, BEGUN, outdated), 1)
    async with running(listing(world, 1)) as run:
        await run.until("degraded")
        assert f"begins at block {BEGUN}, and is signed as before V19" in run.client.status.reason
        assert run.client.chainlock is None
        assert "synced" not in run.path
