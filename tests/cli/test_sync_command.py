"""`phasegate sync` against simulated nodes on loopback: what it prints, stores and returns."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from phasegate.store import Change, Store, StoreFailed, Watermarks

Run = Callable[..., Any]
PHASES = ["headers", "mnlist", "cfheaders", "filters", "blocks"]


def test_a_chain_is_synced_through_all_phases_in_order(sync: Run, honest: Any) -> None:
    """Exit 0, the chart's way through the phases, and the transactions and balances that the node expects."""
    outcome = sync("--peer", honest.address, *honest.watching)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.path == [*PHASES, "synced", "stopped"]
    summary, expected = outcome.summary, honest.told["expected"]
    assert (summary["state"], summary["reason"]) == ("synced", "")
    assert (summary["height"], summary["tip"]) == (120, honest.told["tip"])
    assert sorted(found["txid"] for found in summary["transactions"]) == sorted(expected["transactions"])
    assert summary["balances"] == expected["balances"]
    assert summary["masternodes"]["height"] == 120
    assert list(summary["phases"]) == PHASES
    assert summary["phases"]["headers"]["items"] == 120


def test_every_line_is_one_of_the_schema(sync: Run, honest: Any, check_line: Run) -> None:
    """Real output is held against docs/cli-events.schema.json, and the keys are exactly those promised."""
    outcome = sync("--peer", honest.address, *honest.watching)
    for line in outcome.lines:
        check_line(line)
    told = {line["event"] for line in outcome.lines}
    assert told == {"journal", "transition", "progress", "transaction", "chainlock", "summary"}
    assert set(outcome.summary) == {
        "event", "time", "state", "reason", "height", "tip", "masternodes", "filter_header", "filters",
        "matched_blocks", "transactions", "balances", "seconds", "phases", "chainwork", "difficulty_from",
        "chainlock_height", "filters_from", "corroborated", "disputed",
    }  # fmt: skip


def test_each_phase_shows_its_completion(sync: Run, honest: Any) -> None:
    """A phase too short for a tick has a progress line at 100 % nevertheless, before the transition that leaves it."""
    outcome = sync("--peer", honest.address, *honest.watching)
    last = {line["phase"]: line for line in outcome.events("progress")}
    assert [last[phase]["percent"] for phase in PHASES] == [100.0] * 5
    assert last["blocks"]["overall"] == 100.0
    order = [line.get("phase", line.get("from")) for line in outcome.lines if line["event"] != "transaction"]
    assert order.index("headers") < len(order) - 1 - order[::-1].index("headers")


def test_found_transactions_are_told_once(sync: Run, honest: Any) -> None:
    """A run tells what it found itself; a second run tells nothing again but sums up all."""
    first = sync("--peer", honest.address, *honest.watching)
    second = sync("--peer", honest.address)
    assert len(first.events("transaction")) == len(first.summary["transactions"])
    assert second.events("transaction") == []
    assert second.summary["transactions"] == first.summary["transactions"]
    assert second.summary["phases"]["headers"]["items"] == 0


@pytest.mark.parametrize(
    ("without", "absent"),
    [
        (("--no-masternodes",), ["masternodes"]),
        (("--no-filters",), ["filter_header"]),
        (("--no-masternodes", "--no-filters"), ["masternodes", "filter_header"]),
    ],
)
def test_what_is_switched_off_is_null(sync: Run, honest: Any, without: tuple[str, ...], absent: list[str]) -> None:
    """Phases that are not wanted are not entered, and their keys are null."""
    watching = [] if "--no-filters" in without else honest.watching
    summary = sync("--peer", honest.address, *watching, *without).summary
    assert summary["state"] == "synced"
    assert [name for name in ("masternodes", "filter_header") if summary[name] is None] == absent
    assert ("mnlist" in summary["phases"]) == ("--no-masternodes" not in without)
    assert ("cfheaders" in summary["phases"]) == ("--no-filters" not in without)
    assert bool(summary["filters"]) == ("--no-filters" not in without)


def test_without_filters_nothing_is_watched(sync: Run, honest: Any, tmp_path: Path) -> None:
    """It is refused, also of a file; a store that has watched items says how far they are searched."""
    listed = tmp_path / "watched.txt"
    listed.write_text(honest.told["watch"][0], encoding="utf-8")
    for watching in (honest.watching, ("--watch-file", listed)):
        refused = sync("--peer", honest.address, *watching, "--no-filters")
        assert (refused.code, "without filters" in refused.err) == (2, True)
    sync("--peer", honest.address, *honest.watching)
    warned = sync("--peer", honest.address, "--no-filters").events("warning")
    told = [line["message"] for line in warned if line["code"] == "nothing-matched"]
    assert [line.endswith("true of blocks up to 120") for line in told] == [True]


def test_watch_items_come_from_a_file_too(sync: Run, honest: Any, tmp_path: Path) -> None:
    """One address or script hex a line; blank lines and comments are skipped."""
    listed, script = tmp_path / "watched.txt", next(iter(honest.told["expected"]["balances"]))
    addresses = "\n".join(f"{address}  # watched" for address in honest.told["watch"])
    listed.write_text(f"# all of them\n\n{addresses}\n{script}\n", encoding="utf-8")
    assert (
        sync("--peer", honest.address, "--watch-file", str(listed)).summary["balances"]
        == (honest.told["expected"]["balances"])
    )


def test_a_later_watch_item_needs_no_new_filters(sync: Run, honest: Any) -> None:
    """Stored filters are matched for it; only blocks are fetched."""
    sync("--peer", honest.address)
    late = sync("--peer", honest.address, *honest.watching).summary
    assert late["balances"] == honest.told["expected"]["balances"]
    assert late["phases"]["cfheaders"]["items"] == late["phases"]["headers"]["items"] == 0


def test_a_lie_is_named_and_its_teller_left(sync: Run, start_node: Run) -> None:
    """With nobody honest the run ends degraded at once, exit 3, and the reason is on standard error in one line."""
    liar = start_node("--blocks", "60", "--lie", "wrong-merkle-proof")
    outcome = sync("--peer", liar.address)
    assert outcome.code == 3
    assert (outcome.summary["state"], outcome.summary["masternodes"]) == ("degraded", None)
    assert "bad-merkle-proof" in outcome.summary["reason"]
    assert [line["code"] for line in outcome.events("warning")] == ["bad-merkle-proof"]
    assert "bad-merkle-proof" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert "synced" not in outcome.path


def test_without_once_a_hopeless_run_ends_too(run: Run, start_node: Run, tmp_path: Path) -> None:
    """When every peer is banned nobody can come back, so there is nothing to stay for."""
    liar = start_node("--blocks", "60", "--lie", "wrong-pow")
    outcome = run("sync", "--network", "simnet", "--datadir", tmp_path, "--peer", liar.address)
    assert outcome.code == 3
    assert "bad-proof-of-work" in outcome.err


@pytest.mark.parametrize("once", [["--once"], []])
def test_a_peer_that_is_not_there_is_given_up(run: Run, tmp_path: Path, once: list[str]) -> None:
    """A wrong port ends with exit 3 and the reason, with --once or without."""
    words = ["sync", "--network", "simnet", "--datadir", tmp_path, "--peer", "127.0.0.1:1", "--give-up", "0.2"]
    outcome = run(*words, *once)
    assert outcome.code == 3
    assert "127.0.0.1:1" in outcome.err
    assert "refused" in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_a_node_of_another_network_is_given_up(sync: Run, honest: Any) -> None:
    """It hangs up on us, which is said as such."""
    outcome = sync("--peer", honest.address, "--give-up", "0.2", network="regtest")
    assert outcome.code == 3
    assert "another network" in outcome.err


def test_a_person_gets_lines_without_a_terminal(run: Run, honest: Any, tmp_path: Path) -> None:
    """Without --json and without a terminal the same is told in plain lines."""
    words = ["sync", "--network", "simnet", "--datadir", tmp_path, "--once", "--peer", honest.address]
    outcome = run(*words, *honest.watching)
    assert outcome.code == 0
    assert "Fully synced" in outcome.out
    assert f"tip            120  {honest.told['tip']}" in outcome.out


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(honest: Any, tmp_path: Path, end: signal.Signals) -> None:
    """Exit 130 with the summary as the last line, and the store can be opened again."""
    words = ["sync", "--network", "simnet", "--datadir", str(tmp_path), "--peer", honest.address, "--json"]
    with subprocess.Popen([sys.executable, "-m", "phasegate", *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while '"to": "synced"' not in process.stdout.readline():
            pass
        process.send_signal(end)
        rest = process.stdout.read().splitlines()
    assert process.returncode == 130
    assert '"event": "summary"' in rest[-1]
    assert '"reason": "interrupted"' in rest[-1]


def test_nobody_reading_is_no_error(honest: Any, tmp_path: Path) -> None:
    """When standard out is closed the run ends quietly."""
    words = ["sync", "--network", "simnet", "--datadir", str(tmp_path), "--peer", honest.address, "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "phasegate", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == ("", 130)


def test_a_disk_that_refuses_is_named(sync: Run, honest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full in the middle of a run is tried again for the given patience; then the line names it."""
    commit, calls = Store.commit, []

    def failing(store: Store, batch: Sequence[Change]) -> Watermarks:
        calls.append(batch)
        if len(calls) > 2:
            raise StoreFailed("the disk is full")
        return commit(store, batch)

    monkeypatch.setattr(Store, "commit", failing)
    outcome = sync("--peer", honest.address, "--give-up", "0.5")
    assert outcome.code == 5
    assert outcome.summary["state"] == "degraded"
    assert "backoff" in outcome.path
    assert outcome.err == "phasegate sync: degraded: the disk refuses: the disk is full\n"


def test_a_recorded_chain_of_dash_core_is_synced(sync: Run, start_node: Run, capture: Path) -> None:
    """The whole way on real bytes: tip, masternodes, every transaction, and balances of what is not spent."""
    node = start_node("--recording", str(capture))
    activations = ["--activation", "dip3=2", "--activation", "v20=100", "--activation", "mn_rr=100"]
    outcome = sync("--peer", node.address, *node.watching, *activations, network="regtest")
    assert outcome.code == 0
    summary, expected = outcome.summary, node.told["expected"]
    assert (summary["height"], summary["tip"]) == (356, node.told["tip"])
    assert summary["masternodes"]["count"] == 5
    assert sorted(found["txid"] for found in summary["transactions"]) == sorted(expected["transactions"])
    assert summary["balances"] == expected["balances"]


def test_the_interleaved_strategy_comes_to_the_same(
    sync: Run, honest: Any, check_line: Run, tmp_path: Path, run: Run
) -> None:
    """Every line is one of the schema, the summary is that of the node, and `replay` finds the journal lawful."""
    outcome = sync("--peer", honest.address, "--strategy", "interleaved", *honest.watching)
    assert (outcome.code, outcome.err) == (0, "")
    for line in outcome.lines:
        check_line(line)
    assert outcome.events("journal")[0]["chart"] == "interleaved"
    assert outcome.summary["balances"] == honest.told["expected"]["balances"]
    assert {line["phase"] for line in outcome.events("progress")} == set(PHASES)
    assert all(max(line["percent"] for line in outcome.events("progress") if line["phase"] == p) == 100 for p in PHASES)
    (tmp_path / "journal").write_text(outcome.out)
    replayed = run("replay", str(tmp_path / "journal"))
    assert (replayed.code, "0 breaches of the law" in replayed.out, replayed.err) == (0, True, "")
