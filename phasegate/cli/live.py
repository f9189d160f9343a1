"""The person's view: on a terminal one progress bar a phase, elsewhere one line for each thing that happens."""

from __future__ import annotations

import time
from functools import singledispatch
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TaskProgressColumn, TextColumn
from rich.text import Text

from phasegate.cli.refusal import one_line
from phasegate.cli.summary import dash, hexed
from phasegate.engine import events
from phasegate.engine.config import Config
from phasegate.engine.progress import PHASES, enabled_phases
from phasegate.statecharts.places import leaves_of

if TYPE_CHECKING:
    from phasegate.cli.summary import Summary

TITLES = {
    "headers": "Headers",
    "mnlist": "Masternode lists",
    "cfheaders": "Filter headers",
    "filters": "Filters",
    "blocks": "Blocks",
}
STATES = {
    "idle": "Idle",
    "backoff": "Backing off",
    "restarting": "Restarting phase",
    "switching": "Switching peer",
    "waiting": "Waiting for network",
    "synced": "Fully synced",
    "degraded": "Degraded",
    "paused": "Paused",
    "failed": "Failed",
    "stopped": "Stopped",
    **{phase: f"Downloading {title.lower()}" for phase, title in TITLES.items()},
}
"""How each state of the chart is called."""


def called(place: str) -> str:
    """How a place of the chart is called; of phases beside each other those that are at work are named, if any is."""
    leaves = leaves_of(place)
    if len(leaves) == 1:
        return STATES.get(place, place)
    working = [TITLES[leaf].lower() for leaf in leaves if leaf in TITLES]
    return f"Downloading {', '.join(working)}" if working else ""


@singledispatch
def told(event: events.Event) -> str:
    """One line for a person; "" where there is nothing to say."""
    raise TypeError(f"{type(event).__name__} is not an event")


@told.register
def _(event: events.Transition) -> str:
    place = called(event.target)
    return f"{place}: {event.reason}" if place and event.reason else place


@told.register
def _(event: events.Progress) -> str:  # noqa: ARG001 - the event's kind is the whole message
    return ""


@told.register
def _(event: events.TransactionFound) -> str:
    return f"Found {hexed(event.txid)} at {event.height}: {dash(event.received - event.sent, sign='+')}"


@told.register
def _(event: events.TransactionLost) -> str:
    return f"Lost {hexed(event.txid)}: block {event.height} left the chain"


@told.register
def _(event: events.TransactionReturned) -> str:
    return f"Transaction {hexed(event.txid)} is back at {event.height}, after {event.old_height}"


@told.register
def _(event: events.TransactionConflicted) -> str:
    return f"Transaction {hexed(event.txid)} conflicts with {hexed(event.conflict)}, which is locked by InstantSend"


@told.register
def _(event: events.TransactionSeen) -> str:
    sure = "locked by InstantSend" if event.instantlock else "nothing proves it yet"
    return f"Seen {hexed(event.txid)} in no block: {dash(event.received - event.sent, sign='+')}, {sure}"


@told.register
def _(event: events.TransactionDropped) -> str:
    return f"Transaction {hexed(event.txid)}, seen in no block, is given up: {event.reason}"


@told.register
def _(event: events.ChainLocked) -> str:
    return f"ChainLock at {event.height}"


@told.register
def _(event: events.InstantLocked) -> str:
    return f"Transaction {event.txid[::-1].hex()} is locked by InstantSend"


@told.register
def _(event: events.BroadcastMoved) -> str:
    where = f" at {event.height}" if event.height is not None else ""
    knowers = f"announced to {event.announced}, fetched by {event.fetched}, echoed by {event.echoed}"
    why = f": {event.reason}" if event.reason else ""
    return f"Transaction {hexed(event.txid)} is {event.stage}{where} ({knowers}){why}"


@told.register
def _(event: events.Rewound) -> str:
    return f"Rewound from {event.old_tip} to {event.fork_height}: a better branch is followed"


@told.register
def _(event: events.Warned) -> str:
    return f"Warning {event.code}: {event.message}"


@told.register
def _(event: events.Lagged) -> str:
    return f"({event.count} events are not shown)"


class Lines:
    """Everything that happens as lines, for output that is no terminal."""

    def show(self, event: events.Event) -> None:
        """One line, or none."""
        if line := told(event):
            _print(f"{time.strftime('%H:%M:%S')}  {one_line(line)}")

    def close(self) -> None:
        """Nothing is held back."""

    def sum_up(self, summary: Summary) -> None:
        """The summary in lines."""
        for line in summary.lines():
            _print(line)


class FewLines(Lines):
    """Nothing but warnings, if they are not told elsewhere, and the summary."""

    def __init__(self, *, warnings: bool) -> None:
        self._warnings = warnings

    def show(self, event: events.Event) -> None:
        """Only a warning."""
        if self._warnings and isinstance(event, events.Warned | events.Rewound | events.Lagged):
            super().show(event)


class EveryLine(Lines):
    """Everything, how far each phase is as well."""

    def show(self, event: events.Event) -> None:
        """One line."""
        if isinstance(event, events.Progress):
            far = f"{TITLES[event.phase]}: {event.done} of {event.total}, {event.rate:.0f}/s"
            _print(f"{time.strftime('%H:%M:%S')}  {far}, {event.overall:.1f} % of all")
        else:
            super().show(event)


class Bars:
    """One bar a phase, and above them what a person should know."""

    def __init__(self, config: Config) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<16}", markup=False),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TextColumn("{task.fields[known]:<21}", markup=False),
            _Pace(),
            expand=True,
        )
        phases = enabled_phases(config)
        self._bars = {phase: self._add(TITLES[phase]) for phase in phases}
        self._overall = self._add("All", total=100.0)
        self._progress.start()

    def _add(self, title: str, total: float | None = None, known: str = "") -> TaskID:
        return self._progress.add_task(title, total=total, known=known, rate=0.0, left=None)

    def show(self, event: events.Event) -> None:
        """Move a bar, or print a line above them; how one phase follows another is seen in the bars."""
        if isinstance(event, events.Progress):
            self._move(event)
        elif not (isinstance(event, events.Transition) and _is_syncing(event.target)):
            self._say(told(event))

    def _move(self, event: events.Progress) -> None:
        known = f"{event.done:>9} of {event.total}"
        self._progress.update(
            self._bars[event.phase],
            completed=event.done or (event.total == 0),
            total=event.total or 1,
            known=known,
            rate=event.rate,
            left=event.eta,
        )
        self._progress.update(self._overall, completed=event.overall)

    def _say(self, line: str) -> None:
        text = Text(f"{time.strftime('%H:%M:%S')}  {one_line(line)}")
        self._progress.console.print(text, soft_wrap=True, highlight=False)

    def close(self) -> None:
        """Leave the bars as they are."""
        self._progress.stop()

    def sum_up(self, summary: Summary) -> None:
        """The summary below the bars."""
        for line in summary.lines():
            self._progress.console.print(Text(line), soft_wrap=True, highlight=False)


class _Pace(ProgressColumn):
    """Items a second and the time left."""

    def render(self, task: Task) -> Text:
        """For one bar."""
        rate, left = task.fields["rate"], task.fields["left"]
        if task.finished or not rate:
            return Text(" " * 18)
        time_left = "" if left is None else f"{int(left) // 60}:{int(left) % 60:02}"
        return Text(f"{rate:>9.0f}/s {time_left:>6}")


def _is_syncing(place: str) -> bool:
    return place in PHASES or len(leaves_of(place)) > 1


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - this is where lines are shown
