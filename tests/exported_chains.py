"""Exported chains for tests: written from a store that holds a simulated chain, taken apart and put together again."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs

from phasegate.consensus.headers import extend, genesis_tip
from phasegate.consensus.params import Network
from phasegate.engine.chain_export import export_chain, reach_of
from phasegate.engine.chain_file import ChainFileWriter, Section, read_sections
from phasegate.engine.chain_import import import_chain
from phasegate.p2p.simnet.chain import SimulatedChain
from phasegate.store import AppendFilterHeaders, AppendHeaders, PutFilters, Store

NOW = 1_900_000_000
AT_ONCE = 2000


def fill(store: Store, chain: SimulatedChain, height: int, filters: Any = None, birthday: int = 0) -> None:
    """Have `store`, which holds the genesis block, hold the chain up to `height`; `filters` tells other filters."""
    tip, network = genesis_tip(chain.network), chain.network
    for start in range(1, height + 1, AT_ONCE):
        checked = extend(network, tip, chain.headers(start, min(AT_ONCE, height + 1 - start)), NOW)
        store.commit([AppendHeaders(start, checked.raw, checked.hashes, checked.tip.work)])
        tip = checked.tip
    header = chain.filter_header if filters is None else lambda at: filters.header(chain, at)
    raw = chain.filter if filters is None else lambda at: filters.filter(chain, at)
    for start in range(0, height + 1, AT_ONCE):
        heights = range(start, min(start + AT_ONCE, height + 1))
        store.commit([AppendFilterHeaders(start, b"".join(map(header, heights)))])
        store.commit([PutFilters(tuple((at, raw(at)) for at in heights if at >= birthday))])


def stored(place: Path, chain: SimulatedChain, height: int, filters: Any = None, birthday: int = 0) -> Store:
    """A new store that holds the chain up to `height`, to be closed by the caller."""
    store = Store.open(place, chain.network, birthday=birthday)
    fill(store, chain, height, filters, birthday)
    return store


def exported(store: Store, network: Network, *, filters: bool = True) -> bytes:
    """The file of what `store` holds."""
    file = io.BytesIO()
    export_chain(store, network, file, reach_of(store.marks, filters=filters), lambda _done, _total: None)
    return file.getvalue()


def taken_in(raw: bytes, place: Path, network: Network, **more: Any) -> Any:
    """Import a file into the directory `place`."""
    given = {"anchor": None, "now": NOW, "report": lambda _done, _total: None, **more}
    return import_chain(io.BytesIO(raw), network, place, **given)


def sections_of(raw: bytes) -> list[Section]:
    """The sections of a file, its end left out."""
    return list(read_sections(io.BytesIO(raw)))


def written(sections: Iterable[Section]) -> bytes:
    """A file of these sections, with checksums that fit them."""
    file = io.BytesIO()
    writer = ChainFileWriter(file)
    for section in sections:
        writer.write(section.kind, section.start, section.count, section.payload)
    writer.close()
    return file.getvalue()


def changed(raw: bytes, number: int, change: Callable[[Section], Section | None]) -> bytes:
    """The file with its section of that number, counted from 1, changed, or left out; all checksums fit again."""
    found = [change(section) if section.number == number else section for section in sections_of(raw)]
    return written([section for section in found if section is not None])


def flipped(raw: bytes, place: int, bit: int = 0) -> bytes:
    """The bytes with one bit turned over."""
    turned = bytearray(raw)
    turned[place] ^= 1 << bit
    return bytes(turned)


def with_payload(change: Callable[[bytes], bytes]) -> Callable[[Section], Section]:
    """What gives a section another payload."""
    return lambda section: attrs.evolve(section, payload=change(section.payload))
