"""Private forks, with quorums and valid ChainLocks of their own, against the chain of everybody else.

Three nodes, some on one chain, some on the other. A ChainLock decides only if its quorum was mined at or below the
fork: so each choice is tried with forks right below, right at and right above the block that mined the signing quorum,
while the client is synced, paused and stopped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.locks import SIGN_OFFSET, ChainLock, chainlock_quorum
from phasegate.consensus.masternodes import MasternodeState
from phasegate.engine.events import Warned
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from tests.lock_tampering import Offering, chainlocks, instantlocks

if TYPE_CHECKING:
    from phasegate.engine.config import Config
    from tests.simulated_world import Run, Start, World

pytestmark = pytest.mark.trio

WHEN = ("synced", "paused", "stopped")
SEED, HEIGHT, QUIET_FROM = 7, 226, 100
LOCKED = (217, 218)
"""Heights of neighbours that different quorums lock."""


# -- chains --------------------------------------------------------------------------------------------------------

PRIVATE_FORK = 150


@cache
def private() -> GeneratedChain:
    """Leaves the chain of everybody else above `PRIVATE_FORK`; quorums made on it lock its blocks."""
    return generate(300, SEED, fork_at=PRIVATE_FORK, fork_seed=8)


@cache
def public(locked: bool) -> GeneratedChain:
    """The chain of everybody else, heavier than `private`; its quorums sign on, or stop at the fork."""
    return generate(320, SEED, locked_until=None if locked else PRIVATE_FORK)


@cache
def honest(height: int) -> GeneratedChain:
    """A chain on which, of all blocks above `QUIET_FROM`, only the one at `height` is locked."""
    chain = generate(height - 1, SEED, locked_until=QUIET_FROM)
    chain.chainlocks.until = height
    chain.extend(1 + HEIGHT - height)
    return chain


@cache
def locked(height: int) -> tuple[ChainLock, int]:
    """That one lock, and the height of the block that mined the quorum which signed it."""
    chain = honest(height)
    kind, lock = chain.network.roles["chainlock"], chain.chainlocks.lock(height)
    active = [quorum for quorum in chain.quorums.active_at(height - SIGN_OFFSET) if quorum.type == kind]
    signer = chainlock_quorum(chain.network, active, height)
    assert lock is not None
    assert signer is not None
    return lock, chain.quorums.made[signer.key].mined


@cache
def withheld(fork: int, pace: float) -> GeneratedChain:
    """Leaves `honest` above `fork` and outweighs it, for a `pace` below 1 with fewer blocks."""
    chain = generate(fork + 1, SEED, fork_at=fork, fork_seed=8, pace=pace, locked_until=QUIET_FROM)
    while chain.tip.work <= max(honest(height).tip.work for height in LOCKED):
        chain.extend(1)
    return chain


# -- runs ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def meanwhile(running: Start, config: Config, when: str, change: Callable[[], object]) -> AsyncIterator[Run]:
    """A client that has been synced, then paused or stopped or neither while `change` came about."""
    async with running(config) as run:
        await run.until("synced")
        await answered(run)
        if when == "paused":
            await run.client.pause()
        if when != "stopped":
            change()
        if when == "paused":
            await trio.sleep(60)
            assert run.client.state == "paused"
            await run.client.resume()
        if when != "stopped":
            yield run
    if when == "stopped":
        change()
        async with running(config) as run:
            yield run


async def answered(run: Run) -> None:
    """Wait until every lock has its answer."""
    with trio.fail_after(120):
        while run.client.pending_locks:
            await trio.sleep(0.5)


async def at_rest_on(run: Run, chain: GeneratedChain) -> None:
    """Wait until the client is synced with `chain`, and see that it stays there without walking on and on."""
    with trio.fail_after(300):
        while run.client.status.marks.tip_hash != chain.tip_hash or run.client.state != "synced":
            await trio.sleep(0.5)
    await trio.sleep(60)
    walked = len(run.path)
    await trio.sleep(120)
    assert (run.client.state, run.client.status.marks.tip_hash) == ("synced", chain.tip_hash)
    assert len(run.path) == walked
    assert not run.client.hopeless


async def holds_only(run: Run, chain: GeneratedChain, strange: GeneratedChain) -> None:
    """Every lock, list and quorum that is stored is one of `chain`, and none of those that only `strange` has."""
    store, marks = run.client.store, run.client.status.marks
    assert all(lock.block_hash == chain.hash_at(lock.height) for lock in store.chainlocks(0))
    assert marks.chainlock is None or marks.chainlock_hash == chain.hash_at(marks.chainlock)
    assert not [key for key in strange.quorums.made if key not in chain.quorums.made and store.quorum(*key)]
    for height in store.masternode_heights():
        state = store.masternode_state(height)
        assert state is not None
        assert MasternodeState.from_bytes(state).entries == chain.entries_at(height)
    for height in store.quorum_set_heights(0, marks.tip):
        active = {quorum.key for quorum in chain.quorums.active_at(height)}
        assert {quorum.key for quorum in store.quorum_set(height) or ()} == active
    for lock in instantlocks(strange):
        held = store.instantlock(lock.txid)
        assert held is None or (held.quorum_type, held.quorum_hash) in chain.quorums.made


async def equals_fresh(world: World, running: Start, run: Run, chain: GeneratedChain) -> None:
    """A new client of the same nodes ends on the same chain with the same data."""
    fresh = attrs.evolve(run.client.config, datadir=world.directory / "fresh")
    async with running(fresh) as other:
        await at_rest_on(other, chain)
        assert other.client.store.digest() == run.client.store.digest()
        assert other.client.balances() == run.client.balances()


# -- the private fork first ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("signed", [True, False])
async def test_the_heavier_chain_of_everybody_replaces_a_private_fork_with_all_its_locks(
    world: World, running: Start, autojump_clock: MockClock, signed: bool, when: str
) -> None:
    """The fork's locks verify and are recorded, yet they bind nobody, and go with the fork's quorums and lists."""
    chain = public(signed)
    assert chain.tip.work > private().tip.work
    own = [lock for lock in chainlocks(private()) if lock.height > PRIVATE_FORK]
    world.add(Offering(private(), [*own[-8:], *instantlocks(private())[-20:]]), 1)
    config = world.config(1, 2, 3, watch=tuple(dict.fromkeys((*private().watch, *chain.watch))))
    recorded: list[int] = []

    def everybody() -> None:
        """What was recorded of the fork, and the other nodes come."""
        world.add(chain, 2)
        world.add(chain, 3)

    async with running(config) as run:
        await run.until("synced")
        await answered(run)
        store = run.client.store
        assert run.client.status.marks.tip_hash == private().tip_hash
        assert run.client.chainlock == (own[-1].height, own[-1].block_hash)
        recorded += [lock.height for lock in store.chainlocks(PRIVATE_FORK)]
        signers = {(lock.quorum_type, lock.quorum_hash) for lock in store.chainlocks(PRIVATE_FORK)}
        assert signers - set(chain.quorums.made) == signers
    assert recorded
    async with meanwhile(running, config, when, everybody) as run:
        await at_rest_on(run, chain)
        await holds_only(run, chain, private())
        assert bool(run.client.store.chainlocks(PRIVATE_FORK)) == signed
        assert run.client.store.refused_branches() == []
        assert not [code for code in run.warnings if code.startswith(("bad-", "broken-", "conflicts-"))]
        await equals_fresh(world, running, run, chain)


# -- the heavier fork below a locked block -------------------------------------------------------------------------

FORKS = [(height, offset, 1.0, "synced") for height in LOCKED for offset in (-1, 0, 1)]
FORKS += [(218, offset, 0.5, when) for offset in (-1, 0) for when in WHEN]
each_fork = pytest.mark.parametrize(("height", "offset", "pace", "when"), FORKS)
"""The locked block, how far above the block that mined its quorum the fork is, its pace, what the client does."""


@each_fork
async def test_a_heavier_fork_below_a_locked_block_is_refused_if_the_quorum_is_common(
    world: World, running: Start, autojump_clock: MockClock, height: int, offset: int, pace: float, when: str
) -> None:
    """It is recorded and its node banned with the reason; if the quorum is not common the lock goes with its branch."""
    (lock, mined), chain = locked(height), honest(height)
    fork = mined + offset
    heavier = withheld(fork, pace)
    assert (heavier.height < HEIGHT) == (pace < 1)
    world.add(Offering(chain, [lock]), 1)
    world.add(chain, 3, locks=False)
    config = world.config(1, 2, 3)
    async with meanwhile(running, config, when, lambda: world.add(heavier, 2, locks=False)) as run:
        if offset < 0:
            await at_rest_on(run, heavier)
            await holds_only(run, heavier, chain)
            assert (run.client.store.chainlocks(fork), run.client.store.refused_branches()) == ([], [])
            return
        await run.until_warned("conflicts-with-chainlock")
        await at_rest_on(run, chain)
        assert run.client.chainlock == (height, lock.block_hash)
        [refused] = run.client.store.refused_branches()
        assert (refused.fork_height, refused.lock_height, refused.peer) == (fork, height, "node:2")
        assert (refused.tip_height, refused.tip_hash) == (heavier.height, heavier.tip_hash)
        assert refused.work == heavier.tip.work
        [told] = [event for event in run.told if isinstance(event, Warned) and event.code == "conflicts-with-chainlock"]
        assert "node:2" in told.message
        assert f"leaves below block {height}, which is ChainLocked" in told.message
        await equals_fresh(world, running, run, chain)


@each_fork
async def test_a_lighter_chain_with_a_locked_block_beats_a_heavier_one_that_was_withheld(
    world: World, running: Start, autojump_clock: MockClock, height: int, offset: int, pace: float, when: str
) -> None:
    """The client is on the heavier one when it hears of the lock; it goes over if, and only if, the lock binds."""
    (lock, mined), chain = locked(height), honest(height)
    heavier = withheld(mined + offset, pace)
    world.add(heavier, 2, locks=False)

    def come() -> None:
        """The honest nodes come."""
        world.add(Offering(chain, [lock]), 1)
        world.add(chain, 3, locks=False)

    async with meanwhile(running, world.config(1, 2, 3), when, come) as run:
        if offset < 0:
            await at_rest_on(run, heavier)
            assert (run.client.store.chainlocks(mined + offset), run.client.store.refused_branches()) == ([], [])
            return
        await at_rest_on(run, chain)
        await holds_only(run, chain, heavier)
        assert run.client.chainlock == (height, lock.block_hash)
        await equals_fresh(world, running, run, chain)


async def test_a_lighter_fork_does_not_win_by_locks_of_its_own(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """Its locks verify with its own quorums, and with none that both have: they wait, and nobody is blamed."""
    chain, own = public(False), chainlocks(private())
    world.add(chain, 1)
    world.add(chain, 3)
    async with running(world.config(1, 2, 3)) as run:
        await run.until("synced")
        world.add(Offering(private(), own[-8:]), 2)
        with trio.fail_after(120):
            while run.client.pending_locks < 8:
                await trio.sleep(0.5)
        await at_rest_on(run, chain)
        assert len(run.client.peers) == 3
        assert run.client.store.chainlocks(PRIVATE_FORK) == []
        assert not [code for code in run.warnings if code.startswith(("bad-", "broken-", "conflicts-"))]


async def test_a_heavier_fork_with_locks_of_its_own_is_refused_like_any_other(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """A lock by a common quorum on one side outweighs any number of private ones on the other, whichever came first."""
    height = LOCKED[1]
    (lock, mined), chain = locked(height), honest(height)
    fork = generate(mined, SEED, fork_at=mined, fork_seed=8, locked_until=QUIET_FROM)
    fork.chainlocks.until = None
    fork.extend(110)
    own = [each for each in chainlocks(fork) if each.height > mined]
    assert len(own) > 3
    world.add(Offering(fork, own), 2)
    async with running(world.config(1, 2, 3)) as run:
        await run.until("synced")
        await answered(run)
        assert run.client.chainlock == (own[-1].height, own[-1].block_hash)
        world.add(Offering(chain, [lock]), 1)
        world.add(chain, 3, locks=False)
        await run.until_warned("conflicts-with-chainlock")
        await at_rest_on(run, chain)
        await holds_only(run, chain, fork)
        assert run.client.chainlock == (height, lock.block_hash)
        await equals_fresh(world, running, run, chain)


async def test_after_a_refused_fork_the_client_follows_its_chain_further(
    world: World, running: Start, autojump_clock: MockClock
) -> None:
    """New blocks and locks come as if nothing had been, and the next run refuses the fork again."""
    chain = generate(HEIGHT, SEED)
    node = world.add(chain, 1)
    config = world.config(1, 2)
    async with running(config) as run:
        await run.until("synced")
        await answered(run)
        best = run.client.chainlock
        assert best is not None
        heavier = generate(HEIGHT + 10, SEED, fork_at=best[0] - 1, fork_seed=9)
        world.add(heavier, 2, locks=False)
        await run.until_warned("conflicts-with-chainlock")
        chain.extend(60)
        await node.announce(60)
        await at_rest_on(run, chain)
        assert run.client.chainlock is not None
        assert run.client.chainlock[0] > best[0]
    world.add(generate(HEIGHT + 70, SEED, fork_at=best[0] - 1, fork_seed=9), 3)  # 2 is still banned
    async with running(world.config(1, 3)) as run:
        await run.until_warned("conflicts-with-chainlock")
        await at_rest_on(run, chain)
        assert [refused.fork_height for refused in run.client.store.refused_branches()] == [best[0] - 1] * 2
