"""Filters that came together reach their requests as single ones do."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio

from phasegate.consensus.packed import Packed
from phasegate.engine.requests import Desk, Ledger
from phasegate.p2p.filter_runs import CFilterRun
from phasegate.p2p.messages import CFilter
from tests.asked_peers import FakePeer, patient, question, reply, settle

pytestmark = pytest.mark.trio


def run_of(numbers: Sequence[int]) -> CFilterRun:
    replies = [reply(number) for number in numbers]
    return CFilterRun(b"".join([m.block_hash for m in replies]), Packed.of([m.filter for m in replies]))


class Asked:
    """One request for the filters `first` to `first + 9`, which takes them in order."""

    def __init__(self, first: int) -> None:
        self.first = first
        self._left = list(range(first, first + 10))
        self.replies: list[CFilter | CFilterRun] = []

    async def ask(self, desk: Desk, peer: FakePeer) -> None:
        self.replies = await desk.ask_filters(peer, question(self.first), self._takes, self._takes_run, 10)

    def _takes(self, message: CFilter) -> bool:
        return self._takes_run(run_of([int.from_bytes(message.block_hash, "little")])) == 1

    def _takes_run(self, run: CFilterRun) -> int:
        count = 0
        while count < len(run) and self._left and run.message(count) == reply(self._left[0]):
            self._left.pop(0)
            count += 1
        return count

    @property
    def brought(self) -> list[int]:
        runs = [run_of([0]) if isinstance(m, CFilter) else m for m in self.replies]
        return [len(run) for run in runs]


def delivered(ledger: Ledger, peer: FakePeer, run: CFilterRun) -> list[int]:
    """How many were taken at each step, as a peer's reader goes on; 0 where nobody wanted the first one."""
    steps = []
    while run:
        taken = ledger.deliver_run(peer, run)
        single = not taken and ledger.deliver(peer, run.message(0))
        steps.append(taken or int(single))
        run = run.part(taken or 1, len(run))
    return steps


async def test_a_run_over_two_answers_is_shared_between_their_requests(autojump_clock: trio.testing.MockClock) -> None:
    """Each request has its own, and both are answered; what is left over was not asked for."""
    ledger, peer, asked = Ledger(), FakePeer("peer"), [Asked(0), Asked(10)]
    with patient(ledger) as desk:
        async with trio.open_nursery() as nursery:
            for one in asked:
                nursery.start_soon(one.ask, desk, peer)
                await settle()
            assert ledger.awaits_runs(peer)
            assert delivered(ledger, peer, run_of(range(4))) == [4]
            assert delivered(ledger, peer, run_of(range(4, 22))) == [6, 10, 0, 0]
    assert [one.brought for one in asked] == [[4, 6], [10]]
    assert not ledger.awaits_runs(peer)
    assert ledger.tally.answered == 2


async def test_a_run_is_a_sign_of_life_for_all_that_follows(autojump_clock: trio.testing.MockClock) -> None:
    """Nine seconds of ten before each: neither the request it answers nor the one behind it times out."""
    ledger, peer, asked = Ledger(), FakePeer("peer"), [Asked(0), Asked(10)]
    with patient(ledger) as desk:
        async with trio.open_nursery() as nursery:
            for one in asked:
                nursery.start_soon(one.ask, desk, peer)
                await settle()
            for numbers in (range(5), range(5, 10), range(10, 15), range(15, 20)):
                await trio.sleep(9)
                assert delivered(ledger, peer, run_of(numbers)) == [5]
                await settle()
    assert [one.brought for one in asked] == [[5, 5], [5, 5]]


async def test_what_is_owed_to_a_forgotten_request_is_told_one_by_one(autojump_clock: trio.testing.MockClock) -> None:
    """Each late filter is late, and none is taken for an answer to the request that is open now."""
    ledger, peer, given_up, again = Ledger(), FakePeer("peer"), Asked(0), Asked(0)
    with patient(ledger) as desk:
        with trio.move_on_after(1):
            await given_up.ask(desk, peer)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(again.ask, desk, peer)
            await settle()
            assert delivered(ledger, peer, run_of(range(10))) == [1] * 10
            assert ledger.tally.late == 10
            assert delivered(ledger, peer, run_of(range(10))) == [10]
    assert again.brought == [10]


async def test_a_request_for_one_filter_gets_it_out_of_a_run(autojump_clock: trio.testing.MockClock) -> None:
    ledger, peer, got = Ledger(), FakePeer("peer"), list[CFilter]()

    async def ask(desk: Desk) -> None:
        got.append(await desk.ask(peer, question(7), CFilter, lambda m: m == reply(7)))

    with patient(ledger) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, desk)
            await settle()
            assert not ledger.awaits_runs(peer)
            assert delivered(ledger, peer, run_of([6, 7, 8])) == [0, 1, 0]
    assert got == [reply(7)]


async def test_a_run_passes_no_request_that_was_made_before_and_waits_for_none_that_has_its_answer(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A node answers in order: the first filter is of the single request, the same one again begins the other's."""
    ledger, peer, got, asked = Ledger(), FakePeer("peer"), list[CFilter](), Asked(7)

    async def ask(desk: Desk) -> None:
        got.append(await desk.ask(peer, question(7), CFilter, lambda m: m == reply(7)))

    with patient(ledger) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, desk)
            await settle()
            nursery.start_soon(asked.ask, desk, peer)
            await settle()
            assert delivered(ledger, peer, run_of([7, *range(7, 17)])) == [1, 10]
    assert (got, asked.brought) == ([reply(7)], [10])
    assert ledger.tally.answered == 2
