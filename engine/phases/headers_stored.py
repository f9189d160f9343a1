"""What the stored headers say to the rules: the end of the chain at any height, and whether all of it still holds.

A header is judged by what stands before it. So before a peer is blamed for one that breaks a rule right above the
stored chain, the stored headers it was judged by are hashed again; and when no peer follows the stored chain, all of it
is judged again, in pieces, from its base. What is found wrong is rolled back and comes again: our own damage is never
held against the peers.
"""

from __future__ import annotations

import attrs
import numpy as np

from phasegate.consensus.checkpoints import between, check_checkpoint, checkpoints
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.headers import ChainTip, context_size, extend, tip_from, work_of
from phasegate.consensus.params import Network
from phasegate.consensus.x11 import HEADER_SIZE, x11_many
from phasegate.engine.errors import Failure, FailureKind
from phasegate.engine.phases.headers_requests import PIECE
from phasegate.engine.work import Work
from phasegate.store import RecordLost, RollBack, Store, StoreCorrupt

_NEVER_FUTURE = (1 << 32) - 1
"""The clock for what is stored: it was not from the future when it came."""


@attrs.frozen
class Judged:
    """The stored chain as far as it holds: its last good header, and what is wrong with the one after it ("": none)."""

    good: ChainTip
    wrong: str = ""


class StoredHeaders:
    """The stored header chain, seen by the rules."""

    def __init__(self, work: Work) -> None:
        self._work = work

    async def tip_at(self, height: int) -> ChainTip:
        """The end of the stored chain as if it ended at `height`."""
        store, network = self._work.store, self._work.network
        work = await self._work_at(height)
        return tip_from(network, height, store.hash_at(height), work, recent(store, network, height))

    async def _work_at(self, height: int) -> int:
        """The chainwork up to `height`: that of the tip, less what stands above."""
        marks, work = self._work.writer.marks, self._work.writer.marks.work
        for first in range(height + 1, marks.tip + 1, PIECE):
            count = min(PIECE, marks.tip + 1 - first)
            work -= await self._work.seams.compute(_work_in, self._work.store, first, count)
        return work

    async def holds_at(self, height: int) -> bool:
        """Whether the stored headers, by which the one above `height` is judged, are those of their hashes."""
        return await self._work.seams.compute(_is_whole, self._work.store, self._work.network, height)

    async def judge(self) -> Judged:
        """Judge every stored header again.

        Raises:
            StoreCorrupt: it is the base that is wrong, below which nothing can be rolled back.
        """
        store, network, marks = self._work.store, self._work.network, self._work.writer.marks
        if not await self.holds_at(marks.base):
            raise StoreCorrupt(f"the header at {marks.base} is not that of its hash", "headers", marks.base, marks.base)
        judged = Judged(attrs.evolve(await self.tip_at(marks.base), work=await self._base_work()))
        while judged.good.height < marks.tip and not judged.wrong:
            count = min(PIECE, marks.tip - judged.good.height)
            judged = await self._work.seams.compute(_judge_piece, store, network, judged.good, count)
        return judged

    async def _base_work(self) -> int:
        base, anchor = self._work.writer.marks.base, self._work.config.anchor
        if base == 0:
            return work_of(int.from_bytes(self._work.network.genesis[72:76], "little"))
        return anchor.work if anchor is not None and anchor.height == base else await self._work_at(base)

    async def suspect(self, height: int) -> None:
        """A header right above the stored one at `height` breaks a rule: make sure that it is not our own damage.

        Raises:
            RolledBack: it was; what is wrong is gone.
        """
        if not await self.holds_at(height):
            await self.suspect_all()

    async def suspect_all(self) -> None:
        """Judge all of the stored chain again, once for each tip, and have what is wrong come again.

        Raises:
            RolledBack: something was.
        """
        marks = self._work.writer.marks
        if self._work.live.audited == marks.tip_hash:
            return
        judged = await self.judge()
        if judged.wrong or judged.good.work != marks.work:
            await self._repair(judged.good, judged.wrong or "their work was miscounted")
        self._work.live.audited = marks.tip_hash

    async def hold_against_checkpoints(self) -> None:
        """Roll back below a stored header that contradicts a built-in checkpoint, to the last one that is right.

        Once a run: what is added later is judged as it comes.

        Raises:
            Failure: the chain begins with such a header.
            RolledBack: something was rolled back.
        """
        marks, network = self._work.writer.marks, self._work.network
        if self._work.live.checkpointed:
            return
        wrong, last = await self._work.seams.compute(_first_contradiction, self._work.store, network)
        if wrong and last < marks.base:
            raise Failure(
                FailureKind.DISPUTED, f"the first stored header does not belong to {network.file_name}: {wrong}"
            )
        if wrong:
            await self._repair(await self.tip_at(last), wrong)
        self._work.live.checkpointed = True

    async def _repair(self, good: ChainTip, reason: str) -> None:
        """Roll back to `good`, the last header that holds, say why, and begin the walk again."""
        tip = self._work.writer.marks.tip
        self._work.warn("headers-repaired", f"stored headers above {good.height} are wrong ({reason}): rolled back")
        lost = RecordLost(good.height, self._work.seams.now())
        await self._work.writer.commit([lost, RollBack(good.height, good.work)])
        self._work.live.agreed.clear()
        self._work.live.elsewhere.clear()
        self._work.live.settled.clear()
        self._work.live.opinions.examined.clear()
        self._work.rewound(tip, good.height)
        self._work.rewind(reason)


def recent(store: Store, network: Network, height: int) -> bytes:
    """The raw headers that end at `height`, as many as the one above it is judged by."""
    base, wanted = store.marks.base, context_size(network, height)
    first = height + 1 - wanted
    below = store.context()[first * HEADER_SIZE - base * HEADER_SIZE :] if first < base else b""
    first = max(first, base)
    return below + store.headers(first, height + 1 - first)


def _first_contradiction(store: Store, network: Network) -> tuple[str, int]:
    """Which checkpoint the stored chain contradicts ("": none), and the last right one before it, or the base."""
    last = store.marks.base if store.marks.base not in checkpoints(network) else store.marks.base - 1
    for height in between(network, store.marks.base, store.marks.tip):
        try:
            check_checkpoint(network, height, store.hash_at(height))
        except PeerMisbehaved as contradicted:
            return contradicted.detail, last
        last = height
    return "", last


def _work_in(store: Store, first: int, count: int) -> int:
    """The work of `count` stored headers from `first` on; most have the same bits as another."""
    raw = np.frombuffer(store.headers(first, count), np.uint8).reshape(-1, HEADER_SIZE)
    bits, times = np.unique(np.ascontiguousarray(raw[:, 72:76]).view("<u4"), return_counts=True)
    return sum(work_of(int(b)) * int(n) for b, n in zip(bits, times, strict=True))


def _is_whole(store: Store, network: Network, height: int) -> bool:
    count = min(context_size(network, height), height + 1 - store.marks.base)
    first = height + 1 - count
    return x11_many(store.headers(first, count)) == store.hashes(first, count)


def _judge_piece(store: Store, network: Network, tip: ChainTip, count: int) -> Judged:
    """As many of the `count` stored headers above `tip` as hold; the first that does not is searched for by halves."""
    raw, hashes = store.headers(tip.height + 1, count), store.hashes(tip.height + 1, count)
    good, wrong, end = tip, "", tip.height + count + 1
    part = count
    while part:
        at = good.height - tip.height
        told = _what_is_wrong(
            network, good, raw[at * HEADER_SIZE :][: part * HEADER_SIZE], hashes[at * 32 :][: part * 32]
        )
        if isinstance(told, ChainTip):
            good = told
        else:
            wrong, end = told, good.height + part
        part = (end - good.height) // 2
    return Judged(good, wrong)


def _what_is_wrong(network: Network, tip: ChainTip, raw: bytes, hashes: bytes) -> ChainTip | str:
    """The tip that these stored headers make of `tip`, or why they cannot stand there."""
    try:
        checked = extend(network, tip, raw, _NEVER_FUTURE)
    except PeerMisbehaved as fault:
        return str(fault)
    return checked.tip if checked.hashes == hashes else f"those up to {checked.tip.height} are not of their hashes"
