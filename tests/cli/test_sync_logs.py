"""The log of a sync, what quiet and verbose show, colours that nobody wants, and completion for shells."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import pty
import queue
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from phasegate.cli.ending import Ending
from phasegate.cli.log_options import LogForm
from phasegate.cli.log_writing import Scribe, target_of
from phasegate.cli.logs import LogBook, Manner, logged
from phasegate.cli.refusal import Code
from phasegate.engine import events
from phasegate.engine.errors import ConfigError
from tests.cli.conftest import COMMAND

Run = Callable[..., Any]
PHASES = ["headers", "mnlist", "cfheaders", "filters", "blocks"]
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@contextmanager
def noted(network: str, manner: Manner) -> Iterator[LogBook]:
    """A log that is wished."""
    with logged(network, manner) as book:
        assert book is not None
        yield book


@pytest.fixture
def once(run: Run, honest: Any, tmp_path: Path) -> Run:
    """Runs `sync --once` into a directory of this test."""
    words = ("sync", "--network", "simnet", "--datadir", tmp_path / "data", "--peer", honest.address, "--once")
    return lambda *arguments: run(*words, *honest.watching, *arguments)


def test_json_lines_have_the_place_of_everything(once: Run, honest: Any) -> None:
    """On standard error, one object a line: network, state and phase, the peer where one is meant; last the code."""
    outcome = once("--log-format", "json", "--verbose")
    lines = [json.loads(line) for line in outcome.err.splitlines()]
    assert outcome.code == 0
    for line in lines:
        assert {"time", "level", "logger", "message", "network", "state", "phase"} <= line.keys()
        assert (line["network"], bool(STAMP.fullmatch(line["time"]))) == ("simnet", True)
        assert line["phase"] == (line["state"] if line["state"] in PHASES else None)
    entered = [line["data"]["to"] for line in lines if line.get("event") == "transition"]
    assert entered == [*PHASES, "synced", "stopped"]
    peers = [line for line in lines if line["logger"] == "phasegate.peers"]
    assert {line["peer"] for line in peers} == {honest.address}
    assert any("is ready" in line["message"] for line in peers)
    assert {line["level"] for line in lines if line.get("event") == "progress"} == {"debug"}
    assert (lines[-1]["event"], lines[-1]["data"]["code"]) == ("summary", 0)
    assert not any("facts" in line.get("data", {}) for line in lines)


def test_the_log_stands_in_the_place_of_the_display(once: Run) -> None:
    """On standard out is the summary alone; the text has one line for each thing, and nothing below its level."""
    outcome = once("--log-format", "text")
    assert outcome.out.splitlines()[0].startswith("synced, after")
    lines = outcome.err.splitlines()
    assert all(re.match(STAMP.pattern + r" (INFO|WARNING) +simnet [a-z]+: ", line) for line in lines)
    assert any(line.endswith("simnet headers: Downloading headers") for line in lines)


def test_a_file_takes_the_log_of_every_run(once: Run, tmp_path: Path) -> None:
    """The display is as ever; the second run appends."""
    log = tmp_path / "sync.log"
    plain = once()
    outcome = once("--log-file", log)
    before = log.read_text().splitlines()
    assert "ended in state synced" in before[-1]
    assert once("--log-file", log).code == 0
    assert log.read_text().splitlines()[: len(before)] == before
    assert len(log.read_text().splitlines()) > len(before)
    assert (outcome.err, plain.err) == ("", "")
    assert "Downloading headers" in outcome.out


def test_quiet_is_quiet_and_verbose_is_not(once: Run) -> None:
    """Of a sync without trouble only the summary; or each step of the progress; not both."""
    loud = once("--verbose").out
    assert re.search(r"Headers: \d+ of 120, \d+/s, [\d.]+ % of all", loud)
    quiet = once("--quiet")
    assert quiet.out.splitlines()[0].startswith("synced, after")
    assert "Downloading" not in quiet.out
    both = once("--quiet", "--verbose")
    assert (both.code, both.err) == (2, "phasegate sync: --quiet and --verbose exclude each other\n")


def test_a_log_that_cannot_be_written_is_refused(once: Run, tmp_path: Path) -> None:
    """Before anything begins, in one line."""
    outcome = once("--log-file", tmp_path / "nowhere" / "sync.log")
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert "sync.log cannot be written: No such file or directory" in outcome.err
    assert not (tmp_path / "data").exists()


def test_logging_is_as_it_was_before(tmp_path: Path) -> None:
    """Neither handlers nor levels are left behind, and the root logger is never touched."""
    logger, root = logging.getLogger("phasegate"), logging.getLogger()
    before = logger.level, logger.propagate, list(logger.handlers), root.level, list(root.handlers)
    with noted("simnet", Manner(LogForm.TEXT, tmp_path / "log", verbose=True)) as book:
        assert root.handlers == before[-1]
        book.take(events.Warned(1.0, "odd", "two\nlines"))
    assert (logger.level, logger.propagate, list(logger.handlers), root.level, list(root.handlers)) == before
    assert (tmp_path / "log").read_text().splitlines()[0].endswith("simnet idle: Warning odd: two lines")


def test_a_moved_log_is_opened_anew(tmp_path: Path) -> None:
    """As logrotate does it: what comes later stands in a new file of the old name."""
    log = tmp_path / "log"
    with noted("simnet", Manner(file=log)) as book:
        book.take(events.Warned(1.0, "first", ""))
        while not log.read_text():
            os.sched_yield()
        log.rename(tmp_path / "log.1")
        book.take(events.Warned(2.0, "second", ""))
    assert "first" in (tmp_path / "log.1").read_text()
    assert "second" in log.read_text()


def line(text: str) -> logging.LogRecord:
    """What a logger hands on."""
    return logging.LogRecord("phasegate", logging.INFO, "", 0, text, (), None)


def test_a_log_that_cannot_be_opened_anew_is_tried_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its directory went away and came back: the loss is told once, and what comes later is written."""
    place = tmp_path / "logs"
    place.mkdir()
    target = target_of(LogForm.TEXT, place / "log")
    target.handle(line("before"))
    place.rename(tmp_path / "away")
    for _ in range(3):
        target.handle(line("meanwhile"))
    place.mkdir()
    target.handle(line("after"))
    target.close()
    assert (tmp_path / "away" / "log").read_text().split()[-1] == "before"
    assert [told.split()[-1] for told in (place / "log").read_text().splitlines()] == ["after"]
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("phasegate sync: the log cannot be written: ")


def test_a_standard_error_that_takes_nothing_ends_no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nobody to tell it to; the lines are taken all the same, so that the run is not kept."""

    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    monkeypatch.setattr("sys.stderr", Gone())
    waiting = queue.Queue[logging.LogRecord | None](2)
    for _ in range(2):
        waiting.put(line("a line"))
    scribe = Scribe(waiting, target_of(LogForm.TEXT, None))
    scribe.start()
    scribe.finish(None)
    assert (scribe.is_alive(), waiting.empty()) == (False, True)


def test_who_takes_lines_at_the_last_moment_disturbs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread goes on just when it was given up, and somebody has one more line: the end is told all the same."""
    fuller = [True]

    class Racing(queue.Queue[logging.LogRecord | None]):
        def get_nowait(self) -> logging.LogRecord | None:
            super().get_nowait()
            raise queue.Empty

        def put_nowait(self, item: logging.LogRecord | None) -> None:
            if fuller:
                super().put_nowait(line(str(fuller.pop())))
            super().put_nowait(item)

    monkeypatch.setattr("phasegate.cli.log_writing.PATIENCE", 0.001)
    waiting = Racing(1)
    waiting.put(line("first"))
    scribe = Scribe(waiting, logging.NullHandler())
    monkeypatch.setattr(scribe, "join", lambda _patience: None)
    scribe.finish(None)
    assert (waiting.qsize(), waiting.get()) == (1, None)


def test_lines_that_do_not_fit_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes the log is too slow: the run does not wait, and the log says what is missing, at its end too."""
    gate, began = threading.Event(), threading.Event()

    def slowly(_form: object, record: logging.LogRecord) -> str:
        began.set()
        gate.wait()
        return record.getMessage()

    monkeypatch.setattr("phasegate.cli.logs.ROOM", 3)
    monkeypatch.setattr("phasegate.cli.log_writing._TextForm.format", slowly)
    with noted("simnet", Manner(file=tmp_path / "log")) as book:
        book.take(events.Warned(0.0, "first", ""))
        began.wait()
        for number in range(50):
            book.take(events.Warned(1.0, "many", str(number)))
        gate.set()
    missing = "47 lines are not here: what takes the log is too slow"
    kept = [f"Warning many: {number}" for number in range(3)]
    assert (tmp_path / "log").read_text().splitlines() == ["Warning first:", *kept, missing]


def test_a_log_that_nobody_takes_does_not_keep_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that is full for ever: the run ends all the same."""
    monkeypatch.setattr("phasegate.cli.log_writing.PATIENCE", 0.01)
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with noted("simnet", Manner(file=tmp_path / "pipe")) as book:
        for number in range(20_000):
            book.take(events.Warned(1.0, "many", str(number)))
    os.close(reader)
    for thread in [thread for thread in threading.enumerate() if thread.name == "log"]:
        thread.join(10)
        assert not thread.is_alive()


def test_a_failure_is_an_error(tmp_path: Path) -> None:
    """As is the transition to it."""

    class Failed:
        ending = Ending("failed", "a bug", Code.FAILED)

    with noted("simnet", Manner(LogForm.JSON, tmp_path / "log")) as book:
        book.take(events.Transition(1, 1.0, "headers", "failed", "crash", "a bug", {}))
        book.close(Failed())  # type: ignore[arg-type]
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(line["level"], line["state"]) for line in lines] == [("error", "failed")] * 2
    assert lines[-1]["data"] == {"code": 4, "reason": "a bug"}


def test_without_a_wish_nothing_is_logged(once: Run, caplog: pytest.LogCaptureFixture) -> None:
    """A logger that nobody has set up writes warnings to standard error by itself; it gets none."""
    outcome = once("--peer", "127.0.0.1:1")
    assert (outcome.code, outcome.err) == (0, "")
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []
    with logged("simnet", Manner()) as book:
        assert book is None


def test_both_manners_at_once_are_none() -> None:
    with pytest.raises(ConfigError):
        Manner(quiet=True, verbose=True)


def _on_a_terminal(words: list[str], **environment: str) -> str:
    """What a command writes to a terminal."""
    main, side = pty.openpty()
    wanted = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    settings = {**wanted, "TERM": "xterm-256color", "COLUMNS": "120", **environment}
    with subprocess.Popen([*COMMAND, *words], stdout=side, stderr=subprocess.DEVNULL, env=settings) as process:
        os.close(side)
        told = b""
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:  # the terminal's other end is closed
                break
            if not piece:
                break
            told += piece
        assert process.wait(60) == 0
    os.close(main)
    return told.decode(errors="replace")


COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|4[0-7]|38;5|48;5|9[0-7])[0-9;]*m")


def test_colours_are_left_out_where_they_are_not_wanted(honest: Any, tmp_path: Path) -> None:
    """NO_COLOR takes the colours from the bars, which have some without it."""
    words = ["sync", "--network", "simnet", "--peer", honest.address, "--once", "--datadir"]
    assert COLOUR.search(_on_a_terminal([*words, str(tmp_path / "one")]))
    plain = _on_a_terminal([*words, str(tmp_path / "other")], NO_COLOR="1")
    assert "Filters" in plain
    assert not COLOUR.search(plain)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_complete(shell: str) -> None:
    """The script is there for each, and asks the program, which answers with the commands that fit."""
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    words = [*COMMAND, "--show-completion", shell]
    script = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "_PHASEGATE_COMPLETE" in script
    asking = {
        "_PHASEGATE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "phasegate ex",
        "COMP_CWORD": "1",
        "_TYPER_COMPLETE_ARGS": "phasegate ex",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        list(COMMAND), env={**os.environ, **asking}, capture_output=True, text=True, timeout=60, check=False
    )
    assert "export" in done.stdout
    assert "sync" not in done.stdout
