"""What concerns a few scripts reads nothing of the others, however many are watched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from phasegate.consensus.blocks import BlockFindings
from phasegate.store import (
    AddKeyChains,
    AddWatch,
    Change,
    LabelWatch,
    MarkMatched,
    RecordBlock,
    RecordLost,
    RemoveWatch,
    Store,
    StoredKeyChain,
    key_chains,
)
from phasegate.store.database import Session, Value
from tests.paid_key_chains import descriptor, script
from tests.store.test_key_chains import paid

if TYPE_CHECKING:
    from tests.store.conftest import FakeChain

MANY = 2000
FOREIGN = tuple([b"\x6e" + number.to_bytes(4, "big") for number in range(MANY)])
CHAIN = AddKeyChains(((str(descriptor(0, 0)), 3),))


@pytest.fixture
def crowded(store: Store, trunk: FakeChain) -> Store:
    """Many scripts and one chain of keys are watched, and matched in 50 blocks."""
    store.commit([trunk.append(1, 50), trunk.append_filter_headers(0, 51), trunk.put_filters(range(51))])
    store.commit([AddWatch(tuple([(script, "") for script in FOREIGN])), CHAIN])
    watched = tuple([item.script for item in store.watch_items()])
    store.commit([MarkMatched(watched, 0, 50, (20, 40))])
    return store


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """The rows that were read since this was asked last."""
    count, run = [0], Session.run

    def counted(session: Session, sql: str, values: Sequence[Value] = ()) -> list[Any]:
        found = run(session, sql, values)
        count[0] += len(found)
        return found

    def since() -> int:
        told, count[0] = count[0], 0
        return told

    monkeypatch.setattr(Session, "run", counted)
    return since


@pytest.mark.parametrize(
    "change",
    [
        AddWatch(((b"\x51", ""),)),
        AddWatch(((script(0, 0, 1), ""),)),
        AddKeyChains(((str(descriptor(0, 1)), 3),)),
        RemoveWatch((FOREIGN[0],)),
        LabelWatch(((FOREIGN[0], "rent"),)),
        paid(20, script(0, 0, 2)),
    ],
    ids=["another", "one of the chain", "a chain", "one less", "label", "growth"],
)
def test_a_change_of_a_few_reads_a_few(crowded: Store, read: Callable[[], int], change: Change) -> None:
    """Also when a chain of keys grows by it."""
    read()
    crowded.commit([change])
    assert 0 < read() < 200


def test_history_and_lost_transactions_read_the_scripts_that_they_concern(
    crowded: Store, trunk: FakeChain, read: Callable[[], int]
) -> None:
    crowded.commit([LabelWatch(((FOREIGN[7], "rent"),)), paid(20, FOREIGN[7]), paid(40, FOREIGN[8])])
    read()
    assert [tx.labels for tx in crowded.history()] == [("rent",), ()]
    crowded.commit([RecordLost(30, 1.0), trunk.roll_back(30)])
    crowded.commit([RemoveWatch((FOREIGN[9],))])
    assert len(crowded.lost_transactions()) == 1
    crowded.commit([RemoveWatch((FOREIGN[8],))])
    assert crowded.lost_transactions() == []
    assert 0 < read() < 200


def test_only_what_may_use_a_script_has_chains_looked_at(crowded: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A block in which nothing is paid to us is none, and most are such."""
    looked = list[str]()

    def is_used(_: Session, stored: StoredKeyChain) -> bool:
        looked.append(stored.descriptor)
        return False

    monkeypatch.setattr(key_chains, "_is_used", is_used)
    crowded.commit([RecordBlock(height, BlockFindings(height)) for height in (20, 40)])
    crowded.commit([AddWatch(((b"\x51", ""),)), RemoveWatch((b"\x51",))])
    assert looked == []
    crowded.commit([RecordBlock(21, BlockFindings(21)), paid(22, FOREIGN[0])])
    crowded.commit([CHAIN])
    assert looked == 2 * [str(descriptor(0, 0))]
