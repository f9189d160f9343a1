"""Writes the transitions of the chart to the store, and keeps those that the disk refuses until it takes them.

A transition has happened whether it could be written or not, and its row id has been told. So a refused row waits in
memory and goes with the next one, in order: each row gets the id that was told for it. What waits is bounded. When it
is full the newest row makes room for the one that follows, under the same id, and that one says how many are missing:
the beginning of the trouble and its end are what is read later.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from phasegate.engine.seams import Writer
from phasegate.store import AppendJournal, Change, JournalRow, KeepHistory, StoreFailed

MOST_WAITING = 1000
"""Rows that may wait for the disk."""
TRIM_EVERY = 100
"""Journal rows between two trims."""

_MISSING = re.compile(r"\((\d{1,9}) transitions before it were not stored\)\Z")


def tell_missing(reason: str, missing: int) -> str:
    """The reason of a row before which `missing` transitions were not stored; `told_missing` reads it."""
    return f"{reason} ({missing} transitions before it were not stored)".lstrip()


def told_missing(reason: str) -> int:
    """How many transitions were not stored before the row of this reason, as `tell_missing` says it; 0 if none."""
    told = _MISSING.search(reason)
    return int(told[1]) if told else 0


class Journal:
    """The transition journal of one client.

    Args:
        writer: the writer of the store.
        keep: how many rows the store keeps.
        warn: called with a stable code and a line for the user, once each time the disk begins to refuse.
    """

    def __init__(self, writer: Writer, keep: int, warn: Callable[[str, str], None]) -> None:
        self._writer = writer
        self._keep = keep
        self._warn = warn
        self._waiting: list[AppendJournal] = []
        self._missing = 0
        self._refused = False
        self._trimmed = self.end = writer.store.journal_end()

    async def append(self, row: AppendJournal) -> int:
        """Write a row, or keep it until the disk works again, and return its row id.

        Raises:
            StoreCorrupt: damage was met.
        """
        self._take(row)
        try:
            await self.write()
        except StoreFailed as error:
            if not self._refused:
                self._warn("journal-waits", f"transitions cannot be stored, they wait in memory: {error}")
            self._refused = True
        return self.end

    def unstored(self, after: int) -> list[JournalRow]:
        """The rows with an id above `after` that wait for the disk, oldest first."""
        first = self.end - len(self._waiting) + 1
        rows = [JournalRow(row_id, *attrs.astuple(row)) for row_id, row in enumerate(self._waiting, first)]
        return [row for row in rows if row.row_id > after]

    def _take(self, row: AppendJournal) -> None:
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(row)
            self.end += 1
        else:
            self._missing += 1
            self._waiting[-1] = attrs.evolve(row, reason=tell_missing(row.reason, self._missing))

    async def write(self) -> None:
        """Write what waits, and be it nothing: this returns when a commit stands.

        Raises:
            StoreFailed: the disk refuses; what waits goes on waiting.
            StoreCorrupt: damage was met.
        """
        if self._refused:
            self._forget_stored()
        due = self.end // TRIM_EVERY > self._trimmed // TRIM_EVERY
        trim: list[Change] = [KeepHistory(self._keep)] if due else []
        await self._writer.commit([*self._waiting, *trim])
        self._trimmed = self.end
        self._waiting.clear()
        self._missing, self._refused = 0, False

    def _forget_stored(self) -> None:
        """Let go of rows that stand although the disk's answer was lost."""
        unstored = self.end - self._writer.store.journal_end()
        del self._waiting[: len(self._waiting) - unstored]
