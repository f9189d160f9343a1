"""What a file says about itself: network, activation heights, first block, first filter; and what is refused for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs

from phasegate.consensus.difficulty import work_of
from phasegate.consensus.params import Network
from phasegate.consensus.primitives import BlockHeader
from phasegate.store.database import Session, Value
from phasegate.store.errors import StoreCorrupt, StoreMismatch
from phasegate.store.marks import ChainMarks
from phasegate.store.schema import create_tables
from phasegate.store.segments import HEADERS, read_joined


@attrs.frozen
class Anchor:
    """The first block a store holds.

    Args:
        height: its height.
        header: its 80 raw bytes.
        work: the chainwork up to and including it.
        previous_filter_header: the filter header of the block before it, 32 bytes in wire order; zeros before genesis.
    """

    height: int
    header: bytes
    work: int
    previous_filter_header: bytes = bytes(32)

    @classmethod
    def genesis(cls, network: Network) -> Anchor:
        """The anchor of a store that holds the whole chain."""
        return cls(0, network.genesis, work_of(BlockHeader.from_bytes(network.genesis).bits))


def create(rows: Session, network: Network, anchor: Anchor, birthday: int) -> None:
    """Make the tables and write the file's identity; the caller's transaction makes it all or nothing."""
    create_tables(rows)
    rows.many("INSERT INTO meta VALUES(?, ?)", _identity(network, anchor).items())
    empty_marks(anchor, max(birthday, anchor.height)).write(rows)


def _identity(network: Network, anchor: Anchor) -> dict[str, Value]:
    return {
        "network": network.file_name,
        "genesis": network.genesis,
        "activations": json.dumps(dict(network.activations), sort_keys=True),
        "base_header": anchor.header,
        "base_work": anchor.work.to_bytes(32, "big"),
    }


def empty_marks(anchor: Anchor, filters_base: int) -> ChainMarks:
    """The marks of a store without headers, as it is before its first block is appended."""
    base, below, previous = anchor.height, anchor.height - 1, anchor.previous_filter_header
    reach = below, previous, filters_base - 1, filters_base, below
    return ChainMarks(base, previous, 0, below, anchor.header[4:36], 0, *reach)


def _meta(rows: Session) -> dict[str, Any]:
    meta: dict[str, Any] = dict(rows.run("SELECT key, value FROM meta"))
    if missing := {"network", "genesis", "activations", "base_header", "base_work"} - meta.keys():
        raise StoreCorrupt(f"the store's identity lacks {', '.join(sorted(missing))}", table="meta")
    return meta


def stored_anchor(rows: Session) -> Anchor:
    """The first block of this store."""
    meta, chain = _meta(rows), ChainMarks.read(rows)
    work = int.from_bytes(meta["base_work"], "big")
    return Anchor(chain.base, meta["base_header"], work, chain.previous_filter_header)


def refuse_mismatch(rows: Session, path: Path, network: Network, anchor: Anchor | None, birthday: int | None) -> None:
    """Compare the file's identity with what is wanted.

    Raises:
        StoreMismatch: another network, other activation heights, another block where the anchor is, a base or a first
            filter above the wanted one.
    """
    meta = _meta(rows)
    if meta["network"] != network.file_name:
        raise StoreMismatch(f"{path} holds network {meta['network']}, not {network.file_name}")
    if meta["genesis"] != network.genesis:
        raise StoreMismatch(f"{path} holds a {meta['network']} with another genesis block")
    _refuse_activations(path, meta["activations"], network)
    chain = ChainMarks.read(rows)
    if anchor:
        _refuse_anchor(rows, path, chain, anchor)
    wanted = max(birthday or 0, anchor.height if anchor else 0)
    first = meta.get("birthday", chain.filters_base)
    if birthday is not None and first > wanted:
        raise StoreMismatch(f"{path} has filters from height {first} on, which is above the wanted {wanted}")


def _refuse_activations(path: Path, raw: str, network: Network) -> None:
    try:
        stored = dict(json.loads(raw))
    except (TypeError, ValueError) as error:
        raise StoreCorrupt(f"{path} is damaged: activation heights that are none", table="meta") from error
    wanted = dict(network.activations)
    if differing := sorted(name for name in wanted if stored.get(name) != wanted[name]):
        theirs, ours = (", ".join(f"{name}={d.get(name)}" for name in differing) for d in (stored, wanted))
        raise StoreMismatch(f"{path} was made with activation {theirs}, not {ours}")


def _refuse_anchor(rows: Session, path: Path, chain: ChainMarks, anchor: Anchor) -> None:
    if chain.base > anchor.height:
        raise StoreMismatch(f"{path} begins at height {chain.base}, which is above the wanted {anchor.height}")
    if chain.base == anchor.height and (work := stored_anchor(rows).work) != anchor.work:
        raise StoreMismatch(f"{path} counts {work:x} as the chainwork at height {chain.base}, not {anchor.work:x}")
    if anchor.height <= chain.tip and read_joined(rows, HEADERS, anchor.height, 1) != anchor.header:
        raise StoreMismatch(f"{path} holds another block at height {anchor.height} than the wanted one")
