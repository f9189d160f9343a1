"""`phasegate status`, `history` and `unwatch`: a store is read and trimmed without any peer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from phasegate.cli.history import changed
from phasegate.consensus.params import REGTEST, SIMNET
from phasegate.store import JournalRow, Store

Run = Callable[..., Any]


@pytest.fixture
def stored(sync: Run, honest: Any, tmp_path: Path) -> Any:
    """The summary of a sync into `tmp_path`."""
    return sync("--peer", honest.address, *honest.watching).summary


@pytest.mark.usefixtures("stored")
def test_the_digest_is_alone_on_the_last_line(run: Run, tmp_path: Path) -> None:
    """`--digest` ends the output with the digest of the store, and with nothing else."""
    outcome = run("status", "--datadir", tmp_path, "--digest")
    store = Store.open(tmp_path, SIMNET)
    try:
        digest = store.digest()
    finally:
        store.close()
    assert outcome.code == 0
    assert outcome.out.splitlines()[-1] == digest


def test_status_tells_what_a_summary_tells(run: Run, stored: Any, tmp_path: Path, check_line: Run) -> None:
    """The same keys have the same values, the line fits the schema, the digest is one key."""
    outcome = run("status", "--network", "simnet", "--datadir", tmp_path, "--json", "--digest")
    (line,) = outcome.lines
    check_line(line)
    same = ("height", "tip", "masternodes", "filter_header", "filters", "matched_blocks", "transactions", "balances")
    assert {key: line[key] for key in same} == {key: stored[key] for key in same}
    assert {item["script"] for item in line["watch"]} == set(stored["balances"])
    assert line["state"] == "stopped"


def test_status_is_readable(run: Run, stored: Any, tmp_path: Path) -> None:
    """A person sees tip, masternodes, filters, watch items and balances."""
    outcome = run("status", "--datadir", tmp_path)
    for word in (stored["tip"], "masternodes", "filters", "8 scripts", "DASH"):
        assert word in outcome.out


@pytest.mark.usefixtures("stored")
def test_history_repeats_the_transitions(run: Run, tmp_path: Path, check_line: Run) -> None:
    """A line says whose they are; journalled transitions have the form of live ones; --limit keeps the newest."""
    whose, *everything = run("history", "--datadir", tmp_path, "--json").lines
    for line in (whose, *everything):
        check_line(line)
    assert (whose["event"], whose["first_row"]) == ("journal", 1)
    assert [line["to"] for line in everything][0::6] == ["headers", "stopped"]
    newest = run("history", "--datadir", tmp_path, "--json", "--limit", "2").lines
    assert (newest[0]["first_row"], newest[1:]) == (6, everything[-2:])
    assert "blocks -> synced" in run("history", "--datadir", tmp_path).out


@pytest.mark.parametrize(
    ("source", "target", "shown"),
    [
        ("headers", "mnlist", ("headers", "mnlist")),
        ("headers", "a+b_rest+c", ("headers", "a+b_rest+c")),
        ("a+b_rest+c", "a_rest+b+c", ("a+b_rest", "a_rest+b")),
        ("a+b_rest+c", "synced", ("a+b_rest+c", "synced")),
        ("a+b_rest+c", "a+b_rest+c", ("a+b_rest+c", "a+b_rest+c")),
    ],
)
def test_history_for_a_person_shows_the_regions_that_took_part(
    source: str, target: str, shown: tuple[str, str]
) -> None:
    """The others are where they were; into all regions and out of them the whole place is shown."""
    assert changed(JournalRow(1, 0.0, source, target, "advance", "", "{}")) == shown


def test_unwatch_forgets_scripts_and_what_they_found(run: Run, stored: Any, honest: Any, tmp_path: Path) -> None:
    """An address is not watched any more, its balance is gone, the others stay."""
    script = next(iter(stored["balances"]))
    assert run("unwatch", script, "--datadir", tmp_path).out == "1 removed\n"
    (line,) = run("status", "--datadir", tmp_path, "--json").lines
    assert line["balances"] == {key: value for key, value in stored["balances"].items() if key != script}
    outcome = run("unwatch", script, *honest.told["watch"], "--datadir", tmp_path)
    assert outcome.code == 2
    assert "not watched" in outcome.err
    assert (run("status", "--datadir", tmp_path, "--json").lines[0])["balances"] == line["balances"]


@pytest.mark.parametrize("command", [("status",), ("history",), ("unwatch", "00"), ("label", "00", "x")])
def test_where_nothing_is_stored_nothing_is_made(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    """A command that reads does not create a store; the line says where it looked."""
    outcome = run(*command, "--datadir", tmp_path / "none")
    assert outcome.code == 5
    assert "holds no store" in outcome.err
    assert not (tmp_path / "none").exists()
    assert run(*command, "--datadir", tmp_path, "--network", "regtest").code == 5


def test_the_network_must_be_named_if_there_are_two(run: Run, tmp_path: Path) -> None:
    """One store in a directory is meant without a name; of two, one must be chosen."""
    Store.open(tmp_path, SIMNET).close()
    assert run("status", "--datadir", tmp_path).code == 0
    Store.open(tmp_path, REGTEST).close()
    outcome = run("status", "--datadir", tmp_path)
    assert outcome.code == 2
    assert "regtest, simnet" in outcome.err
