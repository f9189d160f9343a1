"""The extra payloads of special transactions [DIP2, DIP3, DIP27, Core evo/]: what registers, changes and revokes.

Signatures are random bytes of the right length: a light client sees the payloads, never the keys behind them.
"""

from __future__ import annotations

import attrs

from phasegate.consensus.codec import compact_size, dsha, u16, u32, u64, var_bytes
from phasegate.consensus.primitives import OutPoint, TxIn, TxOut

PROVIDER_REGISTER, PROVIDER_SERVICE, PROVIDER_REGISTRAR, PROVIDER_REVOKE = 1, 2, 3, 4
ASSET_LOCK, ASSET_UNLOCK = 8, 9
REGULAR, EVO = 0, 1
LEGACY, BASIC = 1, 2
"""Versions of payloads and entries: the BLS scheme of the operator key. After V19 old masternodes keep the first."""


@attrs.frozen
class Platform:
    """What an evo node adds: its node id (20 bytes) and two ports."""

    node_id: bytes
    p2p_port: int
    http_port: int

    def to_bytes(self) -> bytes:
        return self.node_id + u16(self.p2p_port) + u16(self.http_port)


@attrs.frozen
class Keys:
    """The keys a masternode is registered with: owner and voting (20-byte ids), operator (48 bytes)."""

    owner: bytes
    operator: bytes
    voting: bytes


def inputs_hash(inputs: tuple[TxIn, ...]) -> bytes:
    """What binds a payload to its transaction: dsha of the 36-byte prevouts."""
    return dsha(b"".join([i.prevout.to_bytes() for i in inputs]))


def register(
    collateral: OutPoint,
    address: bytes,
    keys: Keys,
    payout: bytes,
    inputs: tuple[TxIn, ...],
    platform: Platform | None,
    signature: bytes,
    version: int = BASIC,
) -> bytes:
    """ProRegTx payload; a collateral inside the transaction itself has a null hash, `address` is 18 raw bytes."""
    kind = EVO if platform else REGULAR
    head = u16(version) + u16(kind) + u16(0) + collateral.to_bytes() + address
    keyed = keys.owner + keys.operator + keys.voting + u16(0) + var_bytes(payout)
    return head + keyed + inputs_hash(inputs) + (platform.to_bytes() if platform else b"") + var_bytes(signature)


def update_service(
    pro_tx_hash: bytes, address: bytes, inputs: tuple[TxIn, ...], platform: Platform | None, signature: bytes
) -> bytes:
    """ProUpServTx payload, without an operator payout; `signature` has 96 bytes."""
    head = u16(BASIC) + u16(EVO if platform else REGULAR) + pro_tx_hash + address + var_bytes(b"")
    return head + inputs_hash(inputs) + (platform.to_bytes() if platform else b"") + signature


def update_registrar(
    pro_tx_hash: bytes, operator: bytes, voting: bytes, payout: bytes, inputs: tuple[TxIn, ...], signature: bytes
) -> bytes:
    """ProUpRegTx payload: new operator key, voting key and payout script."""
    head = u16(BASIC) + pro_tx_hash + u16(0) + operator + voting + var_bytes(payout)
    return head + inputs_hash(inputs) + var_bytes(signature)


def revoke(pro_tx_hash: bytes, reason: int, inputs: tuple[TxIn, ...], signature: bytes) -> bytes:
    """ProUpRevTx payload; `signature` has 96 bytes."""
    return u16(BASIC) + pro_tx_hash + u16(reason) + inputs_hash(inputs) + signature


def asset_lock(credited: tuple[TxOut, ...]) -> bytes:
    """Asset lock payload: the outputs credited on Platform."""
    return b"\x01" + compact_size(len(credited)) + b"".join([c.to_bytes() for c in credited])


def asset_unlock(index: int, fee: int, height: int, quorum_hash: bytes, signature: bytes) -> bytes:
    """Asset unlock payload: the `index`-th withdrawal, signed at `height` by the quorum named."""
    return b"\x01" + u64(index) + u32(fee) + u32(height) + quorum_hash + signature


def commitment(height: int, raw: bytes) -> bytes:
    """Payload of a type 6 transaction: a serialised quorum commitment mined at `height`."""
    return u16(1) + u32(height) + raw
