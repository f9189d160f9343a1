"""What a user looks up in the proven chain: a header, a whole block, the masternodes, the best ChainLock."""

from __future__ import annotations

from phasegate.consensus.x11 import x11
from phasegate.engine.arguments import seconds
from phasegate.engine.inquiry import Inquiry
from phasegate.engine.proven import MasternodeList, ProvenBlock, ProvenHeader, UnknownBlock, block_hash
from phasegate.store import StoredChainLock

BLOCK_TIMEOUT = 60.0
"""Seconds that `get_block` waits if nothing else is said."""


class Lookups(Inquiry):
    """The part of a client that answers questions about the chain."""

    def get_header(self, block: int | bytes | str) -> ProvenHeader:
        """A header of the stored chain.

        Args:
            block: its absolute height; or the block's hash, 32 bytes in wire order, or 64 hex digits in display order.

        Raises:
            UnknownBlock: no such block is stored.
            ConfigError: `block` is none of these.
            StoreError: the client has ended and its store is closed, or it cannot be read.
        """
        name = None if _is_height(block) else block_hash(block)
        height = block if name is None else self._store.height_of(name)
        header = self._header(height) if isinstance(height, int) else None
        if header is None or name not in (None, header.hash):  # a reorganisation may have come between the two look-ups
            told = block if name is None else name[::-1].hex()
            raise UnknownBlock(f"block {told!s} is not stored; the newest is {self._writer.marks.tip}")
        return header

    def _header(self, height: int) -> ProvenHeader | None:
        marks = self._writer.marks
        try:
            raw = self._store.header(height)
        except LookupError:
            return None
        return ProvenHeader.of(raw, height, x11(raw), max(marks.tip, height), marks.chainlock)

    async def get_block(self, block: int | bytes | str, *, timeout: float = BLOCK_TIMEOUT) -> ProvenBlock:
        """A whole block of the stored chain, fetched from a peer and proven by the stored header's merkle root.

        Blocks are fetched while the client is synced; one that is asked for while it takes a new block waits for that.
        Nothing is kept: who asks twice downloads twice.

        Args:
            block: as for `get_header`.
            timeout: seconds after which to give up.

        Raises:
            UnknownBlock: no such block is stored, or a reorganisation dropped it meanwhile.
            BlockUnavailable: the client is not synced, or no peer sent the block.
            ConfigError: `block` is no height and no hash, or `timeout` no number of seconds.
            StoreError: as `get_header`.
        """
        self._check_loop("get_block")
        seconds("timeout", timeout)
        asked = self.get_header(block)
        raw = await self._work.block_orders.get(asked.hash, timeout, lambda: self.state)
        return ProvenBlock(self.get_header(asked.hash), raw.raw)

    async def get_masternodes(self) -> MasternodeList | None:
        """The newest stored masternode list, proven by the coinbase of its block; None while there is none.

        Raises:
            StoreError: the client has ended and its store is closed, or it cannot be read.
        """
        raw = self._store.masternode_state()
        return None if raw is None else await self._seams.compute(MasternodeList.read, raw)

    def get_chainlock(self) -> StoredChainLock | None:
        """The best verified ChainLock, with the quorum that signed it; None while there is none.

        Hashes are 32 bytes in wire order, the signature has 96 bytes.

        Raises:
            StoreError: the client has ended and its store is closed, or it cannot be read.
        """
        return next(iter(self._store.chainlocks(-1)), None)


def _is_height(block: object) -> bool:
    return isinstance(block, int) and not isinstance(block, bool)
