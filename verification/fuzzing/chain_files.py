"""A target of the file in which a chain travels (`engine/chain_file`): imported whole or refused, whoever wrote it.

A refusal is a `BadChainFile`, or a `ConfigError` where the file would have too little searched, and leaves nothing.
What was imported is a store that finds itself whole. No more is read at once than the longest section may have. The
checksums of sections may be put right behind the fuzzer's back, so that what is behind them is reached.
"""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
from zlib_ng.zlib_ng import crc32

from phasegate.consensus.headers import extend, genesis_tip
from phasegate.engine.chain_export import export_chain, reach_of
from phasegate.engine.chain_file import LARGEST, MAGIC, BadChainFile, ChainFileWriter, Section, read_sections
from phasegate.engine.chain_import import import_chain
from phasegate.engine.errors import ConfigError
from phasegate.store import (
    Anchor,
    AppendFilterHeaders,
    AppendHeaders,
    PutFilters,
    SetContext,
    Store,
)
from phasegate.verification.fuzzing.choices import Choices
from phasegate.verification.fuzzing.laws import held
from phasegate.verification.fuzzing.samples import sample_chain

NOW = 1_900_000_000
TIP, BASE, CONTEXT = 12, 60, 30
"""The height of the files that begin at genesis; where the others begin, and the headers below that they have."""
_BIRTHDAYS = (None, 1 << 30, BASE, 0)
_HEAD = struct.Struct("<BIII")
_PREAMBLE = len(MAGIC) + 4
_IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a directory of random name in it
"""Where stores are made, if there is such a place: a disk takes five times as long."""


class _Bounded(io.BytesIO):
    """A file that notices if more is asked for at once than a section may have."""

    def read(self, size: int | None = -1, /) -> bytes:
        held(size is not None and 0 <= size <= LARGEST, f"{size} bytes were asked for at once")
        return super().read(size)


def chain_files(data: bytes) -> None:
    """One file, imported into a directory of its own."""
    _compiled()
    choices = Choices(data)
    mended, birthday = choices.flag(), choices.pick(_BIRTHDAYS)
    raw = choices.rest()
    with TemporaryDirectory(prefix="fuzz-", dir=_IN_MEMORY) as place:
        _imported(_summed(raw) if mended else raw, Path(place) / "data", birthday)


@cache
def _compiled() -> None:
    """Have the loops compiled that an import needs, so that no input is held up by that."""
    for raw in (whole_file(), whole_file(based=True)):
        with TemporaryDirectory(prefix="fuzz-", dir=_IN_MEMORY) as place:
            _imported(raw, Path(place) / "data", BASE)


def chain_file_input(raw: bytes, *, mended: bool = True, birthday: int | None = 1 << 30) -> bytes:
    """The bytes that `chain_files` reads as this file."""
    return bytes((mended, _BIRTHDAYS.index(birthday))) + raw


def _imported(raw: bytes, place: Path, birthday: int | None) -> None:
    network = sample_chain().network
    try:
        done = import_chain(_Bounded(raw), network, place, anchor(), NOW, lambda _done, _total: None, birthday)
    except (BadChainFile, ConfigError) as refused:
        held("\n" not in str(refused), "a refusal of several lines")
        held(not list(place.glob("*.sqlite")) and not list(place.glob("*.import")), "a refused file left something")
        return
    store = Store.open(place, network)
    try:
        reach, marks = done.told.reach, store.marks
        held(store.check() == (), "an imported store is damaged")
        held((marks.base, marks.tip, marks.birthday) == (reach.base, reach.tip, done.birthday), "the reach of a store")
        held(not reach.filter_count or marks.birthday == reach.birthday, "a birthday above the first filter")
        held(marks.corroborated < marks.base, "somebody is said to have corroborated an imported filter header")
    finally:
        store.close()


def _summed(raw: bytes) -> bytes:
    """The same file with checksums that fit, as far as its sections can be told apart."""
    parts, at = [raw[:_PREAMBLE]], _PREAMBLE
    while len(raw) - at >= _HEAD.size + 4:
        size = _HEAD.unpack_from(raw, at)[-1]
        whole = raw[at : at + _HEAD.size + min(size, len(raw) - at - _HEAD.size - 4)]
        parts += [whole, struct.pack("<I", crc32(whole))]
        at += len(whole) + 4
    return b"".join([*parts, raw[at:]])


# -- seeds -------------------------------------------------------------------------------------------------------


@cache
def anchor() -> Anchor:
    """A block of the generated chain that the importer trusts."""
    chain = sample_chain()
    work = extend(chain.network, genesis_tip(chain.network), chain.headers(1, BASE), NOW).tip.work
    return Anchor(BASE, chain.header(BASE), work)


@cache
def whole_file(*, based: bool = False, filters: bool = True, birthday: int = 0) -> bytes:
    """A file of the generated chain, from genesis or from the anchor on."""
    chain, file = sample_chain(), io.BytesIO()
    with TemporaryDirectory(prefix="fuzz-", dir=_IN_MEMORY) as place:
        store = Store.open(Path(place), chain.network, anchor=anchor() if based else None, birthday=birthday)
        try:
            _fill(store, BASE if based else 0)
            export_chain(store, chain.network, file, reach_of(store.marks, filters=filters), lambda _done, _total: None)
        finally:
            store.close()
    return file.getvalue()


def _fill(store: Store, base: int) -> None:
    chain, start = sample_chain(), genesis_tip(sample_chain().network)
    if base:
        start = extend(chain.network, start, chain.headers(1, base), NOW).tip
        store.commit([SetContext(chain.headers(base - CONTEXT, CONTEXT))])
    checked = extend(chain.network, start, chain.headers(base + 1, TIP), NOW)
    store.commit([AppendHeaders(base + 1, checked.raw, checked.hashes, checked.tip.work)])
    heights = range(base, base + TIP + 1)
    told = b"".join([chain.filter_header(height) for height in heights])
    store.commit([AppendFilterHeaders(base, told, chain.filter_header(base - 1) if base else None)])
    first = store.marks.birthday
    store.commit([PutFilters(tuple((height, chain.filter(height)) for height in heights if height >= first))])


def described(raw: bytes, **changes: object) -> bytes:
    """The file with a description that says something else."""

    def change(section: Section) -> Section:
        return attrs.evolve(section, payload=json.dumps({**json.loads(section.payload), **changes}).encode())

    return _changed(raw, change)


def _changed(raw: bytes, change: Callable[[Section], Section]) -> bytes:
    file = io.BytesIO()
    writer = ChainFileWriter(file)
    for section in read_sections(io.BytesIO(raw)):
        one = change(section) if section.number == 1 else section
        writer.write(one.kind, one.start, one.count, one.payload)
    writer.close()
    return file.getvalue()
