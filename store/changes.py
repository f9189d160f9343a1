"""Everything that can be written to a store, as data: a batch of these is one transaction.

Each change is checked against what is stored before it is applied; one that does not fit is a bug of the caller and
raises ValueError, and then nothing of its batch is stored. Hashes are 32 bytes in wire order, heights absolute.
"""

from __future__ import annotations

import attrs

from phasegate.consensus.blocks import BlockFindings


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
class RollBack:
    """Everything above `to_height` goes, in all tables, and spends above it are undone; `work`: chainwork up to it."""

    to_height: int
    work: int


@attrs.frozen
class RollBackFilters:
    """Filter headers and filters above `to_height` go, with all that was found through them; the headers stay."""

    to_height: int


@attrs.frozen
class SetMasternodes:
    """The verified masternode state of the stored block at `height`; the newest few are kept, for rollbacks."""

    height: int
    block_hash: bytes
    state: bytes


@attrs.frozen
class AppendFilterHeaders:
    """Verified filter headers, 32 bytes each; `start` is one above the last stored."""

    start: int
    headers: bytes


@attrs.frozen
class PutFilters:
    """Filters verified against their stored filter headers, as (height, raw), in any order; known ones are kept."""

    filters: tuple[tuple[int, bytes], ...]


@attrs.frozen
class MarkMatched:
    """Watch items were matched against the stored filters from `start` to `end`; `heights` are the blocks to search.

    Every one of `scripts` must have been matched to exactly `start - 1`.
    """

    scripts: tuple[bytes, ...]
    start: int
    end: int
    heights: tuple[int, ...]


@attrs.frozen
class RecordBlock:
    """What was found in the body of a matched block, which is then no longer pending; recording again adds nothing."""

    height: int
    findings: BlockFindings


@attrs.frozen
class AddWatch:
    """Scripts to watch, as (script, label); they are matched from the base on. Known ones stay as they are."""

    items: tuple[tuple[bytes, str], ...]


@attrs.frozen
class RemoveWatch:
    """Scripts to forget, with their coins and the transactions that concern no other item; unknown ones are ignored."""

    scripts: tuple[bytes, ...]


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
    | RollBack
    | RollBackFilters
    | SetMasternodes
    | AppendFilterHeaders
    | PutFilters
    | MarkMatched
    | RecordBlock
    | AddWatch
    | RemoveWatch
    | AppendJournal
    | KeepHistory
)
