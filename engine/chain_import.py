"""A store made from a file of an exported chain (`chain_file`), which is believed no more than a peer.

Headers keep all rules of their heights and every checkpoint, from genesis, a built-in checkpoint or a header that the
user trusts; chainwork is counted here. A filter must hash, together with the filter header before it, to its own filter
header, and be readable. That makes the filter headers a chain from the birthday on; it does not make them true, for
nothing in a file can show that a filter holds all that is in its block. So they are stored as the word of a single peer
would be: nobody has corroborated them. And the newest filter header is left out, with its filter: before the next sync
can call the filter headers complete, a peer has to name what follows them, and with it all of them. A peer that names
others starts the dispute that every other contradiction starts (`phases/filter_settlement`).

The store is made aside and moved into place when everything was proven: an import that is refused or interrupted has
made nothing. No more is in memory than a few sections.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import BinaryIO

import attrs
import numpy as np

from phasegate.consensus.compiled import expect
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.filters import chain_headers, filter_hash, match_filters
from phasegate.consensus.headers import ChainTip, context_size, extend, follow, genesis_tip, tip_from
from phasegate.consensus.packed import Packed
from phasegate.consensus.params import Network
from phasegate.consensus.x11 import HEADER_SIZE, x11, x11_many
from phasegate.engine.chain_description import Description, read_description
from phasegate.engine.chain_export import Report
from phasegate.engine.chain_file import BadChainFile, Kind, Section, read_sections
from phasegate.engine.errors import ConfigError
from phasegate.store import Anchor, AppendFilterHeaders, AppendHeaders, PackedFilters, PutFilters, SetContext, Store
from phasegate.store.aside import new_store

MOST = 2000
"""Items that a section may have, as messages of peers do."""

Hashed = tuple[Section, bytes]


@attrs.frozen
class Imported:
    """What a file held, and the first height that is searched in the store which was made of it."""

    told: Description
    birthday: int


def import_chain(
    file: BinaryIO,
    network: Network,
    directory: Path,
    anchor: Anchor | None,
    now: int,
    report: Report,
    birthday: int | None = None,
) -> Imported:
    """Make the store of `network` in `directory` from a file, everything in it verified.

    Args:
        file: open at its beginning.
        network: whose rules apply.
        directory: it must not hold a store of that network.
        anchor: a header that the user trusts, at which the file may begin.
        now: seconds since 1970.
        report: told how many items of how many are done.
        birthday: the height below which the user has said that nothing is to be searched; None: nothing was said.

    Raises:
        BadChainFile: it cannot be read, is damaged, or breaks a rule; the text names the place.
        ConfigError: it begins above the birthday, or without one above the anchor or genesis.
        StoreError: the directory holds a store already, or the disk refuses.
    """
    sections = read_sections(file)
    told = read_description(sections, network, anchor)
    born = _born(told, anchor, birthday)
    with new_store(directory, network.file_name) as place:
        store = Store.open(place, network, anchor=told.anchor, birthday=born)
        try:
            _Importing(store, network, told, now, report).run(sections)
        finally:
            store.close()
    return Imported(told, born)


def _born(told: Description, anchor: Anchor | None, birthday: int | None) -> int:
    """The birthday of the store: whoever wrote the file may not choose which blocks its reader does not search."""
    first = told.reach.birthday
    if first > max(birthday or 0, anchor.height if anchor else 0):
        what = "filters begin" if told.reach.filter_count else "chain begins"
        detail = f"its {what} at height {first}, and nothing below would be searched"
        raise ConfigError(f"{detail}; if nothing that you watch is older, say so with --birthday {first}")
    return first if told.reach.filter_count else max(first, birthday or 0)


class _Importing:
    def __init__(self, store: Store, network: Network, told: Description, now: int, report: Report) -> None:
        self._store = store
        self._network = network
        self._told = told
        self._reach = told.reach
        self._now = now
        self._report = report
        self._done = 0
        self._tip = genesis_tip(network)
        self.newest = min(told.reach.filters, told.reach.tip - 1)
        """The last height of which filter header and filter are stored."""

    def run(self, sections: Iterator[Section]) -> None:
        """Take all sections, in the order in which they have to come."""
        reach = self._reach
        expect(reach.tip + 1 - reach.base)
        if reach.base:
            self._take_context(self._next(sections, Kind.CONTEXT, reach.base - self._told.context, reach.base - 1))
        for section, hashes in _hashed_ahead(self._series(sections, Kind.HEADERS, reach.base, reach.tip)):
            self._take(self._append_headers, section, hashes)
        if reach.filter_count:
            for section in self._series(sections, Kind.FILTER_HEADERS, reach.base, reach.filters):
                self._take(self._append_filter_headers, section)
            for section in self._series(sections, Kind.FILTERS, reach.birthday, reach.filters):
                self._take(self._put_filters, section)
        for section in sections:
            raise section.refused("nothing more is announced")

    def _take(self, store: Callable[..., None], section: Section, *more: bytes) -> None:
        try:
            store(section, *more)
        except PeerMisbehaved as lie:
            raise section.refused(str(lie)) from lie
        self._done += section.count
        self._report(self._done, self._reach.items)

    def _series(self, sections: Iterator[Section], kind: Kind, first: int, last: int) -> Iterator[Section]:
        while first <= last:
            section = self._next(sections, kind, first, last)
            first = section.end + 1
            yield section

    def _next(self, sections: Iterator[Section], kind: Kind, first: int, last: int) -> Section:
        section = next(sections, None)
        if section is None:
            raise BadChainFile(f"it ends before its {kind.title} {first}..{last}")
        fits = section.kind is kind and section.start == first and section.end <= last and 0 < section.count <= MOST
        if not fits:
            raise section.refused(f"{kind.title} from {first} on have to stand here")
        width = {Kind.FILTERS: 0, Kind.FILTER_HEADERS: 32}.get(kind, HEADER_SIZE)
        if width and len(section.payload) != width * section.count:
            raise section.refused(f"{len(section.payload)} bytes are not {section.count} items of {width}")
        return section

    # -- headers -------------------------------------------------------------------------------------------------

    def _take_context(self, section: Section) -> None:
        """The headers below the base: each is named by the one above it, and the base is trusted."""
        network, anchor, raw = self._network, self._told.anchor, section.payload
        if anchor is None or section.end != self._reach.base - 1:
            raise section.refused(f"they do not reach up to the base at {self._reach.base}")
        whole, parents = raw + anchor.header, x11_many(raw)
        if np.frombuffer(whole, np.uint8).reshape(-1, HEADER_SIZE)[1:, 4:36].tobytes() != parents:
            raise section.refused("they are not linked to each other and to the base")
        below = section.start - 1
        start = ChainTip(below, raw[4:36], 0, ()) if below >= 0 else genesis_tip(network)
        try:
            follow(network, start, whole if below >= 0 else whole[HEADER_SIZE:], self._now)
        except PeerMisbehaved as wrong:
            raise section.refused(f"the base is none of {network.file_name}: {wrong}") from wrong
        needed = context_size(network, anchor.height)
        if len(whole) < needed * HEADER_SIZE:
            raise section.refused(f"{section.count} headers are too few to judge those above the base by")
        self._tip = tip_from(network, anchor.height, x11(anchor.header), anchor.work, whole)
        self._store.commit([SetContext(raw)])

    def _append_headers(self, section: Section, hashes: bytes) -> None:
        raw, start = section.payload, section.start
        if start == self._reach.base:
            if raw[:HEADER_SIZE] != self._store.header(start):
                raise section.refused("the first header is not the announced one")
            raw, hashes, start = raw[HEADER_SIZE:], hashes[32:], start + 1
        if raw:
            checked = extend(self._network, self._tip, raw, self._now, hashes)
            self._store.commit([AppendHeaders(start, raw, hashes, checked.tip.work)])
            self._tip = checked.tip

    # -- filters -------------------------------------------------------------------------------------------------

    def _append_filter_headers(self, section: Section) -> None:
        """As they stand: whether they are a chain is seen when their filters come."""
        kept = section.payload[: 32 * max(0, self.newest + 1 - section.start)]
        if kept:
            previous = self._told.previous if section.start == self._reach.base > 0 else None
            self._store.commit([AppendFilterHeaders(section.start, kept, previous)])

    def _put_filters(self, section: Section) -> None:
        filters = _unpacked(section).part(0, max(0, min(section.end, self.newest) + 1 - section.start))
        if not filters:
            return
        store, start, count = self._store, section.start, len(filters)
        hashes = b"".join([filter_hash(raw) for raw in filters])
        made = chain_headers(store.filter_header_at(start - 1), hashes)
        if made != (stored := store.filter_headers(start, count)):
            place = next(i for i in range(count) if made[32 * i : 32 * i + 32] != stored[32 * i : 32 * i + 32])
            raise section.refused(f"the filter of height {start + place} does not lead to its filter header")
        match_filters(store.hashes(start, count), filters, ())  # whether they can be read
        store.commit([PutFilters(PackedFilters(start, filters))])


def _unpacked(section: Section) -> Packed:
    """The filters of a section, behind the four bytes that each length takes."""
    lengths = 4 * section.count
    if len(section.payload) < lengths:
        raise section.refused(f"{len(section.payload)} bytes are not {section.count} filters")
    packed = Packed.by_sizes(section.payload, np.frombuffer(section.payload, "<u4", section.count), lengths)
    if packed.offsets[-1] != len(section.payload):
        raise section.refused("its filters have not the lengths that it states")
    return packed


def _hashed_ahead(sections: Iterator[Section]) -> Iterator[Hashed]:
    """Each section of headers with their X11, computed on all cores while others are judged and stored."""
    hands = cpu_count() or 1
    with ThreadPoolExecutor(hands) as pool:
        under_way = deque[tuple[Section, Future[bytes]]]()
        for section in sections:
            under_way.append((section, pool.submit(x11_many, section.payload)))
            if len(under_way) > hands:
                earlier, hashes = under_way.popleft()
                yield earlier, hashes.result()
        yield from ((earlier, hashes.result()) for earlier, hashes in under_way)
