"""What a shell, a disk or a hasty user does to the commands: one line at most and an exit code, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import phasegate.cli.run
from phasegate.consensus.params import SIMNET
from phasegate.store import Store

COMMAND = (sys.executable, "-m", "phasegate")
Run = Callable[..., Any]


def through_shell(rest: str) -> subprocess.CompletedProcess[str]:
    """The command line with redirections."""
    line = f"{' '.join(COMMAND)} {rest}"
    return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A data directory with an empty simnet store."""
    Store.open(tmp_path, SIMNET).close()
    return tmp_path


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "sync --help",
        "status --datadir {}",
        "status --json --datadir {}",
        "history --datadir {} --help",
        "sync --network simnet --peer 127.0.0.1:1 --datadir {} --once --give-up 0 --json",
        "sync --network simnet --peer 127.0.0.1:1 --datadir {} --once --give-up 0",
        "diagram",
        "verify --only simulation --seeds 1",
        "simnet --port 0 --blocks 1",
    ],
)
def test_a_full_standard_out_is_one_line(stored: Path, command: str) -> None:
    """Redirected to a full disk, every command says so and ends."""
    outcome = through_shell(command.format(stored) + " > /dev/full")
    assert outcome.returncode == 2
    assert outcome.stderr.splitlines() == ["phasegate: cannot write to standard out: No space left on device"]


@pytest.mark.parametrize("command", ["status --datadir {}", "diagram", "verify --only simulation --seeds 1"])
def test_a_pipe_that_nobody_reads_is_silence(stored: Path, command: str) -> None:
    """`phasegate ... | true` says nothing."""
    assert through_shell(command.format(stored) + " | true").stderr == ""


@pytest.mark.parametrize("command", ["status --json --datadir {}", "diagram"])
def test_a_closed_standard_out_swallows(stored: Path, command: str) -> None:
    """`>&-`: nothing is said, and no file of the store gets the number of standard out."""
    outcome = through_shell(command.format(stored) + " >&-")
    assert (outcome.returncode, outcome.stderr) == (0, "")


def test_ctrl_c_while_it_is_still_loading(tmp_path: Path) -> None:
    """From the first import on, Ctrl-C ends without a traceback."""
    slow = tmp_path / "typer.py"
    slow.write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n", encoding="utf-8")
    where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; from phasegate.cli import main; sys.exit(main())", "status"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=where,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        assert (process.wait(10), process.stderr.read()) == (130, "")


def test_without_a_command_it_helps(run: Run) -> None:
    """Nothing asked: the help, in its lines, and exit 2."""
    outcome = run()
    assert outcome.code == 2
    assert "Commands:" in outcome.out.splitlines()
    assert outcome.err == ""


def test_a_wrong_option_names_the_command(run: Run) -> None:
    """The line says whose option it was, and where help is."""
    outcome = run("sync", "--nonsense")
    assert outcome.err.startswith("phasegate sync: No such option: --nonsense")
    assert outcome.err.endswith("; phasegate sync --help tells more\n")


def test_a_byte_order_mark_is_no_part_of_an_address(run: Run, tmp_path: Path) -> None:
    """A watch file as Windows editors write it."""
    listed = tmp_path / "watched.txt"
    listed.write_text("00\n", encoding="utf-8-sig")
    chosen = ("--network", "simnet", "--peer", "127.0.0.1:1", "--datadir", tmp_path, "--once", "--give-up", "0")
    assert run("sync", *chosen, "--watch-file", listed).code == 3


def test_what_was_not_searched_for_has_no_balance(run: Run, tmp_path: Path) -> None:
    """Before any filter was matched a balance is unknown, not zero."""
    chosen = ("--network", "simnet", "--peer", "127.0.0.1:1", "--datadir", tmp_path, "--once", "--give-up", "0")
    assert "balance" not in run("sync", *chosen, "--watch", "00").out
    said = run("status", "--datadir", tmp_path).out
    assert "stopped when degraded" in said
    assert "watched        1 scripts, not searched for yet" in said
    assert "balance" not in said


def test_an_unreadable_directory_is_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even looking is allowed: the store's exit code."""

    def refuse(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    outcome = run("status", "--datadir", tmp_path)
    assert (outcome.code, outcome.err) == (5, f"phasegate status: {tmp_path} cannot be read: Permission denied\n")


@pytest.mark.parametrize("gone", ["removed", "emptied"])
def test_a_store_that_was_taken_away_meanwhile_is_a_failure(
    run: Run, honest: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """What was synced is not there: exit 5 although the client was synced, and no empty store in its place."""
    file, whole = tmp_path / "simnet.sqlite", phasegate.cli.run.attend

    def attend(*arguments: Any) -> Any:
        ending = whole(*arguments)
        file.unlink()
        if gone == "emptied":
            Store.open(tmp_path, SIMNET).close()
        return ending

    monkeypatch.setattr(phasegate.cli.run, "attend", attend)
    outcome = run("sync", "--network", "simnet", "--peer", honest.address, "--datadir", tmp_path, "--once", "--json")
    assert outcome.code == 5
    assert outcome.summary["state"] == "failed"
    assert outcome.err.startswith("phasegate sync: failed: ")
    assert file.exists() == (gone == "emptied")


def test_text_that_is_no_text_is_damage(run: Run, stored: Path) -> None:
    """A damaged name inside the file is told like any other damage."""
    file = stored / "simnet.sqlite"
    content = file.read_bytes()
    assert b"simnet" in content
    file.write_bytes(content.replace(b"networksimnet", b"networksim\xff\xfet"))
    outcome = run("status", "--datadir", stored)
    assert outcome.code == 5
    assert "is damaged" in outcome.err
    assert len(outcome.err.splitlines()) == 1


@pytest.mark.parametrize(("name", "twisted"), [(b"sequence", b"sequencf"), (b"previous_filter_header", b"x" * 22)])
def test_a_damaged_table_definition_is_damage(run: Run, stored: Path, name: bytes, twisted: bytes) -> None:
    """A column that has another name than the one that is asked for."""
    file = stored / "simnet.sqlite"
    file.write_bytes(file.read_bytes().replace(name, twisted))
    outcome = run("status", "--datadir", stored)
    assert (outcome.code, len(outcome.err.splitlines())) == (5, 1)
    assert "is damaged: no such column" in outcome.err


def test_damaged_facts_are_damage(run: Run, tmp_path: Path) -> None:
    """`history --json` over a journal row whose facts are no JSON any more."""
    chosen = ("--network", "simnet", "--peer", "127.0.0.1:1", "--datadir", tmp_path, "--once", "--give-up", "0")
    assert run("sync", *chosen).code == 3
    file = tmp_path / "simnet.sqlite"
    file.write_bytes(file.read_bytes().replace(b'"tip_hash":', b'"tip_hash"!'))
    outcome = run("history", "--json", "--datadir", tmp_path)
    assert outcome.code == 5
    assert outcome.err == "phasegate history: the facts of journal row 1 are damaged\n"


def test_an_unknown_lie_is_refused_at_once(run: Run) -> None:
    """Before a long chain is generated."""
    began = time.monotonic()
    outcome = run("simnet", "--port", 0, "--blocks", 1_000_000, "--lie", "white")
    assert (outcome.code, time.monotonic() - began < 5) == (2, True)
    assert "unknown lie 'white'" in outcome.err


def test_seconds_that_are_no_number_and_chains_without_end_are_refused(run: Run) -> None:
    """Infinity is no time to give up after, and a hundred billion blocks are no chain to generate."""
    endless = run("sync", "--network", "simnet", "--peer", "127.0.0.1:1", "--once", "--give-up", "inf")
    assert (endless.code, "--give-up inf is no number of seconds" in endless.err) == (2, True)
    longest = run("simnet", "--port", 0, "--blocks", 99_999_999_999)
    assert (longest.code, "is too long" in longest.err) == (2, True)
    short = run("simnet", "--port", 0, "--blocks", 10, "--lie", "wrong-cfcheckpt")
    assert (short.code, "has no filter checkpoint to lie about" in short.err) == (2, True)
