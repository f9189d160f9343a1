"""Messages about masternodes: their lists, their quorums, what these sign, and what a masternode proves of itself."""

from __future__ import annotations

from typing import ClassVar, Self

import attrs

from phasegate.consensus.codec import Reader, dsha, i32, i64, var_bytes
from phasegate.consensus.faults import Malformed
from phasegate.consensus.masternodes import MasternodeListDiff
from phasegate.consensus.primitives import OutPoint
from phasegate.consensus.quorums import QuorumCommitment, QuorumSnapshot
from phasegate.consensus.rotation_info import RotationInfo, RotationShare
from phasegate.p2p.messages_base import MAX_PAYLOAD, KnownMessage, PlainMessage, counted, encode_each, flag, hashes

SIGNATURE_SIZE = 96
MAX_BASES = 4096
MAX_LOCKED_INPUTS = 24_400
"""No transaction of at most 1,000,000 bytes has more inputs of at least 41 bytes."""


@attrs.frozen
class GetMnListDiff(PlainMessage):
    """Asks what changed in the masternode list between two blocks of the active chain (hashes in wire order)."""

    command: ClassVar[str] = "getmnlistd"
    max_payload: ClassVar[int] = 64

    base: bytes
    block: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.hash32(), r.hash32())

    def to_bytes(self) -> bytes:
        return self.base + self.block


@attrs.frozen
class MnListDiff(KnownMessage):
    """What changed in the masternode list [DIP4]; its form depends on the negotiated protocol version."""

    command: ClassVar[str] = "mnlistdiff"
    max_payload: ClassVar[int] = MAX_PAYLOAD

    diff: MasternodeListDiff

    @classmethod
    def parse(cls, r: Reader, version: int) -> Self:
        return cls(MasternodeListDiff.parse(r, version))

    def to_payload(self, version: int) -> bytes:
        return self.diff.to_bytes(version)


@attrs.frozen
class GetQrInfo(PlainMessage):
    """Asks for what proves the rotated quorums at `block` [DIP24], given the lists already held at `bases`."""

    command: ClassVar[str] = "getqrinfo"
    max_payload: ClassVar[int] = 3 + 32 * MAX_BASES + 33

    bases: tuple[bytes, ...]
    block: bytes
    extra_share: bool

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(hashes(r, MAX_BASES, "base count"), r.hash32(), flag(r))

    def to_bytes(self) -> bytes:
        return counted(self.bases) + self.block + bytes((self.extra_share,))


@attrs.frozen
class QrInfo(KnownMessage):
    """Everything needed to rebuild the rotated quorums of a cycle H [DIP24, Core llmq/snapshot.h].

    `earlier` are the cycles H-C, H-2C, H-3C, `extra` H-4C when an extra share was asked for. `last_commitments` holds
    the newest mined commitment of each index; `snapshots` and `diffs` belong to older cycles that these still need.
    """

    command: ClassVar[str] = "qrinfo"
    max_payload: ClassVar[int] = MAX_PAYLOAD

    tip: MasternodeListDiff
    cycle: MasternodeListDiff
    earlier: tuple[RotationShare, ...]
    extra: RotationShare | None
    last_commitments: tuple[QuorumCommitment, ...]
    snapshots: tuple[QuorumSnapshot, ...]
    diffs: tuple[MasternodeListDiff, ...]

    @classmethod
    def parse(cls, r: Reader, version: int) -> Self:
        def diff(source: Reader) -> MasternodeListDiff:
            return MasternodeListDiff.parse(source, version)

        snapshots = [QuorumSnapshot.parse(r) for _ in range(3)]
        tip, cycle = diff(r), diff(r)
        earlier = tuple([RotationShare(snapshot, diff(r)) for snapshot in snapshots])
        extra = RotationShare(QuorumSnapshot.parse(r), diff(r)) if flag(r) else None
        commitments = r.many(512, QuorumCommitment.parse, at_least=100, what="commitment count")
        older = r.many(512, QuorumSnapshot.parse, at_least=6, what="snapshot count")
        return cls(tip, cycle, earlier, extra, commitments, older, r.many(512, diff, at_least=64, what="diff count"))

    @property
    def rotation(self) -> RotationInfo:
        """What this tells, in the form in which it is judged.

        Raises:
            Malformed: the snapshots and differences of older cycles do not come in pairs.
        """
        if len(self.snapshots) != len(self.diffs):
            raise Malformed(f"{len(self.snapshots)} snapshots of older cycles with {len(self.diffs)} differences")
        older = tuple([RotationShare(*pair) for pair in zip(self.snapshots, self.diffs, strict=True)])
        return RotationInfo(self.tip, self.cycle, self.earlier, self.extra, older, self.last_commitments)

    def to_payload(self, version: int) -> bytes:
        parts = [point.snapshot.to_bytes() for point in self.earlier]
        parts += [diff.to_bytes(version) for diff in (self.tip, self.cycle, *(p.diff for p in self.earlier))]
        parts.append(bytes((self.extra is not None,)))
        if self.extra is not None:
            parts += [self.extra.snapshot.to_bytes(), self.extra.diff.to_bytes(version)]
        parts.append(encode_each(self.last_commitments, QuorumCommitment.to_bytes))
        parts.append(encode_each(self.snapshots, QuorumSnapshot.to_bytes))
        parts.append(encode_each(self.diffs, lambda diff: diff.to_bytes(version)))
        return b"".join(parts)


@attrs.frozen
class ClSig(PlainMessage):
    """A ChainLock [DIP8]: the block (hash in wire order) that a quorum signed for a height."""

    command: ClassVar[str] = "clsig"
    max_payload: ClassVar[int] = 4 + 32 + SIGNATURE_SIZE

    height: int
    block_hash: bytes
    signature: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.i32(), r.hash32(), r.take(SIGNATURE_SIZE))

    def to_bytes(self) -> bytes:
        return i32(self.height) + self.block_hash + self.signature

    @property
    def inventory_hash(self) -> bytes:
        """The hash it is announced by."""
        return dsha(self.to_bytes())


@attrs.frozen
class IsdLock(PlainMessage):
    """An InstantSend lock [DIP22]: all inputs of a transaction, in its order, and the cycle whose quorum signed."""

    command: ClassVar[str] = "isdlock"
    max_payload: ClassVar[int] = 1 + 3 + 36 * MAX_LOCKED_INPUTS + 64 + SIGNATURE_SIZE

    version: int
    inputs: tuple[OutPoint, ...]
    txid: bytes
    cycle_hash: bytes
    signature: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        number = r.u8()
        if number != 1:
            raise Malformed(f"isdlock version {number} is unknown")
        inputs = r.many(MAX_LOCKED_INPUTS, OutPoint.parse, at_least=36, what="input count")
        return cls(number, inputs, r.hash32(), r.hash32(), r.take(SIGNATURE_SIZE))

    def to_bytes(self) -> bytes:
        inputs = encode_each(self.inputs, OutPoint.to_bytes)
        return bytes((self.version,)) + inputs + self.txid + self.cycle_hash + self.signature

    @property
    def inventory_hash(self) -> bytes:
        """The hash it is announced by."""
        return dsha(self.to_bytes())


@attrs.frozen
class MnAuth(PlainMessage):
    """A masternode's proof of itself: its registration and a signature over our challenge."""

    command: ClassVar[str] = "mnauth"
    max_payload: ClassVar[int] = 32 + SIGNATURE_SIZE

    pro_tx_hash: bytes
    signature: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.hash32(), r.take(SIGNATURE_SIZE))

    def to_bytes(self) -> bytes:
        return self.pro_tx_hash + self.signature


@attrs.frozen
class Spork(PlainMessage):
    """A network switch, signed: `time` in seconds since 1970, `signature` compact ECDSA (65 bytes)."""

    command: ClassVar[str] = "spork"
    max_payload: ClassVar[int] = 20 + 1 + 65

    id: int
    value: int
    time: int
    signature: bytes

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.i32(), r.i64(), r.i64(), r.var_bytes(65, "signature length"))

    def to_bytes(self) -> bytes:
        return i32(self.id) + i64(self.value) + i64(self.time) + var_bytes(self.signature)


@attrs.frozen
class SyncStatusCount(PlainMessage):
    """How many items of one kind (masternode sync, governance) the peer has."""

    command: ClassVar[str] = "ssc"
    max_payload: ClassVar[int] = 8

    item: int
    count: int

    @classmethod
    def read(cls, r: Reader) -> Self:
        return cls(r.i32(), r.i32())

    def to_bytes(self) -> bytes:
        return i32(self.item) + i32(self.count)
