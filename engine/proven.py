"""What the stored chain says about itself, as a user is given it: headers, blocks, masternodes.

Everything here is proven before it is shown: a header by the walk that stored it, a block by that header's merkle root,
a masternode list by the root in the coinbase of its block. Hashes are 32 bytes in wire order, as everywhere inside; who
asks may also write one as people see it, 64 hex digits in display order (`block_hash`).
"""

from __future__ import annotations

from functools import cached_property

import attrs

from phasegate.consensus.masternode_entry import EVO, MasternodeEntry
from phasegate.consensus.masternodes import MasternodeState
from phasegate.consensus.primitives import Block, BlockHeader, Transaction
from phasegate.engine.errors import ConfigError
from phasegate.p2p.address_forms import from_service


class UnknownBlock(LookupError):
    """No block of that height or hash is stored."""


@attrs.frozen
class ProvenHeader:
    """A header of the stored chain.

    Args:
        height: absolute, genesis is 0.
        hash: of the block, 32 bytes, wire order.
        version: as the header states it.
        previous: hash of the block below, 32 bytes, wire order.
        merkle_root: over the transactions, 32 bytes, wire order.
        time: that the header states, seconds since 1970.
        bits: the target in compact form.
        nonce: of the proof of work.
        confirmations: blocks of the stored chain from this one on; the tip has 1.
        chainlocked: a verified ChainLock holds this block, or one above it.
        raw: all of it, 80 bytes.
    """

    height: int
    hash: bytes
    version: int
    previous: bytes
    merkle_root: bytes
    time: int
    bits: int
    nonce: int
    confirmations: int
    chainlocked: bool
    raw: bytes = attrs.field(repr=False)

    @classmethod
    def of(cls, raw: bytes, height: int, block: bytes, tip: int, locked: int | None) -> ProvenHeader:
        """From the stored 80 bytes, what the chain's `tip` is, and the highest block that is `locked`."""
        header = BlockHeader.from_bytes(raw)
        parts = header.version, header.prev, header.merkle_root, header.time, header.bits, header.nonce
        return cls(height, block, *parts, tip - height + 1, locked is not None and height <= locked, raw)


@attrs.frozen(slots=False)
class ProvenBlock:
    """A whole block of the stored chain, proven by the merkle root of its header; `raw` is its serialisation."""

    header: ProvenHeader
    raw: bytes = attrs.field(repr=False)

    @cached_property
    def transactions(self) -> tuple[Transaction, ...]:
        """All transactions, the coinbase first."""
        return Block.from_bytes(self.raw).transactions


@attrs.frozen
class Masternode:
    """A masternode of a verified list.

    Args:
        pro_tx_hash: its name, 32 bytes, wire order.
        confirmed_hash: 32 bytes, wire order; zeros until it is confirmed.
        addresses: where it listens for peers, `HOST:PORT` each; none if it does not say.
        operator_key: BLS public key, 48 bytes.
        voting_key: hash of a public key, 20 bytes.
        enabled: False while it is banned for bad service.
        evo: whether it serves Platform, too.
        platform_node: 20 bytes, of evo masternodes; else empty.
    """

    pro_tx_hash: bytes
    confirmed_hash: bytes
    addresses: tuple[str, ...]
    operator_key: bytes
    voting_key: bytes
    enabled: bool
    evo: bool
    platform_node: bytes

    @classmethod
    def of(cls, entry: MasternodeEntry) -> Masternode:
        """From an entry of the list."""
        return cls(
            entry.pro_tx_hash,
            entry.confirmed_hash,
            tuple(map(str, from_service(entry.address))),
            entry.operator_key,
            entry.voting_key,
            entry.valid,
            entry.type == EVO,
            entry.node_id,
        )


@attrs.frozen
class MasternodeList:
    """The masternodes after one block, by proTxHash, and the root over them that the block's coinbase states.

    `height` is absolute, `block_hash` and `merkle_root` are 32 bytes in wire order.
    """

    height: int
    block_hash: bytes
    merkle_root: bytes
    masternodes: tuple[Masternode, ...]

    @classmethod
    def read(cls, raw: bytes) -> MasternodeList:
        """From the stored form, which the store has checked against its checksum."""
        state = MasternodeState.from_bytes(raw)
        rows = tuple([Masternode.of(state.entries[name]) for name in sorted(state.entries)])
        return cls(state.height, state.block_hash, state.merkle_root(), rows)


def block_hash(block: object) -> bytes:
    """The 32 bytes, wire order, that `block` stands for: these bytes, or 64 hex digits in display order.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(block, bytes) and len(block) == 32:
        return block
    if isinstance(block, str) and len(block) == 64 and _HEX.issuperset(block):
        return bytes.fromhex(block)[::-1]
    wanted = "a height, 32 bytes of hash in wire order, or its 64 hex digits in display order"
    raise ConfigError(f"block {block!r} is not {wanted}")


_HEX = frozenset("0123456789abcdefABCDEF")
