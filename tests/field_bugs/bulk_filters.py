"""Hundreds of thousands of stored filters in a moment: for what a long chain costs, not for what it says.

The headers are linked but worthless, the filters of realistic size and all alike but for the block that each is of, so
that nothing has to be mined or built. What is stored is as true as ever: each filter leads to its filter header.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from phasegate.consensus.filters import build_filter, chain_headers, filter_hash
from phasegate.consensus.packed import Packed
from phasegate.consensus.params import SIMNET
from phasegate.store import AppendFilterHeaders, AppendHeaders, PackedFilters, PutFilters, Store

ELEMENTS = 100
BATCH = 10_000
RAW = build_filter(bytes(32), [i.to_bytes(25, "big") for i in range(ELEMENTS)])
"""A filter of 270 bytes."""


def filled(place: Path, count: int, *, filters: bool = True) -> Store:
    """A new store with `count` blocks and their filter headers, and with their filters if wanted."""
    store = Store.open(place, SIMNET)
    _fill_headers(store, count)
    hashes, prev = filter_hash(RAW) * BATCH, bytes(32)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        headers = chain_headers(prev, hashes[: 32 * size])
        prev = headers[-32:]
        put = [PutFilters(PackedFilters(start, Packed.of([RAW] * size)))] if filters else []
        store.commit([AppendFilterHeaders(start, headers), *put])
    return store


def _fill_headers(store: Store, count: int) -> None:
    tip = store.marks.tip_hash
    for start in range(1, count, BATCH):
        heights = range(start, min(start + BATCH, count))
        hashes = [hashlib.sha256(height.to_bytes(4, "big")).digest() for height in heights]
        headers = [bytes(4) + prev + bytes(44) for prev in [tip, *hashes[:-1]]]
        tip, work = hashes[-1], store.marks.work + len(heights)
        store.commit([AppendHeaders(start, b"".join(headers), b"".join(hashes), work)])
