"""The machine's view: one JSON object a line, each with `event` and `time` (docs/cli-events.schema.json).

Hashes are in display order (reversed hex), scripts hex, amounts duffs, times seconds since 1970. Keys are added later,
never renamed.
"""

from __future__ import annotations

import json
import sys
import time
from functools import singledispatch
from typing import TYPE_CHECKING, Any

from phasegate.engine.events import (
    BroadcastMoved,
    ChainLocked,
    Event,
    InstantLocked,
    Lagged,
    Progress,
    Rewound,
    TransactionConflicted,
    TransactionDropped,
    TransactionFound,
    TransactionLost,
    TransactionReturned,
    TransactionSeen,
    Transition,
    Warned,
)

if TYPE_CHECKING:
    from phasegate.cli.summary import Summary
    from phasegate.store import JournalRow

Fields = dict[str, Any]


def write_line(event: str, when: float | None, fields: Fields) -> None:
    """Write one line to standard out, at once; `when` None means now."""
    moment = time.time() if when is None else when
    line = json.dumps({"event": event, "time": round(moment, 3), **fields}, allow_nan=False)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class JsonLines:
    """Shows events as lines.

    Args:
        network: name of the chain; with it a line that says whose journal this is stands before the first transition.
        strategy: of the client, which tells the chart.
    """

    def __init__(self, network: str | None = None, strategy: str = "sequential") -> None:
        self._network = network
        self._strategy = strategy

    def show(self, event: Event) -> None:
        """One line, the first transition two."""
        if self._network is not None and isinstance(event, Transition):
            write_line("journal", event.time, journal_header(self._network, event.row_id, self._strategy))
            self._network = None
        name, when, fields = as_line(event)
        write_line(name, when, fields)

    def close(self) -> None:
        """Nothing is held back."""

    def sum_up(self, summary: Summary) -> None:
        """The last line."""
        write_line("summary", None, summary.as_dict())


@singledispatch
def as_line(event: Event) -> tuple[str, float | None, Fields]:
    """The name, time and other keys of an event's line."""
    raise TypeError(f"{type(event).__name__} is not an event")


@as_line.register
def _(event: Transition) -> tuple[str, float | None, Fields]:
    return "transition", event.time, {
        "row_id": event.row_id,
        "from": event.source,
        "to": event.target,
        "trigger": event.trigger,
        "reason": event.reason,
        "facts": dict(event.facts),
    }  # fmt: skip


@as_line.register
def _(event: Progress) -> tuple[str, float | None, Fields]:
    return "progress", event.time, {
        "phase": event.phase,
        "done": event.done,
        "total": event.total,
        "percent": round(event.percent, 2),
        "rate": round(event.rate, 1),
        "eta": None if event.eta is None else round(event.eta, 1),
        "overall": round(event.overall, 2),
    }  # fmt: skip


@as_line.register
def _(event: TransactionFound | TransactionLost) -> tuple[str, float | None, Fields]:
    return "transaction" if isinstance(event, TransactionFound) else "lost", event.time, {
        "row_id": event.row_id,
        "txid": event.txid[::-1].hex(),
        "height": event.height,
        "scripts": [script.hex() for script in event.scripts],
        "received": event.received,
        "sent": event.sent,
    }  # fmt: skip


@as_line.register
def _(event: TransactionReturned) -> tuple[str, float | None, Fields]:
    fields = {"txid": event.txid[::-1].hex(), "height": event.height, "old_height": event.old_height}
    return "returned", event.time, fields


@as_line.register
def _(event: TransactionConflicted) -> tuple[str, float | None, Fields]:
    return "conflict", event.time, {"txid": event.txid[::-1].hex(), "conflict": event.conflict[::-1].hex()}


@as_line.register
def _(event: TransactionSeen) -> tuple[str, float | None, Fields]:
    return "seen", event.time, {
        "txid": event.txid[::-1].hex(),
        "scripts": [script.hex() for script in event.scripts],
        "received": event.received,
        "sent": event.sent,
        "instantlock": event.instantlock,
        "confirmed": event.confirmed,
    }  # fmt: skip


@as_line.register
def _(event: TransactionDropped) -> tuple[str, float | None, Fields]:
    return "dropped", event.time, {"txid": event.txid[::-1].hex(), "reason": event.reason}


@as_line.register
def _(event: ChainLocked) -> tuple[str, float | None, Fields]:
    return "chainlock", event.time, {"height": event.height, "block_hash": event.block_hash[::-1].hex()}


@as_line.register
def _(event: InstantLocked) -> tuple[str, float | None, Fields]:
    return "instantlock", event.time, {"txid": event.txid[::-1].hex()}


@as_line.register
def _(event: BroadcastMoved) -> tuple[str, float | None, Fields]:
    return "broadcast", event.time, {
        "txid": event.txid[::-1].hex(),
        "stage": event.stage,
        "announced": event.announced,
        "fetched": event.fetched,
        "echoed": event.echoed,
        "height": event.height,
        "reason": event.reason,
    }  # fmt: skip


@as_line.register
def _(event: Rewound) -> tuple[str, float | None, Fields]:
    return "rewound", event.time, {"old_tip": event.old_tip, "fork_height": event.fork_height}


@as_line.register
def _(event: Warned) -> tuple[str, float | None, Fields]:
    return "warning", event.time, {"code": event.code, "message": event.message}


@as_line.register
def _(event: Lagged) -> tuple[str, float | None, Fields]:
    return "warning", None, {"code": "lagged", "message": f"{event.count} events were dropped: output is too slow"}


def journal_line(row: JournalRow) -> Fields:
    """The keys of a stored transition, the same as those of a live one.

    Raises:
        StoreCorrupt: the stored facts cannot be read.
    """
    from phasegate.store import StoreCorrupt

    try:
        facts = dict(json.loads(row.facts_json))
    except (TypeError, ValueError) as error:
        raise StoreCorrupt(f"the facts of journal row {row.row_id} are damaged", table="journal") from error
    stored = Transition(row.row_id, row.time, row.source, row.target, row.event, row.reason, facts)
    return as_line(stored)[2]


def journal_header(network: str, first_row: int, strategy: str = "sequential") -> Fields:
    """The keys of the line that a journal begins with: which chart of which version, and the first row told."""
    from phasegate import __version__
    from phasegate.statecharts.catalogue import CHART_OF, chart_of
    from phasegate.statecharts.fingerprint import fingerprint

    return {
        "chart": CHART_OF[strategy],
        "fingerprint": fingerprint(chart_of(strategy)),
        "version": __version__,
        "network": network,
        "first_row": first_row,
    }
