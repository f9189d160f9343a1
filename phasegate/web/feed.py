"""What one open page is sent: server-sent events, each with its name and one line of JSON.

| event | what it carries | when |
|---|---|---|
| `hello` | the newest transitions | first, unless the page goes on from a row that it had |
| `step` | one transition; its row id is the event's id | at once |
| `now` | the document of `/status.json` | with transitions and progress, and every `BEAT` |
| `found` | the newest found transactions | when there are others |
| `warnings` | the newest warnings | when there are others |
| `bye` | the last document | when the client has ended |

A browser that reconnects says the id of the last event that it had, and is sent the transitions that it missed, from
the journal. A browser that does not read is not waited for: its buffer is bounded, what is dropped from it is counted,
and the transitions among it are read again. So a page may be late, but it is never wrong.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator

import attrs
import trio

from phasegate.engine.events import Event, Lagged, Progress, Transition
from phasegate.store import StoreError
from phasegate.web.board import ROWS, Board, Document
from phasegate.web.present import present

BEAT = 2.0
"""Seconds after which a page is told how things stand, whatever happens."""
BUFFER = 256
"""Events that may wait for one page."""
FRESH = 0.2
"""Seconds for which one document serves all pages."""
RETRY = b"retry: 1000\n\n"
"""After how many milliseconds a browser tries again."""

_ID = re.compile(r"([0-9a-f]{8})-(\d{1,18})")


class Feeds:
    """Makes the feeds of all pages, and the document that they share.

    Args:
        board: the memory of the view.
        now: the wall clock.
    """

    def __init__(self, board: Board, now: Callable[[], float]) -> None:
        self.board = board
        self._now = now
        config = board.client.config
        store = f"{config.network.file_name} {config.datadir.absolute()}"
        self.tag = hashlib.sha256(store.encode()).hexdigest()[:8]
        self._made: tuple[float, int, Document] | None = None

    def document(self) -> Document:
        """How the client stands, at most `FRESH` seconds ago and after the last transition."""
        at, steps = trio.current_time(), self.board.transitions
        if self._made is None or self._made[1] != steps or at - self._made[0] >= FRESH:
            self._made = (at, steps, present(self.board, self._now()))
        return self._made[2]

    def row_of(self, event_id: str) -> int | None:
        """The row id in an event id of this store; None where it is of another, or none."""
        told = _ID.fullmatch(event_id)
        return int(told[2]) if told and told[1] == self.tag else None

    def frames(self, last_event_id: str = "") -> AsyncGenerator[bytes, None]:
        """What a page is sent that had everything up to that event."""
        return _Feed(self, self.row_of(last_event_id)).frames()


@attrs.define
class _Feed:
    feeds: Feeds
    row: int | None
    _news: int = -1
    _warned: int = -1

    @property
    def board(self) -> Board:
        return self.feeds.board

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """All that is sent, until the client ends."""
        events = self.board.passed_on.subscribe(BUFFER)
        yield RETRY
        try:
            for frame in [*self._stand()]:  # all at one moment, though sending takes its time
                yield frame
            while True:
                heard: Event | None = None
                over = False
                with trio.move_on_after(BEAT):
                    heard = await anext(events, None)
                    over = heard is None
                if over:
                    break
                for frame in [*self._told(heard)]:
                    yield frame
        except StoreError:  # closed meanwhile, or unreadable; the browser comes again while there is somebody to ask
            return
        yield self._frame("bye", self.feeds.document())

    def _told(self, heard: Event | None) -> Iterator[bytes]:
        if isinstance(heard, Lagged):
            self.board.dropped += heard.count
        if heard is None or isinstance(heard, Transition | Progress | Lagged):
            yield from self._stand()

    def _missed(self) -> Iterator[bytes]:
        """The transitions since the last one that the page had; all that are shown if these are too many."""
        end = self.board.row
        if self.row is None or not end - ROWS <= self.row <= end:
            steps = self.board.steps(max(0, end - ROWS))
            self.row = end
            yield self._frame("hello", {"steps": steps})
        elif self.row < end:
            for step in self.board.steps(self.row):
                yield self._step(step)

    def _stand(self) -> Iterator[bytes]:
        """How things stand, after all that led there: the steps that were told, waiting in the buffer or dropped."""
        yield from self._missed()
        yield self._frame("now", self.feeds.document())
        if self._news != self.board.news:
            self._news = self.board.news
            yield self._frame("found", self.board.found())
        if self._warned != (count := self.board.warned.total()):
            self._warned = count
            yield self._frame("warnings", [attrs.asdict(told) for told in self.board.warnings])

    def _step(self, step: Document) -> bytes:
        self.row = step["row_id"]
        return self._frame("step", step)

    def _frame(self, name: str, content: object) -> bytes:
        text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        own_id = f"id: {self.feeds.tag}-{self.row}\n" if self.row is not None else ""
        return f"{own_id}event: {name}\ndata: {text}\n\n".encode()
