"""What an open page is sent: everything in order, what it missed after it was away, and never at the sync's expense."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest
import trio
import trio.testing

from phasegate.engine.events import Rewound, Warned
from phasegate.store import AppendJournal
from phasegate.web import feed
from phasegate.web.board import KEPT, LONGEST, Board
from phasegate.web.feed import Feeds
from tests.simulated_world import World, small_chain
from tests.web.visits import Frame, Viewed, following, parsed

pytestmark = pytest.mark.trio

WALK = ["headers", "mnlist", "cfheaders", "filters", "blocks", "synced"]


def _steps(frames: list[Frame]) -> list[str]:
    return [content["to"] for name, _, content in frames if name == "step"]


def _synced(frame: Frame) -> bool:
    return frame[0] == "now" and frame[2]["state"] == "synced"


async def test_a_page_follows_a_whole_sync(world: World, viewing: Any, autojump_clock: Any) -> None:
    """From before it began to its end: each step in order, progress between, transactions, and the end."""
    world.add(small_chain(), 1)
    async with viewing() as viewed, following(viewed.feeds) as page:
        heard = await page.until(_synced)
        await viewed.client.stop()
        heard += await page.until("bye")
    assert heard[0][0] == "hello"
    entered = [step["to"] for step in heard[0][2]["steps"]] + _steps(heard)
    assert entered == [*WALK, "stopped"]
    found = [content for name, _, content in heard if name == "found"]
    assert [one["txid"] for one in found[-1]] == list(small_chain().expected["transactions"])[-len(found[-1]) :]
    assert len(found[-1]) == KEPT
    assert heard[-1][2]["state"] == "stopped"
    rows = [content["row_id"] for name, _, content in heard if name == "step"]
    assert rows == sorted(set(rows))


async def test_a_page_that_comes_late_has_everything(synced: Viewed) -> None:
    """The journal, how things stand, and what was found, at once."""
    async with following(synced.feeds) as page:
        first = await page.until("warnings")
    assert [frame[0] for frame in first] == ["hello", "now", "found", "warnings"]
    assert [step["to"] for step in first[0][2]["steps"]] == WALK
    assert first[1][2]["state"] == "synced"
    assert len(first[2][2]) == KEPT < len(synced.client.transactions())


async def test_a_page_that_was_away_goes_on_from_its_row(synced: Viewed) -> None:
    """It says the last id that it had, and is sent the steps since, not the whole journal."""
    async with following(synced.feeds) as page:
        (hello,) = await page.until("hello")
    steps, tag = hello[2]["steps"], hello[1].partition("-")[0]
    async with following(synced.feeds, f"{tag}-{steps[2]['row_id']}") as page:
        heard = await page.until("now")
    assert [frame[0] for frame in heard] == ["step", "step", "step", "now"]
    assert [frame[2] for frame in heard[:3]] == steps[3:]
    assert [frame[1] for frame in heard[:3]] == [f"{tag}-{step['row_id']}" for step in steps[3:]]


@pytest.mark.parametrize("last", ["", "nonsense", "00000000-3", "-3", "{tag}-999999", "{tag}--1", "{tag}-" + "9" * 30])
async def test_an_id_that_says_nothing_begins_anew(synced: Viewed, last: str) -> None:
    """One of another store, of a row that is not there, or of nobody."""
    async with following(synced.feeds, last.replace("{tag}", synced.feeds.tag)) as page:
        heard = await page.until("now")
    assert heard[0][0] == "hello"


async def test_a_page_that_was_away_for_too_long_begins_anew(synced: Viewed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would be sent is bounded."""
    monkeypatch.setattr(feed, "ROWS", 3)
    first = synced.client.history()[0].row_id
    async with following(synced.feeds, f"{synced.feeds.tag}-{first}") as page:
        heard = await page.until("now")
    assert [step["to"] for step in heard[0][2]["steps"]] == WALK[-3:]


async def test_a_page_that_does_not_read_holds_up_nobody(
    world: World, viewing: Any, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its buffer is bounded; what was dropped is counted, and the steps among it are read again, in order."""
    monkeypatch.setattr(feed, "BUFFER", 2)
    world.add(small_chain(), 1)
    async with viewing() as viewed, following(viewed.feeds) as page:
        heard = await page.until("now")
        await viewed.until("synced")  # nothing is read meanwhile
        heard += await page.until(_synced)
        heard += await page.until(lambda frame: frame[0] == "now" and frame[2]["events_dropped"] > 0)
        assert viewed.board.dropped > 0
        assert [step["to"] for step in heard[0][2]["steps"]] + _steps(heard) == WALK


async def test_things_that_stand_still_are_told_at_the_beat(synced: Viewed) -> None:
    """A page that hears nothing for a while is told how things stand, so that peers and rates are never old."""
    async with following(synced.feeds) as page:
        await page.until("warnings")
        before = trio.current_time()
        heard = await page.until("now")
    assert len(heard) == 1
    assert trio.current_time() - before == pytest.approx(feed.BEAT, abs=0.1)


async def test_warnings_are_told_counted_and_bounded(synced: Viewed) -> None:
    """The newest are kept; the same one in a row is one line; its text is bounded and has no control characters."""
    for number in range(KEPT + 5):
        synced.client._events.publish(Warned(1.0, "code", f"number {number}"))
    for _ in range(3):
        synced.client._events.publish(Warned(2.0, "peer-lost", "\x1b[31m<b>" + "x" * 1000))
    await trio.testing.wait_all_tasks_blocked()
    async with following(synced.feeds) as page:
        told = (await page.until("warnings"))[-1][2]
    assert len(told) == KEPT
    assert (told[-1]["count"], told[-1]["code"]) == (3, "peer-lost")
    assert told[-1]["message"].startswith(" [31m<b>x")
    assert len(told[-1]["message"]) == LONGEST + 1
    assert synced.board.warned["code"] == KEPT + 5


async def test_found_transactions_are_told_again_when_they_may_have_changed(synced: Viewed) -> None:
    """After a roll-back of the chain, at the next beat."""
    async with following(synced.feeds) as page:
        await page.until("warnings")
        synced.client._events.publish(Rewound(1.0, 300, 299))
        heard = await page.until("found")
    assert len(heard[-1][2]) == KEPT


async def test_a_damaged_row_is_told_as_far_as_it_can_be_read(synced: Viewed) -> None:
    """Facts that are no JSON light no line, and cost nobody the page."""
    await synced.client._writer.commit([AppendJournal(1.0, "synced", "headers", "advance", "bent", "{no json")])
    async with following(synced.feeds) as page:
        (hello,) = await page.until("hello")
    assert hello[2]["steps"][-1]["to"] == "synced"  # no page is told of a step before its time
    late = Feeds(Board(synced.client), lambda: 1.0)
    async with following(late) as page:
        (hello,) = await page.until("hello")
    last = hello[2]["steps"][-1]
    assert (last["to"], last["lines"], last["active"]) == ("headers", [], ["online", "syncing", "headers"])


async def test_a_frame_is_one_event(synced: Viewed) -> None:
    """One line of data whatever is in it, ended by an empty one."""
    synced.client._events.publish(Warned(1.0, "code", "two\nlines\r\n\nevent: forged"))
    await trio.testing.wait_all_tasks_blocked()
    async with aclosing(synced.feeds.frames()) as frames:
        async for frame in frames:
            if frame.startswith(b"retry"):
                continue
            assert frame.endswith(b"\n\n")
            assert b"\n\n" not in frame[:-2]
            assert [line.split(b":")[0] for line in frame.splitlines()[:-1]] == [b"id", b"event", b"data"]
            if parsed(frame)[0] == "warnings":
                break
