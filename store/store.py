"""The store as the engine sees it: `commit` writes a batch of changes, everything else reads.

One transaction a batch, data and watermarks together, and the receipt only after it stands. Memory (marks and hash
index) follows the file, never leads it: each change yields new immutable values, adopted after the commit. When the
disk fails while the commit itself is being answered, the batch may stand or not; the commit counter in the file tells,
and until it could be read the store is in doubt and settles that before anything else is written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs

from phasegate.consensus.params import Network
from phasegate.consensus.x11 import x11
from phasegate.store import (
    branches,
    broadcasts,
    chainlocks,
    context,
    disputes,
    filters,
    headers,
    instantlocks,
    journal,
    key_chains,
    lost,
    masternodes,
    peers,
    pruning,
    quorums,
    recording,
    repair,
    reputations,
    seals,
    wallet,
)
from phasegate.store import changes as c
from phasegate.store import key_chain_changes as k
from phasegate.store import peer_changes as p
from phasegate.store import watch_changes as w
from phasegate.store.database import Database, Session
from phasegate.store.errors import StoreCorrupt, StoreFailed
from phasegate.store.identity import Anchor, create, refuse_mismatch
from phasegate.store.index import HashIndex
from phasegate.store.lock import Lock
from phasegate.store.marks import ChainMarks, Watermarks
from phasegate.store.migrate import migrate, search_again
from phasegate.store.reading import Reading
from phasegate.store.receipt import watermarks
from phasegate.store.schema import VERSION, found_version
from phasegate.store.segments import HASHES, SPAN, Series, contiguous_end, read_joined

_ON_CHAIN: dict[type[c.Change], Callable[[Session, ChainMarks, Any], ChainMarks | None]] = {
    c.AppendHeaders: headers.append_headers,
    c.SetContext: context.set_context,
    c.RollBack: headers.roll_back,
    w.RecordLost: lost.record_lost,
    c.RollBackFilters: filters.roll_back_filters,
    c.SetMasternodes: masternodes.set_masternodes,
    c.SetQuorumSet: quorums.set_quorum_set,
    c.RecordChainLock: chainlocks.record_chainlock,
    c.AppendFilterHeaders: filters.append_filter_headers,
    c.Corroborate: disputes.corroborate,
    c.PutFilters: filters.put_filters,
    c.PruneFilters: pruning.prune_filters,
    c.PutFilterVariants: disputes.put_variants,
    c.MarkMatched: wallet.mark_matched,
    c.Rematch: wallet.rematch,
    c.SearchBlocks: wallet.search_blocks,
    w.AddWatch: key_chains.add_watch,
    k.AddKeyChains: key_chains.add_key_chains,
}
_BESIDE: dict[type[c.Change], Callable[[Session, Any], None]] = {
    c.KeepAnchors: masternodes.keep_anchors,
    c.JudgeQuorums: quorums.judge_quorums,
    c.RecordInstantLock: instantlocks.record_instantlock,
    c.RecordRefusedBranch: branches.record_refused,
    c.ForgetDisputes: disputes.forget_disputes,
    w.LabelWatch: wallet.label_watch,
    w.RemoveWatch: lost.remove_watch,
    k.RemoveKeyChains: lost.remove_key_chains,
    c.AppendJournal: journal.append_journal,
    c.KeepHistory: journal.keep_history,
    p.PutPeers: peers.put_peers,
    p.ForgetPeers: peers.forget_peers,
    p.SetPeerKey: peers.set_peer_key,
    p.SetAnchors: peers.set_anchors,
    p.PutReputation: reputations.put_reputation,
    p.ForgetReputation: reputations.forget_reputation,
    p.PutBroadcast: broadcasts.put_broadcast,
    p.ForgetBroadcast: broadcasts.forget_broadcast,
}


@attrs.frozen
class _Draft:
    """The memory that goes with one state of the file."""

    sequence: int
    index: HashIndex
    marks: Watermarks


class Store(Reading):
    """One network's data in one directory, held under an exclusive lock; open it with `Store.open`.

    `marks` is the receipt of the last commit. `commit` may run in a worker thread, one call at a time (a second one
    waits); reads may run at any time in any thread.
    """

    marks: Watermarks

    def __init__(self, lock: Lock, database: Database, draft: _Draft) -> None:
        self._lock = lock
        self._database = database
        self._writing = threading.Lock()
        self._doubt: _Draft | None = None
        self._adopt(draft)

    @classmethod
    def open(
        cls,
        directory: Path,
        network: Network,
        *,
        vfs: str | None = None,
        anchor: Anchor | None = None,
        birthday: int | None = None,
    ) -> Store:
        """Open `directory`/<network>.sqlite, creating both when absent, and lock it; an older schema is made new.

        Args:
            directory: the data directory.
            network: with its activation heights, which are part of a store's identity.
            vfs: the name of a registered SQLite VFS, for fault injection.
            anchor: the first block to hold; when None, the stored one, in a new store the genesis block.
            birthday: the first height whose filter is wanted; when None, the stored one, in a new store the first
                block. What a store has from below stays.

        Raises:
            StoreLocked: somebody has it open.
            StoreMismatch: it belongs to another network, activation set or schema, holds another block than `anchor`
                at that height, or begins above what is wanted.
            StoreCorrupt: it is damaged; `Store.repair` may help.
            StoreFailed: the disk refuses.
        """
        lock, database = _opened(directory, network, vfs)
        try:
            _prepare(database, network, anchor, birthday)
            with database.snapshot() as rows:
                draft = _load(rows)
        except BaseException:
            _closed(lock, database)
            raise
        return cls(lock, database, draft)

    @staticmethod
    def repair(directory: Path, network: Network, *, vfs: str | None = None) -> repair.Repair:
        """Find all damage in a closed store and roll it back to the last height below it.

        Raises:
            StoreLocked, StoreMismatch, StoreFailed: as `open`.
            StoreCorrupt: the damage is beyond repair, the file must be moved away.
        """
        lock, database = _opened(directory, network, vfs)
        try:
            _prepare(database, network, None, None)
            with database.transaction() as rows:
                chain, found = repair.repaired(rows, ChainMarks.read(rows))
                attrs.evolve(chain, sequence=chain.sequence + 1).write(rows)
        finally:
            _closed(lock, database)
        return found

    def close(self) -> None:
        """Fold the log into the file and give the directory back; closing again does nothing.

        Raises:
            StoreFailed: the disk refused the folding; the store is closed all the same, and nothing is lost.
        """
        with self._writing:
            _closed(self._lock, self._database)

    def commit(self, batch: Sequence[c.Change]) -> Watermarks:
        """Apply `batch` in order, in one transaction: all of it or nothing.

        Args:
            batch: the changes.

        Returns:
            The new watermarks, also kept as `marks`.

        Raises:
            ValueError: a change does not fit what is stored; a bug of the caller.
            StoreFailed: the disk refused; nothing was stored.
            StoreCorrupt: damage was met; nothing was stored.
        """
        with self._writing:
            self._settle()
            draft: _Draft | None = None
            try:
                with self._database.transaction() as rows:
                    draft = self._apply(rows, batch)
            except BaseException as error:
                self._doubt = draft
                if not (self._settle() and isinstance(error, StoreFailed)):
                    raise
            else:
                self._adopt(draft)
            return self.marks

    def _apply(self, rows: Session, batch: Sequence[c.Change]) -> _Draft:
        chain, index = ChainMarks.read(rows), self._index
        for kind, alike in groupby(batch, key=type):
            if kind is c.RecordBlock:
                recording.record_blocks(rows, chain, [change for change in alike if isinstance(change, c.RecordBlock)])
                continue
            for change in alike:
                chain = _applied(rows, chain, change)
                index = _indexed(index, change)
        if any(map(key_chains.may_use, batch)):
            key_chains.extend(rows, chain)
        chain = pruning.reopened(rows, chain)
        chain = attrs.evolve(chain, sequence=chain.sequence + 1)
        chain.write(rows)
        return _Draft(chain.sequence, index, watermarks(rows, chain))

    def _adopt(self, draft: _Draft) -> None:
        self._index, self.marks = draft.index, draft.marks

    def _settle(self) -> bool:
        """Learn whether the commit in doubt stands, and follow it if it does."""
        if self._doubt is None:
            return False
        with self._now() as (_, chain):
            landed = chain.sequence == self._doubt.sequence
        if landed:
            self._adopt(self._doubt)
        self._doubt = None
        return landed


def _applied(rows: Session, chain: ChainMarks, change: c.Change) -> ChainMarks:
    if type(change) in _BESIDE:
        _BESIDE[type(change)](rows, change)
        return chain
    return _ON_CHAIN[type(change)](rows, chain, change) or chain


def _indexed(index: HashIndex, change: c.Change) -> HashIndex:
    if isinstance(change, c.AppendHeaders):
        return index.append(change.start, change.hashes)
    return index.cut(change.to_height) if isinstance(change, c.RollBack) else index


def _opened(directory: Path, network: Network, vfs: str | None) -> tuple[Lock, Database]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreFailed(f"{directory} cannot be a data directory: {error.strerror}") from error
    path = directory / f"{network.file_name}.sqlite"
    lock = Lock(path.with_name(f"{path.name}.lock"))
    try:
        return lock, Database.open(path, vfs)
    except BaseException:
        lock.release()
        raise


def _closed(lock: Lock, database: Database) -> None:
    try:
        database.close()
    finally:
        lock.release()


def _prepare(database: Database, network: Network, anchor: Anchor | None, birthday: int | None) -> None:
    with database.transaction() as rows:
        version = found_version(rows, database.path)
        if version == 0:
            _create(rows, network, anchor or Anchor.genesis(network), birthday or 0)
        migrate(rows, version or VERSION)
        if version != VERSION:
            seals.complete(rows)
        ChainMarks.read(rows)
        seals.refuse_broken_identity(rows)
        refuse_mismatch(rows, database.path, network, anchor, birthday)
        seals.keep(rows)
        search_again(rows, version or VERSION)


def _create(rows: Session, network: Network, anchor: Anchor, birthday: int) -> None:
    create(rows, network, anchor, birthday)
    change = c.AppendHeaders(anchor.height, anchor.header, x11(anchor.header), anchor.work)
    headers.append_headers(rows, ChainMarks.read(rows), change).write(rows)


def _load(rows: Session) -> _Draft:
    """The memory of a file just opened, its extents checked against its marks."""
    chain, index = ChainMarks.read(rows), HashIndex()
    seals.refuse_broken(rows)
    for series, start, mark in chain.reach():
        end = contiguous_end(rows, series, start)
        if end != mark:
            raise _misplaced(series, end, mark)
    for start in range(chain.base, chain.tip + 1, _LOADED_AT_ONCE):
        index = index.append(start, read_joined(rows, HASHES, start, min(_LOADED_AT_ONCE, chain.tip + 1 - start)))
    return _Draft(chain.sequence, index, watermarks(rows, chain))


def _misplaced(series: Series, end: int, mark: int) -> StoreCorrupt:
    if end < mark:
        return StoreCorrupt(f"{series.name} {end + 1}..{mark} are missing", series.name, end + 1, mark)
    return StoreCorrupt(f"{series.name} {mark + 1}..{end} are above the mark", series.name, mark + 1, end)


_LOADED_AT_ONCE = 100 * SPAN
