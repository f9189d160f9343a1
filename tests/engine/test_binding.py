"""Which ChainLocks decide between two branches: those of quorums that both have in common, and it is never guessed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.locks import SIGN_OFFSET, ChainLock, chainlock_quorum
from phasegate.consensus.masternodes import MasternodeListDiff
from phasegate.consensus.quorums import QuorumCommitment
from phasegate.engine.binding import Binding
from phasegate.engine.config import Address
from phasegate.engine.errors import Failure
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.store import RecordChainLock
from tests.lock_tampering import Offering, chainlocks, flipped, message, signed_by

if TYPE_CHECKING:
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

FORK = 180


@cache
def ours() -> GeneratedChain:
    return generate(220, 7)


@cache
def theirs() -> GeneratedChain:
    """Leaves ours above `FORK`, with quorums of its own."""
    return generate(215, 7, fork_at=FORK, fork_seed=8)


def active(chain: GeneratedChain, height: int) -> list[QuorumCommitment]:
    kind = chain.network.roles["chainlock"]
    return [quorum for quorum in chain.quorums.active_at(height) if quorum.type == kind]


def signer(chain: GeneratedChain, lock: ChainLock) -> QuorumCommitment:
    quorum = chainlock_quorum(chain.network, active(chain, lock.height - SIGN_OFFSET), lock.height)
    assert quorum is not None
    return quorum


def mined(chain: GeneratedChain, lock: ChainLock) -> int:
    """The height at which the quorum of a lock of `chain` was mined."""
    return chain.quorums.made[signer(chain, lock).key].mined


async def settled(run: Run) -> Work:
    """The workbench of a client that is synced, with every lock answered."""
    with trio.fail_after(300.0):
        await run.until("synced")
        while run.client.pending_locks:
            await trio.sleep(0.1)
    return run.client._work


@asynccontextmanager
async def bench(
    world: World, running: Start, chain: GeneratedChain, locks: list[ChainLock]
) -> AsyncIterator[tuple[Work, Desk]]:
    """A paused client that is synced with `chain` and holds these of its ChainLocks, and the right to ask."""
    world.add(chain, 1, locks=False)
    async with running(world.config(1)) as run:
        work = await settled(run)
        await run.client.pause()
        await run.until("paused")
        for lock in locks:
            by = signer(chain, lock).key, lock.height - SIGN_OFFSET
            record = RecordChainLock(lock.height, lock.block_hash, lock.signature, *by[0], by[1])
            await work.writer.commit([record])
        with work.desk("headers") as desk:
            yield work, desk


@pytest.mark.parametrize("step", [1, 13, 29])
async def test_a_lock_binds_if_its_quorum_was_mined_at_or_below_the_fork(
    world: World, running: Start, autojump_clock: MockClock, step: int
) -> None:
    """For every fork the answer is that of a chain of which it is known when each quorum was mined."""
    chain = ours()
    async with bench(world, running, chain, chainlocks(chain)[::-step][:90]) as (work, desk):
        stored = {lock.height for lock in work.store.chainlocks(0)}
        locks = [lock for lock in chainlocks(chain) if lock.height in stored]
        asked = work.ledger.tally.sent
        for fork in range(min(stored) - 20, chain.height):
            common = {lock.height for lock in locks if lock.height > fork and mined(chain, lock) <= fork}
            found = await Binding(work).binding_lock(desk, fork)
            assert (found is not None) == bool(common), fork
            assert found is None or found.height in common, fork
        assert work.ledger.tally.sent - asked < 40  # the most are decided by what is stored
        assert (work.ledger.tally.sent > asked) == (step > 1)


async def test_what_no_peer_shows_is_not_guessed(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Inside a mining window only the list at the fork can tell; without it the choice is not made."""
    chain = ours()
    lock = next(lock for lock in chainlocks(chain) if lock.height > 100 and not lock.height % 24)
    quorum = chain.quorums.made[signer(chain, lock).key]
    fork = quorum.start + chain.network.quorum_types[chain.network.roles["chainlock"]].dkg_mining[0] + 1

    class Reticent(Offering):
        """Never shows the list at the fork."""

        def mnlistdiff(self, base: int, height: int) -> MasternodeListDiff | None:
            return None if height == fork else chain.mnlistdiff(base, height)

    async with bench(world, running, Reticent(chain, []), [lock]) as (work, desk):
        with pytest.raises(Failure, match=f"no peer shows the quorums at {fork}"):
            await Binding(work).binding_lock(desk, fork)


def common_lock(height: int, bit: int | None = None) -> ChainLock:
    """A ChainLock of a block of the branch, by a quorum that was active at or below the fork."""
    chain, branch = ours(), theirs()
    lock = ChainLock(height, branch.hash_at(height), bytes(96))
    known = active(chain, min(FORK, height - SIGN_OFFSET))
    chosen = chainlock_quorum(chain.network, known, height)
    assert chosen is not None
    lock = signed_by(chain, lock, chosen.quorum_hash)
    return lock if bit is None else flipped(lock, bit)


@pytest.mark.parametrize("above", [1, 8, 9, 20])
async def test_a_branch_that_a_common_quorum_has_locked_is_found(
    world: World, running: Start, autojump_clock: MockClock, above: int
) -> None:
    """A waiting ChainLock of its block, by a quorum from before the fork, is told; a false one, or none, is not."""
    branch = theirs()

    def hash_at(height: int) -> bytes | None:
        return branch.hash_at(height) if FORK < height <= branch.height else None

    async with bench(world, running, ours(), []) as (work, desk):
        binding, (peer,) = Binding(work), work.pool.ready
        assert await binding.locked_branch(desk, FORK, hash_at, branch.height) is None
        work.locks.pushed(peer, message(common_lock(FORK + above, bit=77)))
        assert await binding.locked_branch(desk, FORK, hash_at, branch.height) is None
        true = common_lock(FORK + above)
        work.locks.pushed(peer, message(true))
        assert await binding.locked_branch(desk, FORK, hash_at, branch.height) == true
        assert await binding.locked_branch(desk, FORK, hash_at, FORK + above - 1) is None
        assert not peer.gone


async def test_false_locks_of_one_peer_do_not_hide_the_true_one_of_another(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A liar claims ChainLocks of all blocks of the branch; it did bring the true one, too, and another has it."""
    branch = theirs()
    async with bench(world, running, ours(), []) as (work, desk):
        (liar,), true = work.pool.ready, message(common_lock(FORK + 1))
        for height in range(FORK + 1, branch.height + 1):
            for bit in (7, 77):
                work.locks.pushed(liar, message(common_lock(height, bit)))
        work.locks.pushed(liar, true)
        assert await Binding(work).locked_branch(desk, FORK, branch.hash_at, branch.height) is None
        work.locks.queue.credit(true.inventory_hash, Address("node", 2))
        assert await Binding(work).locked_branch(desk, FORK, branch.hash_at, branch.height) == common_lock(FORK + 1)


async def test_the_quorums_of_a_fork_bind_nobody(world: World, running: Start, autojump_clock: MockClock) -> None:
    """Valid ChainLocks of quorums that were made on the branch itself are worth no more than the branch."""
    branch = theirs()
    own = [lock for lock in chainlocks(branch) if lock.height > FORK]
    assert own
    async with bench(world, running, ours(), []) as (work, desk):
        (peer,) = work.pool.ready
        for lock in own:
            work.locks.pushed(peer, message(lock))
        assert await Binding(work).locked_branch(desk, FORK, branch.hash_at, branch.height) is None


async def test_the_honest_chain_wins_over_a_private_fork_with_locks_of_its_own(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """First fed a fork, with its quorums and valid ChainLocks, a client follows the heavier honest chain later."""
    honest, private = generate(260, 7), generate(235, 7, fork_at=150, fork_seed=3)
    world.add(private, 1)
    async with running(world.config(1, 2, 3, watch=honest.watch)) as run:
        await settled(run)
        deceived, best = run.client.chainlock, chainlocks(private)[-1]
        assert deceived == (best.height, best.block_hash)
        assert best.height > 150
        for port in (2, 3):
            world.add(honest, port)
        true = chainlocks(honest)[-1]
        with trio.fail_after(300.0):
            while run.client.chainlock != (true.height, true.block_hash):
                await trio.sleep(0.1)
        await run.until("synced")
        assert run.client.status.marks.tip_hash == honest.tip_hash
        assert run.client.store.refused_branches() == []
        stored = run.client.store.chainlocks(150)
        assert stored
        assert all(honest.hash_at(lock.height) == lock.block_hash for lock in stored)
        assert not [code for code in run.warnings if code.startswith("bad-")]
