"""Damaged bytes are found when they are read, named, and repaired by going back to where all is good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from phasegate.consensus.params import SIMNET
from phasegate.store import AddWatch, Anchor, Damage, MarkMatched, SetMasternodes, Store, StoreCorrupt

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain


def fill(store: Store, chain: FakeChain) -> None:
    """Headers to 6500 (segments below 6000), filter headers to 6200, filters to 4500, lists at 1000 and 6400."""
    store.commit([chain.append(1, 6500), chain.append_filter_headers(0, 6201), chain.put_filters(range(4501))])
    store.commit([SetMasternodes(h, chain.hash_at(h), b"state %d" % h) for h in (1000, 6400)])
    store.commit([AddWatch(((b"a", ""),)), MarkMatched((b"a",), 0, 4500, (100, 4400))])


@pytest.fixture
def filled(tmp_path: Path, trunk: FakeChain) -> Path:
    """The directory of a closed store."""
    store = Store.open(tmp_path, SIMNET)
    fill(store, trunk)
    store.close()
    return tmp_path


def spoil(directory: Path, sql: str, *values: int) -> None:
    """What a bad disk does, by SQL: the checksums are left as they are."""
    connection = apsw.Connection(str(directory / "simnet.sqlite"))
    connection.execute(sql, values)
    assert connection.changes()
    connection.close()


FLIP_SEGMENT = "UPDATE segments SET data = cast(x'ff' || substr(data, 2) AS BLOB) WHERE series = ? AND start = ?"
FLIP_ROW = "UPDATE tail SET data = cast(x'abcd' || data AS BLOB) WHERE series = ? AND height = ?"


def test_a_flipped_byte_in_the_file_is_found_and_named(filled: Path, trunk: FakeChain) -> None:
    path = filled / "simnet.sqlite"
    raw = path.read_bytes()
    at = raw.index(trunk.header(2500))
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    store = Store.open(filled, SIMNET)
    with pytest.raises(StoreCorrupt, match=r"headers 2000\.\.3999 are damaged \(table segments\)") as caught:
        store.header(3000)
    assert (caught.value.table, caught.value.start, caught.value.end) == ("headers", 2000, 3999)
    assert store.check() == (Damage("headers", "segments", 2000, 3999),)
    assert store.headers(4000, 2501) == trunk.headers(4000, 2501)
    store.close()


def test_a_whole_store_has_no_damage(filled: Path) -> None:
    store = Store.open(filled, SIMNET)
    assert store.check() == ()
    digest = store.digest()
    store.close()
    assert Store.repair(filled, SIMNET).damages == ()
    store = Store.open(filled, SIMNET)
    assert store.digest() == digest
    store.close()


@pytest.mark.parametrize(
    ("sql", "place", "good"),
    [
        pytest.param(FLIP_SEGMENT, (1, 2000), 1999, id="segment of headers"),
        pytest.param(FLIP_SEGMENT, (1, 4000), 3999, id="another segment of headers"),
        pytest.param(FLIP_SEGMENT, (2, 2000), 1999, id="segment of hashes"),
        pytest.param(FLIP_SEGMENT, (3, 4000), 3999, id="segment of filter headers"),
        pytest.param(FLIP_SEGMENT, (4, 2000), 1999, id="segment of filters"),
        pytest.param(FLIP_SEGMENT, (2, 0), 0, id="the first segment"),
        pytest.param(FLIP_ROW, (1, 6500), 6499, id="header row"),
        pytest.param(FLIP_ROW, (2, 6000), 5999, id="hash row"),
        pytest.param(FLIP_ROW, (3, 6100), 6099, id="filter header row"),
        pytest.param(FLIP_ROW, (4, 4321), 4320, id="filter row"),
        pytest.param("DELETE FROM segments WHERE series = ? AND start = ?", (1, 4000), 3999, id="lost segment"),
        pytest.param("DELETE FROM tail WHERE series = ? AND height = ?", (3, 6150), 6149, id="lost row"),
        pytest.param(
            "UPDATE segments SET start = 8000 WHERE series = ? AND start = ?", (1, 2000), 1999, id="misplaced"
        ),
    ],
)
def test_repair_goes_back_to_the_last_good_height(
    filled: Path, trunk: FakeChain, sql: str, place: tuple[int, int], good: int
) -> None:
    spoil(filled, sql, *place)
    repair = Store.repair(filled, SIMNET)
    assert (repair.from_height, repair.to_height) == (6500, good)
    assert repair.damages
    store = Store.open(filled, SIMNET)
    marks = store.marks
    assert (marks.tip, marks.tip_hash, marks.work) == (good, trunk.hash_at(good), trunk.work(good))
    assert marks.filters == min(good, 4500) or good == 0
    assert marks.matched == min(good, 4500)
    assert store.check() == ()
    assert store.masternode_state() == (b"state 6400" if good >= 6400 else b"state 1000" if good >= 1000 else None)
    store.commit([trunk.append(good + 1, 6500 - good)])
    assert store.headers(0, 6501) == trunk.headers(0, 6501)
    store.close()


def test_a_repaired_store_filled_again_equals_a_whole_one(filled: Path, tmp_path: Path, trunk: FakeChain) -> None:
    whole = Store.open(tmp_path / "whole", SIMNET)
    fill(whole, trunk)
    spoil(filled, FLIP_SEGMENT, 3, 2000)
    Store.repair(filled, SIMNET)
    store = Store.open(filled, SIMNET)
    store.commit([trunk.append(2000, 4501), trunk.append_filter_headers(2000, 4201)])
    store.commit([trunk.put_filters(range(2000, 4501)), SetMasternodes(6400, trunk.hash_at(6400), b"state 6400")])
    store.commit([MarkMatched((b"a",), 2000, 4500, (4400,))])
    assert store.digest() == whole.digest()
    store.close()
    whole.close()


def test_segments_that_stand_in_each_others_place_are_damaged(filled: Path) -> None:
    for old, new in ((2000, 9), (4000, 2000), (9, 4000)):
        spoil(filled, "UPDATE segments SET start = ? WHERE series = 1 AND start = ?", new, old)
    store = Store.open(filled, SIMNET)
    assert [(d.start, d.end) for d in store.check()] == [(2000, 3999), (4000, 5999)]
    store.close()


def test_damaged_hashes_are_found_at_open(filled: Path) -> None:
    spoil(filled, FLIP_SEGMENT, 2, 2000)
    with pytest.raises(StoreCorrupt, match=r"hashes 2000\.\.3999 are damaged"):
        Store.open(filled, SIMNET)


def test_a_gap_is_found_at_open(filled: Path) -> None:
    spoil(filled, "DELETE FROM tail WHERE series = 4 AND height = 4200")
    with pytest.raises(StoreCorrupt, match=r"filters 4200\.\.4500 are missing"):
        Store.open(filled, SIMNET)


def test_lost_marks_are_found_at_open(filled: Path) -> None:
    spoil(filled, "DELETE FROM marks")
    with pytest.raises(StoreCorrupt, match="the marks are gone"):
        Store.open(filled, SIMNET)


def test_a_damaged_masternode_list_falls_back_to_the_one_before(filled: Path) -> None:
    spoil(filled, "UPDATE masternodes SET state = x'00' WHERE height = 6400")
    store = Store.open(filled, SIMNET)
    with pytest.raises(StoreCorrupt, match="the masternode list at 6400 is damaged"):
        store.masternode_state()
    store.close()
    repair = Store.repair(filled, SIMNET)
    assert (repair.damages, repair.to_height) == ((Damage("masternode list", "masternodes", 6400, 6400),), 6500)
    store = Store.open(filled, SIMNET)
    assert (store.masternode_state(), store.marks.masternodes) == (b"state 1000", 1000)
    store.close()


def test_damage_from_the_first_block_on_leaves_the_anchor(
    tmp_path: Path, make_chain: Callable[..., FakeChain], trunk: FakeChain
) -> None:
    anchor = Anchor(700, trunk.header(700), trunk.work(700), b"\7" * 32)
    chain = make_chain(1501, anchor=anchor)
    store = Store.open(tmp_path, SIMNET, anchor=anchor)
    store.commit([chain.append(701, 1500), chain.append_filter_headers(700, 10)])
    store.close()
    spoil(tmp_path, FLIP_SEGMENT, 1, 700)
    assert Store.repair(tmp_path, SIMNET).to_height == 700
    store = Store.open(tmp_path, SIMNET)
    assert (store.marks.base, store.marks.tip, store.marks.work) == (700, 700, trunk.work(700))
    assert (store.marks.filter_headers, store.filter_header_at(699)) == (699, b"\7" * 32)
    store.close()


def test_a_broken_structure_is_beyond_repair(filled: Path) -> None:
    path = filled / "simnet.sqlite"
    raw = bytearray(path.read_bytes())
    for page in range(2, len(raw) // 8192):
        raw[page * 8192 : page * 8192 + 64] = bytes(64)
    path.write_bytes(raw)
    with pytest.raises(StoreCorrupt, match="damaged"):
        Store.repair(filled, SIMNET)
