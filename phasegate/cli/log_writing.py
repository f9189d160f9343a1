"""How lines of a log come to where they are kept: by a thread of its own, out of a queue that keeps nobody waiting."""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
import time
from contextlib import suppress
from logging.handlers import QueueHandler, WatchedFileHandler
from pathlib import Path
from typing import Any

from phasegate.cli.log_options import LogForm
from phasegate.cli.refusal import one_line, say_error
from phasegate.engine.errors import ConfigError

ROOM = 10_000
"""Lines that may wait for a slow disk or pipe."""
PATIENCE = 2.0
"""Seconds that the end of a run waits for them."""
_OWN = ("network", "state", "phase", "event", "peer", "data")


def target_of(form: LogForm | None, path: Path | None) -> logging.Handler:
    """What writes the lines: to a file, or to standard error.

    Raises:
        ConfigError: the file cannot be written.
    """
    target: logging.Handler = _Stream(sys.stderr)
    if path is not None:
        try:
            target = _File(path, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"log file {path} cannot be written: {error.strerror}") from error
    target.setFormatter(_JsonForm() if form is LogForm.JSON else _TextForm())
    return target


class Waiting(QueueHandler):
    """Puts lines into the queue, and counts those that do not fit."""

    def __init__(self, room: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__(room)
        self._lost = 0
        self._place: dict[str, Any] = {}

    def enqueue(self, record: logging.LogRecord) -> None:
        """Never waits."""
        self._place = {name: getattr(record, name, None) for name in ("network", "state", "phase")}
        try:
            if (confession := self.confession()) is not None:
                self.queue.put_nowait(confession)
                self._lost = 0
            self.queue.put_nowait(record)
        except queue.Full:
            self._lost += 1

    def confession(self) -> logging.LogRecord | None:
        """The line that says how many are missing; None when none is."""
        if not self._lost:
            return None
        told = f"{self._lost} lines are not here: what takes the log is too slow"
        made = logging.LogRecord("phasegate.log", logging.WARNING, "", 0, told, (), None)
        made.__dict__.update(self._place, event="lagged")
        return made


class Scribe(threading.Thread):
    """Writes what waits. A pipe that nobody reads keeps it for ever, but not the program."""

    def __init__(self, waiting: queue.Queue[logging.LogRecord | None], target: logging.Handler) -> None:
        super().__init__(name="log", daemon=True)
        self._waiting = waiting
        self._target = target

    def run(self) -> None:
        """Write until there is nothing more to come."""
        while (record := self._waiting.get()) is not None:
            self._target.handle(record)
        with suppress(OSError):  # a line that could not be written was told already
            self._target.close()

    def finish(self, last: logging.LogRecord | None) -> None:
        """Have all that waits written, and `last` behind it, if that can be done in a moment."""
        try:
            for record in (last, None) if last is not None else (None,):
                self._waiting.put(record, timeout=PATIENCE)
        except queue.Full:
            self._give_up()
        self.join(PATIENCE)

    def _give_up(self) -> None:
        """Nobody takes the lines: let go of them, so that it ends when what it hangs at lets go of it."""
        while True:  # the thread takes some as well, and others may put more
            with suppress(queue.Empty):
                while True:
                    self._waiting.get_nowait()
            with suppress(queue.Full):
                self._waiting.put_nowait(None)
                return


class _OnceTold:
    """Says once on standard error that the log cannot be written; the run goes on without."""

    failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the name that logging calls
        """Called by `logging` where a line could not be written."""
        if not self.failed:
            self.failed = True
            with suppress(OSError):  # it may be standard error itself that takes nothing
                say_error("sync", f"the log cannot be written: {sys.exc_info()[1]}")


class _Stream(_OnceTold, logging.StreamHandler[Any]):
    """Standard error."""


class _File(_OnceTold, WatchedFileHandler):
    """A file, which is opened anew when somebody has moved it away, and tried again if that cannot be done yet."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or say that it cannot be written; opening the file is not part of what `logging` guards."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)


def _moment(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03}Z"


class _JsonForm(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """All that is known."""
        fields = {name: getattr(record, name) for name in _OWN if hasattr(record, name)}
        head = {"time": _moment(record), "level": record.levelname.lower(), "logger": record.name}
        return json.dumps({**head, "message": record.getMessage(), **fields}, default=str)


class _TextForm(logging.Formatter):
    """One line for people, and for grep."""

    def format(self, record: logging.LogRecord) -> str:
        """Without the keys of the event."""
        place = f"{record.__dict__.get('network')} {record.__dict__.get('state')}"
        return f"{_moment(record)} {record.levelname:<7} {place}: {one_line(record.getMessage())}"
