"""Headers and their hashes: appended at the tip, rolled back with everything that stands on them."""

from __future__ import annotations

import attrs
import numpy as np

from phasegate.store import chainlocks, filters, instantlocks, masternodes, quorums, wallet
from phasegate.store.changes import AppendHeaders, RollBack
from phasegate.store.database import Session
from phasegate.store.marks import ChainMarks
from phasegate.store.segments import HASHES, HEADERS, Stretch, append, cut, read_joined


def append_headers(rows: Session, chain: ChainMarks, change: AppendHeaders) -> ChainMarks:
    """Apply `AppendHeaders`."""
    _refuse_unfit(chain, change)
    append(rows, HEADERS, chain.base, change.start, Stretch(change.raw, 80))
    append(rows, HASHES, chain.base, change.start, Stretch(change.hashes, 32))
    tip = change.start + len(change.raw) // 80 - 1
    return attrs.evolve(chain, tip=tip, tip_hash=change.hashes[-32:], work=change.work_after)


def _refuse_unfit(chain: ChainMarks, change: AppendHeaders) -> None:
    count, rest = divmod(len(change.raw), 80)
    if not count or rest or len(change.hashes) != 32 * count:
        raise ValueError(f"{len(change.raw)} bytes of headers do not go with {len(change.hashes)} bytes of hashes")
    if change.start != chain.tip + 1:
        raise ValueError(f"headers from {change.start} on do not follow the stored tip {chain.tip}")
    if change.work_after <= chain.work:
        raise ValueError(f"the chainwork does not grow with the headers from {change.start} on")
    previous = np.frombuffer(change.raw, np.uint8).reshape(-1, 80)[:, 4:36].tobytes()
    if previous != chain.tip_hash + change.hashes[:-32]:
        raise ValueError(f"the headers from {change.start} on are not linked to each other and to the stored tip")


def roll_back(rows: Session, chain: ChainMarks, change: RollBack) -> ChainMarks:
    """Apply `RollBack`, in all tables."""
    to = change.to_height
    if not chain.base <= to <= chain.tip:
        raise ValueError(f"cannot roll back to {to}: headers {chain.base}..{chain.tip} are stored")
    chain = filters.roll_back(rows, chain, to)
    for series in (HEADERS, HASHES):
        cut(rows, series, to)
    roll_back_found(rows, chain, to)
    return attrs.evolve(chain, tip=to, tip_hash=read_joined(rows, HASHES, to, 1), work=change.work)


def roll_back_found(rows: Session, chain: ChainMarks, to: int) -> None:
    """Forget what stands on the chain above `to`: states, quorums, locks and all that was found for the watch items."""
    for part in (masternodes, quorums, chainlocks, instantlocks):
        part.roll_back(rows, to)
    wallet.roll_back(rows, chain, to)
