"""ChainLocks and InstantSend locks: which quorum has to have signed one, and whether it did [DIP8, DIP10, DIP22]."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import attrs

from phasegate.consensus.bls import is_null, verify
from phasegate.consensus.codec import compact_size, dsha, i32, var_bytes
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import Network
from phasegate.consensus.primitives import CoinbasePayload, OutPoint
from phasegate.consensus.quorums import QuorumCommitment

SIGN_OFFSET = 8
"""A ChainLock is signed by a quorum that was active this many blocks below it (Core SIGN_HEIGHT_OFFSET)."""


class NoQuorum(LookupError):
    """No active quorum of the type is known: the lock cannot be judged yet."""


@attrs.frozen
class ChainLock:
    """That a quorum locked the block of this hash (32 bytes) at this height; `signature` has 96 bytes."""

    height: int
    block_hash: bytes
    signature: bytes


@attrs.frozen
class InstantLock:
    """That a quorum of the cycle that begins at `cycle_hash` locked a transaction with all its inputs, in order."""

    inputs: tuple[OutPoint, ...]
    txid: bytes
    cycle_hash: bytes
    signature: bytes


def chainlock_request_id(height: int) -> bytes:
    """What the quorum is chosen by, 32 bytes."""
    return dsha(var_bytes(b"clsig") + i32(height))


def instantlock_request_id(inputs: Sequence[OutPoint]) -> bytes:
    """What the quorum is chosen by, 32 bytes, over all inputs in the order of the transaction."""
    return dsha(var_bytes(b"islock") + compact_size(len(inputs)) + b"".join([point.to_bytes() for point in inputs]))


def sign_hash(kind: int, quorum_hash: bytes, request_id: bytes, message: bytes) -> bytes:
    """The 32 bytes that a quorum of type `kind` signs when it signs `message`."""
    return dsha(bytes((kind,)) + quorum_hash + request_id + message)


def chainlock_quorum(network: Network, active: Iterable[QuorumCommitment], height: int) -> QuorumCommitment | None:
    """The quorum that has to sign the ChainLock of `height`, None if none of the type is known.

    Args:
        network: where this happens.
        active: the quorums active after block `height - SIGN_OFFSET`; those of other types are passed over.
        height: of the ChainLock.
    """
    request_id, kind = chainlock_request_id(height), network.roles["chainlock"]
    own = [quorum for quorum in active if quorum.type == kind]
    return min(own, key=lambda quorum: dsha(bytes((kind,)) + quorum.quorum_hash + request_id), default=None)


def verify_chainlock(network: Network, lock: ChainLock, active: Iterable[QuorumCommitment]) -> QuorumCommitment:
    """The quorum that signed `lock`.

    Args:
        network: where this happens.
        lock: the ChainLock; that its block is of its height is not judged here.
        active: as for `chainlock_quorum`.

    Raises:
        NoQuorum: no quorum of the type among `active`.
        PeerMisbehaved: BAD_CHAINLOCK.
    """
    quorum = chainlock_quorum(network, active, lock.height)
    if quorum is None:
        raise NoQuorum(f"no quorum is known that could sign the ChainLock of height {lock.height}")
    message = sign_hash(quorum.type, quorum.quorum_hash, chainlock_request_id(lock.height), lock.block_hash)
    if not verify(quorum.public_key, message, lock.signature):
        raise PeerMisbehaved(Fault.BAD_CHAINLOCK, f"height {lock.height}: the quorum did not sign this ChainLock")
    return quorum


def embedded_chainlock(payload: CoinbasePayload, hash_at: Callable[[int], bytes]) -> ChainLock | None:
    """The ChainLock that a coinbase carries, None if it carries none.

    Args:
        payload: of the coinbase; its height less the stated difference and one is the height that was locked.
        hash_at: the block hash at a height of the chain that the coinbase is in.
    """
    if payload.version < 3 or is_null(payload.best_cl_signature):
        return None
    height = payload.height - payload.best_cl_height_diff - 1
    return ChainLock(height, hash_at(height), payload.best_cl_signature)


def instantlock_index(network: Network, request_id: bytes) -> int:
    """The index, within its cycle, of the quorum that signs for `request_id` [Core SelectQuorumForSigning]."""
    bits = network.quorum_types[network.roles["instantsend"]].active.bit_length() - 1
    return int.from_bytes(request_id[24:32], "little") >> (63 - bits) & ((1 << bits) - 1)


def verify_instantlock(network: Network, lock: InstantLock, quorum: QuorumCommitment) -> None:
    """Check that `quorum` had to sign `lock`, and did.

    Raises:
        PeerMisbehaved: BAD_INSTANTLOCK.
    """
    request_id = instantlock_request_id(lock.inputs)
    if quorum.type != network.roles["instantsend"] or (quorum.index or 0) != instantlock_index(network, request_id):
        raise PeerMisbehaved(Fault.BAD_INSTANTLOCK, "the lock belongs to another quorum")
    message = sign_hash(quorum.type, quorum.quorum_hash, request_id, lock.txid)
    if not verify(quorum.public_key, message, lock.signature):
        raise PeerMisbehaved(Fault.BAD_INSTANTLOCK, f"the quorum did not sign the lock of {lock.txid[::-1].hex()}")


def instantlock_candidates(
    network: Network, lock: InstantLock, known: Iterable[QuorumCommitment]
) -> list[QuorumCommitment]:
    """The quorums of the lock's index, for signers older than 70237, which named the cycle of their tip.

    Args:
        network: where this happens.
        lock: the lock.
        known: quorums, newest first; the order is kept.
    """
    kind, index = network.roles["instantsend"], instantlock_index(network, instantlock_request_id(lock.inputs))
    return [quorum for quorum in known if quorum.type == kind and (quorum.index or 0) == index]
