"""`phasegate replay`: a journal that the command line printed is run again, and its exit code says what was found."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import phasegate
from phasegate.statecharts.catalogue import CHARTS
from phasegate.statecharts.fingerprint import fingerprint
from phasegate.statecharts.sync import SyncChart

COMMAND = (sys.executable, "-m", "phasegate")
Run = Callable[..., Any]
Line = dict[str, Any]


@pytest.fixture(scope="module")
def printed(honest: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """What two runs of `sync --json` into one store printed, and `history --json` of it."""
    return runs_of(honest, tmp_path_factory.mktemp("replay"), "sequential", "sequential")


@pytest.fixture(scope="module")
def both(honest: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The same of three runs, of which the second one was interleaved."""
    return runs_of(honest, tmp_path_factory.mktemp("both"), "sequential", "interleaved", "sequential")


def runs_of(honest: Any, place: Path, *strategies: str) -> tuple[str, str]:
    """What a run of `sync --json` of each strategy into one store printed, and `history --json` of it."""

    def call(*arguments: str) -> str:
        words = [*COMMAND, *arguments, "--network", "simnet", "--datadir", str(place), "--json"]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout

    peer = "--peer", honest.address
    syncs = [call("sync", "--once", "--strategy", strategy, *peer, *honest.watching) for strategy in strategies]
    return "".join(syncs), call("history")


@pytest.fixture
def judge(run: Run, tmp_path: Path) -> Run:
    """Replays a text from a file."""

    def call(text: str, *options: str) -> Any:
        file = tmp_path / "journal.jsonl"
        file.write_text(text, encoding="utf-8")
        return run("replay", file, *options)

    return call


def lines_of(text: str) -> list[Line]:
    return [json.loads(line) for line in text.splitlines()]


def text_of(lines: list[Line]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_history_begins_with_whose_it_is(printed: tuple[str, str], check_line: Run) -> None:
    """Chart, fingerprint, version, network and first row; then the rows, with their ids and what the guards said."""
    header, *rows = lines_of(printed[1])
    for line in (header, *rows):
        check_line(line)
    assert {key: header[key] for key in header if key != "time"} == {
        "event": "journal", "chart": "sync", "fingerprint": fingerprint(SyncChart), "version": phasegate.__version__,
        "network": "simnet", "first_row": 1,
    }  # fmt: skip
    assert [row["row_id"] for row in rows] == list(range(1, 15))
    assert rows[5]["facts"]["holding"] == sorted(rows[5]["facts"]["holding"])
    assert "all_enabled_complete" in rows[5]["facts"]["holding"]


def test_a_log_has_the_same_transitions_as_the_journal(printed: tuple[str, str]) -> None:
    """Before the first one of each run stands whose they are."""
    log, journal = map(lines_of, printed)
    rows = [line for line in log if line["event"] == "transition"]
    assert rows == journal[1:]
    headers = [line for line in log if line["event"] == "journal"]
    assert [header["first_row"] for header in headers] == [1, 8]
    assert {header["fingerprint"] for header in headers} == {journal[0]["fingerprint"]}


@pytest.mark.parametrize("which", [0, 1], ids=["sync", "history"])
def test_each_run_is_under_the_name_of_its_chart(
    judge: Run, both: tuple[str, str], check_line: Run, which: int
) -> None:
    """With its fingerprint and first row, live and from the store; the law is kept, of all runs and of each alone."""
    lines = [line for line in lines_of(both[which]) if line["event"] in ("journal", "transition")]
    starts = [place for place, line in enumerate(lines) if line["event"] == "journal"]
    headers = [lines[place] for place in starts]
    for header in headers:
        check_line(header)
    assert [header["chart"] for header in headers] == ["sync", "interleaved", "sync"]
    assert [header["fingerprint"] for header in headers] == [
        fingerprint(CHARTS[header["chart"]].chart) for header in headers
    ]
    assert [header["first_row"] for header in headers] == [lines[place + 1]["row_id"] for place in starts]
    outcome = judge(text_of(lines), "--json")
    assert (outcome.code, outcome.summary["restarts"], outcome.summary["foreign"]) == (0, 2, False)
    for start, end in zip(starts, [*starts[1:], None], strict=True):
        run = lines[start:end]
        assert any("+" in line["to"] for line in run[1:]) is (run[0]["chart"] == "interleaved")
        assert judge(text_of(run)).code == 0


def test_a_history_that_names_one_chart_for_all_is_read_too(judge: Run, both: tuple[str, str]) -> None:
    """As earlier versions printed it: what ran is seen by the places that only one of both charts has."""
    header, *rows = [line for line in lines_of(both[1]) if line["event"] == "transition" or line["first_row"] == 1]
    for chart in ("sync", "interleaved"):
        named = {**header, "chart": chart, "fingerprint": fingerprint(CHARTS[chart].chart)}
        outcome = judge(text_of([named, *rows]), "--json")
        assert (outcome.code, outcome.summary["breaches"], outcome.summary["foreign"]) == (0, 0, False)


@pytest.mark.parametrize("which", [0, 1], ids=["sync", "history"])
def test_what_was_printed_keeps_the_law(judge: Run, printed: tuple[str, str], which: int) -> None:
    """Exit code 0, and what was found in words."""
    outcome = judge(printed[which])
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == "14 rows, 1 restart, 2 walks begun, 2 completed\n0 breaches of the law\n"


def test_the_newest_rows_alone_are_a_journal(run: Run, judge: Run, printed: tuple[str, str]) -> None:
    """As `history --limit` prints them: what cannot be judged is counted."""
    header, *rows = lines_of(printed[1])
    outcome = judge(text_of([{**header, "first_row": 3}, *rows[2:]]))
    assert outcome.code == 0
    assert "4 rows could not be judged wholly" in outcome.out
    missing = judge(text_of([{**header, "first_row": 2}, *rows[2:]]))
    assert (missing.code, "row 3: continuity: row 2 is lost" in missing.out) == (1, True)


def test_a_breach_is_told_with_row_and_article(judge: Run, printed: tuple[str, str], check_line: Run) -> None:
    """Exit code 1; as JSON a line each, and a summary."""
    lines = lines_of(printed[1])
    lines[3]["facts"]["outstanding"] = 2
    del lines[6]
    outcome = judge(text_of(lines))
    assert outcome.code == 1
    assert "row 3: evidence: mnlist is left, but not: no request is outstanding" in outcome.out.splitlines()
    assert "row 7: continuity: row 6 is lost" in outcome.out.splitlines()
    told = judge(text_of(lines), "--json")
    assert told.code == 1
    for line in told.lines:
        check_line(line)
    assert {(line["row_id"], line["law"]) for line in told.events("breach")} == {(3, "evidence"), (7, "continuity")}
    assert told.summary["breaches"] == len(told.events("breach")) > 1
    assert (told.summary["rows"], told.summary["foreign"]) == (13, False)
    assert told.summary["written_by"]["network"] == "simnet"


def test_a_log_that_breaks_off_is_judged_up_to_there(judge: Run, printed: tuple[str, str], check_line: Run) -> None:
    """As a program that was killed leaves it."""
    cut, line = printed[0][:-20], len(printed[0].splitlines())
    outcome = judge(cut)
    assert (outcome.code, f"line {line} is cut off: judged up to there" in outcome.out.splitlines()) == (0, True)
    told = judge(cut, "--json")
    check_line(told.lines[-1])
    assert (told.code, told.summary["cut"], judge(printed[0], "--json").summary["cut"]) == (0, line, None)


def test_another_chart_is_told(judge: Run, printed: tuple[str, str], check_line: Run) -> None:
    """And judged by this one; a log without the line that says so is told as well."""
    header, *rows = lines_of(printed[1])
    other = text_of([{**header, "fingerprint": "ab" * 32, "version": "9.9\x1b"}, *rows])
    outcome = judge(other)
    assert outcome.code == 0
    assert outcome.out.startswith("written by another version of the chart (9.9?); judged by the chart and the law of")
    assert judge(other, "--json").summary["foreign"] is True
    later = text_of([header, *rows[:7], {**header, "fingerprint": "ab" * 32}, *rows[7:]])
    assert judge(later, "--json").summary["foreign"] is True
    assert judge(text_of(rows)).out.startswith("the journal does not say which chart wrote it")
    told = judge(text_of(rows), "--json").summary
    check_line(told)
    assert (told["foreign"], told["written_by"]) == (None, None)


def test_standard_in_is_read(run: Run, printed: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """As the file `-`."""
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(printed[1].encode())))
    assert run("replay", "-").code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no transition in it"),
        ("hello\n", "line 1 is no JSON"),
        ('{"event": "summary", "time": 1}\n', "there is no transition in it"),
        ('{"event": "transition", "time": 1}\n', "line 1 has no row_id"),
        (text_of([{"event": "journal", "time": 1, "chart": "moon", "fingerprint": "00" * 32, "version": "1",
                   "network": "simnet", "first_row": 1}]), "a chart 'moon'"),
    ],
)  # fmt: skip
def test_what_is_no_journal_is_refused(judge: Run, text: str, said: str) -> None:
    """Exit code 2, and one line on standard error that says why."""
    outcome = judge(text)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("phasegate replay: ")
    assert said in outcome.err
    assert len(outcome.err.splitlines()) == 1


def test_what_cannot_be_read_is_refused(run: Run, tmp_path: Path) -> None:
    """No such file, or a directory."""
    for place in (tmp_path / "none", tmp_path):
        outcome = run("replay", place)
        assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
        assert "cannot be read" in outcome.err


def test_history_is_drawn(sync: Run, run: Run, honest: Any, tmp_path: Path) -> None:
    """As a Mermaid sequence diagram; --limit leaves the oldest out and says how many; one form at a time."""
    sync("--peer", honest.address)
    drawing = run("history", "--datadir", tmp_path, "--mermaid").out.splitlines()
    assert drawing[0] == "sequenceDiagram"
    assert "    participant headers as Downloading headers" in drawing
    assert [line.split(": ")[1] for line in drawing if "->>" in line] == ["start", *["advance"] * 5, "stop"]
    newest = run("history", "--datadir", tmp_path, "--mermaid", "--limit", "2").out
    assert "    Note over blocks: 5 earlier transitions are left out\n" in newest
    assert newest.count("->>") == 2
    both = run("history", "--datadir", tmp_path, "--mermaid", "--json")
    assert (both.code, both.out) == (2, "")
    assert "choose one" in both.err
