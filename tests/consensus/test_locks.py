"""Locks that a real network made: every one verifies with the right quorum, and with no other."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from phasegate.consensus.bls import verify
from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.locks import (
    SIGN_OFFSET,
    ChainLock,
    InstantLock,
    NoQuorum,
    chainlock_quorum,
    chainlock_request_id,
    embedded_chainlock,
    instantlock_candidates,
    instantlock_index,
    instantlock_request_id,
    sign_hash,
    verify_chainlock,
    verify_instantlock,
)
from phasegate.consensus.masternodes import MasternodeListDiff
from phasegate.consensus.params import MAINNET, NETWORKS, TESTNET, Network
from phasegate.consensus.primitives import CoinbasePayload
from phasegate.consensus.quorums import QuorumCommitment
from phasegate.p2p.messages import ClSig, IsdLock
from tests.conftest import Conversation
from tests.consensus.conftest import RecordedChain
from tests.consensus.recorded_quorums import Active, active_sets


@pytest.fixture(scope="module")
def active(chain: RecordedChain, recorded_network: Network) -> list[Active]:
    return active_sets(chain, recorded_network)


@pytest.fixture(scope="module")
def clsigs(conversation: Callable[[int], Conversation]) -> list[ChainLock]:
    payloads = [payload for _, command, payload in conversation(70240) if command == "clsig"]
    return [ChainLock(m.height, m.block_hash, m.signature) for m in (ClSig.parse(Reader(p), 70240) for p in payloads)]


@pytest.fixture(scope="module")
def isdlocks(conversation: Callable[[int], Conversation]) -> list[InstantLock]:
    return [_lock(payload) for _, command, payload in conversation(70240) if command == "isdlock"]


@pytest.fixture(scope="module")
def embedded(chain: RecordedChain) -> list[ChainLock]:
    """The ChainLocks of all coinbases, each once."""
    payloads = [chain.block(height).transactions[0].payload for height in range(2, 357)]
    stated = [embedded_chainlock(CoinbasePayload.from_bytes(payload), chain.hash_at) for payload in payloads]
    return list({lock.height: lock for lock in stated if lock is not None}.values())


@pytest.fixture(scope="module")
def vectors(shared: Path) -> dict[str, list[dict[str, Any]]]:
    read: dict[str, list[dict[str, Any]]] = json.loads((shared / "vectors" / "locks" / "locks.json").read_text())
    return read


def _lock(payload: bytes) -> InstantLock:
    message = IsdLock.parse(Reader(payload), 70240)
    return InstantLock(message.inputs, message.txid, message.cycle_hash, message.signature)


def _hash(row: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(row[name])[::-1]


def test_the_replayed_quorums_have_the_root_of_every_coinbase(chain: RecordedChain, active: Sequence[Active]) -> None:
    """So they are the right ones to judge locks by."""
    from phasegate.consensus.quorums import quorum_root

    for height in range(2, 357):
        payload = CoinbasePayload.from_bytes(chain.block(height).transactions[0].payload)
        assert quorum_root(active[height]) == payload.quorum_root


def test_every_recorded_chainlock_verifies(
    clsigs: list[ChainLock], embedded: list[ChainLock], active: Sequence[Active], recorded_network: Network
) -> None:
    """Eleven were announced and forty stand in coinbases; where a height has both, they are the same."""
    assert (len(clsigs), len(embedded)) == (11, 40)
    locks = {lock.height: lock for lock in embedded}
    assert all(locks.get(lock.height, lock) == lock for lock in clsigs)
    locks |= {lock.height: lock for lock in clsigs}
    assert len(locks) == 41
    for lock in locks.values():
        verify_chainlock(recorded_network, lock, active[lock.height - 8])


def test_the_quorum_is_one_of_those_active_eight_blocks_below(
    clsigs: list[ChainLock], active: Sequence[Active], recorded_network: Network
) -> None:
    """Core's SIGN_HEIGHT_OFFSET. Every other test says 8 itself: a constant is no proof of itself.

    Of the recorded locks that of 308 can tell: its quorum was mined nine blocks below it.
    """
    assert SIGN_OFFSET == 8
    (lock,) = [lock for lock in clsigs if lock.height == 308]
    verify_chainlock(recorded_network, lock, active[308 - 8])
    with pytest.raises(PeerMisbehaved):
        verify_chainlock(recorded_network, lock, active[308 - 10])


@pytest.mark.parametrize("change", ["height", "block_hash", "signature", "null", "infinity"])
def test_a_changed_chainlock_is_refused(
    clsigs: list[ChainLock], active: Sequence[Active], recorded_network: Network, change: str
) -> None:
    lock = clsigs[0]
    wrong = {
        "height": attrs.evolve(lock, height=lock.height + 1),
        "block_hash": attrs.evolve(lock, block_hash=clsigs[1].block_hash),
        "signature": attrs.evolve(lock, signature=clsigs[1].signature),
        "null": attrs.evolve(lock, signature=bytes(96)),
        "infinity": attrs.evolve(lock, signature=b"\xc0" + bytes(95)),
    }[change]
    with pytest.raises(PeerMisbehaved) as caught:
        verify_chainlock(recorded_network, wrong, active[lock.height - 8])
    assert caught.value.fault is Fault.BAD_CHAINLOCK


def test_without_quorums_a_chainlock_cannot_be_judged(
    clsigs: list[ChainLock], active: Sequence[Active], recorded_network: Network
) -> None:
    others = [quorum for quorum in active[clsigs[0].height - 8] if quorum.type != 100]
    assert others
    with pytest.raises(NoQuorum):
        verify_chainlock(recorded_network, clsigs[0], others)


def test_quorums_are_chosen_by_raw_bytes(
    clsigs: list[ChainLock], embedded: list[ChainLock], active: Sequence[Active], recorded_network: Network
) -> None:
    """Taking the scores for little-endian numbers names another quorum for some recorded locks."""
    kind = recorded_network.roles["chainlock"]
    differing = 0
    for lock in [*clsigs, *embedded]:
        own = [quorum for quorum in active[lock.height - 8] if quorum.type == kind]
        request_id = chainlock_request_id(lock.height)
        scores = {sign_hash(kind, q.quorum_hash, request_id, b""): q for q in own}
        chosen = chainlock_quorum(recorded_network, own, lock.height)
        assert chosen is scores[min(scores)]
        differing += chosen is not scores[min(scores, key=lambda score: score[::-1])]
    assert differing


def test_every_recorded_instant_lock_verifies(
    chain: RecordedChain, isdlocks: list[InstantLock], active: Sequence[Active], recorded_network: Network
) -> None:
    """The quorum is that of the lock's own cycle, which may be several behind the tip."""
    known = {quorum.key: quorum for quorums in active for quorum in quorums}
    assert len(isdlocks) == 16
    for lock in isdlocks:
        index = instantlock_index(recorded_network, instantlock_request_id(lock.inputs))
        quorum_hash = chain.hash_at(chain.height_of(lock.cycle_hash) + index)
        verify_instantlock(recorded_network, lock, known[103, quorum_hash])


def test_a_signer_that_names_the_cycle_of_its_tip_is_found_by_its_index(
    isdlocks: list[InstantLock], active: Sequence[Active], recorded_network: Network
) -> None:
    """Signers before protocol 70237 did that: of the candidates exactly one verifies."""
    newest_first = list({quorum.key: quorum for quorums in active for quorum in quorums}.values())[::-1]
    for lock in isdlocks:
        named = attrs.evolve(lock, cycle_hash=bytes(32))
        candidates = instantlock_candidates(recorded_network, named, newest_first)
        assert len(candidates) == 3
        assert sum(_signed(recorded_network, named, quorum) for quorum in candidates) == 1


def _signed(network: Network, lock: InstantLock, quorum: QuorumCommitment) -> bool:
    try:
        verify_instantlock(network, lock, quorum)
    except PeerMisbehaved:
        return False
    return True


@pytest.mark.parametrize("change", ["txid", "inputs", "order", "signature", "other quorum"])
def test_a_changed_instant_lock_is_refused(
    isdlocks: list[InstantLock], active: Sequence[Active], recorded_network: Network, change: str
) -> None:
    lock, other = isdlocks[0], isdlocks[1]
    quorums = {quorum.key: quorum for quorums in active for quorum in quorums}.values()
    mine = next(q for q in quorums if q.type == 103 and _signed(recorded_network, lock, q))
    wrong = {
        "txid": attrs.evolve(lock, txid=other.txid),
        "inputs": attrs.evolve(lock, inputs=other.inputs),
        "order": attrs.evolve(lock, inputs=(*other.inputs, *lock.inputs)),
        "signature": attrs.evolve(lock, signature=other.signature),
        "other quorum": lock,
    }[change]
    quorum = next(q for q in quorums if q.type == 100) if change == "other quorum" else mine
    with pytest.raises(PeerMisbehaved) as caught:
        verify_instantlock(recorded_network, wrong, quorum)
    assert caught.value.fault is Fault.BAD_INSTANTLOCK


def test_the_public_chainlocks_verify(vectors: dict[str, list[dict[str, Any]]], shared: Path) -> None:
    """Three of them with a key in hand, or with the list that has it; of two more only the request id is known."""
    verified = 0
    for row in vectors["chainlocks"]:
        request_id = chainlock_request_id(row["height"])
        assert request_id.hex() == row.get("request_id_raw", request_id.hex())
        if "quorum_pubkey" in row:
            message = sign_hash(row["llmq_type"], _hash(row, "quorum_hash_be"), request_id, _hash(row, "block_hash_be"))
            assert message.hex() == row["sign_hash_raw"]
            assert verify(bytes.fromhex(row["quorum_pubkey"]), message, bytes.fromhex(row["sig"]))
            verified += 1
        if "wire" in row:
            found = ClSig.parse(Reader(bytes.fromhex(row["wire"])), 70230)
            lock = ChainLock(found.height, found.block_hash, found.signature)
            raw = (shared / "vectors" / "mnlist" / "mnlistdiff-testnet-0-905762-after20.HF.dat").read_bytes()
            quorums = MasternodeListDiff.parse(Reader(raw), 70230).new_quorums
            kind = TESTNET.quorum_types[row["llmq_type"]]
            passed = range(905_762 + 1, lock.height - 8 + 1)
            assert passed  # that list is of a block below, and no quorum was mined on the way, so it has the same ones
            assert not any(kind.dkg_mining[0] <= at % kind.interval <= kind.dkg_mining[1] for at in passed)
            verify_chainlock(NETWORKS[row["network"]], lock, quorums)
            verified += 1
    assert verified == 3
    assert {row["network"] for row in vectors["chainlocks"]} == {MAINNET.name, TESTNET.name}


def test_the_public_instant_locks_have_their_request_ids(vectors: dict[str, list[dict[str, Any]]]) -> None:
    """And, where they are given, the index of their quorum and the hash that it signed."""
    for row in vectors["isdlocks"]:
        lock = _lock(bytes.fromhex(row["wire"]))
        request_id = instantlock_request_id(lock.inputs)
        assert request_id.hex() == row["request_id_raw"]
        if "quorum_index" in row:
            assert instantlock_index(MAINNET, request_id) == row["quorum_index"]
            assert sign_hash(5, _hash(row, "quorum_hash_be"), request_id, lock.txid).hex() == row["sign_hash_raw"]


def test_a_coinbase_without_a_chainlock_has_none(chain: RecordedChain) -> None:
    """Before V20 there is no place for one; after it zeros, or infinity, stand there."""
    payload = CoinbasePayload.from_bytes(chain.block(350).transactions[0].payload)
    assert embedded_chainlock(payload, chain.hash_at) is not None
    assert embedded_chainlock(attrs.evolve(payload, version=2), chain.hash_at) is None
    for null in (bytes(96), b"\xc0" + bytes(95)):
        assert embedded_chainlock(attrs.evolve(payload, best_cl_signature=null), chain.hash_at) is None
