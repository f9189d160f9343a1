"""Downloads beside each other: together they take the room of one, and none of them stands still for it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.engine.errors import Failure
from phasegate.engine.limits import MIB
from phasegate.engine.pipeline import in_order
from phasegate.engine.requests import Ledger
from tests.scripted_downloads import HOLD, Download, FakeLedger, FakePeer, after, at_once, never, shuffled

SIZES = (1, 5, 10, 16)
"""MiB that a result takes; of none is more expected before the first one."""


@attrs.define
class Meter:
    """What the downloads really take, whole results or not; `most` is the most that it ever was."""

    downloads: list[Download] = attrs.field(factory=list)
    most: int = 0

    def read(self) -> None:
        now = sum(d.size * (len(d.brought) + sum(len(p.under_way) for p in d.peers)) for d in self.downloads if d.size)
        self.most = max(self.most, now)


def beside(ledger: Ledger, meter: Meter, size: int, jobs: int, seed: int, apply_time: float = 0.0) -> Download:
    """A download from two peers of its own, which is one of several."""

    def peer(name: str) -> FakePeer:
        serve = shuffled(seed + len(name))

        async def metered(job: int) -> None:
            meter.read()
            await serve(job)

        return FakePeer(name, metered)

    made = Download([peer("a"), peer("bb")], range(jobs), apply_time=apply_time, size=size * MIB, ledger=ledger)
    meter.downloads.append(made)
    return made


def run_all(downloads: Sequence[Download]) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for download in downloads:
                nursery.start_soon(download.run)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@given(
    st.lists(
        st.tuples(st.sampled_from(SIZES), st.integers(0, 12), st.integers(0, 999), st.sampled_from([0.0, 3.0])),
        min_size=1,
        max_size=4,
    )
)
@settings(deadline=None)
def test_together_they_take_what_one_alone_may(drawn: list[tuple[int, int, int, float]]) -> None:
    """The limit and one result, whatever their sizes are and in whichever order things come; and all is done."""
    ledger, meter = FakeLedger(), Meter()
    downloads = [beside(ledger, meter, *one) for one in drawn]
    run_all(downloads)
    assert all(download.applied == list(download.jobs) for download in downloads)
    assert meter.most <= HOLD + MIB * max(size for size, *_ in drawn)
    assert ledger.room.taken == 0


@pytest.mark.trio
async def test_one_that_fills_the_room_holds_up_no_other(autojump_clock: trio.testing.MockClock) -> None:
    """The others' jobs come one by one, as their turn comes, though the first one never gives anything back."""
    ledger, meter = FakeLedger(), Meter()
    full = Download([FakePeer("slow", never), FakePeer("fast", at_once)], range(9), 1, size=10 * MIB, ledger=ledger)
    others = [beside(ledger, meter, 16, 6, seed) for seed in (1, 2)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(full.run)
        await trio.sleep(1)
        assert ledger.room.taken == 30 * MIB
        async with trio.open_nursery() as done:
            for other in others:
                done.start_soon(other.run)
        assert [other.applied for other in others] == [list(range(6))] * 2
        assert meter.most <= 16 * MIB
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_who_fails_or_is_cancelled_leaves_its_turn_to_the_next(autojump_clock: trio.testing.MockClock) -> None:
    """A download that is over takes no room, and nobody waits for it."""
    ledger, meter = FakeLedger(), Meter()
    full = Download([FakePeer("slow", never), FakePeer("fast", at_once)], range(9), 1, size=10 * MIB, ledger=ledger)
    lost = FakePeer("lost", after(5))
    failing = Download([lost], range(3), size=10 * MIB, ledger=ledger)
    cancelled, last = Download([FakePeer("n", never)], range(3), ledger=ledger, size=1), beside(ledger, meter, 10, 3, 1)

    async def fail() -> None:
        with pytest.raises(Failure):
            await failing.run()

    async def cancel() -> None:
        with trio.move_on_after(20):
            await cancelled.run()

    async def lose(job: int) -> None:
        await trio.sleep(5)
        raise lost.lost()

    lost.serve = lose
    async with trio.open_nursery() as nursery:
        nursery.start_soon(full.run)
        for begin in (fail, cancel, last.run):
            await trio.sleep(1)
            nursery.start_soon(begin)
        await trio.sleep(10)
        assert last.applied == []
        await trio.sleep(90)
        assert last.applied == [0, 1, 2]
        nursery.cancel_scope.cancel()
    assert ledger.room.taken == 0


@pytest.mark.trio
async def test_what_is_begun_inside_another_one_needs_no_turn(autojump_clock: trio.testing.MockClock) -> None:
    """A job may need a further download to be applied, though the room is full of what waits behind that job."""
    ledger = FakeLedger()
    outer = Download([FakePeer("a", at_once)], range(6), 6, size=10 * MIB, ledger=ledger)
    beside_it = Download([FakePeer("b", never)], range(3), size=10 * MIB, ledger=ledger)
    inner: list[Download] = []

    async def apply(job: int, result: str) -> None:
        inner.append(Download([FakePeer("c", after(1))], range(3), size=16 * MIB, ledger=ledger))
        await inner[-1].run()
        await outer.apply(job, result)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(beside_it.run)
        await trio.sleep(1)
        await in_order(outer.work(), outer.peers, outer.jobs, outer.fetch, apply, per_peer=6, size=lambda _: 10 * MIB)
        nursery.cancel_scope.cancel()
    assert outer.applied == list(range(6))
    assert [download.applied for download in inner] == [[0, 1, 2]] * 6
