"""The reading half of a store: every method sees one committed state, from any thread, also during a commit."""

from __future__ import annotations

from collections.abc import Generator, Iterable

import attrs

from phasegate.consensus.blocks import Coin
from phasegate.consensus.packed import Packed
from phasegate.consensus.primitives import OutPoint
from phasegate.consensus.quorums import QuorumCommitment
from phasegate.store import (
    branches,
    broadcasts,
    chainlocks,
    context,
    digest,
    disputes,
    filters,
    holdings,
    instantlocks,
    journal,
    key_chains,
    lost,
    masternodes,
    outpoints,
    peers,
    quorums,
    repair,
    reputations,
    wallet,
)
from phasegate.store.damage import Damage
from phasegate.store.database import Session
from phasegate.store.found_reading import FoundReading
from phasegate.store.holdings import Balance, Utxo
from phasegate.store.identity import Anchor, stored_anchor
from phasegate.store.index import HashIndex
from phasegate.store.marks import ChainMarks, Watermarks
from phasegate.store.packed import read_packed
from phasegate.store.peer_changes import Address, BroadcastRow, PeerRow, ReputationRow
from phasegate.store.receipt import watermarks
from phasegate.store.segments import FILTER_HEADERS, FILTERS, HASHES, HEADERS, Series, read, read_joined


class Reading(FoundReading):
    """What can be asked of a store.

    Heights are absolute, hashes 32 bytes in wire order; no heights at all (a count of 0) give an empty answer. Every
    method borrows a read connection of its own, so it neither waits for a running commit nor sees half of it.

    Raises:
        LookupError: a height outside what is stored.
        StoreCorrupt: what was asked for is damaged.
        StoreFailed: the disk refuses.
    """

    _index: HashIndex

    def read_marks(self) -> Watermarks:
        """The watermarks, fresh from the database."""
        with self._now() as (rows, chain):
            return watermarks(rows, chain)

    def header(self, height: int) -> bytes:
        """The 80 raw bytes of one header."""
        return self.headers(height, 1)

    def headers(self, start: int, count: int) -> bytes:
        """`count` headers from height `start` on, 80 bytes each."""
        return self._joined(HEADERS, start, count)

    def hash_at(self, height: int) -> bytes:
        """The hash of one block."""
        return self.hashes(height, 1)

    def hashes(self, start: int, count: int) -> bytes:
        """The hashes of `count` blocks from height `start` on, 32 bytes each."""
        return self._joined(HASHES, start, count)

    def height_of(self, block_hash: bytes) -> int | None:
        """The height of the stored block with this hash, None when there is none."""
        candidates = self._index.candidates(block_hash)
        with self._now() as (rows, chain):
            return _height_of(rows, chain, candidates, block_hash)

    def anchor(self) -> Anchor:
        """The first block, with the chainwork up to it."""
        with self._now() as (rows, _):
            return stored_anchor(rows)

    def context(self) -> bytes:
        """The headers right below a base above genesis, 80 bytes each; empty when there are none yet."""
        with self._now() as (rows, _):
            return context.read_context(rows)

    def filter_header_at(self, height: int) -> bytes:
        """The filter header of one block; also of the block below the base, zeros before genesis."""
        with self._now() as (rows, chain):
            if height != chain.base - 1:
                _refuse_outside(FILTER_HEADERS, chain.base, chain.filter_headers, height, 1)
            return filters.filter_header(rows, chain, height)

    def filter_headers(self, start: int, count: int) -> bytes:
        """`count` filter headers from height `start` on, 32 bytes each."""
        return self._joined(FILTER_HEADERS, start, count)

    def filters(self, start: int, count: int) -> list[bytes]:
        """`count` raw filters of the contiguous part from height `start` on."""
        with self._now() as (rows, chain):
            _refuse_outside(FILTERS, chain.filters_base, chain.filters, start, count)
            return read(rows, FILTERS, start, count)

    def packed_filters(self, start: int, count: int) -> Generator[tuple[bytes, Packed], None, None]:
        """What `hashes` and `filters` give, piece by piece: only one is in memory, if the caller lets go of it.

        All come from one committed state, which is held until the generator ends or is closed.
        """
        with self._now() as (rows, chain):
            _refuse_outside(FILTERS, chain.filters_base, chain.filters, start, count)
            hashes, at = memoryview(read_joined(rows, HASHES, start, count)), 0
            for filters in read_packed(rows, start, count):
                yield bytes(hashes[32 * at : 32 * (at + len(filters))]), filters
                at += len(filters)

    def _joined(self, series: Series, start: int, count: int) -> bytes:
        with self._now() as (rows, chain):
            end = chain.filter_headers if series is FILTER_HEADERS else chain.tip
            _refuse_outside(series, chain.base, end, start, count)
            return read_joined(rows, series, start, count)

    def filter_variants(self, start: int, count: int) -> list[tuple[int, bytes]]:
        """The filters in dispute with the stored ones of `count` heights from `start` on, as (height, raw)."""
        with self._now() as (rows, _):
            return disputes.variants(rows, start, count)

    def masternode_state(self, height: int | None = None) -> bytes | None:
        """The masternode state at `height`, anchors included, or the newest that is none; None when there is none."""
        with self._database.snapshot() as rows:
            if height is not None:
                return masternodes.state_at(rows, height)
            newest = masternodes.newest_state(rows)
            return newest and newest[2]

    def masternode_heights(self) -> list[int]:
        """The heights whose masternode state is stored, anchors included, ascending."""
        with self._database.snapshot() as rows:
            return masternodes.heights(rows)

    def quorum(self, kind: int, quorum_hash: bytes) -> quorums.StoredQuorum | None:
        """The quorum of this type and hash, active or ended; None when it is not known."""
        candidates = self._index.candidates(quorum_hash)
        with self._now() as (rows, chain):
            height = _height_of(rows, chain, candidates, quorum_hash)
            found = quorums.quorum_at(rows, (kind, quorum_hash))
            return found and attrs.evolve(found, height=height)

    def unjudged_quorums(self) -> list[quorums.StoredQuorum]:
        """The quorums without a verdict, active or ended, their own heights left out."""
        with self._database.snapshot() as rows:
            return quorums.unjudged_quorums(rows)

    def quorum_set(self, height: int) -> tuple[QuorumCommitment, ...] | None:
        """All quorums active after the block at `height`, sorted by type and hash; None when that is not stored."""
        with self._database.snapshot() as rows:
            return quorums.quorum_set(rows, height)

    def quorum_set_heights(self, start: int, end: int) -> list[int]:
        """The heights from `start` to `end` of which the quorum set is stored, ascending."""
        with self._database.snapshot() as rows:
            return quorums.set_heights(rows, start, end)

    def chainlocks(self, above: int) -> list[chainlocks.StoredChainLock]:
        """The verified ChainLocks of blocks above `above`, the highest first."""
        with self._database.snapshot() as rows:
            return chainlocks.chainlocks(rows, above)

    def locked_for(self, spent: Iterable[OutPoint]) -> bytes | None:
        """The txid of the transaction for which a verified lock holds one of the outpoints `spent`."""
        with self._now() as (rows, _):
            return instantlocks.locked_for(rows, spent)

    def instantlock(self, txid: bytes) -> instantlocks.StoredInstantLock | None:
        """The verified InstantSend lock of a transaction, None when none is known."""
        with self._database.snapshot() as rows:
            return instantlocks.instantlock(rows, txid)

    def refused_branches(self) -> list[branches.RefusedBranch]:
        """The branches that were refused for a ChainLock, oldest first."""
        with self._database.snapshot() as rows:
            return branches.refused_branches(rows)

    def watch_items(self) -> list[wallet.WatchItem]:
        """All watch items, by script."""
        with self._database.snapshot() as rows:
            return wallet.watch_items(rows)

    def key_chains(self) -> list[key_chains.StoredKeyChain]:
        """The watched chains of keys, by descriptor."""
        with self._database.snapshot() as rows:
            return key_chains.key_chains(rows)

    def watched_alone(self) -> set[bytes]:
        """The scripts that are watched for themselves, whether a chain of keys has them as well or not."""
        with self._database.snapshot() as rows:
            return key_chains.watched_alone(rows)

    def pending(self, limit: int, after: int = -1) -> list[int]:
        """The first `limit` matched heights above `after` whose blocks have not been searched yet, ascending."""
        with self._database.snapshot() as rows:
            return wallet.pending(rows, limit, after)

    def matched_heights(self) -> list[int]:
        """All matched heights, searched or not, ascending."""
        with self._database.snapshot() as rows:
            return wallet.matched_heights(rows)

    def coins(self) -> dict[OutPoint, Coin]:
        """The unspent coins of watched scripts."""
        with self._database.snapshot() as rows:
            return wallet.coins(rows)

    def coin_at(self, outpoint: OutPoint) -> outpoints.StoredCoin | None:
        """The coin at `outpoint`, spent or not; None if it is no coin of a watched script, as far as was found."""
        with self._database.snapshot() as rows:
            return outpoints.coin_at(rows, outpoint)

    def rival(self, txid: bytes, inputs: Iterable[OutPoint]) -> bytes | None:
        """Another transaction than `txid` that spends one of `inputs`, found in a block or held by a verified lock."""
        with self._now() as (rows, _):
            return lost.rival(rows, txid, inputs)

    def watched(self, scripts: Iterable[bytes]) -> set[bytes]:
        """Those of `scripts` that are watched."""
        with self._now() as (rows, _):
            return wallet.watched(rows, scripts)

    def coins_at(self, points: Iterable[OutPoint]) -> list[Coin]:
        """The coins of watched scripts at these places, unspent or not."""
        with self._now() as (rows, _):
            return wallet.coins_at(rows, points)

    def contradicted(self, txid: bytes) -> list[bytes]:
        """The txids of found transactions that spend what a verified lock holds for `txid`, and have none."""
        with self._database.snapshot() as rows:
            return instantlocks.contradicted(rows, txid)

    def locked_against(self, txid: bytes) -> bytes | None:
        """The txid of the transaction for which a verified lock holds an input of the found transaction `txid`."""
        with self._database.snapshot() as rows:
            return instantlocks.locked_against(rows, txid)

    def utxos(self, script: bytes | None = None) -> list[Utxo]:
        """The unspent coins, or those of one script, in the chain's order."""
        with self._now() as (rows, chain):
            return holdings.utxos(rows, chain, script)

    def holdings(self) -> dict[bytes, Balance]:
        """What the unspent coins of each watched script come to."""
        with self._now() as (rows, chain):
            return holdings.balances(rows, chain)

    def transaction_height(self, txid: bytes) -> int | None:
        """The height of the found transaction `txid` (32 bytes, wire order); None if it was not found."""
        with self._database.snapshot() as rows:
            return wallet.transaction_height(rows, txid)

    def balances(self) -> dict[bytes, int]:
        """Every watched script with the sum of its unspent coins, in duffs."""
        with self._database.snapshot() as rows:
            return wallet.balances(rows)

    def journal(self, after: int = 0, limit: int = 1000) -> list[journal.JournalRow]:
        """The first `limit` journal rows with an id above `after`, oldest first."""
        with self._database.snapshot() as rows:
            return journal.journal(rows, after, limit)

    def journal_end(self) -> int:
        """The row id of the newest journal row, 0 when there is none."""
        with self._now() as (rows, _):
            return journal.journal_end(rows)

    def peers(self) -> list[PeerRow]:
        """The addresses of the address book, by host and port; rows that do not fit are skipped."""
        with self._database.snapshot() as rows:
            return peers.peers(rows)

    def peer_key(self) -> bytes | None:
        """The 32 secret bytes of the address book, None when none were made yet."""
        with self._database.snapshot() as rows:
            return peers.peer_key(rows)

    def anchors(self) -> list[Address]:
        """The addresses of the peers to go back to first, in their order."""
        with self._database.snapshot() as rows:
            return peers.anchors(rows)

    def reputations(self) -> list[ReputationRow]:
        """What peers did and their bans, by host and port; rows that do not fit are skipped."""
        with self._database.snapshot() as rows:
            return reputations.reputations(rows)

    def broadcasts(self) -> list[BroadcastRow]:
        """The transactions to broadcast, oldest first; damaged ones are skipped."""
        with self._database.snapshot() as rows:
            return broadcasts.broadcasts(rows)

    def digest(self) -> str:
        """SHA-256, as hex, over all chain and wallet items, however they came to be stored."""
        with self._now() as (rows, chain):
            return digest.digest(rows, chain)

    def check(self) -> tuple[Damage, ...]:
        """Read everything and name what is damaged."""
        with self._now() as (rows, chain):
            return repair.damages(rows, chain)


def _height_of(rows: Session, chain: ChainMarks, candidates: list[int], block_hash: bytes) -> int | None:
    stored = [height for height in candidates if height <= chain.tip]
    return next((h for h in stored if read_joined(rows, HASHES, h, 1) == block_hash), None)


def _refuse_outside(series: Series, base: int, end: int, start: int, count: int) -> None:
    if count < 0 or start < base or start + count - 1 > end:
        raise LookupError(f"{series.name} {start}..{start + count - 1} are not stored: there are {base}..{end}")
