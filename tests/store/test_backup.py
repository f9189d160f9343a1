"""A backup is one moment of the store, whoever writes meanwhile, and appears whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from phasegate.consensus.params import SIMNET
from phasegate.store import AppendJournal, Store, StoreCorrupt, StoreFailed, StoreMismatch
from phasegate.store.aside import left_behind
from phasegate.store.backup import Copied, back_up
from phasegate.store.schema import VERSION
from tests.store.old_schemas import SCHEMAS, written_by_schema
from tests.store.test_threads import beside

if TYPE_CHECKING:
    from tests.faulty_disk import Disk
    from tests.store.conftest import FakeChain

NAME = "simnet.sqlite"
MOST = 8
"""Copies beside one writer."""


def digest_of(path: Path) -> str:
    """The digest of the store that a file is, opened at its place."""
    store = Store.open(path.parent, SIMNET)
    try:
        assert store.check() == ()
        return store.digest()
    finally:
        store.close()


def test_a_backup_is_what_was_stored(store: Store, trunk: FakeChain, tmp_path: Path) -> None:
    """Beside the open store, its log included; digest and journal are the same, and nothing else is left there."""
    store.commit([trunk.append(1, 4100), trunk.append_filter_headers(0, 4000), trunk.put_filters(range(3990))])
    store.commit([AppendJournal(1.5, "idle", "headers", "start", "", "{}")])
    place = tmp_path / "copies"
    place.mkdir()
    copied = back_up(tmp_path / NAME, place / NAME)
    assert (copied.schema, copied.height, copied.sequence) == (VERSION, 4100, 2)
    assert copied.size == (place / NAME).stat().st_size
    assert [path.name for path in place.iterdir()] == [NAME]
    assert digest_of(place / NAME) == store.digest()
    again = Store.open(place, SIMNET)
    assert again.journal() == store.journal()
    again.close()


def test_each_backup_is_a_commit_that_was(store: Store, trunk: FakeChain, branch: FakeChain, tmp_path: Path) -> None:
    """While another thread grows, seals and rolls back, a backup has the digest that the store had at its commit."""
    digests = {0: store.digest()}
    store.commit([trunk.append(1, 3900)])

    def work() -> None:
        digests[1] = store.digest()
        for number in range(2, 42):
            chain = (trunk, branch)[number % 2]
            back = [chain.roll_back(3500)] if store.marks.tip > 3500 else []
            store.commit([*back, chain.append(3501, 37 * number)])
            digests[number] = store.digest()

    copies: list[tuple[Copied, Path]] = []
    with beside(work) as writer:
        while writer.is_alive() and len(copies) < MOST:
            place = tmp_path / f"copy-{len(copies)}"
            place.mkdir()
            copies.append((back_up(tmp_path / NAME, place / NAME), place))
    assert len({copied.sequence for copied, _ in copies}) > 1
    assert [digest_of(place / NAME) for _, place in copies] == [digests[copied.sequence] for copied, _ in copies]


def test_nothing_is_overwritten(store: Store, tmp_path: Path) -> None:
    """Neither a file, nor one whose log alone is left, nor a directory, nor a link that leads nowhere, nor itself."""
    (tmp_path / "taken").write_bytes(b"mine")
    (tmp_path / "logged-wal").write_bytes(b"left")
    (tmp_path / "linked").symlink_to(tmp_path / "nowhere")
    for target in ("taken", "logged", "linked", NAME, "."):
        with pytest.raises(StoreMismatch, match="is there already, and is not overwritten"):
            back_up(tmp_path / NAME, tmp_path / target)
    assert (tmp_path / "taken").read_bytes() == b"mine"


def test_what_comes_to_the_place_meanwhile_stays(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the first look and the end somebody else puts a file there."""
    settle, target = os.fsync, tmp_path / "copy"

    def slowly(fd: int) -> None:
        settle(fd)
        target.write_bytes(b"theirs")

    monkeypatch.setattr("os.fsync", slowly)
    with pytest.raises(StoreMismatch, match="is there already"):
        back_up(tmp_path / NAME, target)
    assert target.read_bytes() == b"theirs"
    assert not list(tmp_path.glob(".copy*"))


@pytest.mark.parametrize("version", sorted(SCHEMAS))
def test_an_older_schema_is_copied_as_it_is(store: Store, trunk: FakeChain, tmp_path: Path, version: int) -> None:
    """It is migrated when the copy is opened, and holds the same."""
    store.commit([trunk.append(1, 2500)])
    wanted = store.digest()
    store.close()
    written_by_schema(version, tmp_path / "old", tmp_path)
    (tmp_path / "copy").mkdir()
    copied = back_up(tmp_path / "old" / NAME, tmp_path / "copy" / NAME)
    assert (copied.schema, copied.height) == (version, 2500)
    assert digest_of(tmp_path / "copy" / NAME) == wanted


def test_what_is_no_store_is_no_backup(tmp_path: Path) -> None:
    """Nothing, text, another program's database, that of a later phasegate: each is named, and nothing is made."""
    files = {name: tmp_path / name for name in ("missing", "text", "foreign", "later")}
    files["text"].write_bytes(b"no database at all, but long enough for its head to be read" * 30)
    for name, sql in (("foreign", "CREATE TABLE t(x)"), ("later", f"PRAGMA application_id={0x70686761}")):
        connection = apsw.Connection(str(files[name]))
        connection.execute(sql + f"; PRAGMA user_version={VERSION + 1}; CREATE TABLE u(x)")
        connection.close()
    for name, error, reason in (
        ("missing", StoreFailed, "is not there"),
        ("text", StoreCorrupt, "not a database"),
        ("foreign", StoreMismatch, "not one of phasegate's"),
        ("later", StoreMismatch, f"has schema {VERSION + 1}"),
    ):
        with pytest.raises(error, match=reason):
            back_up(files[name], tmp_path / "copy")
        assert not list(tmp_path.glob("*copy*"))


def test_a_full_disk_leaves_nothing(store: Store, trunk: FakeChain, tmp_path: Path, disk: Disk) -> None:
    """Wherever it fills up; the next attempt succeeds."""
    store.commit([trunk.append(1, 3000)])
    failed, told = 0, list[str]()
    for fail_at in range(1, 200, 12):
        disk.arm(fail_at)
        try:
            back_up(tmp_path / NAME, tmp_path / "copy", disk.vfs)
        except (StoreFailed, StoreCorrupt) as error:
            told.append(str(error))
            failed += 1
            assert not list(tmp_path.glob("*copy*"))
        else:
            (tmp_path / "copy").unlink()
        disk.disarm()
    assert failed > 3
    assert any(line.startswith(f"it cannot be copied to {tmp_path / 'copy'}: ") for line in told)
    back_up(tmp_path / NAME, tmp_path / "copy", disk.vfs)


def test_a_directory_that_is_not_there(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreFailed, match="nowhere"):
        back_up(tmp_path / NAME, tmp_path / "nowhere" / "copy")


def test_what_a_killed_backup_has_left_is_cleared_away(store: Store, tmp_path: Path) -> None:
    """By the next one to the same target; a process that lives, another target and foreign files are left alone."""
    place = tmp_path / "copies"
    place.mkdir()
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        dead = process.pid
    gone = [f".copy.{dead}.partial", f".copy.{dead}.partial-journal", f".copy.{os.getpid()}.partial-wal"]
    kept = [f".copy.{os.getppid()}.partial", f".other.{dead}.partial", f"copy.{dead}.partial", ".copy.0.partial"]
    for name in (*gone, *kept):
        (place / name).write_bytes(b"")
    back_up(tmp_path / NAME, place / "copy")
    assert sorted(path.name for path in place.iterdir()) == sorted([*kept, "copy"])
    assert left_behind(place) == [place / f".other.{dead}.partial"]
