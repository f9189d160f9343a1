"""Chains whose node offers other locks than the true ones: false, strange or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from phasegate.consensus.codec import Reader
from phasegate.consensus.locks import (
    ChainLock,
    InstantLock,
    chainlock_request_id,
    instantlock_index,
    instantlock_request_id,
    sign_hash,
)
from phasegate.p2p.messages import ClSig, IsdLock
from phasegate.p2p.simnet.announced import announced_chainlock, announced_instantlock
from phasegate.p2p.simnet.bls_keys import sign
from phasegate.p2p.simnet.chain import Announced, StoredBlocks
from phasegate.p2p.simnet.generated import GeneratedChain

Lock = ChainLock | InstantLock
L = TypeVar("L", bound=Lock)


if TYPE_CHECKING:
    _Chain = GeneratedChain
else:
    _Chain = object


class Offering(_Chain):
    """A chain that offers exactly the given locks; all else is that of `chain`."""

    def __init__(self, chain: StoredBlocks, locks: Sequence[Lock]) -> None:
        self._chain = chain
        self._offered = tuple(map(announced, locks))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chain, name)

    def locks(self) -> tuple[Announced, ...]:
        return self._offered

    def locks_of(self, height: int) -> tuple[Announced, ...]:
        return ()

    def lock(self, inv_type: int, inventory_hash: bytes) -> Announced | None:
        return next((lock for lock in self._offered if (lock.inv_type, lock.hash) == (inv_type, inventory_hash)), None)


def announced(lock: Lock) -> Announced:
    """A lock as it is offered."""
    return announced_chainlock(lock) if isinstance(lock, ChainLock) else announced_instantlock(lock)


def lock_in(offered: Announced) -> Lock:
    """The lock that is offered."""
    r = Reader(offered.payload, offered.command)
    if offered.command == ClSig.command:
        told = ClSig.read(r)
        return ChainLock(told.height, told.block_hash, told.signature)
    said = IsdLock.read(r)
    return InstantLock(said.inputs, said.txid, said.cycle_hash, said.signature)


def message(lock: Lock) -> ClSig | IsdLock:
    """A lock as it is sent."""
    if isinstance(lock, ChainLock):
        return ClSig(lock.height, lock.block_hash, lock.signature)
    return IsdLock(1, lock.inputs, lock.txid, lock.cycle_hash, lock.signature)


def flipped(lock: L, bit: int) -> L:
    """The lock with one bit of its signature turned over."""
    number = int.from_bytes(lock.signature, "big") ^ (1 << bit)
    return attrs.evolve(lock, signature=number.to_bytes(96, "big"))


def chainlocks(chain: GeneratedChain) -> list[ChainLock]:
    """All ChainLocks of a chain, the lowest first."""
    locks = [chain.chainlocks.lock(height) for height in range(1, chain.height + 1)]
    return [lock for lock in locks if lock is not None]


def instantlocks(chain: GeneratedChain) -> list[InstantLock]:
    """All InstantSend locks of a chain, in its order."""
    locks = [chain.instantlocks.lock(txid) for txid in chain.instantlocks.txids]
    return [lock for lock in locks if lock is not None]


def signed_by(chain: GeneratedChain, lock: ChainLock, quorum_hash: bytes) -> ChainLock:
    """The lock signed by a quorum of the chain, whether or not it is the one that has to."""
    kind = chain.network.roles["chainlock"]
    signed = sign_hash(kind, quorum_hash, chainlock_request_id(lock.height), lock.block_hash)
    return attrs.evolve(lock, signature=sign(signed, chain.quorums.made[kind, quorum_hash].secret)[0])


def relocked(chain: GeneratedChain, lock: InstantLock, txid: bytes) -> InstantLock:
    """The same inputs locked by the same quorum for another transaction."""
    network, request_id = chain.network, instantlock_request_id(lock.inputs)
    start = chain.height_of(lock.cycle_hash)
    assert start is not None
    key = network.roles["instantsend"], chain.hash_at(start + instantlock_index(network, request_id))
    signature = sign(sign_hash(*key, request_id, txid), chain.quorums.made[key].secret)[0]
    return attrs.evolve(lock, txid=txid, signature=signature)


def renamed(chain: GeneratedChain, lock: InstantLock, cycle: int) -> InstantLock:
    """The lock as signers older than protocol 70237 make it, in the cycle at height `cycle`: that is what it names.

    The quorum that signs is the newest of the lock's index that was mined before the cycle began.
    """
    network = chain.network
    index = instantlock_index(network, instantlock_request_id(lock.inputs))
    kind = network.roles["instantsend"]
    active = [quorum for quorum in chain.quorums.active_at(cycle - 1) if (quorum.type, quorum.index) == (kind, index)]
    (quorum,) = active
    signed = sign_hash(kind, quorum.quorum_hash, instantlock_request_id(lock.inputs), lock.txid)
    signature = sign(signed, chain.quorums.made[quorum.key].secret)[0]
    return attrs.evolve(lock, cycle_hash=chain.hash_at(cycle), signature=signature)
