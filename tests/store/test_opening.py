"""Who may open a directory: one client at a time, of the network that it was made for."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import attrs
import pytest

from phasegate.consensus.params import REGTEST, SIMNET, network
from phasegate.store import Anchor, Store, StoreCorrupt, StoreError, StoreFailed, StoreLocked, StoreMismatch
from phasegate.store.lock import holder

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain


def execute(path: Path, sql: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    connection.close()


def refusal(directory: Path, expected: type[StoreError], wanted: str) -> None:
    with pytest.raises(expected, match=wanted) as caught:
        Store.open(directory, SIMNET)
    assert "\n" not in str(caught.value)


def test_the_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    Store.open(tmp_path / "a" / "b", SIMNET).close()
    assert (tmp_path / "a" / "b" / "simnet.sqlite").exists()


def test_a_second_opener_is_told_who_has_it(tmp_path: Path) -> None:
    store = Store.open(tmp_path, SIMNET)
    refusal(tmp_path, StoreLocked, f"{tmp_path}/simnet.sqlite is in use by process {os.getpid()}$")
    with pytest.raises(StoreLocked):
        Store.repair(tmp_path, SIMNET)
    store.close()
    Store.open(tmp_path, SIMNET).close()


def test_an_open_that_fails_gives_the_lock_back(tmp_path: Path) -> None:
    Store.open(tmp_path, REGTEST).close()
    with pytest.raises(StoreMismatch):
        Store.open(tmp_path, network("regtest", {"dip3": 2}))
    Store.open(tmp_path, REGTEST).close()


def test_two_networks_share_a_directory(tmp_path: Path) -> None:
    one, two = Store.open(tmp_path, SIMNET), Store.open(tmp_path, REGTEST)
    assert one.header(0) == SIMNET.genesis
    assert two.header(0) == REGTEST.genesis
    one.close()
    two.close()


def test_another_network_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path, REGTEST).close()
    (tmp_path / "regtest.sqlite").rename(tmp_path / "simnet.sqlite")
    refusal(tmp_path, StoreMismatch, "holds network regtest, not simnet")


def test_each_named_devnet_has_a_file_of_its_own(tmp_path: Path) -> None:
    foo, bar = (network("devnet", devnet_name=name) for name in ("foo", "bar"))
    Store.open(tmp_path, foo).close()
    Store.open(tmp_path, bar).close()
    assert {path.name for path in tmp_path.glob("*.sqlite")} == {"devnet-foo.sqlite", "devnet-bar.sqlite"}
    (tmp_path / "devnet-foo.sqlite").rename(tmp_path / "devnet-bar.sqlite")
    with pytest.raises(StoreMismatch, match="holds network devnet-foo, not devnet-bar"):
        Store.open(tmp_path, bar)


def test_another_genesis_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path, SIMNET).close()
    with pytest.raises(StoreMismatch, match="holds a simnet with another genesis block"):
        Store.open(tmp_path, attrs.evolve(SIMNET, genesis=REGTEST.genesis))


def test_another_activation_set_is_refused_by_name(tmp_path: Path) -> None:
    Store.open(tmp_path, network("regtest", {"dip3": 2})).close()
    with pytest.raises(StoreMismatch, match="was made with activation dip3=2, not dip3=432"):
        Store.open(tmp_path, REGTEST)


def test_a_store_that_begins_too_high_is_refused(tmp_path: Path, trunk: FakeChain) -> None:
    high, low = (Anchor(height, trunk.header(height), trunk.work(height)) for height in (500, 400))
    Store.open(tmp_path, SIMNET, anchor=high).close()
    with pytest.raises(StoreMismatch, match="begins at height 500, which is above the wanted 400"):
        Store.open(tmp_path, SIMNET, anchor=low)
    store = Store.open(tmp_path, SIMNET)
    assert store.marks.base == 500
    store.close()


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    execute(tmp_path / "simnet.sqlite", "CREATE TABLE mine(x)")
    refusal(tmp_path, StoreMismatch, "not one of phasegate's")


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path, SIMNET).close()
    execute(tmp_path / "simnet.sqlite", "PRAGMA user_version=99")
    refusal(tmp_path, StoreMismatch, "has schema 99")


def test_what_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "simnet.sqlite").write_bytes(b"no database at all" * 1000)
    refusal(tmp_path, StoreCorrupt, "is damaged")


def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    (tmp_path / "simnet.sqlite").touch()
    Store.open(tmp_path, SIMNET).close()


def test_a_file_in_the_way_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refusal(tmp_path / "file", StoreFailed, "cannot be a data directory")


def test_a_directory_in_the_way_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "simnet.sqlite").mkdir()
    refusal(tmp_path, StoreFailed, "unable to open")


def test_a_directory_in_the_way_of_the_lock_is_named(tmp_path: Path) -> None:
    (tmp_path / "simnet.sqlite.lock").mkdir()
    refusal(tmp_path, StoreFailed, "Is a directory")


def test_a_closed_store_may_be_closed_again_and_refuses_the_rest(tmp_path: Path) -> None:
    store = Store.open(tmp_path, SIMNET)
    store.close()
    store.close()
    for use in (store.read_marks, lambda: store.commit([])):
        with pytest.raises(StoreFailed, match="is closed"):
            use()


def test_a_disk_without_room_for_the_lock_is_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the file; nobody holds the lock afterwards, so the next attempt succeeds."""

    def full(_fd: int, _data: bytes, _at: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", full)
        refusal(tmp_path, StoreFailed, r"simnet\.sqlite\.lock: No space left on device$")
    assert holder(tmp_path / "simnet.sqlite.lock") is None
    Store.open(tmp_path, SIMNET).close()
