"""A `phasegate` command that kills itself inside a transaction of its store.

    python -P killed_sync.py NOTE PHASE TRANSACTION STEP -- sync --network simnet ...

The command runs in this process, its store's connections replaced by ones that count. Once the chart's transition into
PHASE is journalled, the TRANSACTIONth write transaction after it is the one: after STEP steps of it, a step being a
statement or one row of a many-row statement, and at the latest before its COMMIT, the process writes to the file NOTE
where it stands and sends itself SIGKILL. SQLite's own word that a write transaction is open is in the note, and so is
the commit counter that the file must still have afterwards.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

import apsw
import attrs

from phasegate.cli import main
from phasegate.store import database
from phasegate.store.database import Row, Value


@attrs.define
class Trap:
    """Where to die, and how far the run has come."""

    note: Path
    phase: str
    transaction: int
    step: int
    entered: bool = False
    begun: int = 0
    steps: int = -1
    """Steps done in the fatal transaction; -1 outside of it."""
    sequence: int = 0
    changes: int = 0

    def watch(self, connection: apsw.Connection, sql: str, values: Sequence[Value]) -> None:
        """A statement outside the fatal transaction is done: does that one begin with it?"""
        if sql == "BEGIN IMMEDIATE" and self.entered:
            self.begun += 1
            if self.begun == self.transaction:
                self.sequence = next(connection.execute("SELECT sequence FROM marks"))[0]
                self.steps, self.changes = 0, connection.total_changes()
        elif sql.startswith("INSERT INTO journal") and values[2] == self.phase:
            self.entered = True

    def tread(self, connection: apsw.Connection, sql: str) -> None:
        """A step comes next: die, if `connection` is in the fatal transaction and has come far enough."""
        if self.steps < 0 or connection.txn_state("main") != apsw.SQLITE_TXN_WRITE:
            return
        if sql == "COMMIT" or self.steps == self.step:
            self.note.write_text(json.dumps(self._where(connection, sql)))
            os.kill(os.getpid(), signal.SIGKILL)
        self.steps += 1

    def _where(self, connection: apsw.Connection, sql: str) -> dict[str, object]:
        return {
            "writing": connection.txn_state("main") == apsw.SQLITE_TXN_WRITE,
            "sequence": self.sequence,
            "steps": self.steps,
            "changes": connection.total_changes() - self.changes,
            "next": sql,
        }


class DoomedSession(database.Session):
    """A session that tells the trap what it does."""

    __slots__ = ("_trap",)

    def __init__(self, trap: Trap, connection: apsw.Connection, path: Path) -> None:
        super().__init__(connection, path)
        self._trap = trap

    def run(self, sql: str, values: Sequence[Value] = ()) -> list[Row]:
        """All rows of one statement."""
        self._trap.tread(self._connection, sql)
        rows = super().run(sql, values)
        self._trap.watch(self._connection, sql, values)
        return rows

    def many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """One statement for each of `rows`; all rows that these have."""
        super().many(sql, self._counted(sql, rows))

    def _counted(self, sql: str, rows: Iterable[Sequence[Value]]) -> Iterator[Sequence[Value]]:
        for row in rows:
            self._trap.tread(self._connection, sql)
            yield row


def doomed(arguments: list[str]) -> int:
    """Run the command and return its exit code, if it lives to have one."""
    note, phase, transaction, step = arguments[: arguments.index("--")]
    trap = Trap(Path(note), phase, int(transaction), int(step))
    with patch.object(database, "Session", partial(DoomedSession, trap)):
        return main(arguments[arguments.index("--") + 1 :])


if __name__ == "__main__":
    sys.exit(doomed(sys.argv[1:]))
