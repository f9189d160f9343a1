"""What the bench measures on: a mainnet's worth of masternodes and quorums, made from a seed, their signatures real."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pyblst

from phasegate.consensus import bls
from phasegate.consensus.codec import Reader, dsha
from phasegate.consensus.commitments import check_commitments, commitment_hash
from phasegate.consensus.locks import ChainLock, chainlock_quorum, chainlock_request_id, sign_hash, verify_chainlock
from phasegate.consensus.masternode_entry import MasternodeEntry
from phasegate.consensus.masternodes import MasternodeListDiff, MasternodeState, apply_diff
from phasegate.consensus.merkle import PartialMerkleTree, merkle_root
from phasegate.consensus.params import MAINNET
from phasegate.consensus.primitives import BlockHeader, CoinbasePayload, OutPoint, Transaction, TxIn, TxOut
from phasegate.consensus.quorums import BitSet, QuorumCommitment
from phasegate.consensus.rotation import Quarter, RotationPoint, make_snapshot, new_quarter, no_quarter, rotated_members
from phasegate.consensus.rotation_info import cycle_members
from phasegate.consensus.x11 import x11
from phasegate.p2p.simnet.bls_keys import aggregate_secret, legacy_form, operator_key, public_key, sign

SEED = 1
MASTERNODES, LEGACY_SHARE = 3_800, 0.7
HEIGHT = 2_400_000
PROTOCOL = 70240
KIND = MAINNET.quorum_types[MAINNET.roles["instantsend"]]
CYCLE = HEIGHT - HEIGHT % KIND.interval
WARM_UP = 4
"""Cycles that are dealt before the three whose quarters count, so that those in use are as many as on mainnet."""
PLAIN_TYPES = (1, 2, 3, 4)
GENERATOR = bytes.fromhex(
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
)


@attrs.frozen
class BenchData:
    """Everything the tasks need, and the tasks; each raises if what it checks does not hold."""

    quorums: tuple[QuorumCommitment, ...]
    rotated: tuple[QuorumCommitment, ...]
    points: Mapping[int, RotationPoint]
    lock: ChainLock
    bare: tuple[bytes, bytes, bytes]
    payload: bytes
    header: bytes
    entries: tuple[bytes, ...]

    @classmethod
    def make(cls, masternodes: int = MASTERNODES) -> BenchData:
        """The same data every time."""
        rnd = random.Random(SEED)
        secrets = [rnd.randrange(1, bls.ORDER) for _ in range(masternodes)]
        listed = [_masternode(rnd, secret) for secret in secrets]
        by_key = dict(zip([operator_key(entry.operator_key, entry.version) for entry in listed], secrets, strict=True))
        points, drawn = _rotation(rnd, {entry.pro_tx_hash: entry for entry in listed})
        rotated = tuple([_commitment(rnd, KIND.number, i, by_key, part)[0] for i, part in enumerate(drawn)])
        plain = [
            _plain(rnd, number, by_key) for number in PLAIN_TYPES for _ in range(MAINNET.quorum_types[number].active)
        ]
        quorums = (*rotated, *[quorum for quorum, _ in plain])
        lock, bare = _lock(rnd, plain)
        payload, header = _whole_list(rnd, listed, quorums)
        leaves = tuple([entry.to_bytes(PROTOCOL)[2:] for entry in listed])
        return cls(quorums, rotated, points, lock, bare, payload, header, leaves)

    @property
    def sizes(self) -> Mapping[str, str]:
        """What the larger checks work on, in words."""
        return {
            "rotation cycle": f"{len(self.rotated)} commitments x {KIND.size} members, the members dealt from quarters",
            "masternode list": f"{len(self.entries)} entries and {len(self.quorums)} quorums, from bytes to both roots",
        }

    def verify_bare(self) -> None:
        """One verification with nothing around it."""
        key, message, signature = self.bare
        hashed = pyblst.BlstP2Element.hash_to_group(message, bls.SUITE)
        left = pyblst.miller_loop(_generator(), pyblst.BlstP2Element().uncompress(signature))
        _hold(pyblst.final_verify(left, pyblst.miller_loop(pyblst.BlstP1Element().uncompress(key), hashed)))

    def verify_chainlock(self) -> None:
        """A ChainLock, its quorum chosen among all active ones."""
        verify_chainlock(MAINNET, self.lock, self.quorums)

    def check_cycle(self) -> None:
        """The members of a whole cycle, dealt from three snapshots and one list, and both signatures of each quorum."""
        members = cycle_members(MAINNET, KIND, self.points)[CYCLE]
        check_commitments(MAINNET, list(zip(self.rotated, members, strict=True)))

    def hash_list(self) -> None:
        """One double SHA-256 an entry, of bytes that are there."""
        _hold(len([dsha(raw) for raw in self.entries]) == len(self.entries))

    def check_list(self) -> None:
        """A whole list from its bytes to its proven state: coinbase proof and both roots."""
        diff = MasternodeListDiff.parse(Reader(self.payload), PROTOCOL)
        apply_diff(MAINNET, MasternodeState.empty(MAINNET), diff, self.header, HEIGHT)


def _hold(truth: bool) -> None:
    if not truth:
        raise ValueError("the data of the bench do not hold")


def _generator() -> Any:
    return pyblst.BlstP1Element().uncompress(GENERATOR)


def _masternode(rnd: random.Random, secret: int) -> MasternodeEntry:
    key, legacy = public_key(secret), rnd.random() < LEGACY_SHARE
    key = legacy_form(key) if legacy else key
    address = bytes(10) + b"\xff\xff" + rnd.randbytes(4) + b"\x27\x0f"
    names = rnd.randbytes(32), rnd.randbytes(32)
    return MasternodeEntry(1 if legacy else 2, *names, address, key, rnd.randbytes(20), rnd.random() < 0.8)


def _rotation(
    rnd: random.Random, entries: Mapping[bytes, MasternodeEntry]
) -> tuple[dict[int, RotationPoint], tuple[tuple[MasternodeEntry, ...], ...]]:
    """The cycle with the three before it, and its members."""
    quarters: list[Quarter] = [no_quarter(KIND)] * 3
    points: dict[int, RotationPoint] = {}
    for base in range(CYCLE - (WARM_UP + 3) * KIND.interval, CYCLE, KIND.interval):
        bare = RotationPoint(entries, rnd.randbytes(32))
        points[base] = attrs.evolve(bare, snapshot=make_snapshot(KIND, bare, quarters))
        quarters = [new_quarter(KIND, bare, quarters), *quarters[:2]]
    points[CYCLE] = RotationPoint(entries, rnd.randbytes(32))
    newest = dict(list(points.items())[-4:])
    return newest, rotated_members(KIND, points[CYCLE], quarters)


def _commitment(
    rnd: random.Random, kind: int, index: int | None, secrets: Mapping[bytes, int], members: Sequence[MasternodeEntry]
) -> tuple[QuorumCommitment, int]:
    """One that these members, all of them, really made; and the secret of the quorum."""
    own = rnd.randrange(1, bls.ORDER)
    bits = BitSet.of([True] * MAINNET.quorum_types[kind].size)
    names = rnd.randbytes(32), bits, bits, public_key(own), rnd.randbytes(32)
    bare = QuorumCommitment(3 if index is None else 4, kind, *names, b"", b"", index)
    message = commitment_hash(bare)
    keys = [operator_key(entry.operator_key, entry.version) for entry in members]
    signatures = sign(message, own, aggregate_secret(keys, secrets) or own)
    return attrs.evolve(bare, quorum_signature=signatures[0], members_signature=signatures[1]), own


def _plain(rnd: random.Random, kind: int, secrets: Mapping[bytes, int]) -> tuple[QuorumCommitment, int]:
    return _commitment(rnd, kind, None, secrets, ())


def _lock(
    rnd: random.Random, quorums: Sequence[tuple[QuorumCommitment, int]]
) -> tuple[ChainLock, tuple[bytes, bytes, bytes]]:
    """A ChainLock by the quorum that has to sign it; and its key, message and signature."""
    chosen = chainlock_quorum(MAINNET, [quorum for quorum, _ in quorums], HEIGHT)
    quorum, secret = next(pair for pair in quorums if pair[0] is chosen)
    block = rnd.randbytes(32)
    message = sign_hash(quorum.type, quorum.quorum_hash, chainlock_request_id(HEIGHT), block)
    (signature,) = sign(message, secret)
    return ChainLock(HEIGHT, block, signature), (quorum.public_key, message, signature)


def _whole_list(
    rnd: random.Random, listed: Sequence[MasternodeEntry], quorums: Sequence[QuorumCommitment]
) -> tuple[bytes, bytes]:
    """The list as one `mnlistdiff` from genesis, and the header that it is proven by."""
    after = MasternodeState(HEIGHT, b"", {e.pro_tx_hash: e for e in listed}, {q.key: q for q in quorums})
    stated = CoinbasePayload(3, HEIGHT, after.merkle_root(), after.quorum_root(), 0, bytes(96), 0)
    coinbase = Transaction(
        3, 5, (TxIn(OutPoint(bytes(32), 0xFFFFFFFF), b"\x6a"),), (TxOut(5, b"\x51"),), 0, stated.to_bytes()
    )
    txids = [coinbase.txid, *[rnd.randbytes(32) for _ in range(9)]]
    header = BlockHeader(4, rnd.randbytes(32), merkle_root(txids)[0], 1, 0x1E0FFFF0, 0).to_bytes()
    proof = PartialMerkleTree.build(txids, {0})
    indexes = tuple(range(len(quorums)))
    bare = MasternodeListDiff(bytes(32), x11(header), proof, coinbase, added=tuple(listed), new_quorums=tuple(quorums))
    return attrs.evolve(bare, cl_signatures=((bytes(96), indexes),)).to_bytes(PROTOCOL), header
