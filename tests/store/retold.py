"""A model's facts told to a new store: in large batches and in another order, so that only the facts can be the same.

What was searched in filters that have gone since is told with those filters, for nothing else can be searched; then
they go as well, to the very same height. For that the new store has to cut segments of one filter
(`each_filter_a_segment`); what a series holds does not depend on how it is cut. Where nothing is watched nothing was
searched either: a store without its lowest filters is then one that began above them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from phasegate.consensus.blocks import BlockFindings, FoundTransaction
from phasegate.store import (
    AddWatch,
    AppendFilterHeaders,
    AppendHeaders,
    Change,
    MarkMatched,
    PruneFilters,
    PutFilters,
    RecordBlock,
    RemoveWatch,
    SearchBlocks,
    SetMasternodes,
    segments,
)
from tests.store.store_model import Model

LATE = b"late"
"""What is watched for a moment, so that filters are wanted from the birthday on again."""


def filter_at(model: Model, height: int) -> bytes:
    """The filter of a block; some are empty."""
    block_hash = model.ids[height]
    return hashlib.sha256(b"filter " + block_hash).digest() * (block_hash[0] % 5)


def history(model: Model) -> range:
    """The heights from which on filters are told: those stored, and those that something was matched against."""
    if not model.watch:
        return range(model.first_filter, model.filter_end + 1)
    return range(model.birthday, max(model.filter_end, *model.watch.values()) + 1)


def has_lost_filters(model: Model) -> bool:
    """Whether something was matched against filters that are stored no more."""
    return history(model) != range(model.first_filter, model.filter_end + 1)


@contextmanager
def each_filter_a_segment() -> Iterator[None]:
    """New segments hold one filter; for as long as this lasts any number of them can be pruned."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(segments, "FILTERS_SPAN", 1)
        patched.setattr(segments, "BULK", 1)
        yield


def retold(model: Model) -> list[list[Change]]:
    """Batches that lead a new store, which begins where `history` does, to the facts of `model`."""
    told: list[Change] = []
    if model.tip:
        told.append(AppendHeaders(1, b"".join(model.raw[1:]), b"".join(model.ids[1:]), model.work(model.tip)))
    if model.filter_headers:
        told.append(AppendFilterHeaders(0, b"".join(model.filter_headers)))
    filters = {height: filter_at(model, height) for height in history(model)} | model.filters
    told.append(PutFilters(tuple(sorted(filters.items(), reverse=True))))
    told += [SetMasternodes(height, model.ids[height], model.lists[height]) for height in list(model.lists)[-1:]]
    if not model.watch:
        return [told]
    return [told, _matched(model), *_given_up(model), _recorded(model), *_pruned(model)]


def _matched(model: Model) -> list[Change]:
    first = model.birthday
    reached = {script: end for script, end in model.watch.items() if end >= first}
    marks = [MarkMatched((script,), first, end, ()) for script, end in reached.items()]
    return [AddWatch(tuple((script, "") for script in reached)), *marks]


def _given_up(model: Model) -> Iterator[list[Change]]:
    """If something was matched further than filters are stored: all go, and those that are stored come again."""
    if history(model).stop > model.filter_end + 1:
        yield [PruneFilters(model.birthday), AddWatch(((LATE, ""),))]
        yield [RemoveWatch((LATE,)), PutFilters(tuple(model.filters.items()))]


def _recorded(model: Model) -> list[Change]:
    heights = {h for h, done in model.matches.items() if done} | {h for h, _ in model.positions.values()}
    return [
        AddWatch(tuple((script, "") for script in model.watch)),
        SearchBlocks(tuple(model.matches)),
        *[RecordBlock(height, _whole_findings(model, height)) for height in sorted(heights)],
        SearchBlocks(tuple(height for height, recorded in model.matches.items() if not recorded)),
    ]


def _pruned(model: Model) -> Iterator[list[Change]]:
    if model.first_filter > model.birthday:
        yield [PruneFilters(model.first_filter - 1)]


def _whole_findings(model: Model, height: int) -> BlockFindings:
    places = sorted((position, txid) for txid, (at, position) in model.positions.items() if at == height)
    return BlockFindings(
        height,
        tuple(
            FoundTransaction(txid, position, (), 0, 0, (), tuple(sorted(model.mentions.get(txid, ()))))
            for position, txid in places
        ),
        tuple(coin for coin in model.coins.values() if coin.height == height),
        tuple((point, txid) for point, (txid, at) in model.spends.items() if at == height),
    )
