"""Locks as a node offers them: by the hash of their message, which is sent when it is asked for."""

from __future__ import annotations

from phasegate.consensus.locks import ChainLock, InstantLock
from phasegate.p2p.messages import ClSig, InvType, IsdLock
from phasegate.p2p.simnet.chain import Announced

_LOCK_VERSION = 1


def announced_chainlock(lock: ChainLock) -> Announced:
    """A ChainLock on offer."""
    message = ClSig(lock.height, lock.block_hash, lock.signature)
    return Announced(InvType.CHAINLOCK, message.inventory_hash, message.command, message.to_bytes())


def announced_instantlock(lock: InstantLock) -> Announced:
    """An InstantSend lock on offer."""
    message = IsdLock(_LOCK_VERSION, lock.inputs, lock.txid, lock.cycle_hash, lock.signature)
    return Announced(InvType.INSTANTSEND_LOCK, message.inventory_hash, message.command, message.to_bytes())
