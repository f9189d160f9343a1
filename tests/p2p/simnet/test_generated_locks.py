"""The ChainLocks and InstantSend locks of a generated chain verify, and miners know them as late as real ones do."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import pairwise

import attrs
import pytest

from phasegate.consensus.bls import is_null
from phasegate.consensus.codec import dsha
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.locks import (
    ChainLock,
    InstantLock,
    embedded_chainlock,
    instantlock_index,
    instantlock_request_id,
    verify_chainlock,
    verify_instantlock,
)
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import Block, CoinbasePayload, Transaction
from phasegate.p2p.messages import ClSig, GetData, InvItem, IsdLock, decode
from phasegate.p2p.simnet.answers import answer
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.locks import Unlockable

LENGTH = 900


@cache
def chain() -> GeneratedChain:
    return generate(LENGTH, "locks")


def transactions(of: GeneratedChain, height: int) -> tuple[Transaction, ...]:
    return Block.from_bytes(of.block(height) or b"").transactions


def payloads(of: GeneratedChain) -> list[CoinbasePayload]:
    """Of the coinbases from height 2 on."""
    heights = range(2, of.height + 1)
    return [CoinbasePayload.from_bytes(transactions(of, height)[0].payload) for height in heights]


def judge(of: GeneratedChain, lock: ChainLock) -> None:
    """As a client that knows the quorums active 8 blocks below."""
    assert lock.block_hash == of.hash_at(lock.height)
    active = of.masternodes_at(max(0, lock.height - 8)).quorums.values()
    assert verify_chainlock(SIMNET, lock, active).type == 100


def locked(of: GeneratedChain) -> list[ChainLock]:
    """The locks of all blocks that have one."""
    return [lock for height in range(1, of.height + 1) if (lock := of.chainlocks.lock(height))]


def test_every_chainlock_verifies() -> None:
    """Signed by the quorum that has to: each block that is locked, and no lock with another hash."""
    for lock in locked(chain()):
        judge(chain(), lock)
    with pytest.raises(PeerMisbehaved):
        judge(chain(), attrs.evolve(lock, signature=locked(chain())[0].signature))


def test_most_blocks_are_locked_but_not_all() -> None:
    """Single blocks miss their lock, and sometimes nobody signs for a while; the first quorums come before block 60."""
    heights = [lock.height for lock in locked(chain())]
    assert heights[0] < 60
    assert 0.6 < len(heights) / LENGTH < 0.95
    gaps = [after - before for before, after in pairwise(heights)]
    assert 2 in gaps
    assert max(gaps) > 8


def test_coinbases_carry_the_locks_their_miners_knew() -> None:
    """Null at first; later of some block before, never an older one than the coinbase before; all of them verify."""
    known = [embedded_chainlock(payload, chain().hash_at) for payload in payloads(chain())]
    first = next(place for place, lock in enumerate(known) if lock)
    assert all(lock is None for lock in known[:first])
    heights = [lock.height for lock in known[first:] if lock]
    assert len(heights) == len(known) - first
    assert heights == sorted(heights)
    for lock in {lock for lock in known if lock}:
        judge(chain(), lock)
    diffs = Counter(payload.best_cl_height_diff for payload in payloads(chain())[first:])
    assert len(diffs) > 12
    assert diffs[0] > 20
    assert {payload.best_cl_height_diff for payload in payloads(chain())[:first]} == {0}


def test_some_quorums_are_drawn_with_a_chainlock_and_some_with_a_hash() -> None:
    """The first sessions have a work block without a lock, later ones have one."""
    at = [payload.best_cl_signature for payload in payloads(chain()) if payload.height % 24 == 16]
    assert is_null(at[0])
    assert not is_null(at[-1])


def test_every_instantsend_lock_verifies() -> None:
    """By the quorum of the index that the inputs choose, of the cycle named; one with other inputs does not."""
    network, quorums = SIMNET, chain().quorums
    for txid in chain().instantlocks.txids:
        lock = chain().instantlocks.lock(txid)
        assert lock is not None
        index = instantlock_index(network, instantlock_request_id(lock.inputs))
        cycle = chain().height_of(lock.cycle_hash)
        assert cycle is not None
        assert cycle % 24 == 0
        state = chain().masternodes_at(quorums.made[103, chain().hash_at(cycle + index)].mined)
        quorum = state.quorums[103, chain().hash_at(cycle + index)]
        verify_instantlock(network, lock, quorum)
        with pytest.raises(PeerMisbehaved):
            verify_instantlock(network, attrs.evolve(lock, txid=b"\x11" * 32), quorum)


def test_most_payments_are_locked_but_not_all() -> None:
    """Of what concerns watched scripts and spends coins, most has a lock, with all inputs in order; coinbases never."""
    spending = {}
    for height in chain().watched_heights:
        for tx in transactions(chain(), height):
            if tx.txid[::-1].hex() in chain().expected["transactions"] and tx.inputs and not tx.is_coinbase:
                spending[tx.txid] = height, tuple([tx_in.prevout for tx_in in tx.inputs])
    locks = {txid: chain().instantlocks.lock(txid) for txid in chain().instantlocks.txids}
    assert set(locks) < set(spending)
    assert all(lock and (lock.txid, lock.inputs) == (txid, spending[txid][1]) for txid, lock in locks.items())
    late = [txid for txid, (height, _) in spending.items() if height > 300]
    assert 0.6 < sum(txid in locks for txid in late) / len(late) < 1


def test_cycles_of_locks_lag_behind() -> None:
    """Most are of the newest cycle, some of an older one, because a session failed or is seen only 8 blocks later."""
    behind = Counter[int]()
    for height in range(300, LENGTH):
        for lock in chain().instantlocks.at(height):
            behind[(height - (chain().height_of(lock.cycle_hash) or 0)) // 24] += 1
    assert len(behind) >= 3


def test_locks_are_offered_and_served() -> None:
    """A newcomer is offered the newest ChainLock and the newest payments' locks, each under its hash."""
    offered = chain().locks()
    assert [lock.command for lock in offered].count("clsig") == 1
    assert [lock.command for lock in offered].count("isdlock") == min(100, len(chain().instantlocks.txids))
    given = answer(chain(), GetData(tuple(InvItem(lock.inv_type, lock.hash) for lock in offered)), 70240)
    assert given is not None
    assert [m.to_payload(70240) for m in given.messages] == [lock.payload for lock in offered]
    for lock in offered:
        message = decode(lock.command, lock.payload, 70240)
        assert dsha(lock.payload) == lock.hash
        assert isinstance(message, ClSig | IsdLock)
        if isinstance(message, ClSig):
            judge(chain(), ChainLock(message.height, message.block_hash, message.signature))
        else:
            own = InstantLock(message.inputs, message.txid, message.cycle_hash, message.signature)
            assert own == chain().instantlocks.lock(message.txid)


def test_a_block_comes_with_its_own_locks() -> None:
    """Those of its transactions first, then its own; a block that nobody locked has none."""
    commands = [[lock.command for lock in chain().locks_of(height)] for height in range(LENGTH + 1)]
    assert {tuple(sorted(set(found), reverse=True)) for found in commands} >= {(), ("clsig",), ("isdlock", "clsig")}
    for height, found in enumerate(commands):
        assert found.count("clsig") == (chain().chainlocks.lock(height) is not None)
        assert found == sorted(found, reverse=True)


def test_what_nobody_locked_can_be_locked_by_hand() -> None:
    """A test may have any block signed for which there was a quorum; without one there is no lock."""
    without = next(h for h in range(LENGTH, 0, -1) if chain().chainlocks.lock(h) is None)
    judge(chain(), chain().chainlocks.sign(without))
    with pytest.raises(Unlockable):
        chain().chainlocks.sign(9)


def test_a_chain_without_locks_has_none() -> None:
    """Neither on offer nor in a coinbase."""
    bare = generate(200, "locks", locks=False)
    assert locked(bare) == []
    assert bare.instantlocks.txids == ()
    assert bare.locks() == ()
    assert {payload.best_cl_signature for payload in payloads(bare)} == {bytes(96)}
