"""What the view remembers of a run beside what the client can be asked: the way so far, warnings, found transactions.

It tells of a transition when that was journalled, a moment after the chart has taken it; so pages see every step, and
none before its time. One subscription feeds it. It takes each event first and then passes it on to the feeds, so that a
feed never shows a document that lacks the event it was woken by. The engine waits for nobody: the board's buffer is
bounded, and so is that of each feed. What the board itself may have missed it reads again from the journal.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

import attrs
import trio

from phasegate.consensus.watch_elements import element_text
from phasegate.engine.client import Client
from phasegate.engine.events import (
    Broadcast,
    Event,
    InstantLocked,
    Lagged,
    Rewound,
    Subscription,
    TransactionFound,
    Transition,
    Warned,
)
from phasegate.engine.following import facts_of
from phasegate.engine.progress import PHASES
from phasegate.statecharts.anatomy import read
from phasegate.statecharts.catalogue import chart_of
from phasegate.statecharts.places import leaves_of
from phasegate.statecharts.relation import Step
from phasegate.store import JournalRow, StoreError
from phasegate.web.picture import draw

Document = dict[str, Any]

BUFFERED = 4096
"""Events that may wait for the board."""
ROWS = 200
"""Transitions that a page is shown when it is opened, and that are read again at once."""
KEPT = 50
"""Warnings, and found transactions, that are shown: the newest."""
LONGEST = 400
"""Letters of a text that is shown."""


@attrs.frozen
class Told:
    """A warning as it was told; `count` times in a row."""

    time: float
    code: str
    message: str
    count: int = 1


class Board:
    """The memory of the view of one client.

    Args:
        client: it need not run yet.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.anatomy = read(chart_of(client.config.strategy))
        self.picture = draw(self.anatomy, PHASES)
        self.been: dict[str, None] = dict.fromkeys(self.around(client.state))
        self.lines: dict[str, None] = {}
        self.place = client.state
        self.recent: deque[Document] = deque(maxlen=ROWS)
        self.warnings: deque[Told] = deque(maxlen=KEPT)
        self.counts: Counter[str] = Counter()
        self.warned: Counter[str] = Counter()
        self.dropped = self.failures = self.streams = 0
        self.passed_on = Broadcast()
        self.row = client.store.journal_end()
        self.transitions = self.news = 0
        self._found = client.store.transactions_end()
        self._events: Subscription = client.events(BUFFERED)
        self._left = trio.Event()

    def page_left(self) -> None:
        """One page less follows the events."""
        self.streams -= 1
        self._left.set()
        self._left = trio.Event()

    async def deserted(self) -> None:
        """Wait until no page follows the events."""
        while self.streams:
            await self._left.wait()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take what happens until the client ends."""
        task_status.started()
        async for event in self._events:
            self._take(event)
            self.passed_on.publish(event)
        self.passed_on.end()

    def _take(self, event: Event) -> None:
        self.counts[type(event).__name__] += 1
        if isinstance(event, Transition):
            self._go(self.stepped(event))
        elif isinstance(event, Lagged):
            self.dropped += event.count
            for row in self._missed():
                self._go(self.stepped(row))
        elif isinstance(event, Warned):
            self._warn(event)
        elif isinstance(event, TransactionFound):
            self._found = max(self._found, event.row_id)
        if isinstance(event, TransactionFound | InstantLocked | Rewound):
            self.news += 1

    def _missed(self) -> list[JournalRow]:
        try:
            return self.client.history(self.row, ROWS)
        except StoreError:  # the client has ended, or its disk refuses: the path has a gap
            return []

    def _go(self, step: Document) -> None:
        if step["row_id"] <= self.row:
            return
        self.row, self.place = step["row_id"], step["to"]
        self.recent.append(step)
        self.transitions += 1
        self.been |= dict.fromkeys(step["active"])
        self.lines |= dict.fromkeys(step["lines"])

    def _warn(self, event: Warned) -> None:
        self.warned[event.code] += 1
        told, count = Told(event.time, event.code, shown(event.message)), 1
        if self.warnings and (self.warnings[-1].code, self.warnings[-1].message) == (told.code, told.message):
            count += self.warnings.pop().count
        self.warnings.append(attrs.evolve(told, count=count))

    # -- documents -----------------------------------------------------------------------------------------------

    def around(self, place: str) -> list[str]:
        """The active states of a place, with those around them."""
        return list(dict.fromkeys(state for leaf in leaves_of(place) for state in self.anatomy.path(leaf)))

    def called(self, place: str) -> str:
        """What a place is called: by its state, or by those phases of several that are at work."""
        names = {box.id: box.name for box in self.anatomy.walk()}
        leaves = leaves_of(place)
        if len(leaves) == 1:
            return names.get(place, place)
        working = [names[leaf] for leaf in leaves if leaf in PHASES and leaf in names]
        rest = ["Interleaved, at rest"] if not working else []
        return ", ".join([*working[:1], *[name.removeprefix("Downloading ") for name in working[1:]], *rest])

    def stepped(self, row: Transition | JournalRow) -> Document:
        """A transition, told for the page; `lines` are those of the picture that it took."""
        trigger = row.trigger if isinstance(row, Transition) else row.event
        facts = row.facts if isinstance(row, Transition) else facts_of(row)
        return {
            "row_id": row.row_id,
            "time": round(row.time, 3),
            "from": row.source,
            "to": row.target,
            "name": self.called(row.target),
            "trigger": trigger,
            "reason": shown(row.reason),
            "active": self.around(row.target),
            "lines": self._lines(row.source, trigger, row.target, facts),
        }

    def _lines(self, source: str, trigger: str, target: str, facts: Mapping[str, Any]) -> list[str]:
        holding = facts.get("holding")
        if not isinstance(holding, list):  # rows of earlier versions do not tell what the guards said
            return []
        answers = tuple((guard, guard in holding) for guard in sorted(self.anatomy.guards))
        before, after = (self.anatomy.configuration(leaves_of(place)) for place in (source, target))
        return self.picture.lines(self.anatomy, Step(before, trigger, answers, after, (source,), (target,)))

    @property
    def step(self) -> Document | None:
        """The last transition of this run."""
        return self.recent[-1] if self.recent else None

    def steps(self, after: int) -> list[Document]:
        """The transitions above row id `after` that the board knows of, oldest first; at most `ROWS` of them.

        Raises:
            StoreError: the client has ended.
        """
        stored = [self.stepped(row) for row in self.client.history(after, ROWS) if row.row_id <= self.row]
        end = stored[-1]["row_id"] if stored else after
        return [
            *stored,
            *[step for step in self.recent if step["row_id"] > end],
        ]  # a disk that refuses lacks the newest

    def found(self) -> list[Document]:
        """The newest found transactions, in the chain's order; amounts in duffs, hashes in display order.

        Raises:
            StoreError: the client has ended.
        """
        network = self.client.network
        return [
            {
                "row_id": one.row_id,
                "txid": one.txid[::-1].hex(),
                "height": one.height,
                "received": one.received,
                "sent": one.sent,
                "instantlock": one.instantlock,
                "scripts": [element_text(script, network) for script in one.scripts[:4]],
            }
            for one in self.client.transactions(max(0, self._found - KEPT))
        ]


def shown(text: str) -> str:
    """A text that others may have written: without control characters, and bounded."""
    plain = "".join(c if c.isprintable() else " " for c in text[: LONGEST + 1])
    return plain if len(plain) <= LONGEST else plain[:LONGEST] + "…"
