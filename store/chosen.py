"""The statements that read found transactions of one kind, with all that belongs to them."""

from __future__ import annotations

import attrs

_MENTIONS_OF = "FROM transactions AS t CROSS JOIN mentions AS m ON m.txid = t.txid"
_COINS_OF = "FROM transactions AS t CROSS JOIN coins AS c ON"


@attrs.frozen
class Chosen:
    """The statements that read the transactions `t` for which a condition holds, each by an index.

    These are found first, then what belongs to them (CROSS JOIN), and sorted at last (+): SQLite, which has no
    statistics, would else read whole tables for a few rows.
    """

    condition: str

    @property
    def transactions(self) -> str:
        return self._where(
            "SELECT row_id, txid, height, position FROM transactions AS t", " ORDER BY +height, +position"
        )

    @property
    def scripts(self) -> str:
        made = self._where(f"SELECT t.row_id, c.script {_COINS_OF} c.txid = t.txid")
        spent = self._where(f"SELECT t.row_id, c.script {_COINS_OF} c.spent_by = t.txid")
        named = self._where(f"SELECT t.row_id, m.script {_MENTIONS_OF}")
        return f"{made} UNION {spent} UNION {named}"

    @property
    def received(self) -> str:
        return self._where(f"SELECT c.txid, c.value {_COINS_OF} c.txid = t.txid")

    @property
    def sent(self) -> str:
        return self._where(f"SELECT c.spent_by, c.value {_COINS_OF} c.spent_by = t.txid")

    @property
    def locked(self) -> str:
        return self._where("SELECT t.txid, 1 FROM transactions AS t CROSS JOIN instantlocks AS l ON l.txid = t.txid")

    @property
    def contradicted(self) -> str:
        return self._where(
            """SELECT t.txid, 0 FROM transactions AS t CROSS JOIN transaction_inputs AS i ON i.spender = t.txid
            JOIN instantlock_inputs AS l ON l.txid = i.txid AND l.position = i.position AND l.lock <> t.txid"""
        )

    def _where(self, select: str, order: str = "") -> str:
        return f"{select} WHERE {self.condition}{order}"


AT, ABOVE = Chosen("t.height = ?1"), Chosen("t.height > ?1")
BETWEEN = Chosen("t.row_id > ?1 AND t.row_id <= ?2")
OF_SCRIPT = Chosen("""t.row_id > ?1 AND t.row_id <= ?2 AND t.txid IN (SELECT txid FROM coins WHERE script = ?3
    UNION SELECT spent_by FROM coins WHERE script = ?3 AND spent_by IS NOT NULL
    UNION SELECT txid FROM mentions WHERE script = ?3)""")
