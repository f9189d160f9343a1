"""`phasegate backup`, `export` and `import`: a store is copied under a running client, and a chain moves in a file."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.consensus.params import SIMNET
from phasegate.store import Store
from tests.cli.conftest import COMMAND
from tests.exported_chains import changed, exported, flipped, sections_of, stored, with_payload
from tests.simulated_world import small_chain

Run = Callable[..., Any]


def digest(run: Run, place: Path) -> str:
    """The digest that `status` tells."""
    return str(run("status", "--network", "simnet", "--datadir", place, "--digest").out.splitlines()[-1])


@pytest.fixture
def synced(run: Run, honest: Any, tmp_path: Path) -> Path:
    """A directory that a client has synced."""
    words = ("sync", "--network", "simnet", "--datadir", tmp_path / "data", "--peer", honest.address, "--once")
    assert run(*words, *honest.watching, "--json").code == 0
    return tmp_path / "data"


def test_a_running_client_is_backed_up(run: Run, honest: Any, tmp_path: Path, check_line: Run) -> None:
    """From its first moment on each copy is whole; that of the synced client has the digest that its store has."""
    data = tmp_path / "data"
    words = ["sync", "--network", "simnet", "--datadir", str(data), "--peer", honest.address, "--json"]
    with subprocess.Popen([*COMMAND, *words, *honest.watching], stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        heights: list[int] = []
        for line in client.stdout:
            state = json.loads(line).get("to")
            if state is None:
                continue
            place = tmp_path / f"{len(heights)}"
            place.mkdir()
            outcome = run("backup", place, "--datadir", data, "--json")
            (told,) = outcome.lines
            check_line(told)
            assert (outcome.code, told["file"]) == (0, str(place / "simnet.sqlite"))
            heights.append(told["height"])
            if state == "synced":
                break
        client.terminate()
        client.stdout.read()
    assert (client.returncode, heights[-1]) == (130, 120)
    for number in range(len(heights)):
        store = Store.open(tmp_path / f"{number}", SIMNET)
        assert store.check() == ()
        store.close()
    assert digest(run, tmp_path / f"{len(heights) - 1}") == digest(run, data)


def test_backups_are_refused_in_one_line(run: Run, synced: Path, tmp_path: Path) -> None:
    """A file that is there, a directory that is not, no store at all."""
    (tmp_path / "taken").write_bytes(b"")
    for words, reason in (
        ((tmp_path / "taken", "--datadir", synced), "taken is there already, and is not overwritten"),
        ((synced, "--datadir", synced), "simnet.sqlite is there already"),
        ((tmp_path / "no" / "where", "--datadir", synced), "no/"),
        ((tmp_path / "copy", "--datadir", tmp_path / "none"), "holds no store"),
    ):
        outcome = run("backup", *words)
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (5, "", 1)
        assert reason in outcome.err
    told = run("backup", tmp_path / "copy.sqlite", "--datadir", synced)
    assert told.code == 0
    assert "simnet up to height 120 in " in told.out


def test_what_killed_runs_have_left_is_named(run: Run, synced: Path, tmp_path: Path) -> None:
    """Where it is of another target, for it is large and hidden; standard out has what it always has."""
    with subprocess.Popen([*COMMAND, "--version"], stdout=subprocess.DEVNULL) as process:
        left = tmp_path / f".yesterday.{process.pid}.partial"
    left.write_bytes(b"")
    for command in ("backup", "export"):
        outcome = run(command, tmp_path / command, "--datadir", synced, "--json")
        assert (outcome.code, len(outcome.lines)) == (0, 1)
        assert outcome.err == f"phasegate {command}: {left} is left of a run that was killed: it can be removed\n"


def test_a_chain_moves_in_a_file(run: Run, honest: Any, synced: Path, tmp_path: Path, check_line: Run) -> None:
    """Exported, imported, synced on: the store is that of a client that downloaded everything."""
    file, again = tmp_path / "chain", tmp_path / "again"
    (wrote,) = run("export", file, "--datadir", synced, "--json").lines
    (took,) = run("import", file, "--datadir", again, "--json").lines
    for line in (wrote, took):
        check_line(line)
        heights = {key: line[key] for key in ("start_height", "end_height", "filters_from", "filters_to")}
        assert heights == {"start_height": 0, "end_height": 120, "filters_from": 0, "filters_to": 120}
    assert wrote["bytes"] == file.stat().st_size
    words = ("sync", "--network", "simnet", "--datadir", again, "--peer", honest.address, "--once", "--json")
    outcome = run(*words, *honest.watching)
    assert outcome.code == 0
    assert outcome.summary["corroborated"] is None
    assert outcome.summary["balances"] == honest.told["expected"]["balances"]
    assert digest(run, again) == digest(run, synced)


def test_an_import_goes_where_the_settings_say(
    run: Run, synced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a sync would; a directory that is given is stronger, and activations are those of the settings."""
    run("export", tmp_path / "chain", "--datadir", synced)
    monkeypatch.setenv("PHASEGATE_DATADIR", str(tmp_path / "chosen"))
    monkeypatch.setenv("PHASEGATE_NETWORK", "simnet")
    assert run("import", tmp_path / "chain").code == 0
    assert (tmp_path / "chosen" / "simnet.sqlite").is_file()
    assert run("import", tmp_path / "chain", "--datadir", tmp_path / "given").code == 0
    assert (tmp_path / "given" / "simnet.sqlite").is_file()
    monkeypatch.setenv("PHASEGATE_DATADIR", str(tmp_path / "other"))
    monkeypatch.setenv("PHASEGATE_ACTIVATIONS", "v20=77")
    assert "made with activation v20=2, not v20=77" in run("import", tmp_path / "chain").err
    monkeypatch.setenv("PHASEGATE_NETWORK", "regtest")
    assert run("import", tmp_path / "chain").code == 0


def test_a_file_that_begins_late_is_taken_by_who_says_so(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check_line: Run
) -> None:
    """The refusal names the height; with the option, or the setting, it is taken, and the last line tells of it."""
    chain, file, data = small_chain(), tmp_path / "chain", tmp_path / "data"
    store = stored(tmp_path / "late", chain, 300, birthday=120)
    file.write_bytes(exported(store, SIMNET))
    store.close()
    outcome = run("import", file, "--datadir", data)
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
    assert "with --birthday 120" in outcome.err
    assert not (data / "simnet.sqlite").exists()
    assert "with --birthday 120" in run("import", file, "--datadir", data, "--birthday", "119").err
    told = run("import", file, "--datadir", data, "--birthday", "120").out
    assert told.splitlines()[-1].endswith("all verified; nothing below 120 is searched")
    monkeypatch.setenv("PHASEGATE_DATADIR", str(tmp_path / "own"))
    monkeypatch.setenv("PHASEGATE_BIRTHDAY", "2000")
    (line,) = run("import", file, "--json").lines
    check_line(line)
    assert (line["birthday"], line["filters_from"]) == (120, 120)


def test_people_are_told_what_was_proven(run: Run, synced: Path, tmp_path: Path) -> None:
    """And what the peers are left to say."""
    assert "simnet: headers 0..120, filters 0..120 in" in run("export", tmp_path / "a", "--datadir", synced).out
    told = run("import", tmp_path / "a", "--datadir", tmp_path / "again").out
    assert "headers 0..120, filters 0..120, all verified" in told
    assert "as good as one peer's word" in told
    assert "is searched" not in told
    assert "no filters" in run("export", tmp_path / "b", "--datadir", synced, "--no-filters").out


def test_a_file_that_is_wrong_is_refused_in_one_line(run: Run, synced: Path, tmp_path: Path) -> None:
    """Damaged or lying: exit code 4, and where; of another network, unreadable, or where a store is: what it is."""
    run("export", tmp_path / "chain", "--datadir", synced)
    raw = (tmp_path / "chain").read_bytes()
    middle = sections_of(raw)[1].place + 1000
    liar = changed(raw, 2, with_payload(lambda headers: flipped(headers, 80 * 50 + 77)))
    for content, code, words, reason in (
        (flipped(raw, middle), 4, (), "chain: section 2, at bytes"),
        (liar, 4, (), "section 2 (headers 0..120"),
        (b"", 4, (), "first bytes"),
        (raw, 4, ("--network", "regtest"), "it is of network simnet, not regtest"),
        (raw, 2, ("--network", "nonet"), "nonet"),
        (raw, 2, ("--activation", "dip3=x"), "is not NAME=HEIGHT"),
        (raw, 4, ("--activation", "v20=77"), "made with activation v20=2, not v20=77"),
        (raw, 5, ("--datadir", synced), "is there already"),
    ):
        (tmp_path / "chain").write_bytes(content)
        where = () if "--datadir" in words else ("--datadir", tmp_path / "fresh")
        outcome = run("import", tmp_path / "chain", *where, *words)
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (code, "", 1), outcome.err
        assert reason in outcome.err
        assert not (tmp_path / "fresh" / "simnet.sqlite").exists()
    for name in ("atlantis", "devnet-../../x", "simnet-x", "\ud800\n"):
        told = changed(raw, 1, with_payload(lambda text, name=name: _of_network(text, name)))  # type: ignore[misc]
        (tmp_path / "lost").write_bytes(told)
        outcome = run("import", tmp_path / "lost", "--datadir", tmp_path / "fresh")
        assert (outcome.code, len(outcome.err.splitlines())) == (4, 1)
        assert "lost: section 1 (description, at byte 12): it is of no network that there is" in outcome.err
    assert run("import", tmp_path / "missing").code == 2
    assert run("export", tmp_path / "chain", "--datadir", synced).code == 5


def _of_network(text: bytes, name: str) -> bytes:
    return json.dumps({**json.loads(text), "network": name}).encode()


def test_what_is_no_file_to_read_is_named(run: Run, tmp_path: Path) -> None:
    """A pipe, a device, a disk that fails while it is read: the chain file is at fault, and not what is written to."""
    os.mkfifo(tmp_path / "pipe")
    for place, code, reason in (
        (tmp_path / "pipe", 2, "is no regular file"),
        (Path("/dev/zero"), 2, "is no regular file"),
        (tmp_path, 2, "cannot be read: Is a directory"),
        (Path("/proc/self/mem"), 4, "it cannot be read at byte 0: Input/output error"),
    ):
        outcome = run("import", place, "--datadir", tmp_path / "data", "--network", "simnet")
        assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (code, "", 1), outcome.err
        assert outcome.err.startswith(f"phasegate import: {place}")
        assert reason in outcome.err
