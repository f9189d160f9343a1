"""Matching again from a height on: how far each item is matched goes back, never forward, and nothing found is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from phasegate.consensus.params import SIMNET
from phasegate.store import AddWatch, MarkMatched, Rematch, Store
from tests.field_bugs.bulk_filters import filled


def matched(store: Store) -> list[int]:
    return [item.matched_to for item in store.watch_items()]


def test_each_item_goes_back_to_below_the_height_and_none_forward(tmp_path: Path) -> None:
    """What is matched less far than that stays where it is."""
    store = filled(tmp_path, 100)
    store.commit([AddWatch(((b"one", ""),)), MarkMatched((b"one",), 0, 99, (5, 50))])
    store.commit([AddWatch(((b"two", ""),)), MarkMatched((b"two",), 0, 9, ())])
    store.commit([Rematch(40)])
    assert matched(store) == [39, 9]
    assert store.marks.matched == 9
    assert store.matched_heights() == [5, 50]
    store.commit([Rematch(99)])
    assert matched(store) == [39, 9]
    store.commit([Rematch(0)])
    assert matched(store) == [-1, -1]
    store.close()


def test_a_height_that_is_not_stored_is_refused(tmp_path: Path) -> None:
    """And nothing of its batch is stored."""
    store = Store.open(tmp_path, SIMNET)
    store.commit([AddWatch(((b"one", ""),))])
    for wrong in (-1, 1):
        with pytest.raises(ValueError, match=f"nothing can be matched from {wrong}: the tip is 0"):
            store.commit([Rematch(wrong)])
    assert matched(store) == [-1]
    store.close()
