"""`phasegate doctor` names each of the faults that are planted here, says what to do, and finds none where none is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import apsw
import attrs
import pytest
import trio

from phasegate.cli import doctor_installation, doctor_kernels, patient
from phasegate.consensus.params import SIMNET
from phasegate.engine.seams import Seams, refuse_names
from phasegate.store import Store, segments
from phasegate.store.lock import Lock
from phasegate.store.schema import VERSION
from tests.exported_chains import stored
from tests.faulty_disk import faulty_disk
from tests.simulated_world import small_chain
from tests.store.old_schemas import SCHEMAS, written_by_schema

Run = Callable[..., Any]
NAME = "simnet.sqlite"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The database of a closed store with segments of a hundred filters and two hundred headers, and rows."""
    place = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("SPAN", 200), ("FILTERS_SPAN", 100), ("BULK", 50)):
            patch.setattr(segments, name, size)
        stored(place, small_chain(), 300).close()
    return (place / NAME).read_bytes()


@pytest.fixture
def place(tmp_path: Path, kept: bytes) -> Path:
    """A data directory that holds it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / NAME).write_bytes(kept)
    return tmp_path / "data"


@pytest.fixture
def seams(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the examination see another world."""
    return lambda **changes: monkeypatch.setattr(patient, "real_seams", lambda: Seams(**changes))


@attrs.frozen
class Bench:
    """What a plant may need."""

    place: Path
    run: Run
    seams: Callable[..., None]
    patch: pytest.MonkeyPatch
    node: str

    def examine(self, *arguments: str, place: Path | None = None) -> Any:
        """The outcome of an examination, as JSON lines, offline if no argument needs the network."""
        words = arguments or ("--offline",)
        return self.run("doctor", "--network", "simnet", "--datadir", place or self.place, "--json", *words)

    def spoil(self, sql: str) -> None:
        """Change the database behind the store's back."""
        connection = apsw.Connection(str(self.place / NAME))
        connection.execute(sql)
        connection.close()


@pytest.fixture
def bench(place: Path, run: Run, seams: Callable[..., None], monkeypatch: pytest.MonkeyPatch, honest: Any) -> Bench:
    """Everything for planting."""
    return Bench(place, run, seams, monkeypatch, honest.address)


# -- the faults: each plants itself and returns what the examination says ----------------------------------------


def damaged_segment(bench: Bench) -> Any:
    bench.spoil("UPDATE segments SET data = zeroblob(length(data)) WHERE series = 4 AND start = 0")
    return bench.examine()


def damaged_row(bench: Bench) -> Any:
    bench.spoil("INSERT OR REPLACE INTO tail VALUES(1, 301, 7, zeroblob(80))")
    return bench.examine()


def damaged_identity(bench: Bench) -> Any:
    bench.spoil("UPDATE marks SET tip = tip - 1")
    return bench.examine()


def damaged_structure(bench: Bench) -> Any:
    raw = bytearray((bench.place / NAME).read_bytes())
    for page in range(2, len(raw) // 8192):
        raw[page * 8192 : page * 8192 + 64] = b"\xa5" * 64
    (bench.place / NAME).write_bytes(raw)
    return bench.examine()


def later_schema(bench: Bench) -> Any:
    bench.spoil(f"PRAGMA user_version={VERSION + 1}")
    return bench.examine()


def no_database(bench: Bench) -> Any:
    (bench.place / NAME).write_bytes(b"these are not the pages of any database" * 100)
    return bench.examine()


def foreign_database(bench: Bench) -> Any:
    bench.spoil("PRAGMA application_id=7")
    return bench.examine()


def no_directory(bench: Bench) -> Any:
    """Root writes everywhere but below a file."""
    (bench.place / "file").write_bytes(b"")
    return bench.examine(place=bench.place / "file" / "data")


def full_disk(bench: Bench) -> Any:
    with faulty_disk() as disk:
        disk.arm(3, dead=True)
        bench.seams(vfs=disk.vfs)
        return bench.examine(place=bench.place / "other")


def little_room(bench: Bench) -> Any:
    told = os.statvfs(bench.place)
    few = os.statvfs_result((*told[:4], 100, *told[5:]))
    bench.patch.setattr("os.statvfs", lambda _path: few)
    return bench.examine()


def held_lock(bench: Bench) -> Any:
    lock = Lock(bench.place / f"{NAME}.lock")
    try:
        return bench.examine()
    finally:
        lock.release()


def clock_years_late(bench: Bench) -> Any:
    bench.seams(now=lambda: 1_400_000_000.0)
    return bench.examine()


def clock_days_off(bench: Bench) -> Any:
    bench.seams(now=lambda: time.time() + 3 * 86400)
    return bench.examine("--peer", bench.node)


def silent_seeds(bench: Bench) -> Any:
    bench.seams(resolve=refuse_names)
    return bench.examine("--dns-seed", "seed.invalid", "--dns-seed", "other.invalid", "--peer", bench.node)


def closed_port(bench: Bench) -> Any:
    return bench.examine("--peer", "127.0.0.1:1")


def dead_proxy(bench: Bench) -> Any:
    return bench.examine("--proxy", "127.0.0.1:1", "--peer", bench.node)


def silent_peer(bench: Bench) -> Any:
    """It takes the connection and says nothing."""

    async def open_stream(_host: str, _port: int, /) -> trio.abc.Stream:
        ours, _theirs = trio.testing.memory_stream_pair()
        await trio.lowlevel.checkpoint()
        return ours

    bench.patch.setattr("phasegate.cli.doctor_network.PEER_TIMEOUT", 0.05)
    bench.seams(open_stream=open_stream)
    return bench.examine("--peer", "node.test:1")


def left_of_a_killed_import(bench: Bench) -> Any:
    (bench.place / "simnet.import").mkdir()
    return bench.examine()


def left_of_a_killed_backup(bench: Bench) -> Any:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        (bench.place / f".copy.{process.pid}.partial").write_bytes(b"")
    return bench.examine()


def broken_hash(bench: Bench) -> Any:
    bench.patch.setattr("phasegate.consensus.x11.x11", lambda _header: bytes(32))
    return bench.examine()


def broken_kernel(bench: Bench) -> Any:
    bench.patch.setattr("phasegate.consensus.filter_chain_kernel.chain", lambda _prev, hashes: bytes(len(hashes)))
    return bench.examine()


def nowhere_to_keep(bench: Bench) -> Any:
    bench.patch.setattr(doctor_kernels, "cache_place", lambda: bench.place / "not" / "there")
    return bench.examine()


def missing_library(bench: Bench) -> Any:
    bench.patch.setattr("importlib.metadata.requires", lambda _name: ["no-such-library >= 1", "trio >= 99"])
    return bench.examine()


def other_python(bench: Bench) -> Any:
    bench.patch.setattr(doctor_installation, "PYTHONS", ((3, 9),))
    return bench.examine()


FAULTS: Sequence[tuple[Callable[[Bench], Any], str, str, str, str]] = (
    (damaged_segment, "FAIL", "contents", "filters 0..99 are damaged", "downloads the rest again"),
    (damaged_row, "FAIL", "contents", "headers 301..301 are damaged", "downloads the rest again"),
    (damaged_identity, "FAIL", "contents", "marks cannot be believed", "move the file away"),
    (damaged_structure, "FAIL", "structure", "is damaged", "move the file away"),
    (later_schema, "FAIL", "database", f"has schema {VERSION + 1}", "update phasegate"),
    (no_database, "FAIL", "database", "not a database", "move the file away"),
    (foreign_database, "FAIL", "database", "not one of phasegate's", "move the file away"),
    (no_directory, "FAIL", "directory", "cannot be written", "choose another with --datadir"),
    (full_disk, "FAIL", "directory", "no space left", "choose another with --datadir"),
    (little_room, "FAIL", "disk", "MB are free", "make room"),
    (held_lock, "warn", "lock", f"in use by process {os.getpid()}", "stop that process"),
    (clock_years_late, "FAIL", "clock", "2014-05-13", "set the clock"),
    (clock_days_off, "FAIL", "peer clock", "ahead of", "set the clock"),
    (silent_seeds, "FAIL", "dns", "no seed resolves (seed.invalid", "name server"),
    (closed_port, "FAIL", "peers", "127.0.0.1:1 failed: Connection refused", "blocks outgoing TCP"),
    (silent_peer, "FAIL", "peers", "no answer within", "blocks outgoing TCP"),
    (dead_proxy, "FAIL", "peers", "proxy 127.0.0.1:1", "the proxy runs"),
    (left_of_a_killed_import, "warn", "leftovers", "simnet.import", "remove them"),
    (left_of_a_killed_backup, "warn", "leftovers", ".partial", "remove them"),
    (broken_hash, "FAIL", "x11", "does not reproduce", "reinstall"),
    (broken_kernel, "FAIL", "kernels", "filter headers differ", "remove the compiled cache"),
    (nowhere_to_keep, "warn", "cache", "cannot be written", "NUMBA_CACHE_DIR"),
    (missing_library, "FAIL", "libraries", "no-such-library is missing; trio", "pip install 'no-such-library >= 1'"),
    (other_python, "FAIL", "python", "is not supported", "install phasegate with CPython"),
)


@pytest.mark.parametrize(
    ("plant", "verdict", "check", "detail", "remedy"), FAULTS, ids=[plant.__name__ for plant, *_ in FAULTS]
)
def test_a_planted_fault_is_named(
    bench: Bench,
    plant: Callable[[Bench], Any],
    verdict: str,
    check: str,
    detail: str,
    remedy: str,
    check_line: Run,
) -> None:
    """It alone: by its check, with what is wrong and what to do; the exit code says whether anything failed."""
    outcome = plant(bench)
    for line in outcome.lines:
        check_line(line)
    found = [line for line in outcome.events("finding") if line["verdict"] != "ok"]
    assert [(line["check"], line["verdict"]) for line in found] == [(check, verdict)], outcome.out
    assert detail in found[0]["detail"]
    assert remedy in found[0]["remedy"]
    assert outcome.code == (7 if verdict == "FAIL" else 0)
    assert outcome.lines[-1]["failed"] == (verdict == "FAIL")


def test_a_healthy_installation_has_nothing_to_mend(bench: Bench, honest: Any) -> None:
    """Each check is a line that begins with ok, one that a peer is reached among them; nothing was changed."""
    before = sorted((path.name, path.read_bytes()) for path in bench.place.iterdir())
    outcome = bench.run("doctor", "--datadir", bench.place, "--peer", honest.address)
    *lines, last = outcome.out.splitlines()
    assert outcome.code == 0, outcome.out
    assert all(line.startswith("ok    ") for line in lines), outcome.out
    assert last == f"{len(lines)} checks, 0 failed, 0 warned"
    assert [line.split()[1] for line in lines] == [
        *("python", "libraries", "x11", "kernels", "cache", "directory", "disk", "lock", "database", "structure"),
        *("contents", "clock", "dns", "peers", "peer"),
    ]
    assert "highest at 120" in outcome.out
    assert sorted((path.name, path.read_bytes()) for path in bench.place.iterdir()) == before


def test_a_directory_that_cannot_be_is_a_finding(bench: Bench) -> None:
    """As one of a name that no file system takes: told with the reason, and the examination goes on to its end."""
    outcome = bench.examine("--offline", place=bench.place / ("x" * 300))
    told = {line["check"]: line["detail"] for line in outcome.events("finding") if line["verdict"] == "FAIL"}
    assert (outcome.code, outcome.lines[-1]["event"]) == (7, "diagnosis")
    assert "cannot be written: File name too long" in told["directory"]


def test_a_directory_that_is_not_there_yet_is_fine(run: Run, tmp_path: Path) -> None:
    """As an empty one is; nothing is made."""
    for place in (tmp_path, tmp_path / "a" / "b"):
        outcome = run("doctor", "--network", "mainnet", "--datadir", place, "--offline")
        assert outcome.code == 0, outcome.out
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", sorted(SCHEMAS))
def test_a_store_of_an_older_schema_is_read_as_it_is(bench: Bench, tmp_path: Path, version: int) -> None:
    """It is told that it will be migrated; damage in it is found, and nothing of it is changed."""
    Store.open(bench.place, SIMNET).close()
    written_by_schema(version, tmp_path / "old", bench.place)
    before = (tmp_path / "old" / NAME).read_bytes()
    outcome = bench.examine("--offline", place=tmp_path / "old")
    (told,) = [line for line in outcome.events("finding") if line["verdict"] != "ok"]
    assert (outcome.code, told["verdict"]) == (0, "warn")
    assert f"schema {version}; the next `phasegate sync` brings it to {VERSION}" in told["detail"]
    assert (tmp_path / "old" / NAME).read_bytes() == before
    connection = apsw.Connection(str(tmp_path / "old" / NAME))
    connection.execute("UPDATE segments SET crc = crc + 1")
    connection.close()
    assert bench.examine("--offline", place=tmp_path / "old").code == 7


def test_a_store_that_is_in_use_is_read_all_the_same(bench: Bench) -> None:
    """Its newest commit, though it stands in the log alone; and the writer goes on."""
    store = Store.open(bench.place, SIMNET)
    (bench.place / "simnet.import").mkdir()  # as if it were an import that has it in use
    try:
        outcome = bench.examine()
        store.commit([])
    finally:
        store.close()
    assert outcome.code == 0
    assert [line["check"] for line in outcome.events("finding") if line["verdict"] != "ok"] == ["lock"]


def test_a_kernel_that_cannot_be_loaded_is_told_first(tmp_path: Path) -> None:
    """A package of another build is found, in a process of its own: no traceback, the remedy, and the exit code."""
    (tmp_path / "x11_hash.py").write_text("raise ImportError('wrong ELF class')")
    words = [sys.executable, "-m", "phasegate", "doctor", "--offline", "--datadir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (7, "")
    assert "FAIL  x11        the X11 kernel does not work: wrong ELF class; reinstall it" in done.stdout


def test_it_goes_the_way_that_the_settings_say(bench: Bench) -> None:
    """The proxy, the peers and the directory of the environment, as a client would: nothing goes round the proxy."""
    for name, value in (("NETWORK", "simnet"), ("DATADIR", bench.place), ("PROXY", "127.0.0.1:1")):
        bench.patch.setenv(f"PHASEGATE_{name}", str(value))
    bench.patch.setenv("PHASEGATE_PEERS", bench.node)
    outcome = bench.run("doctor", "--json")
    (odd,) = [line for line in outcome.events("finding") if line["verdict"] != "ok"]
    assert (outcome.code, odd["check"]) == (7, "peers")
    assert "proxy 127.0.0.1:1" in odd["detail"]
    assert str(bench.place) in next(line["detail"] for line in outcome.lines if line["check"] == "directory")
    bench.patch.delenv("PHASEGATE_PROXY")
    assert bench.run("doctor").code == 0
    assert bench.run("doctor", "--peer", "127.0.0.1:1").code == 7
    bench.patch.setenv("PHASEGATE_PEER", "x")
    outcome = bench.run("doctor")
    assert (outcome.code, "PHASEGATE_PEER is no setting" in outcome.err) == (2, True)


def test_who_wants_no_strangers_meets_none(bench: Bench) -> None:
    """No seed is asked, whether it is the network's or one of the settings, and no peer but the given one."""
    asked = list[str]()

    async def resolve(name: str, _port: int, /) -> Sequence[Any]:
        asked.append(name)
        await trio.lowlevel.checkpoint()
        return []

    bench.seams(resolve=resolve)
    (bench.place / "phasegate.toml").write_text(
        f'connect_only = true\npeers = ["{bench.node}"]\ndns_seeds = ["seed.invalid"]', encoding="utf-8"
    )
    bench.patch.setenv("PHASEGATE_CONFIG", str(bench.place / "phasegate.toml"))
    outcome = bench.run("doctor", "--datadir", bench.place)
    assert (outcome.code, asked) == (0, [])
    assert "nobody is looked for: connect_only is set" in outcome.out
    assert "1 of 1 peers were reached" in outcome.out


def test_the_settings_name_the_chain_unless_a_directory_or_an_option_does(bench: Bench) -> None:
    """What the directory holds is examined if it is given; what the settings say of another chain is left out."""
    (bench.place / "phasegate.toml").write_text(
        'network = "devnet"\nactivations = {v20 = 9}\ndevnet = {name = "foo"}', encoding="utf-8"
    )
    bench.patch.setenv("PHASEGATE_CONFIG", str(bench.place / "phasegate.toml"))

    def examined(*words: str | Path) -> str:
        outcome = bench.run("doctor", "--offline", *words)
        assert outcome.err == ""
        return str(outcome.out)

    assert "simnet.sqlite" in examined("--datadir", bench.place)
    (bench.place / "none").mkdir()
    for words, chain in (
        (("--datadir", bench.place / "none"), "devnet-foo"),
        (("--datadir", bench.place / "none", "--network", "mainnet"), "mainnet"),
        (("--datadir", bench.place / "none", "--network", "devnet"), "devnet-foo"),
        (("--datadir", bench.place / "none", "--devnet-name", "bar"), "devnet-bar"),
    ):
        assert f"{chain}.sqlite" in examined(*words)


def test_wrong_options_are_usage(run: Run, tmp_path: Path) -> None:
    """And a directory with several stores asks which."""
    assert run("doctor", "--network", "nonet", "--datadir", tmp_path).code == 2
    for name in ("simnet", "regtest"):
        (tmp_path / f"{name}.sqlite").write_bytes(b"")
    outcome = run("doctor", "--datadir", tmp_path)
    assert (outcome.code, "choose one with --network" in outcome.err) == (2, True)


def _told(outcome: Any) -> dict[str, str]:
    return {line["check"]: line["detail"] for line in outcome.events("finding")}


def test_the_configuration_is_examined(
    run: Run, honest: Any, place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the store is, of which chain, and whom to connect to may stand in the environment or the file, as ever."""
    file = tmp_path / "phasegate.toml"
    file.write_text(f'network = "simnet"\ndatadir = "{place}"\n', encoding="utf-8")
    monkeypatch.setenv("PHASEGATE_CONFIG", str(file))
    monkeypatch.setenv("PHASEGATE_PEERS", honest.address)
    outcome = run("doctor", "--json")
    assert str(place / "simnet.sqlite") in _told(outcome)["database"]
    assert _told(outcome)["peers"].startswith("1 of 1 ")
    assert outcome.code == 0


def test_a_configured_proxy_is_never_gone_round(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has set one up would be betrayed by an examination that looks up names and connects by itself."""
    monkeypatch.setenv("PHASEGATE_PROXY", "127.0.0.1:9")
    outcome = run("doctor", "--network", "mainnet", "--datadir", tmp_path, "--json")
    assert _told(outcome)["dns"] == "nothing is looked up here: the proxy does that"
    assert "proxy 127.0.0.1:9: Connection refused" in _told(outcome)["peers"]


def test_a_wrong_setting_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PHASEGATE_PROXYS", "127.0.0.1:9")
    outcome = run("doctor", "--network", "simnet")
    assert (outcome.code, "PHASEGATE_PROXYS is no setting" in outcome.err) == (2, True)
