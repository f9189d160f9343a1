"""One masternode of a simplified list, in every form that it has on the wire [DIP4, Core evo/simplifiedmns.h].

From protocol 70228 on the entry begins with its own version; at 70227 that version is not sent although the type
is, so 2 is assumed there, and a list that mixes versions cannot be read (peers that old are refused for masternode
data). The hash of an entry never covers its version.
"""

from __future__ import annotations

import hashlib
import struct
from functools import cached_property

import attrs

from phasegate.consensus.codec import Reader, dsha, u16
from phasegate.consensus.faults import Malformed
from phasegate.consensus.netinfo import EXTENDED_VERSION, SERVICE_SIZE, take_netinfo

OLDEST_PROTOCOL = 70227
PROTOCOL_ENTRY_VERSION = 70228
REGULAR, EVO = 0, 1
_BASIC = 2
_FIXED = struct.Struct(f"<32s32s{SERVICE_SIZE}s48s20sB")


@attrs.frozen(slots=False)
class MasternodeEntry:
    """One masternode.

    Args:
        version: 1 legacy operator key and no type, 2 basic, 3 extended addresses.
        pro_tx_hash: 32 bytes, wire order; the key of the list.
        confirmed_hash: 32 bytes, zero until the masternode is confirmed.
        address: the raw address bytes.
        operator_key: 48 bytes of BLS public key.
        voting_key: 20 bytes.
        valid: False while banned.
        type: 0 regular, 1 evo.
        http_port: of evo masternodes below version 3, else None.
        node_id: 20 bytes, of evo masternodes only, else empty.
    """

    version: int
    pro_tx_hash: bytes
    confirmed_hash: bytes
    address: bytes
    operator_key: bytes
    voting_key: bytes
    valid: bool
    type: int = REGULAR
    http_port: int | None = None
    node_id: bytes = b""

    @classmethod
    def parse(cls, r: Reader, protocol_version: int) -> MasternodeEntry:
        version = r.u16() if protocol_version >= PROTOCOL_ENTRY_VERSION else _BASIC
        if not 1 <= version <= EXTENDED_VERSION:
            raise Malformed(f"masternode entry version {version} is unknown")
        start = r.pos
        if version < EXTENDED_VERSION:
            name, confirmed, address, key, voting, valid = r.record(_FIXED)
        else:
            name, confirmed, address = r.take(32), r.take(32), take_netinfo(r, version)
            key, voting, valid = r.take(48), r.take(20), r.u8()
        if valid > 1:
            raise Malformed(f"{valid} is no truth value")
        head = name, confirmed, address, key, voting, valid == 1
        kind = r.u16() if version >= _BASIC else REGULAR
        if kind == EVO:
            port = r.u16() if version < EXTENDED_VERSION else None
            entry = cls(version, *head, kind, port, r.take(20))
        else:
            entry = cls(version, *head, kind)
        entry.__dict__["_hashed"] = r.since(start)  # as it was read, so that it need not be written to be hashed
        return entry

    def to_bytes(self, protocol_version: int) -> bytes:
        if protocol_version >= PROTOCOL_ENTRY_VERSION:
            return u16(self.version) + self._hashed
        return self._hashed

    @cached_property
    def _hashed(self) -> bytes:
        head = self.pro_tx_hash + self.confirmed_hash + self.address + self.operator_key + self.voting_key
        kind = u16(self.type) if self.version >= _BASIC else b""
        port = b"" if self.http_port is None else u16(self.http_port)
        return head + (b"\1" if self.valid else b"\0") + kind + port + self.node_id

    @cached_property
    def score_seed(self) -> bytes:
        """SHA-256 of proTxHash and confirmedHash: what a quorum's modifier turns into a score [DIP6]."""
        return hashlib.sha256(self.pro_tx_hash + self.confirmed_hash).digest()

    @cached_property
    def unique_traits(self) -> tuple[bytes, ...]:
        """What no two masternodes of a list share: name, and address, operator key and node id where it has them."""
        return tuple(
            [trait for trait in (self.pro_tx_hash, self.address, self.operator_key, self.node_id) if any(trait)]
        )

    def leaf_hash(self) -> bytes:
        """The leaf of the masternode root: double SHA-256 of the entry without its version."""
        leaf: bytes | None = self.__dict__.get("_leaf")  # a cached_property would take a lock for each of thousands
        if leaf is None:
            leaf = self.__dict__["_leaf"] = dsha(self._hashed)
        return leaf
