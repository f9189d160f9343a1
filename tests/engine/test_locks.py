"""ChainLocks and InstantSend locks of whole clients: believed when verified, and not before."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.primitives import OutPoint
from phasegate.engine.events import ChainLocked, InstantLocked
from phasegate.engine.lock_checks import Examination
from phasegate.p2p.messages import ClSig, GetData, InvType, IsdLock
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.recording import load_recording
from tests.lock_tampering import Offering, chainlocks, flipped, instantlocks, lock_in, relocked, renamed, signed_by
from tests.simulated_world import Tapped

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio


@cache
def ours() -> GeneratedChain:
    """No test may extend it."""
    return generate(260, 7)


async def answered(run: Run, pending: int = 0) -> None:
    """Wait until the client is synced and all but `pending` locks have their answer."""
    with trio.fail_after(300.0):
        await run.until("synced")
        while run.client.pending_locks != pending or run.client.state != "synced":
            await trio.sleep(0.1)


def locked(run: Run) -> dict[bytes, bool | None]:
    return {found.txid: found.instantlock for found in run.client.transactions()}


async def test_a_synced_client_knows_what_is_locked(world: World, running: Start, autojump_clock: MockClock) -> None:
    """The best ChainLock is the node's; the found transactions that have a lock are locked, of others it is unknown."""
    chain = ours()
    world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await answered(run)
        best, told = chainlocks(chain)[-1], run.told
        assert run.client.chainlock == (best.height, best.block_hash)
        assert locked(run) == {txid: (True if txid in chain.instantlocks.txids else None) for txid in locked(run)}
        assert len([event for event in told if isinstance(event, ChainLocked)]) >= 1
        assert [event for event in told if isinstance(event, ChainLocked)][-1].height == best.height
        heard = [event.txid for event in told if isinstance(event, InstantLocked)]
        assert sorted(heard) == sorted(txid for txid, known in locked(run).items() if known)
        assert run.client.locks.false == run.client.locks.missed == run.client.locks.let_go == 0
    async with running(world.config(1)) as again:  # what is stored is known at once
        assert again.client.chainlock == (best.height, best.block_hash)


async def test_new_locks_are_verified_as_they_come(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Block after block of a growing chain, the locks that come with each have their answer soon after it."""
    chain = generate(200, 7)
    node = world.add(chain, 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await answered(run)
        for _ in range(30):
            chain.extend(1)
            await node.announce(1)
            with trio.fail_after(30.0):
                while run.client.status.marks.tip != chain.height:
                    await trio.sleep(0.1)
                await answered(run)
            best = chainlocks(chain)[-1]
            assert run.client.chainlock == (best.height, best.block_hash)
        assert locked(run) == {txid: (True if txid in chain.instantlocks.txids else None) for txid in locked(run)}
        assert any(known for txid, known in locked(run).items() if txid in chain.instantlocks.txids)


async def test_a_coinbase_tells_the_newest_chainlock(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Where no peer announces any, the one in the tip's own coinbase is verified like any other."""
    chain = ours()
    world.add(chain, 1, locks=False)
    async with running(world.config(1)) as run:
        await answered(run)
        named = chain.chainlocks.embedded_signature(chain.height)
        (embedded,) = [lock for lock in chainlocks(chain) if lock.signature == named]
        assert run.client.chainlock == (embedded.height, embedded.block_hash)


@pytest.mark.parametrize("bit", [0, 1, 300, 766])
@pytest.mark.parametrize("kind", ["chainlock", "instantlock"])
async def test_a_false_lock_bans_its_sender(
    world: World, running: Start, autojump_clock: MockClock, kind: str, bit: int
) -> None:
    """One wrong bit: nothing of it is recorded, the reason is named, and the honest peer stays."""
    chain = ours()
    true = chainlocks(chain)[-1] if kind == "chainlock" else instantlocks(chain)[-1]
    world.add(chain, 1, locks=False)
    world.add(Offering(chain, [flipped(true, bit)]), 2)
    async with running(world.config(1, 2, watch=chain.watch)) as run:
        await run.until_warned(f"bad-{kind}")
        await answered(run)
        assert [peer.address.port for peer in run.client.peers] == [1]
        assert run.client.locks.false == 1
        assert run.client.locks.instantlocks == 0
        assert not any(locked(run).values())


async def test_another_quorum_than_the_one_that_has_to_signs_nothing(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A good signature by a quorum that is active, but was not the one chosen, is as false as any."""
    chain = ours()
    true = chainlocks(chain)[-1]
    kind = chain.network.roles["chainlock"]
    active = [quorum.quorum_hash for quorum in chain.quorums.active_at(true.height - 8) if quorum.type == kind]
    (other,) = [quorum for quorum in active if signed_by(chain, true, quorum) != true]
    world.add(chain, 1, locks=False)
    world.add(Offering(chain, [signed_by(chain, true, other)]), 2)
    async with running(world.config(1, 2)) as run:
        await run.until_warned("bad-chainlock")
        assert [peer.address.port for peer in run.client.peers] == [1]


async def test_who_follows_another_branch_is_not_blamed_for_its_locks(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Locks of a lighter fork, by its own quorums, cannot be judged on our chain: they wait, and nobody is banned."""
    fork = generate(240, 7, fork_at=150, fork_seed=3)
    chain = ours()
    world.add(chain, 1, locks=False)
    world.add(fork, 2)
    theirs = {lock.block_hash for lock in chainlocks(fork) if lock.height > 150}
    async with running(world.config(1, 2)) as run:
        await run.until("synced")
        await trio.sleep(60.0)
        assert not [code for code in run.warnings if code.startswith("bad-")]
        assert run.client.chainlock is not None
        assert run.client.chainlock[1] not in theirs
        waiting = run.client._work.locks.waiting_chainlocks()
        assert {lock.block_hash for lock in waiting} <= theirs
        assert run.client.pending_locks > 0


async def test_a_lock_of_an_unknown_block_is_a_hint(world: World, running: Start, autojump_clock: MockClock) -> None:
    """The block of a ChainLock is asked for though nobody announced it, and then the lock is verified."""
    chain = generate(200, 7)
    node = world.add(chain, 1)
    async with running(world.config(1)) as run:
        await answered(run)
        while chain.chainlocks.lock(chain.height) is None or chain.height == 200:
            chain.extend(1)
        best = chainlocks(chain)[-1]
        offered = chain.locks_of(chain.height)[-1]
        for peer in node._peers:
            await peer._offer([offered])
        with trio.fail_after(60.0):
            while run.client.chainlock != (best.height, best.block_hash):
                await trio.sleep(0.1)
        assert run.client.status.marks.tip == chain.height


async def test_without_masternode_lists_no_lock_is_fetched(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Nobody could say who signed: nothing is asked for, nothing is known, and no client waits for it."""
    chain = ours()
    node = world.nodes[1] = Tapped(chain)
    async with running(world.config(1, watch=chain.watch, masternodes=False)) as run:
        await run.until("synced")
        await run.settled()
        assert (run.client.chainlock, run.client.pending_locks) == (None, 0)
        assert set(locked(run).values()) == {None}
        asked = [item.type for message in node.taken if isinstance(message, GetData) for item in message.items]
        assert set(asked) <= {InvType.BLOCK}


async def test_a_paused_client_leaves_locks_alone(world: World, running: Start, autojump_clock: MockClock) -> None:
    """What is announced meanwhile is noted, and fetched and verified after `resume`."""
    chain = generate(200, 7)
    node = world.add(chain, 1)
    async with running(world.config(1)) as run:
        await answered(run)
        before = run.client.chainlock
        await run.client.pause()
        chain.extend(10)
        await node.announce(10)
        await trio.sleep(30.0)
        assert run.client.chainlock == before
        assert run.client.pending_locks > 0
        await run.client.resume()
        await answered(run)
        best = chainlocks(chain)[-1]
        assert run.client.chainlock == (best.height, best.block_hash)


async def test_old_signers_are_understood(world: World, running: Start, autojump_clock: MockClock) -> None:
    """A lock that names the cycle of its signer's tip, in which its quorum was not made yet, is verified too."""
    chain = ours()
    kind = chain.network.quorum_types[chain.network.roles["instantsend"]]
    lock, cycle = instantlocks(chain)[-1], chain.height // kind.interval * kind.interval
    old = renamed(chain, lock, cycle)
    assert old != lock
    world.add(Offering(chain, [old]), 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        with trio.fail_after(300.0):
            while not locked(run).get(lock.txid):
                await trio.sleep(0.1)
        assert run.warnings == []


async def test_a_lock_of_the_same_inputs_for_another_transaction_is_told(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A found transaction whose input a quorum has locked for another one is known not to be locked."""
    chain = ours()
    true = instantlocks(chain)[-1]
    world.add(Offering(chain, [relocked(chain, true, bytes(32))]), 1)
    async with running(world.config(1, watch=chain.watch)) as run:
        await answered(run)
        assert locked(run)[true.txid] is False
        assert set(locked(run).values()) == {False, None}


async def test_a_lock_that_names_no_cycle_is_false(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Its hash has to be that of a block at which a cycle begins."""
    chain = ours()
    lock = instantlocks(chain)[-1]
    start = chain.height_of(lock.cycle_hash)
    assert start is not None
    world.add(chain, 1, locks=False)
    world.add(Offering(chain, [attrs.evolve(lock, cycle_hash=chain.hash_at(start + 1))]), 2)
    async with running(world.config(1, 2)) as run:
        await run.until_warned("bad-instantlock")
        assert [peer.address.port for peer in run.client.peers] == [1]


async def test_a_flood_of_locks_that_nobody_can_judge_is_bounded(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The oldest of the flood are let go, which is counted and said once; true locks are verified meanwhile."""
    chain = ours()
    best = chainlocks(chain)[-1]
    flood = world.add(chain, 1, locks=False)
    world.add(Offering(chain, [best]), 2)
    async with running(world.config(1, 2)) as run:
        await answered(run)
        (liar,) = flood._peers
        for number in range(2500):
            await liar.wire.send(ClSig(chain.height + 1 + number, number.to_bytes(32, "big"), bytes(96)))
        await run.until_warned("locks-let-go")
        await run.settled()
        assert run.client.pending_locks == 2048
        assert run.client.locks.let_go == 2500 - 2048
        assert run.warnings.count("locks-let-go") == 1
        assert run.client.chainlock == (best.height, best.block_hash)
        assert len(run.client.peers) == 2


async def test_locks_that_wait_for_the_same_are_looked_at_as_one(
    world: World, running: Start, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a quorum of before has not signed any: a flood of what may be of a quorum to come costs nothing later."""
    chain = generate(242, 7)
    flood, real, looked = world.add(chain, 1, locks=False), Examination._instantlock, list[bytes]()

    async def counted(self: Examination, entry: Any, lock: Any, index: int) -> Any:
        looked.append(lock.txid)
        return await real(self, entry, lock, index)

    monkeypatch.setattr(Examination, "_instantlock", counted)
    async with running(world.config(1)) as run:
        await answered(run)
        (liar,), signature = flood._peers, instantlocks(chain)[-1].signature
        for number in range(200):
            inputs = (OutPoint(number.to_bytes(32, "big"), 0),)
            await liar.wire.send(IsdLock(1, inputs, number.to_bytes(32, "big"), chain.hash_at(240), signature))
        await run.settled()
        assert (run.client.pending_locks, len(looked)) == (200, 200)
        await trio.sleep(60.0)
        assert len(looked) < 200 + 30 * 3


async def test_who_announces_and_sends_nothing_is_not_waited_for(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """The lock is had from another peer, and the silent one is neither banned nor dropped."""
    chain = ours()

    class Promising(Offering):
        def lock(self, inv_type: int, inventory_hash: bytes) -> None:
            return None

    best = chainlocks(chain)[-1]
    world.add(Promising(chain, chainlocks(chain)[-3:]), 1)
    world.add(Offering(chain, [best]), 2)
    async with running(world.config(1, 2)) as run:
        await answered(run)
        assert run.client.chainlock == (best.height, best.block_hash)
        assert run.client.locks.missed == 2
        assert len(run.client.peers) == 2
        assert run.warnings == []


async def test_all_locks_of_the_recording_are_verified(
    world: World, running: Start, autojump_clock: MockClock, capture: Path
) -> None:
    """Of a real node's chain the 16 payments are locked, the spend is not known to be, and the tip is ChainLocked."""
    chain = load_recording(capture)
    world.add(chain, 1)
    async with running(world.config(1, network=chain.network, watch=chain.watch)) as run:
        await answered(run)
        assert run.client.chainlock == (356, chain.tip_hash)
        known = list(locked(run).values())
        assert (known.count(True), known.count(None), len(known)) == (16, 1, 17)
        assert run.client.locks.instantlocks == 16
        assert run.warnings == []


@pytest.mark.parametrize("bit", [5, 400])
async def test_no_lock_of_the_recording_survives_a_flipped_bit(
    world: World, running: Start, autojump_clock: MockClock, capture: Path, bit: int
) -> None:
    """Each is refused or waits for ever; none is believed, and who sends what is proven false is banned."""
    chain = load_recording(capture)
    told = [lock_in(offered) for offered in chain.locks()]
    world.add(chain, 1, locks=False)
    world.add(Offering(chain, [flipped(lock, bit) for lock in told]), 2)
    async with running(world.config(1, 2, network=chain.network, watch=chain.watch)) as run:
        await run.until_warned("bad-chainlock")
        await run.until("synced")
        await trio.sleep(30.0)
        assert [peer.address.port for peer in run.client.peers] == [1]
        assert not any(locked(run).values())
        assert run.client.locks.false >= 1
        assert run.client.locks.chainlocks == 1  # the one in the tip's coinbase
