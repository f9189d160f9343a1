"""Everything that can be written to a store, as data: a batch of these is one transaction.

Each change is checked against what is stored before it is applied; one that does not fit is a bug of the caller and
raises ValueError, and then nothing of its batch is stored. Hashes are 32 bytes in wire order, heights absolute. What is
remembered of peers stands in `peer_changes.py`, chains of keys in `key_chain_changes.py`, what is watched in
`watch_changes.py`.
"""

from __future__ import annotations

import attrs

from phasegate.consensus.blocks import BlockFindings
from phasegate.consensus.primitives import OutPoint
from phasegate.consensus.quorums import QuorumCommitment
from phasegate.store.key_chain_changes import KeyChainChange
from phasegate.store.packed import PackedFilters
from phasegate.store.peer_changes import PeerChange
from phasegate.store.watch_changes import WatchChange


@attrs.frozen
class AppendHeaders:
    """Validated headers on top of the stored tip.

    Args:
        start: the height of the first, one above the stored tip.
        raw: 80 bytes each.
        hashes: 32 bytes each.
        work_after: the chainwork up to and including the last.
    """

    start: int
    raw: bytes
    hashes: bytes
    work_after: int


@attrs.frozen
class SetContext:
    """The headers right below a base above genesis, 80 bytes each, at most 576; the first ones above it need them."""

    raw: bytes


@attrs.frozen
class RollBack:
    """Everything above `to_height` goes, in all tables, and spends above it are undone; `work`: chainwork up to it.

    Quorums, and the locks they signed, go too unless the quorum was mined at or below `to_height`.
    """

    to_height: int
    work: int


@attrs.frozen
class RollBackFilters:
    """Filter headers and filters above `to_height` go, with all that was found through them; the headers stay."""

    to_height: int


@attrs.frozen
class SetMasternodes:
    """The verified masternode state of the stored block at `height`; the newest few are kept, for rollbacks.

    Those with `anchor`, on which other things are computed, are kept apart and never count as the list of the walk.
    """

    height: int
    block_hash: bytes
    state: bytes
    anchor: bool = False


@attrs.frozen
class KeepAnchors:
    """Of the masternode states kept as anchors only those at `heights` stay."""

    heights: tuple[int, ...]


@attrs.frozen
class SetQuorumSet:
    """The commitments of all quorums active after the stored block at `height`, of every type."""

    height: int
    block_hash: bytes
    active: tuple[QuorumCommitment, ...]


@attrs.frozen
class QuorumVerdict:
    """What checking the commitment of a stored quorum gave.

    Args:
        type: of the quorum.
        quorum_hash: with the type it names the quorum.
        verified: its signatures hold; otherwise the quorum root of a proven list vouches for it, and what `reason`
            says.
        reason: why not all of them could be checked, empty when they were.
    """

    type: int
    quorum_hash: bytes
    verified: bool
    reason: str = ""


@attrs.frozen
class JudgeQuorums:
    """Verdicts on stored quorums; a later one replaces an earlier one."""

    verdicts: tuple[QuorumVerdict, ...]


@attrs.frozen
class VerifiedChainLock:
    """A ChainLock whose signature holds.

    Args:
        height: of the locked block.
        block_hash: its hash.
        signature: 96 bytes.
        quorum_type: with `quorum_hash` the quorum that signed.
        quorum_hash: see there.
        mined_by: the lowest height at which that quorum is known to be active.
    """

    height: int
    block_hash: bytes
    signature: bytes
    quorum_type: int
    quorum_hash: bytes
    mined_by: int


@attrs.frozen
class RecordChainLock(VerifiedChainLock):
    """A verified ChainLock of a stored block, whose hash must be the stored one; the newest 100 are kept."""


@attrs.frozen
class RecordInstantLock:
    """A verified InstantSend lock, signed by a stored quorum; a second one for the same transaction changes nothing.

    Args:
        txid: of the locked transaction.
        inputs: what it spends.
        payload: the lock as it came.
        quorum_type: with `quorum_hash` the quorum that signed.
        quorum_hash: see there.
    """

    txid: bytes
    inputs: tuple[OutPoint, ...]
    payload: bytes
    quorum_type: int
    quorum_hash: bytes


@attrs.frozen
class RecordRefusedBranch:
    """A branch with more work was refused for a ChainLock that binds; the newest 100 are kept, roll-backs aside.

    Args:
        time: in seconds since 1970.
        fork_height: the last block it shares with the stored chain.
        tip_height: of the branch.
        tip_hash: of the branch.
        work: chainwork up to its tip.
        lock_height: of the ChainLock that it conflicts with.
        peer: who brought it.
    """

    time: float
    fork_height: int
    tip_height: int
    tip_hash: bytes
    work: int
    lock_height: int
    peer: str


@attrs.frozen
class AppendFilterHeaders:
    """Verified filter headers, 32 bytes each; `start` is one above the last stored.

    `previous` is the filter header before a base above genesis; it can come only with the first of all.
    """

    start: int
    headers: bytes
    previous: bytes | None = None


@attrs.frozen
class Corroborate:
    """Two or more peers stated the stored filter headers up to `height`, where it is `filter_header`."""

    height: int
    filter_header: bytes


@attrs.frozen
class PutFilterVariants:
    """Other filters, as (height, raw), of heights where peers disagree and no proof decides; known ones stay once.

    What was matched before is matched again from the lowest new one on.
    """

    filters: tuple[tuple[int, bytes], ...]


@attrs.frozen
class ForgetDisputes:
    """The variants at and above `from_height` are decided and go."""

    from_height: int


@attrs.frozen
class PutFilters:
    """Filters verified against their stored filter headers, as (height, raw), in any order; known ones are kept.

    None may lie below `Watermarks.filters_base`. Many of consecutive heights are best given `PackedFilters`.
    """

    filters: tuple[tuple[int, bytes], ...] | PackedFilters


@attrs.frozen
class PruneFilters:
    """Filters up to `to_height` go if everything watched was matched against them, as far as whole segments allow.

    When something is to be matched against one of them after all, no filter is stored any more and
    `Watermarks.filters_base` is the birthday again.
    """

    to_height: int


@attrs.frozen
class MarkMatched:
    """Watch items were matched against all stored filters of `start` to `end`; `heights` are the blocks to search.

    All means with the variants of disputed heights. Every one of `scripts` must have been matched to exactly
    `start - 1`.
    """

    scripts: tuple[bytes, ...]
    start: int
    end: int
    heights: tuple[int, ...]


@attrs.frozen
class Rematch:
    """Everything watched is to be matched again from `from_height` on; what was found stays, and is merged with."""

    from_height: int


@attrs.frozen
class SearchBlocks:
    """Stored blocks to be fetched and searched, whether a watch item matched them or not, and again if they were.

    With the last watch item they are forgotten, as matched ones are.
    """

    heights: tuple[int, ...]


@attrs.frozen
class RecordBlock:
    """What was found in the body of a matched block, which is then no longer pending; recording again adds nothing."""

    height: int
    findings: BlockFindings


@attrs.frozen
class AppendJournal:
    """One transition of a chart: when (seconds since 1970), from which state to which, by what, why, on which facts."""

    time: float
    source: str
    target: str
    event: str
    reason: str
    facts_json: str


@attrs.frozen
class KeepHistory:
    """Only the newest `limit` journal rows stay."""

    limit: int


Change = (
    AppendHeaders
    | SetContext
    | RollBack
    | RollBackFilters
    | SetMasternodes
    | KeepAnchors
    | SetQuorumSet
    | JudgeQuorums
    | RecordChainLock
    | RecordInstantLock
    | RecordRefusedBranch
    | AppendFilterHeaders
    | Corroborate
    | PutFilters
    | PruneFilters
    | PutFilterVariants
    | ForgetDisputes
    | MarkMatched
    | Rematch
    | SearchBlocks
    | RecordBlock
    | WatchChange
    | AppendJournal
    | KeepHistory
    | KeyChainChange
    | PeerChange
)
