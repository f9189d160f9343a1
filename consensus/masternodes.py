"""The masternode list and the differences that carry it from block to block [DIP4; Core evo/smldiff.h].

A difference proves itself: the coinbase transaction that it carries hangs by a partial merkle tree on the header that
the client already trusts, and states the root over the whole masternode list and the root over all active quorums.
Applied to the list of its base block it must lead to exactly these two. A list of the wrong peer is never half applied:
`apply_diff` returns a new state or raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import attrs

from phasegate.consensus.codec import Reader, compact_size, u16, u32, var_bytes
from phasegate.consensus.faults import Fault, Malformed, PeerMisbehaved
from phasegate.consensus.masternode_entry import OLDEST_PROTOCOL, PROTOCOL_ENTRY_VERSION, MasternodeEntry
from phasegate.consensus.merkle import PartialMerkleTree, merkle_root
from phasegate.consensus.params import Network
from phasegate.consensus.primitives import COINBASE, BlockHeader, CoinbasePayload, Transaction
from phasegate.consensus.quorums import MAX_MASTERNODES, QuorumCommitment, quorum_root
from phasegate.consensus.x11 import x11

__all__ = ["MasternodeEntry", "MasternodeListDiff", "MasternodeState", "apply_diff", "apply_unanchored"]

K = TypeVar("K")
V = TypeVar("V")
QuorumKey = tuple[int, bytes]
ChainLockSignature = tuple[bytes, tuple[int, ...]]

PROTOCOL_VERSION_FIRST = 70229
PROTOCOL_CL_SIGNATURES = 70230
MAX_QUORUMS = 4096
_VERSION = 1
_SMALLEST_ENTRY, _SMALLEST_COMMITMENT = 137, 309
_WITHOUT_CHAINLOCK, _WITH_CHAINLOCK = 1, 2
_STORED_PROTOCOL = PROTOCOL_ENTRY_VERSION


@attrs.frozen
class MasternodeListDiff:
    """One `mnlistdiff`: what changed between two blocks, and the proof of the coinbase that states the result.

    Args:
        version: of the message, 1 so far.
        base_hash: 32 bytes as asked for; zero means genesis.
        block_hash: the block whose list this leads to.
        proof: of `coinbase` in that block.
        deleted: proTxHashes, 32 bytes each.
        added: new and changed masternodes, unsorted.
        deleted_quorums: `(type, quorum hash)` of quorums that are active no more.
        new_quorums: commitments, unsorted.
        cl_signatures: `(96-byte signature or zeros, indexes into new_quorums)`, from protocol 70230 on.
    """

    base_hash: bytes
    block_hash: bytes
    proof: PartialMerkleTree
    coinbase: Transaction
    deleted: tuple[bytes, ...] = ()
    added: tuple[MasternodeEntry, ...] = ()
    deleted_quorums: tuple[QuorumKey, ...] = ()
    new_quorums: tuple[QuorumCommitment, ...] = ()
    cl_signatures: tuple[ChainLockSignature, ...] = ()
    version: int = 1

    @classmethod
    def parse(cls, r: Reader, protocol_version: int) -> MasternodeListDiff:
        if protocol_version < OLDEST_PROTOCOL:
            raise Malformed(f"a masternode list of protocol {protocol_version} cannot be read")
        version = r.u16() if protocol_version >= PROTOCOL_VERSION_FIRST else 1
        head = r.hash32(), r.hash32(), PartialMerkleTree.parse(r), Transaction.parse(r)
        version = version if protocol_version >= PROTOCOL_VERSION_FIRST else r.u16()
        if version != _VERSION:
            raise Malformed(f"mnlistdiff version {version} is unknown")
        return cls(
            *head,
            r.many(MAX_MASTERNODES, Reader.hash32, at_least=32, what="deleted count"),
            r.many(
                MAX_MASTERNODES,
                partial(MasternodeEntry.parse, protocol_version=protocol_version),
                at_least=_SMALLEST_ENTRY,
            ),
            r.many(MAX_QUORUMS, _parse_key, at_least=33, what="deleted quorum count"),
            r.many(MAX_QUORUMS, QuorumCommitment.parse, at_least=_SMALLEST_COMMITMENT, what="quorum count"),
            r.many(MAX_QUORUMS, _parse_signature, at_least=97) if protocol_version >= PROTOCOL_CL_SIGNATURES else (),
            version,
        )

    def to_bytes(self, protocol_version: int) -> bytes:
        first = protocol_version >= PROTOCOL_VERSION_FIRST
        version = u16(self.version)
        parts = [
            version if first else b"",
            self.base_hash + self.block_hash + self.proof.to_bytes() + self.coinbase.to_bytes(),
            b"" if first else version,
            _listed(self.deleted),
            _listed([entry.to_bytes(protocol_version) for entry in self.added]),
            _listed([bytes((kind,)) + quorum for kind, quorum in self.deleted_quorums]),
            _listed([commitment.to_bytes() for commitment in self.new_quorums]),
        ]
        if protocol_version >= PROTOCOL_CL_SIGNATURES:
            parts.append(_listed([sig + _listed([u16(i) for i in indexes]) for sig, indexes in self.cl_signatures]))
        return b"".join(parts)


def _parse_key(r: Reader) -> QuorumKey:
    return r.u8(), r.hash32()


def _parse_signature(r: Reader) -> ChainLockSignature:
    return r.take(96), r.many(MAX_QUORUMS, Reader.u16, at_least=2, what="index count")


def _listed(items: Iterable[bytes]) -> bytes:
    pieces = list(items)
    return compact_size(len(pieces)) + b"".join(pieces)


@attrs.frozen
class MasternodeState:
    """The masternodes and active quorums after one block; the mappings are never changed.

    `chainlock` is the signature of the newest ChainLock that the block's coinbase states: 96 bytes, zeros for none,
    empty before V20; None when that coinbase was not seen. Quorums whose work block this is draw their members by it.
    """

    height: int
    block_hash: bytes
    entries: Mapping[bytes, MasternodeEntry]
    quorums: Mapping[QuorumKey, QuorumCommitment]
    chainlock: bytes | None = attrs.field(default=None, eq=False)

    @classmethod
    def empty(cls, network: Network) -> MasternodeState:
        """The state at the genesis block: nobody yet."""
        return cls(0, x11(network.genesis), {}, {})

    @property
    def count(self) -> int:
        """All masternodes, banned ones too."""
        return len(self.entries)

    @property
    def valid_count(self) -> int:
        """Masternodes that are not banned."""
        return sum(entry.valid for entry in self.entries.values())

    def merkle_root(self) -> bytes:
        """The root over all entries sorted by the raw bytes of their proTxHash; 32 zero bytes for none."""
        return merkle_root([self.entries[key].leaf_hash() for key in sorted(self.entries)])[0]

    def quorum_root(self) -> bytes:
        """The root over the active quorums of every type."""
        return quorum_root(self.quorums.values())

    def to_bytes(self) -> bytes:
        """The form kept on disk: canonical, equal states give equal bytes."""
        entries = [self.entries[key].to_bytes(_STORED_PROTOCOL) for key in sorted(self.entries)]
        quorums = [self.quorums[key].to_bytes() for key in sorted(self.quorums)]
        form, lock = _WITHOUT_CHAINLOCK, b""
        if self.chainlock is not None:
            form, lock = _WITH_CHAINLOCK, var_bytes(self.chainlock)
        return bytes((form,)) + u32(self.height) + self.block_hash + lock + _listed(entries) + _listed(quorums)

    @classmethod
    def from_bytes(cls, raw: bytes) -> MasternodeState:
        """From `to_bytes`.

        Raises:
            Malformed: anything else.
        """
        r = Reader(raw, "stored masternode list")
        if (form := r.u8()) not in (_WITHOUT_CHAINLOCK, _WITH_CHAINLOCK):
            raise Malformed(f"stored masternode list of form {form} is unknown")
        height, block_hash = r.u32(), r.hash32()
        chainlock = r.var_bytes(96) if form == _WITH_CHAINLOCK else None
        entries = r.many(
            MAX_MASTERNODES, lambda r: MasternodeEntry.parse(r, _STORED_PROTOCOL), at_least=_SMALLEST_ENTRY
        )
        quorums = r.many(MAX_QUORUMS, QuorumCommitment.parse, at_least=_SMALLEST_COMMITMENT)
        r.end()
        state = cls(height, block_hash, {e.pro_tx_hash: e for e in entries}, {q.key: q for q in quorums}, chainlock)
        if state.to_bytes() != raw:
            raise Malformed("stored masternode list is not in canonical order")
        return state


def apply_diff(
    network: Network, state: MasternodeState, diff: MasternodeListDiff, header_raw: bytes, height: int
) -> MasternodeState:
    """The state after `diff`, proven against the header of its block.

    Args:
        network: where this happens.
        state: the list at the base block of `diff` (zero as base means genesis).
        diff: what the peer sent.
        header_raw: the 80 bytes of the validated header of `diff.block_hash`.
        height: of that header.

    Raises:
        PeerMisbehaved: UNFITTING_REPLY when base or block are others; BAD_MERKLE_PROOF; BAD_COINBASE;
            BAD_MASTERNODE_DIFF when it does not fit the base; BAD_MASTERNODE_ROOT; BAD_QUORUM_ROOT.
    """
    _check_base(network, state, diff, height)
    if diff.block_hash != x11(header_raw):
        raise PeerMisbehaved(Fault.UNFITTING_REPLY, f"height {height}: the difference leads to another block")
    if _proven_root(diff, height) != BlockHeader.from_bytes(header_raw).merkle_root:
        raise PeerMisbehaved(Fault.BAD_MERKLE_PROOF, f"height {height}: the coinbase proof leads to another root")
    return _after(state, diff, _coinbase_payload(diff.coinbase, height))


def apply_unanchored(network: Network, state: MasternodeState, diff: MasternodeListDiff) -> MasternodeState:
    """The state after `diff` if its coinbase is that of its block, which only a header can tell.

    Raises:
        PeerMisbehaved: as `apply_diff`, except for what takes the header.
    """
    payload = _coinbase_payload(diff.coinbase, None)
    _check_base(network, state, diff, payload.height)
    _proven_root(diff, payload.height)
    return _after(state, diff, payload)


def _after(state: MasternodeState, diff: MasternodeListDiff, payload: CoinbasePayload) -> MasternodeState:
    height = payload.height
    _check_signature_indexes(diff, height)
    after = MasternodeState(
        height,
        diff.block_hash,
        _changed(state.entries, diff.deleted, [(e.pro_tx_hash, e) for e in diff.added], height, "masternode"),
        _changed(state.quorums, diff.deleted_quorums, _new_quorums(state, diff, height), height, "quorum"),
        payload.best_cl_signature,
    )
    if after.merkle_root() != payload.masternode_root:
        raise PeerMisbehaved(Fault.BAD_MASTERNODE_ROOT, f"height {height}: the masternode list misses its root")
    if payload.version >= 2 and after.quorum_root() != payload.quorum_root:
        raise PeerMisbehaved(Fault.BAD_QUORUM_ROOT, f"height {height}: the quorum list misses its root")
    return after


def _check_base(network: Network, state: MasternodeState, diff: MasternodeListDiff, height: int) -> None:
    from_genesis = diff.base_hash == bytes(32) and state.block_hash == x11(network.genesis)
    if diff.base_hash != state.block_hash and not from_genesis:
        raise PeerMisbehaved(Fault.UNFITTING_REPLY, f"height {height}: the difference starts from another block")


def _proven_root(diff: MasternodeListDiff, height: int) -> bytes:
    root, matches = diff.proof.extract()
    if matches != ((0, diff.coinbase.txid),):
        raise PeerMisbehaved(Fault.BAD_MERKLE_PROOF, f"height {height}: the proof is not of the coinbase alone")
    return root


def _coinbase_payload(coinbase: Transaction, height: int | None) -> CoinbasePayload:
    if coinbase.type != COINBASE:
        raise PeerMisbehaved(Fault.BAD_COINBASE, f"height {height}: coinbase of type {coinbase.type}")
    try:
        payload = CoinbasePayload.from_bytes(coinbase.payload)
    except Malformed as error:
        raise PeerMisbehaved(Fault.BAD_COINBASE, f"height {height}: {error.detail}") from error
    if payload.height < 0 or (height is not None and payload.height != height):
        raise PeerMisbehaved(Fault.BAD_COINBASE, f"height {height}: the coinbase says {payload.height}")
    return payload


def _check_signature_indexes(diff: MasternodeListDiff, height: int) -> None:
    indexes = sorted([index for _, group in diff.cl_signatures for index in group])
    if diff.cl_signatures and indexes != list(range(len(diff.new_quorums))):
        raise _misfit(height, "the ChainLock signatures do not belong to each new quorum once")


def _new_quorums(
    state: MasternodeState, diff: MasternodeListDiff, height: int
) -> list[tuple[QuorumKey, QuorumCommitment]]:
    for commitment in diff.new_quorums:
        if commitment.is_null or commitment.key in state.quorums:
            raise _misfit(height, "a new quorum is null or active already")
    return [(commitment.key, commitment) for commitment in diff.new_quorums]


def _changed(
    before: Mapping[K, V], deleted: Sequence[K], added: Sequence[tuple[K, V]], height: int, what: str
) -> Mapping[K, V]:
    if len({*deleted, *(key for key, _ in added)}) != len(deleted) + len(added):
        raise _misfit(height, f"a {what} is named twice")
    after = dict(before)
    for key in deleted:
        if after.pop(key, None) is None:
            raise _misfit(height, f"a {what} is deleted that was not there")
    after.update(added)
    return after


def _misfit(height: int, detail: str) -> PeerMisbehaved:
    return PeerMisbehaved(Fault.BAD_MASTERNODE_DIFF, f"height {height}: {detail}")
