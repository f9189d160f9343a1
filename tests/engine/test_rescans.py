"""Stored filters matched again: how they are cut into windows, and what is kept of a rescan that is ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from phasegate.engine.phases import filter_rescan
from phasegate.engine.phases.filter_rescan import MOST, PIECE, PROCESSORS, match_stored, windows
from phasegate.engine.phases.filter_spans import Span
from phasegate.engine.seams import Writer, compute_inline
from phasegate.engine.work import Work
from phasegate.store import AddWatch, MarkMatched, Store
from tests.field_bugs.bulk_filters import filled

FILTERS = 260
SCRIPTS = tuple(bytes((i,)) * 25 for i in range(3))


@given(start=st.integers(0, 30_000), count=st.integers(1, 300_000), scripts=st.integers(1, 50_000))
def test_windows_are_all_heights_once_in_their_order(start: int, count: int, scripts: int) -> None:
    """Cut where the store cuts, none larger than may be, and the last ones leave no processor idle for long."""
    whole = Span(start, start + count - 1)
    cut = list(windows(whole, scripts))
    assert [height for span in cut for height in (span.start, span.end + 1)][1:-1] == [
        height for span in cut[1:] for height in (span.start, span.start)
    ]
    assert (cut[0].start, cut[-1].end) == (whole.start, whole.end)
    assert all(span.start % PIECE == 0 for span in cut[1:])
    assert all(span.count <= max(PIECE, min(MOST, filter_rescan.EFFORT // scripts)) for span in cut)
    assert all(span.count <= max(PIECE, (whole.end + 1 - span.start) / PROCESSORS) for span in cut)


def workbench(store: Store, matched: Callable[[], None]) -> tuple[Work, list[MarkMatched]]:
    """What a rescan works with, and what it has written; `matched` is called after each window."""
    written = list[MarkMatched]()

    async def compute(fn: Callable[..., Any], *args: Any) -> Any:
        found = await compute_inline(fn, *args)
        matched()
        return found

    async def write(fn: Callable[..., Any], *args: Any) -> Any:
        written.extend([change for changes in args for change in changes if isinstance(change, MarkMatched)])
        return await compute_inline(fn, *args)

    writer = Writer(store, write)  # type: ignore[arg-type]
    return SimpleNamespace(store=store, writer=writer, seams=SimpleNamespace(compute=compute)), written  # type: ignore[return-value]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Many windows, one transaction."""
    monkeypatch.setattr(filter_rescan, "PIECE", 20)
    monkeypatch.setattr(filter_rescan, "MOST", 20)
    store = filled(tmp_path, FILTERS)
    store.commit([AddWatch(tuple([(script, "") for script in SCRIPTS]))])
    return store


@pytest.mark.trio
async def test_a_transaction_has_many_windows(store: Store) -> None:
    work, written = workbench(store, lambda: None)
    await match_stored(work)
    assert [(change.start, change.end) for change in written] == [(0, FILTERS - 1)]
    assert store.marks.matched == FILTERS - 1
    store.close()


@pytest.mark.trio
async def test_what_was_matched_before_a_rescan_is_ended_is_kept(store: Store) -> None:
    """The next one goes on from there."""
    with trio.CancelScope() as ending:
        count = iter(range(1, FILTERS))
        work, written = workbench(store, lambda: ending.cancel() if next(count) == 7 else None)
        await match_stored(work)
    kept = store.marks.matched
    assert ending.cancelled_caught
    assert 20 < kept + 1 < FILTERS
    assert [(change.start, change.end) for change in written] == [(0, kept)]
    work, written = workbench(store, lambda: None)
    await match_stored(work)
    assert [(change.start, change.end) for change in written] == [(kept + 1, FILTERS - 1)]
    store.close()


@pytest.mark.trio
async def test_what_is_watched_while_a_rescan_is_ended_is_matched_by_itself(store: Store) -> None:
    with trio.CancelScope() as ending:
        count = iter(range(1, FILTERS))

        def matched() -> None:
            if next(count) == 7:
                store.commit([AddWatch(((b"late" * 6, ""),))])
                ending.cancel()

        work, _ = workbench(store, matched)
        await match_stored(work)
    reached = {item.script: item.matched_to for item in store.watch_items()}
    assert reached.pop(b"late" * 6) == -1 < min(reached.values()) == max(reached.values())
    store.close()
