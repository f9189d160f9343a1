"""What it costs to record a block, and to read what it brought: no more when much was found before, and is watched."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import apsw
import pytest

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import OutPoint
from phasegate.store import AddWatch, RecordBlock, SearchBlocks, Store
from phasegate.store.database import Session, Value

OURS = b"\x51"
LARGE = ("coins", "transactions", "transaction_inputs", "watch")


def found(tag: int, spent: OutPoint | None = None) -> BlockFindings:
    """A transaction that pays us, and spends a coin of ours if one is given."""
    txid = bytes((tag,)) * 32
    coin = Coin(OutPoint(txid, 0), 7, OURS, 0)
    points = () if spent is None else (spent,)
    tx = FoundTransaction(txid, tag, (OURS,), 7, 7 * len(points), points)
    return BlockFindings(0, (tx,), (coin,), tuple([(point, txid) for point in points]))


@pytest.mark.parametrize("again", [False, True])
def test_no_statement_reads_a_whole_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    """Each finds its rows by an index, for a block that is new and for one that is searched again."""
    store = Store.open(tmp_path, SIMNET)
    store.commit([AddWatch(((OURS, ""),)), SearchBlocks((0,))])
    store.commit([RecordBlock(0, found(1))] if again else [])
    said = list[str]()

    def noted(run: Callable[..., list[tuple[object, ...]]]) -> Callable[..., object]:
        def noting(session: Session, sql: str, values: Sequence[Value] | Iterable[Sequence[Value]] = ()) -> object:
            said.append(sql)
            return run(session, sql, values)

        return noting

    with monkeypatch.context() as patch:
        for name in ("run", "many"):
            patch.setattr(Session, name, noted(getattr(Session, name)))
        store.commit([RecordBlock(0, found(2, OutPoint(b"\1" * 32, 0)))])
        committed = len(said)
        assert [tx.txid for tx in store.transactions(after=int(again))] == [b"\2" * 32]
    store.close()
    recording = said[said.index("BEGIN IMMEDIATE") : next(i for i, sql in enumerate(said) if "SET recorded" in sql)]
    assert len(recording) > 8
    reading = [sql for sql in said[committed:] if "t.row_id > ?1" in sql]
    assert len(reading) == 6
    with apsw.Connection(str(tmp_path / f"{SIMNET.file_name}.sqlite")) as file:
        file.execute("CREATE TEMP TABLE by_hand(now)")  # which the writing connection has
        plans = [(sql, plan) for sql in (*recording[1:], *reading) for plan in explained(file, sql)]
    assert [
        (sql, plan) for sql, plan in plans if plan.startswith("SCAN") and plan.split()[1] in (*LARGE, "t", "c")
    ] == []


def explained(file: apsw.Connection, sql: str) -> list[str]:
    values = (0,) * max([int(number) for number in re.findall(r"\?(\d+)", sql)], default=sql.count("?"))
    return [str(row[3]) for row in file.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
