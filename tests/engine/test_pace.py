"""How long one answer may take in all: no longer than bytes excuse while others can be asked, without end otherwise."""

from __future__ import annotations

from contextlib import AbstractContextManager

import pytest
import trio
from trio.testing import MockClock

from phasegate.engine.errors import FailureKind, PeerGone
from phasegate.engine.pace import DOUBLED_BY, ROUNDS, SWIFT
from phasegate.engine.requests import STEADY, Desk, Ledger
from phasegate.p2p.messages import CFilter
from tests.asked_peers import IDLE, FakePeer, ask, question, reply, settle

pytestmark = pytest.mark.trio

FIRST = (ROUNDS + 1) * IDLE
"""Seconds for an answer of which nothing has come, while nothing is known."""


class Slow(FakePeer):
    """Has sent `rate` bytes a second of an unfinished answer since `since`, in steps of a second."""

    def __init__(self, name: str, rate: float) -> None:
        super().__init__(name)
        self.rate = rate
        self.since = trio.current_time()

    def arriving(self, command: str) -> int:
        assert command == CFilter.command
        return int(self.rate * int(trio.current_time() - self.since))


class Others:
    """Whether another peer can be asked; `left` are those that were dropped."""

    def __init__(self, *, there: bool = True) -> None:
        self.there = there
        self.left: list[tuple[str, str, str]] = []

    def part(self, peer: object, answer: str, why: str) -> bool:
        if self.there:
            self.left.append((str(peer), answer, why))
        return self.there


def desk_with(ledger: Ledger, others: Others) -> AbstractContextManager[Desk]:
    return ledger.desk("filters", 8, IDLE, idle_cap=80.0, part=others.part)


async def time_of(desk: Desk, peer: FakePeer, number: int) -> tuple[float, PeerGone]:
    """After how long a question is given up, and why."""
    began = trio.current_time()
    with pytest.raises(PeerGone) as gone:
        await ask(desk, peer, number)
    return trio.current_time() - began, gone.value


async def test_who_drips_is_left_for_another(autojump_clock: MockClock) -> None:
    """It is on its way by the idle timeout for ever; in all it has seven of them, and it counts as silent."""
    ledger, others = Ledger(), Others()
    with desk_with(ledger, others) as desk:
        took, gone = await time_of(desk, Slow("a", STEADY / IDLE), 1)
    assert FIRST <= took < FIRST + 5
    assert (gone.kind, gone.dragged) == (FailureKind.PEER_SILENT, True)
    assert gone.detail.startswith(f"no whole answer to getcfilters within {took:.0f} s, ")
    assert others.left == [("a", "cfilter", gone.detail)]
    assert ledger.tally.silent == 1


@pytest.mark.parametrize("rate", [5000.0, SWIFT - 1000.0])
async def test_bytes_that_have_come_are_seconds_more(autojump_clock: MockClock, rate: float) -> None:
    """At 5 kB/s there is time for 500 kB; near the rate that is fast enough there is much more."""
    ledger, others = Ledger(), Others()
    with desk_with(ledger, others) as desk:
        took, _ = await time_of(desk, Slow("a", rate), 1)
    assert took == pytest.approx(FIRST / (1 - rate / SWIFT), rel=0.05)


async def test_who_is_fast_enough_has_all_the_time_that_it_takes(autojump_clock: MockClock) -> None:
    """A message of 3 MB at 16 kB/s."""
    ledger, others, peer = Ledger(), Others(), Slow("a", SWIFT + 100)
    with desk_with(ledger, others) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, desk, peer, 1)
            await trio.sleep(10 * FIRST)
            assert ledger.deliver(peer, reply(1))
    assert others.left == []


async def test_while_nobody_else_is_there_it_may_drip(autojump_clock: MockClock) -> None:
    """Slow is better than nobody; when somebody comes the time is over."""
    ledger, others, peer = Ledger(), Others(there=False), Slow("a", STEADY / IDLE)
    with desk_with(ledger, others) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(time_of, desk, peer, 1)
            await trio.sleep(3600)
            assert ledger.outstanding == 1
            others.there = True
            await trio.sleep(2 * IDLE)
            assert (ledger.outstanding, len(others.left)) == (0, 1)


async def test_an_answer_has_its_time_from_its_turn(autojump_clock: MockClock) -> None:
    """What waits behind another one to the same peer is not begun: both may take nearly all that one may."""
    ledger, others, peer = Ledger(), Others(), Slow("a", 2 * STEADY / IDLE)
    with desk_with(ledger, others) as desk:
        async with trio.open_nursery() as nursery:
            for number in (1, 2):
                nursery.start_soon(ask, desk, peer, number)
                await settle()
            for number in (1, 2):
                await trio.sleep(FIRST - 1)
                assert ledger.deliver(peer, reply(number))
                await settle()
    assert others.left == []


async def test_who_waits_behind_a_long_answer_is_not_left_for_it(autojump_clock: MockClock) -> None:
    """The first answer is twenty filters in 180 s; the second is a single filter that cannot come before."""
    ledger, others, peer = Ledger(), Others(), FakePeer("a")
    names = {reply(number).block_hash for number in range(20)}
    with desk_with(ledger, others) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.ask_many, peer, question(0), CFilter, lambda m: m.block_hash in names, 20)
            await settle()
            nursery.start_soon(ask, desk, peer, 20)
            for number in range(21):
                await trio.sleep(IDLE - 1)
                assert ledger.deliver(peer, reply(number))
    assert others.left == []


async def test_what_is_owed_is_not_the_next_ones_time(autojump_clock: MockClock) -> None:
    """An answer that nobody waits for any more comes first; the time of the next one counts from then."""
    ledger, others, peer = Ledger(), Others(), Slow("a", 2 * STEADY / IDLE)
    with desk_with(ledger, others) as desk:
        with trio.move_on_after(1):
            await ask(desk, peer, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, desk, peer, 2)
            for number in (1, 2):
                await trio.sleep(FIRST - 1)
                assert ledger.deliver(peer, reply(number))
    assert others.left == []


async def test_steady_progress_never_times_out(autojump_clock: MockClock) -> None:
    """A hundred filters one at a time, nine seconds apart: each has the time that an answer has."""
    ledger, others, peer = Ledger(), Others(), FakePeer("a")
    names = {reply(number).block_hash for number in range(100)}
    with desk_with(ledger, others) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.ask_many, peer, question(0), CFilter, lambda m: m.block_hash in names, 100)
            for number in range(100):
                await trio.sleep(IDLE - 1)
                assert ledger.deliver(peer, reply(number))
    assert (others.left, ledger.tally.silent) == ([], 0)


async def test_where_everybody_is_slow_the_time_is_doubled(autojump_clock: MockClock) -> None:
    """After two questions that nobody answered in time, for what is asked by then and later; of that kind alone."""
    ledger, others = Ledger(), Others()
    times = []
    with desk_with(ledger, others) as desk:
        for number in range(3 * DOUBLED_BY):
            took, _ = await time_of(desk, Slow(f"peer {number}", STEADY / IDLE), number)
            times.append(round(took / FIRST))
    assert times == [1, 1, 2, 2, 4, 4]
    assert ledger.pace._doubled == {"cfilter": 3}


async def test_an_answer_that_needed_the_longer_time_does_not_take_it_back(autojump_clock: MockClock) -> None:
    """Otherwise a slow world would have to be learnt again for each answer."""
    ledger, others, peer = Ledger(), Others(), Slow("a", STEADY / IDLE)
    with desk_with(ledger, others) as desk:
        for number in range(DOUBLED_BY):
            await time_of(desk, Slow(f"peer {number}", STEADY / IDLE), number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, desk, peer, 0)
            await trio.sleep(1.5 * FIRST)
            assert ledger.deliver(peer, reply(0))
    assert ledger.pace._doubled["cfilter"] == 1
    assert len(others.left) == DOUBLED_BY


async def test_what_another_one_answered_in_time_takes_nobody_longer(autojump_clock: MockClock) -> None:
    """Two who drip beside an honest one do not earn more time, however often they are asked the same."""
    ledger, others, honest = Ledger(), Others(), FakePeer("honest")

    async def answer(number: int) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, desk, honest, number)
            await settle()
            assert ledger.deliver(honest, reply(number))

    with desk_with(ledger, others) as desk:
        for turn in range(4):
            await answer(7)
            took, _ = await time_of(desk, Slow(f"peer {turn}", STEADY / IDLE), 7)
            assert round(took / FIRST) == 1
        for number in (8, 9):
            await time_of(desk, Slow("a", STEADY / IDLE), number)
        assert ledger.pace._doubled["cfilter"] == 1
        took, _ = await time_of(desk, Slow("c", STEADY / IDLE), 7)
        assert round(took / FIRST) == 1
        await answer(9)  # it was the peer, not the world
        took, _ = await time_of(desk, Slow("b", STEADY / IDLE), 10)
        assert round(took / FIRST) == 1
