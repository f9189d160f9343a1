"""The blocks phase: the bodies of matched blocks, verified against their headers and searched for watched coins.

Blocks are recorded in ascending order, so that a coin is known before the block that spends it is read. What is
recorded and that the block is done are one transaction. A filter matches by chance now and then; such a block is read
and found empty.

What is found may use a script of a chain of keys so high up that more are derived, in the same transaction (see
`store/key_chains.py`). Then not everything that is watched is matched any more, and the phase is not complete: once all
blocks that were pending are done, the stored filters are matched for what is new, all of it together, and the blocks
that this leads to are fetched. Where phases run beside each other the phase of the filters does so; this one ends at
once, for what it has in hand was searched for less than is watched.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import trio

from phasegate.consensus.blocks import BlockFindings, Coin, check_block, scan_block
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.primitives import OutPoint
from phasegate.consensus.raw_blocks import RawBlock
from phasegate.engine.peers import Peer
from phasegate.engine.phases.block_names import Names
from phasegate.engine.phases.block_records import Outgrown, Records, Searched, recorded
from phasegate.engine.phases.filter_rescan import match_stored
from phasegate.engine.pipeline import in_order
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.p2p.block_runs import load_block_runs
from phasegate.p2p.messages import BlockMessage, GetData, InvItem, InvType
from phasegate.store import Store

if TYPE_CHECKING:
    from phasegate.consensus.sieve import Sieve

PENDING_PAGE = 16_384
"""Pending heights read from the store at once."""
MANY = 2000
"""Blocks to come that are worth loading what reads many at once: a new installation compiles it for some seconds."""

ENTRY, PLACE = 700, 4
"""Bytes that a block and the place of one of its transactions take in memory beside its own, with CPython 3.11."""


async def download_blocks(work: Work) -> None:
    """The activity of the state `blocks`: matched blocks, and whatever matches what these have derived."""
    alone = work.config.strategy == "sequential"
    await _download_pending(work)
    while alone and (marks := work.writer.marks).matched < marks.tip:
        if marks.filters < marks.tip:
            work.rewind(f"filters from {marks.filters + 1} on are wanted again, for scripts that were derived")
        await match_stored(work)
        await _download_pending(work)


def searchable(work: Work) -> bool:
    """Whether no match can be found any more below the first block that is pending; also if none is.

    Filters that were given up leave blocks pending that matched in them. Between these others may match by and by, and
    a coin has to be known before the block that spends it is searched.
    """
    first = work.store.pending(1)
    return not first or first[0] <= work.writer.marks.matched


async def _download_pending(work: Work) -> None:
    matched = work.writer.marks.matched
    heights = [height for height in work.store.pending(PENDING_PAGE) if height <= matched]
    if not heights:
        return
    per_peer = work.limits.in_flight["blocks"]
    with work.desk("blocks") as desk:
        watched = await work.seams.compute(_Watched.of, work.store)
        download = _Download(work, desk, watched)
        size = work.limits.batch["blocks"]
        jobs = [tuple(heights[i : i + size]) for i in range(0, len(heights), size)]
        fetch, apply = download.fetch, download.apply
        with suppress(Outgrown):
            async with recorded(download.records):
                await in_order(work, work.chain_peers, jobs, fetch, apply, per_peer=per_peer, size=taken_by)


def taken_by(blocks: Sequence[RawBlock]) -> int:
    """The bytes that `blocks` take in memory."""
    return sum(ENTRY + len(block.raw) + PLACE * len(block) for block in blocks)


@attrs.frozen
class _Watched:
    """What blocks are searched for: scripts, and unspent coins as far as the blocks before have told them."""

    scripts: frozenset[bytes]
    coins: dict[OutPoint, Coin]
    sieve: Sieve

    @classmethod
    def of(cls, store: Store) -> _Watched:
        """What is stored, read and prepared in a worker thread: the compiled code is loaded with it."""
        from phasegate.consensus.sieve import Sieve

        if store.marks.pending_blocks >= MANY:
            load_block_runs()
        scripts, coins = frozenset([item.script for item in store.watch_items()]), store.coins()
        return cls(scripts, coins, Sieve(scripts, coins))

    def learn(self, findings: BlockFindings) -> None:
        """The coins of one more block, for the next."""
        for coin in findings.created:
            self.coins[coin.outpoint] = coin
        for outpoint, _ in findings.spent:
            self.coins.pop(outpoint, None)


class _Download:
    def __init__(self, work: Work, desk: Desk, watched: _Watched) -> None:
        self._work = work
        self._desk = desk
        self._watched = watched
        self.records = Records(work, self._outgrown)
        self._names = Names(work.store, work.writer.marks.tip)

    def _outgrown(self) -> bool:
        """Whether the phase of the filters, at work beside this one, may match what is not searched for here."""
        beside = self._work.config.strategy == "interleaved"
        return beside and self._work.writer.marks.watch_items > len(self._watched.scripts)

    async def fetch(self, peer: Peer, heights: tuple[int, ...]) -> list[RawBlock]:
        """The verified blocks at `heights`."""
        named = self._names.of(heights)
        missing, lies, replies = set(named.hashes), list[PeerMisbehaved](), list[BlockMessage]()
        with trio.CancelScope() as asking:

            def fits(reply: BlockMessage) -> bool:
                """Judged as it comes: what a liar makes us hold is one block, and what comes too late none at all."""
                name = named.name(reply.body)
                if name not in missing:
                    return False
                missing.discard(name)
                try:
                    check_block(reply.body, name)
                except PeerMisbehaved as lie:
                    lies.append(lie)
                    asking.cancel()
                return True

            request = GetData(tuple(InvItem(InvType.BLOCK, name) for name in named.hashes))
            replies = await self._desk.ask_many(peer, request, BlockMessage, fits, len(heights))
        if lies:
            raise lies[0]
        blocks = {reply.body.hash: reply.body for reply in replies}
        return [blocks[name] for name in named.hashes]

    async def apply(self, heights: tuple[int, ...], blocks: list[RawBlock]) -> None:
        """Search the blocks at `heights` for what they pay to and spend from watched scripts, and have it recorded."""
        found = [self._search(height, block) for height, block in zip(heights, blocks, strict=True)]
        await self.records.put(found)

    def _search(self, height: int, block: RawBlock) -> Searched:
        watched, locks, ours = self._watched, self._work.locks, self._work.broadcasts
        findings = scan_block(block, height, watched.scripts, watched.coins, watched.sieve)
        watched.learn(findings)
        if locks.enabled and height > (self._work.writer.marks.chainlock or 0):
            # a coinbase tells of a lock below its own block
            locks.offer_coinbase(block.transaction(0), self._work.store)
        if ours is None or not ours.any_open:
            return Searched(findings)
        return Searched(findings, ours.found(block, height), block)
