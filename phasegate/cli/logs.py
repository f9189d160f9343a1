"""The log of a run: one line for each thing that happens, with the network, the state and the phase it happened in.

The log is a reader like any other: it is fed with the events that the client tells, and with what the engine says of
its peers to the standard logger `phasegate.peers`, which nobody has to listen to. Nothing is set up for programs that
embed phasegate; here it is, for the length of one run, and what was there before is put back. Lines are written by a
thread of their own out of a bounded queue, because a full pipe or a slow disk must not hold up the sync: what does not
fit is counted, and the count is a line, too.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from phasegate.cli.live import told
from phasegate.cli.log_options import LogForm
from phasegate.cli.log_writing import ROOM, Scribe, Waiting, target_of
from phasegate.cli.output import as_line
from phasegate.cli.refusal import one_line
from phasegate.engine import events
from phasegate.engine.errors import ConfigError
from phasegate.engine.progress import PHASES
from phasegate.statecharts.places import leaves_of

if TYPE_CHECKING:
    from phasegate.cli.run import Display
    from phasegate.cli.summary import Summary


@attrs.frozen
class Manner:
    """How much is shown and logged, and where.

    Args:
        format: of the log; None: no log is wished, or text if there is a file.
        file: where it goes; None: standard error, and then nothing else is shown but the summary.
        quiet: only warnings.
        verbose: everything, progress and peers included.
    """

    format: LogForm | None = None
    file: Path | None = None
    quiet: bool = False
    verbose: bool = False

    def __attrs_post_init__(self) -> None:
        if self.quiet and self.verbose:
            raise ConfigError("--quiet and --verbose exclude each other")

    @property
    def logs(self) -> bool:
        """Whether a log is wished."""
        return self.format is not None or self.file is not None

    @property
    def silent(self) -> bool:
        """Whether the log stands in the place of the display."""
        return self.logs and self.file is None

    @property
    def level(self) -> int:
        """The least level that is logged."""
        return logging.WARNING if self.quiet else logging.DEBUG if self.verbose else logging.INFO


@contextmanager
def logged(network: str, manner: Manner) -> Iterator[LogBook | None]:
    """A log for the length of the block, as `manner` wishes; None without a wish, and then nothing is logged at all.

    Raises:
        ConfigError: the log file cannot be written.
    """
    if not manner.logs:
        yield None
        return
    book = LogBook(network)
    target, room = target_of(manner.format, manner.file), queue.Queue[logging.LogRecord | None](ROOM)
    waiting = Waiting(room)
    waiting.addFilter(book.complete)
    scribe, logger = Scribe(room, target), logging.getLogger("phasegate")
    before = logger.level, logger.propagate
    logger.addHandler(waiting)
    logger.setLevel(manner.level)
    logger.propagate = False
    scribe.start()
    try:
        yield book
    finally:
        logger.removeHandler(waiting)
        logger.level, logger.propagate = before
        scribe.finish(waiting.confession())


class LogBook:
    """What is logged of one run, and in which state it is."""

    def __init__(self, network: str) -> None:
        self._network = network
        self._state = "idle"
        self._log = logging.getLogger("phasegate.sync")

    def complete(self, record: logging.LogRecord) -> bool:
        """Give a record, whoever made it, the place of the run."""
        record.network, record.state = self._network, self._state
        record.phase = "+".join(leaf for leaf in leaves_of(self._state) if leaf in PHASES) or None
        return True

    def take(self, event: events.Event) -> None:
        """Log an event."""
        if isinstance(event, events.Transition):
            self._state = event.target
        name, _, fields = as_line(event)
        fields.pop("facts", None)
        text = one_line(told(event)) or _progress(event)
        self._log.log(_level(event), "%s", text, extra={"event": name, "data": fields})

    def close(self, summary: Summary) -> None:
        """Log how the run ended."""
        ending = summary.ending
        text = f"ended in state {ending.state}{f': {ending.reason}' if ending.reason else ''}"
        level = logging.ERROR if ending.state == "failed" else logging.INFO
        data = {"code": int(ending.code), "reason": ending.reason}
        self._log.log(level, "%s", one_line(text), extra={"event": "summary", "data": data})


def _level(event: events.Event) -> int:
    if isinstance(event, events.Transition) and event.target == "failed":
        return logging.ERROR
    if isinstance(event, events.Warned | events.Lagged | events.Rewound):
        return logging.WARNING
    return logging.DEBUG if isinstance(event, events.Progress) else logging.INFO


def _progress(event: events.Event) -> str:
    if isinstance(event, events.Progress):
        return f"{event.phase}: {event.done} of {event.total}, {event.rate:.0f}/s, {event.overall:.1f} % of all"
    return type(event).__name__


@attrs.define
class Logged:
    """A display that is also logged."""

    _shown: Display
    _book: LogBook

    def show(self, event: events.Event) -> None:
        """Log it, then show it."""
        self._book.take(event)
        self._shown.show(event)

    def close(self) -> None:
        """No event follows."""
        self._shown.close()

    def sum_up(self, summary: Summary) -> None:
        """Log how it ended, then show it."""
        self._book.close(summary)
        self._shown.sum_up(summary)
