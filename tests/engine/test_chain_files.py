"""An exported chain is a store again elsewhere, and nothing else than what was exported is."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from phasegate.consensus.checkpoints import Checkpoint
from phasegate.consensus.filters import filter_hash, filter_header
from phasegate.consensus.headers import extend, genesis_tip
from phasegate.consensus.packed import Packed
from phasegate.consensus.params import REGTEST, SIMNET, Network
from phasegate.consensus.x11 import x11
from phasegate.engine.chain_export import FULL, _filters
from phasegate.engine.chain_file import MAGIC, BadChainFile, Kind, Section, read_sections
from phasegate.engine.chain_import import import_chain
from phasegate.engine.errors import ConfigError
from phasegate.p2p.simnet.bulk_chain import BulkChain
from phasegate.p2p.simnet.bulk_files import made
from phasegate.p2p.simnet.bulk_plan import BulkPlan
from phasegate.store import (
    AddWatch,
    Anchor,
    AppendFilterHeaders,
    AppendHeaders,
    MarkMatched,
    PruneFilters,
    PutFilters,
    SetContext,
    Store,
    StoreLocked,
    StoreMismatch,
)
from tests.exported_chains import (
    NOW,
    changed,
    exported,
    flipped,
    sections_of,
    stored,
    taken_in,
    with_payload,
    written,
)
from tests.simulated_world import small_chain

PLAN = BulkPlan(2_300, filters=2_300, matched=20, elements=20, transactions=3, known_every=500)
TIP = PLAN.headers


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> BulkChain:
    """A chain of two sections of headers and three of filters; the genesis block has no filter."""
    return BulkChain.open(PLAN, made(PLAN, tmp_path_factory.mktemp("bulk")))


@pytest.fixture(scope="module")
def source(chain: BulkChain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that holds it."""
    store = stored(tmp_path_factory.mktemp("source"), chain, TIP, birthday=1)
    yield store
    store.close()


@pytest.fixture(scope="module")
def file(source: Store, chain: BulkChain) -> bytes:
    """Its exported file."""
    return exported(source, chain.network)


@pytest.fixture
def refused(chain: BulkChain, tmp_path: Path) -> Callable[..., str]:
    """Imports a file that has to be refused, makes sure that nothing is left, and says why it was."""

    def attempt(raw: bytes, **more: Any) -> str:
        with pytest.raises(BadChainFile) as error:
            taken_in(raw, tmp_path / "fresh", more.pop("network", chain.network), **{"birthday": 2, **more})
        assert [path.name for path in (tmp_path / "fresh").glob("*")] in ([], ["simnet.sqlite.lock"])
        assert "\n" not in str(error.value)
        return str(error.value)

    return attempt


def test_what_is_imported_is_what_was_exported(file: bytes, source: Store, chain: BulkChain, tmp_path: Path) -> None:
    """All but the newest filter header and filter, which a peer has to confirm; the file can be written again."""
    told = taken_in(file, tmp_path, chain.network, birthday=1).told
    assert (told.reach.base, told.reach.tip, told.reach.birthday, told.reach.filters) == (0, TIP, 1, TIP)
    store = Store.open(tmp_path, chain.network)
    assert store.check() == ()
    marks = store.marks
    assert (marks.tip, marks.tip_hash, marks.work) == (TIP, source.marks.tip_hash, source.marks.work)
    assert (marks.filter_headers, marks.filters, marks.filters_base, marks.birthday) == (TIP - 1, TIP - 1, 1, 1)
    assert marks.corroborated == -1
    for height in (0, 1, 999, 1000, 2000, TIP - 1):
        assert store.header(height) == chain.header(height)
        assert store.filter_header_at(height) == chain.filter_header(height)
        assert height == 0 or store.filters(height, 1) == [chain.filter(height)]
    store.commit([AppendFilterHeaders(TIP, chain.filter_header(TIP)), PutFilters(((TIP, chain.filter(TIP)),))])
    assert store.digest() == source.digest()
    assert exported(store, chain.network) == file
    store.close()


def test_no_more_than_the_chain_is_in_the_file(file: bytes, source: Store, chain: BulkChain) -> None:
    """The sections are those of headers, filter headers and filters, cut where segments are."""
    found = [(one.kind, one.start, one.count) for one in sections_of(file)]
    cut = {
        Kind.DESCRIPTION: [(0, 0)],
        Kind.HEADERS: [(0, 2000), (2000, 301)],
        Kind.FILTER_HEADERS: [(0, 2000), (2000, 301)],
        Kind.FILTERS: [(1, 999), (1000, 1000), (2000, 301)],
    }
    assert found == [(kind, *heights) for kind, pieces in cut.items() for heights in pieces]
    assert len(sections_of(exported(source, chain.network, filters=False))) == 3


def places_of(raw: bytes) -> list[int]:
    """Of every region of a file some bytes: magic, format, and of each section its head, payload and checksum."""
    starts = [section.place for section in sections_of(raw)]
    ends = [*starts[1:], len(raw) - 17]
    places = list(range(len(MAGIC) + 4))
    for start, end in zip([*starts, len(raw) - 17], [*ends, len(raw)], strict=True):
        payload = range(start + 13, end - 4, max(1, (end - start) // 4))
        places += [*range(start, start + 13), *payload, *range(end - 4, end)]
    return places


def test_a_flipped_bit_anywhere_is_found_and_named(file: bytes) -> None:
    """In each byte of what is not payload, and in some of each payload: the section or the byte is told."""
    for place in sorted(set(places_of(file))):
        with pytest.raises(BadChainFile, match=r"section \d|first bytes|format \d|byte \d"):
            list(read_sections(io.BytesIO(flipped(file, place, place % 8))))


@pytest.mark.parametrize("number", range(1, 9))
def test_a_flipped_bit_lets_nothing_be_made(file: bytes, refused: Callable[..., str], number: int) -> None:
    """Whatever was taken in before it; the section is named."""
    section = sections_of(file)[number - 1]
    assert f"section {number}, at bytes {section.place}.." in refused(flipped(file, section.place + 20))


def test_a_file_that_is_cut_short_is_refused(file: bytes, refused: Callable[..., str]) -> None:
    """In the middle of a section, between two, and within the first bytes."""
    starts = [section.place for section in sections_of(file)]
    assert "ends in the middle of section 3" in refused(file[: starts[2] + 1000])
    assert "ends in the middle of section 4" in refused(file[: starts[3]])
    assert "first bytes" in refused(file[:11])
    assert "first bytes" in refused(b"")
    assert "something follows its end" in refused(file + b"\0")


def test_a_disk_that_fails_while_it_is_read_is_the_fault_of_the_file(
    file: bytes, chain: BulkChain, tmp_path: Path
) -> None:
    """Anywhere in it: the byte is told, and the directory that is written is not blamed."""
    for last in (0, 12, 30, len(file) // 2):

        class Failing(io.BytesIO):
            end = last

            def read(self, size: int | None = -1, /) -> bytes:
                if self.tell() + (size or 0) > self.end:
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                return super().read(size)

        with pytest.raises(BadChainFile, match=r"it cannot be read at byte \d+: Input/output error"):
            import_chain(Failing(file), chain.network, tmp_path / "fresh", None, NOW, lambda _done, _total: None, 1)
        assert [path.name for path in (tmp_path / "fresh").glob("*")] in ([], ["simnet.sqlite.lock"])


def test_sections_that_are_not_announced_are_refused(file: bytes, refused: Callable[..., str]) -> None:
    """Missing, exchanged, doubled, empty, too long, or of a kind that nobody knows; a section of wrong width."""
    parts = sections_of(file)
    assert "headers from 0 on have to stand here" in refused(written([parts[0], *parts[2:]]))
    assert "headers from 0 on have to stand here" in refused(written([parts[0], parts[2], parts[1], *parts[3:]]))
    assert "headers from 2000 on have to stand here" in refused(written([*parts[:2], parts[1], *parts[2:]]))
    assert "ends before its filters 2000..2300" in refused(written(parts[:-1]))
    assert "nothing more is announced" in refused(written([*parts, parts[-1]]))
    assert "have to stand here" in refused(changed(file, 2, lambda one: attrs.evolve(one, count=0)))
    assert "have to stand here" in refused(changed(file, 3, lambda one: attrs.evolve(one, count=302)))
    assert "bytes are not 2000 items of 80" in refused(changed(file, 2, with_payload(lambda raw: raw[:-1])))
    assert "does not begin with its description" in refused(written(parts[1:]))


def describing(**changes: Any) -> Callable[[Section], Section]:
    return with_payload(lambda raw: json.dumps({**json.loads(raw), **changes}).encode())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"network": "mainnet"}, "it is of network mainnet, not simnet"),
        ({"network": 7}, "network is no short text"),
        ({"genesis": "00" * 80}, "it is of network simnet, not simnet"),
        ({"genesis": "00" * 79}, "genesis is not 80 bytes"),
        ({"genesis": "zz" * 80}, "genesis is no hex"),
        ({"activations": {"dip3": 5}}, "made with activation"),
        ({"activations": []}, "no activation heights"),
        ({"tip": TIP + 1}, "headers from 2301 on have to stand here"),
        ({"tip": TIP - 1, "filters": TIP - 1}, "headers from 2000 on have to stand here"),
        ({"tip": True}, "tip is no height"),
        ({"tip": 1 << 31}, "tip is no height"),
        ({"filters": TIP + 1}, "no chain has"),
        ({"birthday": 2}, "filters from 2 on have to stand here"),
        ({"base": 1, "context": 1}, "begins at height 1, which is no built-in checkpoint"),
        ({"base_header": "00" * 80}, "first block is not the genesis block"),
        ({"base_work": "xyz"}, "base_work is no hex number"),
        ({"base_work": "f" * 65}, "base_work is no chainwork"),
    ],
)
def test_a_description_is_held_against_what_is_known(
    file: bytes, refused: Callable[..., str], changes: dict[str, Any], reason: str
) -> None:
    """Of another network, with impossible heights, beginning where one cannot begin, or no such fields at all."""
    assert reason in refused(changed(file, 1, describing(**changes)))


@pytest.mark.parametrize(
    ("raw", "reason"), [(b"\xff", "no JSON"), (b"[" * 60_000, "no JSON"), (b"[]", "no JSON object")]
)
def test_a_description_that_is_none(file: bytes, refused: Callable[..., str], raw: bytes, reason: str) -> None:
    """Neither is it long, nor is it read without bounds."""
    assert reason in refused(changed(file, 1, with_payload(lambda _: raw)))
    assert "description" in refused(changed(file, 1, with_payload(lambda _: b" " * 70_000)))


def test_another_network_is_refused(file: bytes, refused: Callable[..., str]) -> None:
    """That of the reader counts."""
    assert "it is of network simnet, not regtest" in refused(file, network=REGTEST)


def test_headers_keep_all_rules(file: bytes, chain: BulkChain, refused: Callable[..., str]) -> None:
    """A changed nonce, a header from the future, and another block where the network knows one."""
    spoilt = changed(file, 3, with_payload(lambda raw: flipped(raw, 80 * 100 + 76)))
    assert "height 210" in refused(spoilt)
    assert "section 3 (headers 2000..2300" in refused(spoilt)
    early = int.from_bytes(chain.header(1500)[68:72], "little") - 7200
    assert "HEADER_FROM_THE_FUTURE" in refused(file, now=early).upper().replace("-", "_")
    knowing = attrs.evolve(chain.network, known_blocks={700: bytes(32)})
    assert "height 700" in refused(file, network=knowing)


def test_filters_lead_to_their_filter_headers(file: bytes, chain: BulkChain, refused: Callable[..., str]) -> None:
    """A filter header or a filter that is another one is named by its height."""
    header = changed(file, 4, with_payload(lambda raw: flipped(raw, 32 * 1200)))
    assert "the filter of height 1200 does not lead to its filter header" in refused(header)
    raw = changed(file, 7, with_payload(lambda raw: flipped(raw, len(raw) - 1)))
    assert "section 7 (filters 1000..1999" in refused(raw)
    assert "the filter of height 1999 does not lead" in refused(raw)
    lengths = changed(file, 6, with_payload(lambda raw: flipped(raw, 0)))
    assert "not the lengths that it states" in refused(lengths)
    assert "bytes are not 999 filters" in refused(changed(file, 6, with_payload(lambda raw: raw[:100])))


def test_a_filter_that_cannot_be_read_is_refused(chain: BulkChain, tmp_path: Path, refused: Callable[..., str]) -> None:
    """Though it leads to its filter header."""

    class Malformed:
        def filter(self, chain: BulkChain, height: int) -> bytes:
            return b"\x05\x00" if height == 40 else chain.filter(height)

        def header(self, chain: BulkChain, height: int) -> bytes:
            told = chain.filter_header(min(height, 39))
            for at in range(40, height + 1):
                told = filter_header(filter_hash(self.filter(chain, at)), told)
            return told

    store = stored(tmp_path / "liar", chain, 60, Malformed(), birthday=1)
    raw = exported(store, chain.network)
    store.close()
    assert "malformed" in refused(raw)


def test_a_directory_that_holds_a_store_is_left_alone(file: bytes, chain: BulkChain, tmp_path: Path) -> None:
    """Also where it is open, where only its log is left, and where something else has its name."""
    store = Store.open(tmp_path, chain.network)
    with pytest.raises(StoreLocked):
        taken_in(file, tmp_path, chain.network, birthday=1)
    before = store.digest()
    store.close()
    with pytest.raises(StoreMismatch, match="is there already"):
        taken_in(file, tmp_path, chain.network, birthday=1)
    store = Store.open(tmp_path, chain.network)
    assert store.digest() == before
    store.close()
    (tmp_path / "simnet.sqlite").rename(tmp_path / "elsewhere")
    (tmp_path / "simnet.sqlite-wal").write_bytes(b"left behind")
    with pytest.raises(StoreMismatch, match=r"simnet\.sqlite-wal is there already"):
        taken_in(file, tmp_path, chain.network, birthday=1)


class Killed(BaseException):
    """Ends an import as a signal does."""


def test_an_interrupted_import_has_made_nothing(file: bytes, chain: BulkChain, tmp_path: Path) -> None:
    """At each section; what a killed one leaves behind is cleared away by the next, which succeeds."""
    for last in range(1, 8):
        seen = iter(range(1, 100))

        def die(_done: int, _total: int, last: int = last, seen: Iterator[int] = seen) -> None:
            if next(seen) == last:
                raise Killed

        with pytest.raises(Killed):
            taken_in(file, tmp_path, chain.network, birthday=1, report=die)
        assert [path.name for path in tmp_path.iterdir()] == ["simnet.sqlite.lock"]
    left = tmp_path / "simnet.import"
    left.mkdir()
    (left / "simnet.sqlite").write_bytes(b"half of it")
    taken_in(file, tmp_path, chain.network, birthday=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["simnet.sqlite", "simnet.sqlite.lock"]


KILLED = """
import os, signal, sys, time
from pathlib import Path
from phasegate.consensus.params import SIMNET
from phasegate.engine.chain_import import import_chain
def report(done, total):
    if done == total:
        os.kill(os.getpid(), signal.SIGKILL)
with open(sys.argv[1], "rb") as file:
    import_chain(file, SIMNET, Path(sys.argv[2]), None, int(time.time()), report)
"""


def test_a_killed_import_leaves_a_directory_to_go_on_with(tmp_path: Path) -> None:
    """After all was taken in, right before it is moved: a client can begin there, and so can the next import."""
    store = stored(tmp_path / "source", small_chain(), 300)
    (tmp_path / "file").write_bytes(exported(store, SIMNET))
    store.close()
    data = tmp_path / "data"
    words = [sys.executable, "-c", KILLED, str(tmp_path / "file"), str(data)]
    assert subprocess.run(words, timeout=60, check=False).returncode == -signal.SIGKILL
    assert (data / "simnet.import" / "simnet.sqlite").exists()
    store = Store.open(data, SIMNET)
    assert (store.marks.tip, store.check()) == (0, ())
    store.close()
    (data / "simnet.sqlite").unlink()
    taken_in((tmp_path / "file").read_bytes(), data, SIMNET)
    assert sorted(path.name for path in data.iterdir()) == ["simnet.sqlite", "simnet.sqlite.lock"]


def based(chain: BulkChain, place: Path, base: int, context: int = 40) -> tuple[Store, Anchor]:
    """A store that begins at `base`, up to the tip, with all filters."""
    below = extend(chain.network, genesis_tip(chain.network), chain.headers(1, base), NOW).tip
    anchor = Anchor(base, chain.header(base), below.work)
    store = Store.open(place, chain.network, anchor=anchor, birthday=base)
    checked = extend(chain.network, below, chain.headers(base + 1, TIP - base), NOW)
    store.commit([AppendHeaders(base + 1, checked.raw, checked.hashes, checked.tip.work)])
    if context:
        store.commit([SetContext(chain.headers(base - context, context))])
    heights = range(base, TIP + 1)
    told = b"".join([chain.filter_header(at) for at in heights])
    store.commit([AppendFilterHeaders(base, told, chain.filter_header(base - 1))])
    store.commit([PutFilters(tuple((at, chain.filter(at)) for at in heights))])
    return store, anchor


def test_a_chain_that_begins_above_genesis(chain: BulkChain, tmp_path: Path, refused: Callable[..., str]) -> None:
    """It is taken by whoever trusts that very block and work, and the headers below it have to lead there."""
    store, anchor = based(chain, tmp_path / "based", 1700)
    raw, digest = exported(store, chain.network), store.digest()
    store.close()
    assert "begins at height 1700, which is no built-in checkpoint" in refused(raw)
    assert "no built-in checkpoint" in refused(raw, anchor=attrs.evolve(anchor, work=anchor.work + 1))
    unlinked = changed(raw, 2, with_payload(lambda headers: headers[80:] + headers[:80]))
    assert "not linked to each other" in refused(unlinked, anchor=anchor)
    fewer = changed(raw, 1, describing(context=3))
    assert "too few or too many" in refused(fewer, anchor=anchor)
    taken_in(raw, tmp_path / "again", chain.network, anchor=anchor)
    store = Store.open(tmp_path / "again", chain.network)
    assert (store.marks.base, store.marks.context, store.marks.filters_base) == (1700, 40, 1700)
    assert store.filter_header_at(1699) == chain.filter_header(1699)
    store.commit([AppendFilterHeaders(TIP, chain.filter_header(TIP)), PutFilters(((TIP, chain.filter(TIP)),))])
    assert store.digest() == digest
    store.close()


def unwanted(raw: bytes, place: Path, network: Network, **more: Any) -> str:
    """Why a file is refused that would have too little searched."""
    with pytest.raises(ConfigError) as error:
        taken_in(raw, place, network, **more)
    assert not list(place.glob("*"))
    return str(error.value)


def test_a_file_does_not_choose_what_is_left_unsearched(file: bytes, chain: BulkChain, tmp_path: Path) -> None:
    """Where its filters begin above the user's birthday, the user has to agree, by that very height or a later one."""
    network, fresh = chain.network, tmp_path / "fresh"
    for more in ({}, {"birthday": 0}):
        told = unwanted(file, fresh, network, **more)
        assert told == (
            "its filters begin at height 1, and nothing below would be searched; "
            "if nothing that you watch is older, say so with --birthday 1"
        )
    assert taken_in(file, tmp_path / "later", network, birthday=2000).birthday == 1
    store = Store.open(tmp_path / "later", network)
    assert (store.marks.birthday, store.marks.filters_base) == (1, 1)
    store.close()


def test_a_file_without_filters_has_no_say_in_it(source: Store, chain: BulkChain, tmp_path: Path) -> None:
    """Whatever height it names: all is searched from its first block on, or from the birthday of its reader."""
    headers = exported(source, chain.network, filters=False)
    for birthday in (TIP, 2**31 - 1):
        raw = changed(headers, 1, describing(birthday=birthday, filters=-1))
        assert taken_in(raw, tmp_path / f"{birthday}", chain.network).birthday == 0
        store = Store.open(tmp_path / f"{birthday}", chain.network)
        assert store.marks.birthday == 0
        store.close()
    assert taken_in(headers, tmp_path / "own", chain.network, birthday=1500).birthday == 1500


def test_a_base_above_genesis_has_to_be_wanted(
    chain: BulkChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that only the file names is no birthday; the block that its reader trusts is."""
    store, anchor = based(chain, tmp_path / "based", 1700)
    raw, headers = exported(store, chain.network), exported(store, chain.network, filters=False)
    store.close()
    known = {1700: Checkpoint(1700, x11(anchor.header), anchor.header, anchor.work)}
    monkeypatch.setattr("phasegate.engine.chain_description.checkpoints", lambda _network: known)
    assert "its filters begin at height 1700" in unwanted(raw, tmp_path / "fresh", chain.network)
    assert "its chain begins at height 1700" in unwanted(headers, tmp_path / "fresh", chain.network, birthday=1699)
    assert taken_in(headers, tmp_path / "born", chain.network, birthday=1700).birthday == 1700
    assert taken_in(raw, tmp_path / "trusted", chain.network, anchor=anchor).birthday == 1700


def test_a_store_whose_beginning_is_not_proven_yet_is_not_exported(chain: BulkChain, tmp_path: Path) -> None:
    store, _ = based(chain, tmp_path, 1700, context=0)
    with pytest.raises(StoreMismatch, match="headers below 1700"):
        exported(store, chain.network)
    store.close()


def test_pruned_filters_are_left_out_with_their_headers(chain: BulkChain, tmp_path: Path) -> None:
    """For a filter header without its filter could not be held against anything."""
    store = stored(tmp_path / "pruned", chain, TIP, birthday=1)
    store.commit([AddWatch(((b"script", ""),)), MarkMatched((b"script",), 1, TIP, ())])
    store.commit([PruneFilters(TIP - 200)])
    assert store.marks.filters_base > 1
    raw = exported(store, chain.network)
    store.close()
    told = taken_in(raw, tmp_path / "again", chain.network, birthday=1).told
    store = Store.open(tmp_path / "again", chain.network)
    assert told.reach.filter_count == 0
    assert (store.marks.tip, store.marks.filter_headers, store.marks.birthday) == (TIP, -1, 1)
    store.close()


def test_large_filters_are_cut_into_several_sections() -> None:
    """So that no section is larger than what is read."""
    filters = Packed.of([bytes(FULL // 3)] * 10)
    parts = list(_filters(100, filters))
    assert [(start, count) for _, start, count, _ in parts] == [(100, 2), (102, 3), (105, 2), (107, 3)]
    assert b"".join(payload[4 * count :] for _, _, count, payload in parts) == filters.joined
