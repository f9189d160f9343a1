"""One sum over all rows of a table, for the tables that nothing else could tell to be wrong.

What can be downloaded again carries a checksum for each row. The identity of a file, its marks and all that was found
for the watched scripts are many small rows that change and go; here a changed, a lost and an invented row have to be
noticed alike, for each would be a wrong balance. So each of these tables has a seal: the number of its rows and the sum
of their CRC-32. A sum is kept by adding and taking away, whatever statement does it: triggers of the writing connection
see to that, which are no part of the file, so what changes it behind the store's back breaks the seal. A call from SQL
for each row is what they cost; who writes thousands of rows and knows each of them adds them up himself (`by_hand`).
Seals are held against the tables at every opening, in a store of any size, and by `check`.

What was watched is sealed apart from how far it was matched. The latter, like matches and coins, is found again by
searching what is stored; a script can only be given again by its owner, and the marks and the identity by nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager

import attrs

from phasegate.store import wallet
from phasegate.store.checksum import checksum
from phasegate.store.damage import Damage
from phasegate.store.database import Session, Value
from phasegate.store.errors import StoreCorrupt
from phasegate.store.marks import ChainMarks


@attrs.frozen
class _Seal:
    """What one seal covers: `columns` of the rows of `table`; `what` names it for the user."""

    name: str
    what: str
    table: str
    columns: tuple[str, ...]

    def sum_of(self, row: str) -> str:
        """The SQL that adds up one row, NEW or OLD."""
        return f"row_checksum({', '.join(f'{row}.{column}' for column in self.columns)})"


_IDENTITY = (
    _Seal("meta", "identity", "meta", ("key", "value")),
    _Seal(
        "marks",
        "marks",
        "marks",
        (
            *("base", "previous_filter_header", "sequence", "tip", "tip_hash", "work", "filter_headers"),
            *("filter_header", "filters", "filters_base", "corroborated"),
        ),
    ),
)
_WATCHED = _Seal("watch", "watched scripts", "watch", ("script", "label"))
_CHAINS = _Seal("key_chains", "watched key chains", "key_chains", ("descriptor", "gap", "derived"))
_ASKED = (_WATCHED, _CHAINS)
_FOUND = (
    _Seal("matched", "heights of matching", "watch", ("script", "matched_to")),
    _Seal("matches", "matched blocks", "matches", ("height", "recorded")),
    _Seal("coins", "coins", "coins", ("txid", "position", "value", "script", "height", "spent_by", "spent_height")),
    _Seal("transactions", "found transactions", "transactions", ("row_id", "txid", "height", "position")),
    _Seal("inputs", "inputs of found transactions", "transaction_inputs", ("spender", "txid", "position")),
    _Seal("mentions", "mentions in found transactions", "mentions", ("txid", "script")),
)
_ALL = (*_IDENTITY, *_ASKED, *_FOUND)
TABLES = tuple(sorted({seal.table for seal in (*_ASKED, *_FOUND)}))
"""The tables whose damage costs no height of the chain."""


def keep(rows: Session) -> None:
    """Have every change of this connection kept in the seals, from the caller's transaction on."""
    rows.define("row_checksum", checksum)
    rows.run("CREATE TEMP TABLE by_hand(now INTEGER NOT NULL)")
    rows.run("INSERT INTO by_hand VALUES(0)")
    for seal in _ALL:
        added, taken = seal.sum_of("NEW"), seal.sum_of("OLD")
        _trigger(rows, seal, "INSERT", f"rows = rows + 1, sum = sum + {added}")
        _trigger(rows, seal, "DELETE", f"rows = rows - 1, sum = sum - {taken}")
        _trigger(rows, seal, f"UPDATE OF {', '.join(seal.columns)}", f"sum = sum + {added} - {taken}")


def _trigger(rows: Session, seal: _Seal, event: str, change: str) -> None:
    name = f"seal_{seal.name}_{event.split()[0].lower()}"
    keeping = f"UPDATE seals SET {change} WHERE name = '{seal.name}'"  # noqa: S608 - names of ours
    rows.run(f"CREATE TEMP TRIGGER {name} AFTER {event} ON main.{seal.table} {_UNLESS_BY_HAND} BEGIN {keeping}; END")


_UNLESS_BY_HAND = "WHEN (SELECT NOT now FROM temp.by_hand)"


@attrs.define
class Sums:
    """What changes in the seals, added up by whoever knows every row that it writes."""

    _changes: Counter[str] = attrs.field(factory=Counter)
    _rows: Counter[str] = attrs.field(factory=Counter)

    def added(self, name: str, added: Collection[Sequence[Value]]) -> None:
        """Under the seal of that name are further rows, with its columns in its order."""
        self._rows[name] += len(added)
        self._changes[name] += sum([checksum(*row) for row in added])

    def changed(self, name: str, before: Iterable[Sequence[Value]], after: Iterable[Sequence[Value]]) -> None:
        """Rows are others now."""
        self._changes[name] += sum([checksum(*row) for row in after]) - sum([checksum(*row) for row in before])

    def write(self, rows: Session) -> None:
        """Into the seals."""
        rows.many(
            "UPDATE seals SET rows = rows + ?, sum = sum + ? WHERE name = ?",
            ((self._rows[name], change, name) for name, change in self._changes.items()),
        )


@contextmanager
def by_hand(rows: Session) -> Iterator[Sums]:
    """No change is kept in the seals by itself; what the block has added up is, at its end."""
    sums = Sums()
    rows.run("UPDATE by_hand SET now = 1")
    yield sums
    rows.run("UPDATE by_hand SET now = 0")  # an error undoes the transaction, and this with it
    sums.write(rows)


def renew(rows: Session) -> None:
    """Seal what the tables hold now."""
    for seal in _ALL:
        rows.run("INSERT OR REPLACE INTO seals VALUES(?, ?, ?)", (seal.name, *_counted(rows, seal)))


def complete(rows: Session) -> None:
    """Seal what has no seal yet, in a new file or one of an earlier schema."""
    for seal in _ALL:
        if not rows.run("SELECT 1 FROM seals WHERE name = ?", (seal.name,)):
            rows.run("INSERT INTO seals VALUES(?, ?, ?)", (seal.name, *_counted(rows, seal)))


def _counted(rows: Session, seal: _Seal) -> tuple[int, int]:
    found = rows.run(f"SELECT {', '.join(map(_plain, seal.columns))} FROM {seal.table}")  # noqa: S608 - names of ours
    return len(found), sum(checksum(*row) for row in found)


def _plain(column: str) -> str:
    """A column; texts as bytes, which have the same checksum, whatever is in them."""
    return f"CAST({column} AS BLOB)" if column in ("key", "label", "descriptor") else column


def _broken(rows: Session, seals: Sequence[_Seal]) -> Iterator[_Seal]:
    sealed = {name: (count, total) for name, count, total in rows.run("SELECT name, rows, sum FROM seals")}
    return (seal for seal in seals if sealed.get(seal.name) != _counted(rows, seal))


def refuse_broken_identity(rows: Session) -> None:
    """Whether the file says about itself what was written.

    Raises:
        StoreCorrupt: it does not, and nothing in it can be believed.
    """
    for seal in _broken(rows, _IDENTITY):
        raise StoreCorrupt(f"the store's {seal.what} cannot be believed (table {seal.table})", seal.table)


def refuse_broken(rows: Session) -> None:
    """Whether everything that is sealed is as it was written.

    Raises:
        StoreCorrupt: it is not.
    """
    for seal in _broken(rows, _ALL):
        raise StoreCorrupt(f"the {seal.what} are damaged (table {seal.table})", seal.table)


def damages(rows: Session, chain: ChainMarks) -> Iterator[Damage]:
    """What is sealed and not as it was written, named by all the heights that are searched."""
    for seal in _broken(rows, (*_ASKED, *_FOUND)):
        yield Damage(seal.what, seal.table, chain.filters_base, max(chain.tip, chain.filters_base))


def mend(rows: Session, chain: ChainMarks) -> None:
    """Forget what was found, if any of it is damaged: the stored filters are matched again, and all seals made anew.

    Raises:
        StoreCorrupt: it is not known any more what was watched.
    """
    for seal in _broken(rows, _ASKED):
        only = "which only their owner knows"
        raise StoreCorrupt(f"the {seal.what} are damaged, {only} (table {seal.table})", seal.table)
    if any(_broken(rows, _FOUND)):
        wallet.start_again(rows, chain)
    renew(rows)
