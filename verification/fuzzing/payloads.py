"""Targets of what blocks hold: transactions with every special payload, blocks, commitments, proofs, entries, locks."""

from __future__ import annotations

from contextlib import suppress

from phasegate.consensus.blocks import check_block, scan_block
from phasegate.consensus.codec import Reader
from phasegate.consensus.commitments import check_announced
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.filter_proofs import Provable, filter_lies, is_pre_23
from phasegate.consensus.filters import block_elements, build_filter
from phasegate.consensus.locks import (
    ChainLock,
    InstantLock,
    NoQuorum,
    instantlock_candidates,
    verify_chainlock,
    verify_instantlock,
)
from phasegate.consensus.masternode_entry import MasternodeEntry
from phasegate.consensus.merkle import PartialMerkleTree
from phasegate.consensus.params import NETWORKS
from phasegate.consensus.primitives import COINBASE, QUORUM_COMMITMENT, Block, CoinbasePayload, Transaction
from phasegate.consensus.quorums import QuorumCommitment, QuorumSnapshot
from phasegate.consensus.raw_blocks import compiled_layout, plain_layout, raw_block
from phasegate.consensus.sieve import Sieve
from phasegate.consensus.special_txs import filter_data
from phasegate.consensus.spent_scripts import script_hash_instead, spent_script
from phasegate.consensus.transactions import RefusedTransaction, relayable
from phasegate.p2p.address_forms import from_service
from phasegate.p2p.messages import ClSig, IsdLock
from phasegate.verification.fuzzing.choices import Choices
from phasegate.verification.fuzzing.laws import held, same
from phasegate.verification.fuzzing.samples import sample_chain
from phasegate.verification.fuzzing.wire import VERSIONS

SPECIAL_TYPES = tuple(range(1, 12))
"""The nine types of special transactions [DIP2], and two that nobody knows."""
_NETWORKS = tuple(NETWORKS.values())
_COMMITMENT_AT = 6
"""Bytes before the commitment in the payload of type 6: its version and a height."""


def transactions(data: bytes) -> None:
    """One transaction, and what a client reads off it."""
    with suppress(PeerMisbehaved):
        tx = Transaction.from_bytes(data)
        same(tx.to_bytes(), data, "a transaction that was encoded again")
        for txin in tx.inputs:
            script = spent_script(txin.script_sig)
            held(script is not None or not script_hash_instead(txin.script_sig), "an unknown script has another form")
        with suppress(RefusedTransaction):
            same(relayable(data), tx, "a transaction to relay")
        list(filter_data(tx))


def special_payloads(data: bytes) -> None:
    """The extra payload of a special transaction of any type, without the transaction around it."""
    choices = Choices(data)
    kind, payload = choices.pick(SPECIAL_TYPES), choices.rest()
    with suppress(PeerMisbehaved):
        if kind == COINBASE:
            same(CoinbasePayload.from_bytes(payload).to_bytes(), payload, "a cbTx that was encoded again")
        elif kind == QUORUM_COMMITMENT:
            _commitment(payload[_COMMITMENT_AT:])
        for element in filter_data(Transaction(3, kind, (), (), 0, payload)):
            held(element in payload, "an element of the filter that is not in the payload")


def special_input(kind: int, payload: bytes) -> bytes:
    """The bytes that `special_payloads` reads as this payload."""
    return bytes((SPECIAL_TYPES.index(kind),)) + payload


def blocks(data: bytes) -> None:
    """One block: its proof by the header, what it says of watched scripts, and what it shows of its filter."""
    _walk(data)
    with suppress(PeerMisbehaved):
        block = Block.from_bytes(data)
        same(block.to_bytes(), data, "a block that was encoded again")
        with suppress(PeerMisbehaved):
            check_block(block, block.hash)
        _scan(block)
        _prove(block)


def _walk(data: bytes) -> None:
    """The compiled walk accepts what the plain reading accepts, and sees the same."""
    plain = None
    with suppress(PeerMisbehaved):
        plain = plain_layout(data)
    same(compiled_layout(data), plain, "a compiled walk through a block")


def _scan(block: Block) -> None:
    scripts = {out.script for tx in block.transactions[:3] for out in tx.outputs}
    found = scan_block(block, 7, scripts, {})
    same(scan_block(raw_block(block), 7, scripts, {}, Sieve(scripts, ())), found, "what is found with a sieve")
    held(len(found.transactions) <= len(block.transactions), "more transactions found than there are")
    held({outpoint for outpoint, _ in found.spent} <= {coin.outpoint for coin in found.created}, "a strange coin")


def _prove(block: Block) -> None:
    """What a block shows of its filter never speaks against the very filter that holds it all."""
    shown = Provable.of(block)
    true = build_filter(block.hash, block_elements(block, shown.spent))
    same(filter_lies(block, true), None, "the proof that the true filter lies")
    is_pre_23(block, true)


def entries(data: bytes) -> None:
    """One masternode of a list, in the form of each protocol version."""
    choices = Choices(data)
    version, payload = choices.pick(VERSIONS), choices.rest()
    with suppress(PeerMisbehaved):
        r = Reader(payload, "entry")
        entry = MasternodeEntry.parse(r, version)
        same(entry.to_bytes(version), r.since(0), "an entry that was encoded again")
        plain = MasternodeEntry(*[getattr(entry, name) for name in _FIELDS])
        same((plain.to_bytes(version), plain.leaf_hash()), (r.since(0), entry.leaf_hash()), "an entry by its fields")
        held(len(entry.unique_traits) <= 4 and len(from_service(entry.address)) <= len(entry.address), "traits")


_FIELDS = tuple(name for name in MasternodeEntry.__match_args__)


def entry_input(version: int, raw: bytes) -> bytes:
    """The bytes that `entries` reads as this entry."""
    return bytes((VERSIONS.index(version),)) + raw


def commitments(data: bytes) -> None:
    """A quorum's final commitment, or the snapshot of a rotation, and whether its form and signature hold."""
    choices = Choices(data)
    snapshot, network, payload = choices.flag(), choices.pick(_NETWORKS), choices.rest()
    with suppress(PeerMisbehaved):
        if snapshot:
            r = Reader(payload, "snapshot")
            same(QuorumSnapshot.parse(r).to_bytes(), r.since(0), "a snapshot that was encoded again")
        else:
            check_announced(network, [_commitment(payload)])


def _commitment(payload: bytes) -> QuorumCommitment:
    r = Reader(payload, "commitment")
    commitment = QuorumCommitment.parse(r)
    same(commitment.to_bytes(), r.since(0), "a commitment that was encoded again")
    held(commitment.signers.count <= commitment.signers.size, "more signed than there are")
    held(not commitment.is_null or not commitment.signers.count, "a null commitment that somebody signed")
    return commitment


def proofs(data: bytes) -> None:
    """A partial merkle tree, and the root and the leaves that it proves."""
    with suppress(PeerMisbehaved):
        r = Reader(data, "proof")
        proof = PartialMerkleTree.parse(r)
        r.end()
        same(proof.to_bytes(), data, "a proof that was encoded again")
        _, matches = proof.extract()
        places = [place for place, _ in matches]
        held(places == sorted(set(places)) and all(place < proof.total for place in places), "the places of the leaves")


def locks(data: bytes) -> None:
    """A ChainLock or an InstantSend lock, judged by the quorums of a generated chain."""
    choices = Choices(data)
    chain, payload = sample_chain(), choices.rest()
    r, active = Reader(payload[1:], "lock"), chain.quorums.active_at(chain.height)
    with suppress(PeerMisbehaved, NoQuorum):
        if payload[:1] == b"\0":
            told = ClSig.read(r)
            same(told.to_bytes(), r.since(0), "a clsig that was encoded again")
            verify_chainlock(chain.network, ChainLock(told.height, told.block_hash, told.signature), active)
        else:
            locked = IsdLock.read(r)
            same(locked.to_bytes(), r.since(0), "an isdlock that was encoded again")
            lock = InstantLock(locked.inputs, locked.txid, locked.cycle_hash, locked.signature)
            for quorum in instantlock_candidates(chain.network, lock, active):
                verify_instantlock(chain.network, lock, quorum)


def lock_input(command: str, payload: bytes) -> bytes:
    """The bytes that `locks` reads as this `clsig` or `isdlock`."""
    return (b"\0" if command == "clsig" else b"\1") + payload
