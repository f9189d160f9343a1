"""Blocks that are recorded together, against the same ones recorded one by one: every row of each table is the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import apsw
import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from phasegate.consensus.blocks import BlockFindings, Coin, FoundTransaction
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import OutPoint
from phasegate.store import AddWatch, RecordBlock, SearchBlocks, Store, recording
from phasegate.store.database import Row, Session
from phasegate.store.marks import ChainMarks
from tests.store.store_model import Model

HEIGHTS = 8
SCRIPTS = (b"\x51", b"\x52", b"\x53")
WATCHED = SCRIPTS[:2]
TXIDS = tuple([bytes((n,)) * 32 for n in range(1, 7)])
TABLES = ("coins", "transactions", "transaction_inputs", "mentions", "matches", "seals", "sqlite_sequence")

SPENT = OutPoint(b"\x21" * 32, 0)
"""A coin of before."""

Points = st.builds(OutPoint, st.sampled_from(TXIDS), st.integers(0, 1))
Mentions = st.lists(st.sampled_from(SCRIPTS), max_size=2, unique=True).map(tuple)
Few = st.lists(st.integers(0, 5), max_size=2)


@st.composite
def _findings(draw: st.DrawFn, heights: st.SearchStrategy[int]) -> RecordBlock:
    """Anything, however odd: coins of transactions that are not told, spends by others, the same thing twice."""
    height, txids = draw(heights), draw(st.lists(st.sampled_from(TXIDS), max_size=3))
    inputs = [tuple(draw(st.lists(Points, max_size=2))) for _ in txids]
    txs = [FoundTransaction(txid, at, (), 0, 0, inputs[at], draw(Mentions)) for at, txid in enumerate(txids)]
    makers = st.sampled_from(txids or TXIDS) if draw(st.integers(0, 9)) else st.sampled_from(TXIDS)
    points = draw(st.lists(st.builds(OutPoint, makers, st.integers(0, 1)), max_size=3))
    created = [Coin(point, draw(st.integers(1, 9)), draw(st.sampled_from(SCRIPTS)), height) for point in points]
    spenders = st.sampled_from(txids or TXIDS) if draw(st.integers(0, 9)) else st.sampled_from(TXIDS)
    spent = draw(st.lists(st.tuples(Points, spenders), max_size=3))
    return RecordBlock(height, BlockFindings(height, tuple(txs), tuple(created), tuple(spent)))


@st.composite
def _usual(draw: st.DrawFn) -> list[RecordBlock]:
    """As a chain tells it: each transaction once, coins before their spends."""
    blocks, unspent = list[RecordBlock](), list[OutPoint]()
    for height, txid in enumerate(draw(st.permutations(TXIDS)), 1):
        spent = [unspent.pop(at % len(unspent)) for at in draw(Few) if unspent]
        coins = [Coin(OutPoint(txid, i), i + 1, draw(st.sampled_from(SCRIPTS)), height) for i in range(len(draw(Few)))]
        tx = FoundTransaction(txid, 1, (), 0, 0, tuple(spent), draw(Mentions))
        blocks.append(
            RecordBlock(height, BlockFindings(height, (tx,), tuple(coins), tuple([(point, txid) for point in spent])))
        )
        unspent += [coin.outpoint for coin in coins]
    return blocks


Heights = st.integers(1, HEIGHTS)
Batches = st.one_of(
    st.lists(st.lists(_findings(Heights), max_size=6), min_size=1, max_size=3),
    st.lists(_usual(), min_size=1, max_size=2),
    st.tuples(_usual(), st.lists(_findings(Heights), max_size=3)).map(list),
)


def _one_by_one(rows: Session, chain: ChainMarks, changes: Sequence[RecordBlock]) -> None:
    for change in changes:
        recording.record_block(rows, change)


def _tables(directory: Path, batches: Sequence[Sequence[RecordBlock]]) -> dict[str, list[Row]]:
    """All that is stored after `batches`."""
    store, model = Store.open(directory, SIMNET), Model(0)
    store.commit([model.grow(HEIGHTS + 1, 0)])
    store.commit([AddWatch(tuple([(script, "") for script in WATCHED])), SearchBlocks(tuple(range(1, HEIGHTS)))])
    for batch in batches:
        store.commit(batch)
    assert store.check() == ()
    store.close()
    with apsw.Connection(str(directory / f"{SIMNET.file_name}.sqlite")) as file:
        found = {name: file.execute(f"SELECT * FROM {name}").fetchall() for name in TABLES}  # noqa: S608 - names of ours
    file.close()
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(Batches)
def test_together_is_as_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, batches: Sequence[Sequence[RecordBlock]]
) -> None:
    at = tmp_path_factory.mktemp("together")
    together = _tables(at, batches)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "record_blocks", _one_by_one)
        at = tmp_path_factory.mktemp("apart")
        assert _tables(at, batches) == together


def _block(height: int, tag: int, *spent: OutPoint) -> RecordBlock:
    txid = bytes((tag,)) * 32
    tx = FoundTransaction(txid, 1, (), 0, 0, spent)
    coin = Coin(OutPoint(txid, 0), 5, WATCHED[0], height)
    return RecordBlock(height, BlockFindings(height, (tx,), (coin,), tuple([(point, txid) for point in spent])))


def test_only_what_is_involved_is_recorded_by_itself() -> None:
    """New blocks go together, also when they spend each other's coins; one that was searched before goes alone.

    So does one that spends the same coin twice, or spends what another one of the batch spends.
    """
    first, second, third = _block(1, 1), _block(2, 2, OutPoint(b"\1" * 32, 0)), _block(3, 3)

    def apart(*changes: RecordBlock, heights: Iterable[int] = (), txids: Iterable[bytes] = ()) -> list[object]:
        return list(recording._apart(changes, recording._Told(set(heights), set(txids))))

    assert apart(first, second, third) == [[first, second, third]]
    assert apart(first, second, third, heights=[2]) == [[first], second, [third]]
    assert apart(first, second, third, txids=[b"\2" * 32]) == [[first], second, [third]]
    assert apart(second, first) == [[second], first]
    assert apart(first, first, second) == [[first], first, [second]]
    odd = RecordBlock(4, BlockFindings(4, (), (), ((OutPoint(b"\1" * 32, 0), b"\7" * 32),)))
    assert apart(third, odd) == [[third], odd]
    twice = RecordBlock(4, attrs.evolve(_block(4, 4).findings, spent=((SPENT, b"\4" * 32), (SPENT, b"\4" * 32))))
    assert apart(third, twice) == [[third], twice]
    assert apart(_block(4, 4, SPENT), _block(5, 5, SPENT)) == [[_block(4, 4, SPENT)], _block(5, 5, SPENT)]
