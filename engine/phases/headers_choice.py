"""Which chain is stored: where a batch of headers belongs, whether it holds, and whether its chain is the better one.

The chain with the most validated work is the better one, the first seen of two equals. What extends the stored tip is
stored. What leaves the stored chain below it is a branch (`engine/branches.py`), until its work exceeds the stored
tip's; then one transaction rolls every table back to the fork and appends the branch. Nothing else in a running client
does that. Two things stand above work:

- A built-in checkpoint: a fork below one that the stored chain passes is refused, and a branch that passes one which
  the stored chain does not is taken (what stands between two of them may have been mined much later, with much more
  work than the blocks of its time).
- A ChainLock decides between two branches if the quorum that signed it was mined at or below their fork, so is common
  to both: a better branch that leaves below such a lock is refused, a lighter one that has such a lock replaces ours.
  A quorum mined above the fork proves nothing, because who feeds a fork feeds its quorums too.
"""

from __future__ import annotations

from phasegate.consensus.checkpoints import between
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.headers import ChainTip, CheckedHeaders, extend, locator_heights
from phasegate.consensus.primitives import header_at
from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.engine.branches import Branch
from phasegate.engine.errors import FailureKind, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.phases.headers_requests import Batch, HeaderRequests
from phasegate.engine.phases.headers_stored import StoredHeaders
from phasegate.engine.requests import Desk
from phasegate.engine.work import Work
from phasegate.store import AppendHeaders, RecordLost, RecordRefusedBranch

MAX_STALE = 3
"""Answers that bring nothing new, with nothing stored in between, before a peer is dropped as useless."""


class Choice:
    """The stored chain and the one branch that competes with it while a peer is followed.

    Args:
        work: the workbench.
        desk: the right to send.
        requests: asks for headers.
        tip: of the stored chain.
    """

    def __init__(self, work: Work, desk: Desk, requests: HeaderRequests, tip: ChainTip) -> None:
        self._work = work
        self._desk = desk
        self._requests = requests
        self._stored = StoredHeaders(work)
        self._tip = tip
        self._stale = 0
        self._shared = -1
        self.branch: Branch | None = None

    @property
    def tip(self) -> ChainTip:
        """The stored tip."""
        return self._tip

    def begin(self) -> None:
        """Others are asked, or another one is followed: what the one before told is forgotten."""
        self.branch, self._stale, self._shared = None, 0, -1

    def locator(self) -> list[bytes]:
        """Hashes from the tip of what is being followed back to the base, wider and wider apart.

        The newest header that the peer has shown to share with the stored chain comes before all that it may not have.
        """
        store, marks = self._work.store, self._work.writer.marks
        heights = locator_heights(marks.tip, marks.base)
        stored = [store.hash_at(height) for height in ([self._shared] if self._shared >= 0 else []) + heights]
        return [self.branch.tip.hash, *stored] if self.branch else stored

    async def take(self, peer: Peer, batch: Batch) -> None:
        """Judge what `peer` brings, where it belongs, and store it if it makes the best chain.

        Raises:
            PeerMisbehaved: it breaks a rule, is spam, or conflicts with a checkpoint or a binding ChainLock.
            RolledBack: the stored headers by which it was judged were wrong; they are gone.
        """
        start, fresh = await self._place(peer, batch)
        for raw, hashes in fresh.pieces():
            checked = await self._judge(start, raw, hashes)
            if start.hash == self._tip.hash:
                await self._append(checked)
            else:
                await self._grow(peer, start, checked)
            start = checked.tip
        if not fresh.raw:
            self._skip(batch)

    def is_stored(self, batch: Batch) -> bool:
        """Whether nothing in a batch is new."""
        return self._work.store.height_of(batch.last_hash) is not None

    async def settle(self, peer: Peer) -> None:
        """Take the branch of `peer`, which has nothing more, if a binding ChainLock is on it although it is lighter."""
        if self.branch is None:
            return
        fork, top = self.branch.fork.height, self.branch.tip.height
        lock = await self._work.binding.locked_branch(self._desk, fork, self.branch.hash_at, top)
        if lock is not None and await self._binding_height(fork) is None:
            self._work.live.bound = fork, lock
            await self._adopt(peer, self.branch)

    async def _place(self, peer: Peer, batch: Batch) -> tuple[ChainTip, Batch]:
        """Where a batch begins, and what of it is not stored."""
        prev = batch.raw[4:36]
        if self.branch and prev == self.branch.tip.hash:
            return self.branch.tip, batch
        if prev == self._tip.hash:
            return self._tip, batch
        height = self._work.store.height_of(prev)
        if height is None:
            raise self._unknown(peer, prev)
        known = await self._work.seams.compute(self._count_known, batch.raw, height)
        fork, fresh = height + known, batch.after(known)
        if not fresh.raw or fork == self._tip.height:
            return self._tip, fresh
        self._refuse_below_checkpoint(fork)
        return await self._stored.tip_at(fork), fresh

    def _unknown(self, peer: Peer, prev: bytes) -> Exception:
        """A batch that begins nowhere: honest if the peer has none of our blocks, because we begin above it."""
        base = self._work.writer.marks.base
        if base and prev == x11(self._work.network.genesis):
            return PeerGone(str(peer), FailureKind.PEER_LOST, f"does not have block {base}, where this store begins")
        detail = f"the header after {prev[::-1].hex()} connects to nothing that was asked for"
        return PeerMisbehaved(Fault.BROKEN_HEADER_LINK, detail)

    def _count_known(self, raw: bytes, height: int) -> int:
        """How many of a batch's first headers are the stored ones above `height`."""
        count = min(len(raw) // HEADER_SIZE, self._work.writer.marks.tip - height)
        stored = self._work.store.headers(height + 1, count) if count else b""
        return next((i for i in range(count) if header_at(raw, i) != header_at(stored, i)), count)

    def _refuse_below_checkpoint(self, fork: int) -> None:
        if passed := between(self._work.network, fork + 1, self._tip.height):
            newest = passed[max(passed)]
            detail = f"a fork at {fork} contradicts the checkpoint {newest.hash[::-1].hex()} at {newest.height}"
            raise PeerMisbehaved(Fault.CHECKPOINT_CONTRADICTED, detail)

    async def _judge(self, start: ChainTip, raw: bytes, hashes: bytes) -> CheckedHeaders:
        now = int(self._work.seams.now())
        try:
            return await self._work.seams.compute(extend, self._work.network, start, raw, now, hashes)
        except PeerMisbehaved:
            if self._work.store.height_of(start.hash) == start.height:
                await self._stored.suspect(start.height)
            raise

    def _skip(self, batch: Batch) -> None:
        """Everything in a batch is stored: go on above it, as long as that leads anywhere."""
        shared = self._work.store.height_of(batch.last_hash)
        if shared is None or shared <= self._shared:
            self._count_stale()
        else:
            self._shared = shared

    def _count_stale(self) -> None:
        """Note an answer that goes back behind what was asked about; only what gets stored makes up for it."""
        self._stale += 1
        if self._stale > MAX_STALE:
            raise PeerMisbehaved(Fault.UNFITTING_REPLY, "answers getheaders with headers that come before the locator")

    async def _append(self, piece: CheckedHeaders) -> None:
        append = AppendHeaders(piece.first_height, piece.raw, piece.hashes, piece.tip.work)
        await self._work.writer.commit([append])
        self._tip, self.branch, self._stale, self._shared = piece.tip, None, 0, -1

    async def _grow(self, peer: Peer, start: ChainTip, piece: CheckedHeaders) -> None:
        branch = self.branch
        if branch is None or start.hash != branch.tip.hash:
            if branch is not None:
                self._count_stale()
            branch = self.branch = Branch(start)
        branch.grow(piece)
        marks = self._work.writer.marks
        if branch.tip.work > marks.work or between(self._work.network, branch.fork.height + 1, branch.tip.height):
            await self._refuse_against_lock(peer, branch)
            await self._adopt(peer, branch)
        elif branch.is_spam(marks.tip):
            detail = f"a branch from {branch.fork.height} to {branch.tip.height} with less work than the stored chain"
            raise PeerMisbehaved(Fault.LOW_WORK_HEADERS, detail)

    async def _refuse_against_lock(self, peer: Peer, branch: Branch) -> None:
        fork, tip = branch.fork.height, branch.tip
        locked = await self._binding_height(fork)
        if locked is None:
            return
        now = self._work.seams.now()
        refused = RecordRefusedBranch(now, fork, tip.height, tip.hash, tip.work, locked, str(peer))
        await self._work.writer.commit([refused])
        detail = f"a branch from {fork} to {tip.height} leaves below block {locked}, which is ChainLocked"
        raise PeerMisbehaved(Fault.CONFLICTS_WITH_CHAINLOCK, detail)

    async def _binding_height(self, fork: int) -> int | None:
        """The height of a ChainLock on the stored chain that binds above `fork`, stored or only just taken."""
        if self._work.live.bound is not None:
            common, taken = self._work.live.bound
            if common <= fork < taken.height and self._work.store.height_of(taken.block_hash) == taken.height:
                return taken.height
        lock = await self._work.binding.binding_lock(self._desk, fork)
        return None if lock is None else lock.height

    async def _adopt(self, peer: Peer, branch: Branch) -> None:
        """Store `branch` instead of what stands above its fork, in one transaction."""
        if not await self._made_whole(peer, branch):
            self.branch = None
            self._count_stale()
            return
        old_tip = self._work.writer.marks.tip
        lost = RecordLost(branch.fork.height, self._work.seams.now())
        await self._work.writer.commit([lost, *branch.changes()])
        self._work.live.settled.clear()
        self._work.live.opinions.examined.clear()
        self._tip, self.branch, self._stale, self._shared = branch.tip, None, 0, -1
        self._work.rewound(old_tip, branch.fork.height)

    async def _made_whole(self, peer: Peer, branch: Branch) -> bool:
        """Fetch what is not held in full a second time; False if `peer` follows another chain by now."""
        while not branch.whole:
            start = branch.missing_from
            batch = await self._requests.ask(peer, [start.hash], branch.tip.hash)
            if batch.raw[4:36] != start.hash:
                return False
            for raw, hashes in batch.pieces():
                piece = await self._judge(start, raw, hashes)
                branch.refill(piece)
                start = piece.tip
        return True
