"""What a simulated node serves: one chain, by height, in the pieces that requests ask for.

`SimulatedChain` is the door; a generated chain, a recording and a lie stand behind it alike. Hashes are 32 bytes in
wire order, heights count from the genesis block at 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypedDict

import attrs

from phasegate.consensus.filters import filter_hash, filter_header
from phasegate.consensus.masternodes import MasternodeListDiff
from phasegate.consensus.params import Network
from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.p2p.messages import GetQrInfo, QrInfo


class Expected(TypedDict):
    """What a correct client finds for the watched addresses: txids in display order, duffs by script hex."""

    transactions: list[str]
    balances: dict[str, int]


@attrs.frozen
class Announced:
    """Something offered by inv as soon as a client is there: its inv type, hash, command and payload."""

    inv_type: int
    hash: bytes
    command: str
    payload: bytes


class SimulatedChain(Protocol):
    """One chain as a node knows it."""

    @property
    def network(self) -> Network: ...

    @property
    def height(self) -> int:
        """Of the tip."""

    @property
    def tip_hash(self) -> bytes: ...

    @property
    def watch(self) -> tuple[str, ...]:
        """The addresses a client is told to watch."""

    @property
    def expected(self) -> Expected: ...

    @property
    def watched_heights(self) -> tuple[int, ...]:
        """Heights of the blocks that pay to or spend from watched addresses, ascending."""

    def header(self, height: int) -> bytes:
        """80 bytes."""

    def headers(self, start: int, count: int) -> bytes:
        """At most `count` headers from `start` on, 80 bytes each; fewer at the tip."""

    def hash_at(self, height: int) -> bytes: ...

    def height_of(self, block_hash: bytes) -> int | None:
        """None for a hash that is not on this chain."""

    def block(self, height: int) -> bytes | None:
        """The serialised block, or None when this chain does not have it (the genesis block)."""

    def filter(self, height: int) -> bytes:
        """The basic filter with its count in front."""

    def filter_hash(self, height: int) -> bytes: ...

    def filter_header(self, height: int) -> bytes:
        """32 zero bytes at height -1."""

    def mnlistdiff(self, base: int, height: int) -> MasternodeListDiff | None:
        """What changed in the masternode list from `base` to `height`; None where this chain cannot tell."""

    def qrinfo(self, request: GetQrInfo, version: int) -> QrInfo | None:
        """What answers `request` of a peer of protocol `version`; None where this chain cannot tell."""

    def locks(self) -> tuple[Announced, ...]:
        """ChainLocks and InstantSend locks to announce to whoever comes."""

    def locks_of(self, height: int) -> tuple[Announced, ...]:
        """Those that come with the block at `height`: of its transactions, then of itself."""

    def lock(self, inv_type: int, inventory_hash: bytes) -> Announced | None:
        """What was announced under this hash; None if nothing was."""


def last_shared_height(one: SimulatedChain, other: SimulatedChain) -> int:
    """The height of the last block that two chains of one network have in common."""
    low, high = 0, min(one.height, other.height)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if one.hash_at(middle) == other.hash_at(middle) else (low, middle - 1)
    return low


@attrs.define(slots=False, repr=False)
class StoredBlocks:
    """The blocks, headers, hashes and filters of a chain, dense from genesis; the common part of every chain."""

    network: Network
    _headers: bytearray = attrs.field(factory=bytearray)
    _hashes: list[bytes] = attrs.field(factory=list)
    _heights: dict[bytes, int] = attrs.field(factory=dict)
    _blocks: list[bytes] = attrs.field(factory=list)
    _filters: list[bytes] = attrs.field(factory=list)
    _filter_hashes: list[bytes] = attrs.field(factory=list)
    _filter_headers: list[bytes] = attrs.field(factory=list)
    _on_offer: dict[tuple[int, bytes], Announced] = attrs.field(factory=dict)

    @property
    def height(self) -> int:
        return len(self._hashes) - 1

    @property
    def tip_hash(self) -> bytes:
        return self._hashes[-1]

    def header(self, height: int) -> bytes:
        return self.headers(height, 1)

    def headers(self, start: int, count: int) -> bytes:
        return bytes(self._headers[start * HEADER_SIZE : (start + count) * HEADER_SIZE])

    def hash_at(self, height: int) -> bytes:
        return self._hashes[height]

    def height_of(self, block_hash: bytes) -> int | None:
        return self._heights.get(block_hash)

    def block(self, height: int) -> bytes | None:
        return self._blocks[height] or None

    def filter(self, height: int) -> bytes:
        return self._filters[height]

    def filter_hash(self, height: int) -> bytes:
        return self._filter_hashes[height]

    def filter_header(self, height: int) -> bytes:
        return self._filter_headers[height] if height >= 0 else bytes(32)

    def locks(self) -> tuple[Announced, ...]:
        return ()

    def locks_of(self, height: int) -> tuple[Announced, ...]:  # noqa: ARG002 - for chains that have locks
        return ()

    def lock(self, inv_type: int, inventory_hash: bytes) -> Announced | None:
        return self._on_offer.get((inv_type, inventory_hash))

    def _offer(self, locks: Iterable[Announced]) -> tuple[Announced, ...]:
        """Announce these, and keep them for those who ask."""
        offered = tuple(locks)
        self._on_offer |= {(lock.inv_type, lock.hash): lock for lock in offered}
        return offered

    def append_genesis(self, raw_filter: bytes) -> None:
        """The network's genesis header, without a block behind it."""
        self.append(x11(self.network.genesis), self.network.genesis, b"", raw_filter)

    def append(self, block_hash: bytes, header: bytes, block: bytes, raw_filter: bytes) -> None:
        """One block more: its 80-byte header, its serialisation (empty for none) and its filter."""
        self._heights[block_hash] = len(self._hashes)
        self._filters.append(raw_filter)
        self._filter_hashes.append(filter_hash(raw_filter))
        self._filter_headers.append(filter_header(self._filter_hashes[-1], self.filter_header(self.height)))
        self._hashes.append(block_hash)
        self._headers += header
        self._blocks.append(block)
