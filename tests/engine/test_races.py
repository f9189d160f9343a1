"""Who of several peers does what: spread from the start, raced when overdue, bounded in memory, newcomers welcome."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from phasegate.engine.errors import Failure, FailureKind
from phasegate.engine.limits import MIB
from phasegate.engine.peers import Peer
from phasegate.engine.requests import Ledger
from phasegate.p2p.messages import CFilter, GetCFilters, Message
from tests.scripted_downloads import HOLD, Download, FakePeer, after, never, shuffled


@pytest.mark.trio
@pytest.mark.parametrize(("peers", "jobs"), [(8, 8), (8, 16), (3, 4)])
async def test_work_is_spread_over_all_peers_from_the_start(
    autojump_clock: trio.testing.MockClock, peers: int, jobs: int
) -> None:
    """Nobody gets a second job before everybody has one; whoever comes first in the order gets what is left over."""
    staff = [FakePeer(f"p{i}", after(1)) for i in range(peers)]
    await Download(staff, range(jobs), per_peer=8, window=16).run()
    whole, rest = divmod(jobs, peers)
    assert [len(peer.jobs) for peer in staff] == [whole + (i < rest) for i in range(peers)]


@pytest.mark.trio
async def test_a_slow_peer_gets_fewer_jobs(autojump_clock: trio.testing.MockClock) -> None:
    """Each as many as it can do in the time that it takes all of them."""
    slow, fast = FakePeer("slow", after(4)), FakePeer("fast", after(1))
    await Download([slow, fast], range(50), per_peer=1, window=16).run()
    assert (len(slow.jobs), len(fast.jobs)) == (10, 40)


@pytest.mark.trio
async def test_a_job_that_takes_too_long_is_taken_over(autojump_clock: trio.testing.MockClock) -> None:
    """The others wait for it no longer than `steal_after`, once: who owes an answer gets no other job meanwhile."""
    slow, fast = FakePeer("slow", never), FakePeer("fast", after(1))
    download = Download([slow, fast], range(50), per_peer=1, steal_after=5.0)
    start = trio.current_time()
    assert await download.run() == list(range(50))
    assert trio.current_time() - start == 52  # three jobs ahead of the first, two seconds idle, 47 jobs
    assert (slow.jobs, slow.under_way, sorted(fast.jobs)) == ([0], [], list(range(50)))
    assert download.live.outrun == {slow.address: 1}
    assert download.pool.dropped == []


@pytest.mark.trio
async def test_the_job_that_all_wait_for_goes_before_any_open_one(autojump_clock: trio.testing.MockClock) -> None:
    """There is more to do within the window, but nothing of it can be stored before that."""
    slow, fast = FakePeer("slow", never), FakePeer("fast", after(2))
    download = Download([slow, fast], range(50), per_peer=1, window=40, steal_after=5.0)
    assert await download.run() == list(range(50))
    assert fast.jobs[:5] == [1, 2, 3, 0, 4]


@pytest.mark.trio
async def test_the_last_jobs_are_taken_over_too(autojump_clock: trio.testing.MockClock) -> None:
    """All that is left is with a peer that does nothing, and the others are idle: each takes a part, lowest first."""

    async def serve(_: int) -> None:
        await trio.sleep(1.0 if len(weary.jobs) < 3 else math.inf)

    weary = FakePeer("weary", serve)
    others = [FakePeer(f"p{i}", after(3)) for i in range(3)]
    download = Download([weary, *others], range(16), per_peer=8, window=16, steal_after=5.0)
    start = trio.current_time()
    assert await download.run() == list(range(16))
    assert trio.current_time() - start <= 5 + 3 * 2
    assert download.racing == 2


@pytest.mark.trio
async def test_who_was_first_may_still_win(autojump_clock: trio.testing.MockClock) -> None:
    """The first result counts, the other fetch is cancelled, and nobody was outrun who only began later."""
    first, second = FakePeer("first", after(7)), FakePeer("second", never)
    download = Download([first, second], [0], per_peer=1, steal_after=5.0)
    start = trio.current_time()
    assert await download.run() == [0]
    assert trio.current_time() - start == 7
    assert (first.jobs, second.jobs, second.under_way) == ([0], [0], [])
    assert not download.live.outrun


@pytest.mark.trio
async def test_of_many_idle_peers_two_are_at_the_same_job(autojump_clock: trio.testing.MockClock) -> None:
    """A race has two runners; when one is lost, another one takes its place."""

    async def hang_up(_: int) -> None:
        await trio.sleep(6)
        raise staff[0].lost()

    staff = [FakePeer("a", hang_up), *[FakePeer(name, after(20)) for name in "bcd"]]
    download = Download(staff, [0], per_peer=2, steal_after=5.0)
    start = trio.current_time()
    assert await download.run() == [0]
    assert trio.current_time() - start == 25
    assert ([peer.jobs for peer in staff], download.racing) == ([[0], [0], [0], []], 2)


@pytest.mark.trio
async def test_where_all_are_slow_nothing_is_fetched_twice(autojump_clock: trio.testing.MockClock) -> None:
    """What takes as long as such jobs take here is not overdue; only the first ones, when that is not known yet."""
    staff = [FakePeer(name, after(15)) for name in "abcd"]
    download = Download(staff, range(40), per_peer=1, window=8, steal_after=5.0)
    start = trio.current_time()
    await download.run()
    assert trio.current_time() - start == 150
    assert sorted(job for peer in staff for job in peer.jobs) == list(range(40))
    assert not download.live.outrun


@pytest.mark.trio
async def test_one_that_was_outrun_comes_back_when_it_is_fast_again(autojump_clock: trio.testing.MockClock) -> None:
    """It is asked for one thing at a time until it has done as many as it lost; then for as much as any other."""
    at_once: list[int] = []

    async def serve(_: int) -> None:
        at_once.append(len(moody.under_way))
        await trio.sleep(1.0 if len(moody.jobs) > 2 else math.inf)

    moody, other = FakePeer("moody", serve, owes=False), FakePeer("other", after(1))
    download = Download([moody, other], range(60), steal_after=5.0)
    assert await download.run() == list(range(60))
    assert download.live.outrun == {moody.address: 2}
    assert at_once[:4] == [1, 2, 1, 1]
    assert max(at_once[4:]) == 2


@pytest.mark.trio
async def test_of_two_results_at_the_same_moment_one_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    """The other one takes no room from what comes after: two at a time go on fitting in."""
    first = FakePeer("first", lambda job: trio.sleep(1 if job else 7))
    second = FakePeer("second", lambda job: trio.sleep(1 if job else 2))
    download = Download([first, second], range(10), per_peer=1, size=15 * MIB, steal_after=5.0)
    start = trio.current_time()
    assert await download.run() == list(range(10))
    assert trio.current_time() - start == 7 + 8 / 2


@pytest.mark.trio
async def test_of_equals_the_one_that_was_never_outrun_is_preferred(autojump_clock: trio.testing.MockClock) -> None:
    """Though the other one comes first in the order, and owes nothing."""
    slow, fast = FakePeer("slow", never, owes=False), FakePeer("fast", after(1))
    download = Download([slow, fast], range(10), window=1, steal_after=5.0)
    assert await download.run() == list(range(10))
    assert (slow.jobs, fast.jobs) == ([0], list(range(10)))


@pytest.mark.trio
@pytest.mark.parametrize("apply_time", [0.0, 30.0])
@pytest.mark.parametrize(("steal_after", "beyond"), [(math.inf, 0), (5.0, 10 * MIB)])
async def test_large_results_are_bounded_by_their_bytes(
    autojump_clock: trio.testing.MockClock, apply_time: float, steal_after: float, beyond: int
) -> None:
    """Ten megabytes each, a window of sixteen: never more than the bound, and one job in a race (field-bugs 51)."""
    staff = [FakePeer(f"p{i}", shuffled(i)) for i in range(8)]
    download = Download(staff, range(40), 8, apply_time, window=16, size=10 * MIB, steal_after=steal_after)
    assert await download.run() == list(range(40))
    assert 30 * MIB <= download.held * 10 * MIB <= HOLD + beyond


@pytest.mark.trio
async def test_a_result_larger_than_the_bound_is_fetched_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    """The one that all wait for is always let in, so that there is no dead end; nothing else beside it."""
    download = Download([FakePeer("a", after(1)), FakePeer("b", after(1))], range(9), size=HOLD + 1)
    assert await download.run() == list(range(9))
    assert download.held == 2


@pytest.mark.trio
async def test_peers_that_come_while_it_runs_join(autojump_clock: trio.testing.MockClock) -> None:
    """They get jobs at once; when the choice is empty for a while, who is there goes on."""

    def choose() -> list[Peer]:
        if not download.pool.there:
            raise Failure(FailureKind.NO_CAPABLE_PEER, "nobody")
        return download.pool.there

    old, new = FakePeer("old", after(1)), FakePeer("new", after(1))
    download = Download([old], range(40), per_peer=1, choose=choose)
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(download.run)
        await trio.sleep(9.5)
        download.pool.there.append(new)
        download.pool.stir()
        await trio.sleep(9.75)
        download.pool.there.clear()
        download.pool.stir()
    assert trio.current_time() - start == 25
    assert download.applied == list(range(40))
    assert (len(old.jobs), len(new.jobs)) == (25, 15)


@pytest.mark.trio
async def test_nobody_to_choose_is_a_failure_at_once() -> None:
    """The choice says why."""

    def choose() -> list[Peer]:
        raise Failure(FailureKind.NO_CAPABLE_PEER, "no filters here")

    with pytest.raises(Failure, match="no filters here"):
        await Download([], range(3), choose=choose).run()


@pytest.mark.trio
async def test_one_reply_every_ten_seconds_does_not_hold_a_range(autojump_clock: trio.testing.MockClock) -> None:
    """Steady progress never times out, and yet a thousand filters at that pace take no three hours (field-bugs 25).

    What the slow peer goes on sending is late: dropped and counted, and it is asked for nothing else meanwhile.
    """
    count, ledger = 100, Ledger()

    def numbers(job: int) -> list[bytes]:
        return [(count * job + i).to_bytes(32, "little") for i in range(count)]

    class Range(Download):
        async def fetch(self, peer: Peer, job: int) -> str:
            missing = set(numbers(job))
            assert isinstance(peer, FakePeer)
            peer.jobs.append(job)
            nursery.start_soon(peer.serve, job)
            request = GetCFilters(0, job, bytes(32))
            await desk.ask_many(peer, request, CFilter, lambda m: m.block_hash in missing, count)
            return f"result {job}"

    class Sending(FakePeer):
        def __init__(self, name: str, pause: float) -> None:
            super().__init__(name, self.send_all)
            self.pause = pause

        def arriving(self, command: str) -> int:
            return 0

        async def send(self, message: Message) -> None:
            await trio.lowlevel.checkpoint()

        async def send_all(self, job: int) -> None:
            for name in numbers(job):
                await trio.sleep(self.pause)
                ledger.deliver(self, CFilter(0, name, b""))

    slow, *others = Sending("slow", 9.9), Sending("a", 0.01), Sending("b", 0.01)
    download = Range([slow, *others], range(40), ledger=ledger, per_peer=1, steal_after=5.0)
    async with trio.open_nursery() as nursery:
        with ledger.desk("filters", 8, 10.0, idle_cap=80.0) as desk:
            assert await download.run() == list(range(40))
            assert trio.current_time() < 30
            assert (ledger.owed(slow), ledger.tally.silent, slow.jobs) == (1, 0, [0])
    assert ledger.tally.late == ledger.strays(slow) == count
    assert download.live.outrun == {slow.address: 1}
