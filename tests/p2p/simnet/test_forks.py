"""Forks of a generated chain: their own blocks, quorums and locks, of any length and weight."""

from __future__ import annotations

from functools import cache

import pytest

from phasegate.consensus.headers import extend, genesis_tip
from phasegate.consensus.locks import verify_chainlock
from phasegate.consensus.masternodes import MasternodeState, apply_diff
from phasegate.consensus.params import SIMNET, network
from phasegate.consensus.primitives import Block, CoinbasePayload
from phasegate.p2p.simnet.chain import last_shared_height
from phasegate.p2p.simnet.generated import GeneratedChain, generate

LATER = 1 << 31
FORK, LENGTH = 200, 330


@cache
def trunk() -> GeneratedChain:
    return generate(LENGTH, "trunk")


@cache
def fork() -> GeneratedChain:
    return generate(LENGTH, "trunk", fork_at=FORK)


def coinbase(chain: GeneratedChain, height: int) -> CoinbasePayload:
    return CoinbasePayload.from_bytes(Block.from_bytes(chain.block(height) or b"").transactions[0].payload)


def test_a_fork_has_quorums_of_its_own() -> None:
    """Those from before the fork are in both lists; sessions that began before it make no quorum on the fork."""
    ours, theirs = (set(chain.quorums.made) for chain in (trunk(), fork()))
    shared = {key for key, made in trunk().quorums.made.items() if made.mined <= FORK}
    assert ours & theirs == shared
    for chain in (trunk(), fork()):
        state = MasternodeState.empty(SIMNET)
        for height in (FORK, FORK + 60, LENGTH):
            diff = chain.mnlistdiff(state.height, height)
            assert diff is not None
            state = apply_diff(SIMNET, state, diff, chain.header(height), height)


def test_only_its_own_quorums_lock_a_fork() -> None:
    """Above the fork no lock is by a quorum from before it; once the fork has its own, most blocks are locked."""
    above = [lock for height in range(FORK + 1, LENGTH + 1) if (lock := fork().chainlocks.lock(height))]
    assert len(above) > 30
    for lock in above:
        quorum = verify_chainlock(SIMNET, lock, fork().quorums.active_at(lock.height - 8))
        assert fork().quorums.made[quorum.key].mined > FORK
    for txid in fork().instantlocks.txids:
        instant = fork().instantlocks.lock(txid)
        assert instant is not None
        if instant.cycle_hash not in {trunk().hash_at(height) for height in range(FORK)}:
            break
    else:
        pytest.fail("no payment on the fork is locked")


def test_the_locks_of_the_trunk_bind_it() -> None:
    """Above the fork, the trunk has locks by quorums that both chains know: no client may leave it."""
    binding = [
        trunk().quorums.made[100, quorum.quorum_hash].mined <= FORK
        for height in range(FORK + 1, FORK + 20)
        if (lock := trunk().chainlocks.lock(height))
        for quorum in [verify_chainlock(SIMNET, lock, trunk().quorums.active_at(height - 8))]
    ]
    assert any(binding)


def test_quorums_can_stop_signing() -> None:
    """Up to that height the chain is the same block for block; above it there is neither a lock nor news of one."""
    chain = generate(LENGTH, "trunk", locked_until=FORK)
    assert last_shared_height(chain, trunk()) >= FORK
    assert all(chain.chainlocks.lock(height) is None for height in range(FORK + 1, LENGTH + 1))
    locked = {height: trunk().chainlocks.lock(height) for height in range(1, FORK + 1)}
    assert {height: chain.chainlocks.lock(height) for height in range(1, FORK + 1)} == locked
    last = coinbase(chain, LENGTH)
    assert LENGTH - last.best_cl_height_diff - 1 <= FORK
    assert all(
        (chain.height_of(lock.cycle_hash) or 0) < FORK
        for txid in chain.instantlocks.txids
        if (lock := chain.instantlocks.lock(txid))
    )


def test_forks_of_such_a_chain_share_its_past() -> None:
    """A fork at that height shares all blocks up to it, and may be extended to any length."""
    chain = generate(LENGTH, "trunk", locked_until=FORK)
    for depth in (1, 2, 50, 130):
        other = generate(LENGTH + 1, "trunk", fork_at=LENGTH - depth, fork_seed=depth, locked_until=FORK)
        assert last_shared_height(chain, other) == LENGTH - depth
        assert other.tip.work > chain.tip.work or depth == 130


def test_a_branch_leaves_its_chain_alone() -> None:
    """A copy goes its own way; the original goes on as if it had never been copied."""
    chain = generate(90, "trunk")
    branch = chain.branch("aside")
    branch.extend(70)
    chain.extend(70)
    assert last_shared_height(chain, branch) == 90
    assert chain.headers(0, 161) == trunk().headers(0, 161)
    assert extend(SIMNET, genesis_tip(SIMNET), branch.headers(1, 160), LATER).tip == branch.tip
    assert set(branch.quorums.made) - set(chain.quorums.made)


def test_a_shorter_chain_can_be_heavier() -> None:
    """At a faster pace the difficulty rises: fewer blocks, more work, every rule kept."""
    quick = generate(LENGTH - 20, "trunk", fork_at=FORK, pace=0.4)
    checked = extend(SIMNET, genesis_tip(SIMNET), quick.headers(1, quick.height), LATER)
    assert checked.tip == quick.tip
    assert quick.height < trunk().height
    assert quick.tip.work > trunk().tip.work


def test_regtest_blocks_can_be_generated_when_all_is_active() -> None:
    """On a regtest of today's rules from the start, with its own difficulty, which never changes."""
    regtest = network("regtest", {"dip3": 2, "v20": 2, "mn_rr": 2})
    chain = generate(150, 1, network=regtest)
    assert extend(regtest, genesis_tip(regtest), chain.headers(1, 150), LATER).tip == chain.tip
    diff = chain.mnlistdiff(0, 150)
    assert diff is not None
    apply_diff(regtest, MasternodeState.empty(regtest), diff, chain.header(150), 150)


@pytest.mark.parametrize(("one", "other", "shared"), [(trunk, fork, FORK), (trunk, trunk, LENGTH)])
def test_the_last_shared_height_is_found(one: object, other: object, shared: int) -> None:
    """Where two chains part; for equal chains it is the tip, for unrelated ones genesis."""
    assert callable(one)
    assert callable(other)
    assert last_shared_height(one(), other()) == shared
    assert last_shared_height(one(), generate(20, "unrelated")) == 0
