"""Download from several peers: whatever order things come in, they are applied in theirs, and none is lost."""

from __future__ import annotations

import math
import random

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.engine.errors import Failure, FailureKind, PeerGone, Unfit
from phasegate.engine.holding import Holding
from phasegate.engine.limits import MIB
from phasegate.engine.work import unwrapped
from tests.scripted_downloads import HOLD, WINDOW, Download, FakePeer, after, at_once, never, run, shuffled


@given(
    st.integers(0, 25),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 999),
    st.sampled_from([0.0, 3.0]),
    st.sampled_from([1.0, 5.0, math.inf]),
)
@settings(deadline=None)
def test_any_order_of_arrival_gives_the_same_order_of_application(
    jobs: int, peers: int, per_peer: int, seed: int, apply_time: float, steal_after: float
) -> None:
    """However the answers cross (field-bugs 23); each job is fetched once, or by two who race; none too far ahead."""
    staff = [FakePeer(f"p{i}", shuffled(seed + i)) for i in range(peers)]
    download = Download(staff, range(100, 100 + jobs), per_peer, apply_time, steal_after=steal_after)
    assert run(download) == list(range(100, 100 + jobs))
    assert download.ahead < WINDOW
    fetched = [(job, peer) for peer in staff for job in peer.jobs]
    assert {job for job, _ in fetched} == set(range(100, 100 + jobs))
    assert len(fetched) == len(set(fetched)) <= jobs * (1 if math.isinf(steal_after) else 2)
    assert download.racing <= 2
    assert not any(peer.under_way for peer in staff)


@given(
    st.integers(1, 20),
    st.integers(0, 999),
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.sampled_from([5.0, math.inf]),
    st.sampled_from([None, 10 * MIB]),
)
@settings(deadline=None)
def test_one_honest_peer_is_enough(
    jobs: int, seed: int, endurance: list[int], steal_after: float, size: int | None
) -> None:
    """The others fail after some jobs each, in every way there is: all jobs are done, and memory stays bounded."""
    honest = FakePeer("honest", shuffled(seed))
    staff = [honest, *(_failing(f"p{i}", many, seed + i) for i, many in enumerate(endurance))]
    download = Download(staff, range(jobs), steal_after=steal_after, size=size)
    assert run(download) == list(range(jobs))
    assert honest in download.pool.ready
    assert size is None or download.held * size <= HOLD + size


def _failing(name: str, endurance: int, seed: int) -> FakePeer:
    source = random.Random(seed)

    async def serve(_: int) -> None:
        await trio.sleep(source.uniform(0, 10))
        if len(peer.jobs) > endurance:
            raise source.choice([peer.lost(), peer.silent(), PeerMisbehaved(Fault.BAD_FILTER, "wrong")])

    peer = FakePeer(name, serve)
    return peer


@pytest.mark.trio
async def test_all_peers_work_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """Two peers with two jobs each take a quarter of the time."""
    start = trio.current_time()
    await Download([FakePeer("a", after(1)), FakePeer("b", after(1))], range(20)).run()
    assert trio.current_time() - start == 5


@pytest.mark.trio
async def test_no_more_jobs_than_allowed_are_under_way_to_one_peer(autojump_clock: trio.testing.MockClock) -> None:
    """The bound is per peer."""
    under_way = most = 0

    async def serve(_: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await trio.sleep(1)
        under_way -= 1

    await Download([FakePeer("a", serve)], range(20), per_peer=3).run()
    assert most == 3


@pytest.mark.trio
async def test_fast_peers_do_not_run_away_from_a_slow_disk(autojump_clock: trio.testing.MockClock) -> None:
    """While the first job is being applied, no more than a window of results is fetched."""
    peers = [FakePeer(name, at_once) for name in "abc"]
    download = Download(peers, range(50), apply_time=100.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(download.run)
        await trio.sleep(50)
        assert sum(len(peer.jobs) for peer in peers) == WINDOW
        await trio.sleep(100)
        assert sum(len(peer.jobs) for peer in peers) == WINDOW + 1
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_a_slow_peer_holds_up_only_its_window(autojump_clock: trio.testing.MockClock) -> None:
    """The fast one does everything that the window lets it do, and waits there."""
    slow, fast = FakePeer("slow", never), FakePeer("fast", at_once)
    download = Download([slow, fast], range(50), per_peer=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(download.run)
        await trio.sleep(50)
        assert (slow.jobs, fast.jobs, download.applied) == ([0], [1, 2, 3], [])
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_the_jobs_of_a_lost_peer_are_done_by_others(autojump_clock: trio.testing.MockClock) -> None:
    """All that it had under way; and it is dropped for what happened, not for a lie."""

    async def hang_up(_: int) -> None:
        await trio.sleep(1)
        raise losing.lost()

    losing = FakePeer("losing", hang_up)
    other = FakePeer("other", after(2))
    download = Download([losing, other], range(8))
    assert await download.run() == list(range(8))
    assert len(losing.jobs) == 2
    assert sorted(other.jobs) == list(range(8))
    assert download.pool.lied == []
    assert ("losing", False) in download.pool.dropped


@pytest.mark.trio
async def test_a_silent_peer_is_dropped_as_silent(autojump_clock: trio.testing.MockClock) -> None:
    """Silence is no lie: no ban, and its jobs go to the others (field-bugs 24, 28)."""

    async def say_nothing(_: int) -> None:
        await trio.sleep(10)
        raise mute.silent()

    mute, other = FakePeer("mute", say_nothing), FakePeer("other", at_once)
    download = Download([mute, other], range(8))
    assert await download.run() == list(range(8))
    assert download.pool.lied == []
    assert ("mute", True) in download.pool.dropped


@pytest.mark.trio
async def test_a_liar_is_banned_and_nothing_of_it_is_applied(autojump_clock: trio.testing.MockClock) -> None:
    """Its jobs are done again by somebody else."""

    async def lie(_: int) -> None:
        await trio.lowlevel.checkpoint()
        raise PeerMisbehaved(Fault.BAD_FILTER, "height 5")

    liar, other = FakePeer("liar", lie), FakePeer("other", after(1))
    download = Download([liar, other], range(8))
    assert await download.run() == list(range(8))
    assert set(download.pool.lied) == {"liar"}
    assert sorted(other.jobs) == list(range(8))


HUNG_UP = PeerGone("a:1", FailureKind.PEER_LOST, "hung up")
NO_ANSWER = PeerGone("a:1", FailureKind.PEER_SILENT, "no answer")
LIE = PeerMisbehaved(Fault.BAD_FILTER, "height 2")


@pytest.mark.trio
@pytest.mark.parametrize("honest", [True, False])
async def test_a_peer_that_is_unfit_is_left_out_and_stays(autojump_clock: trio.testing.MockClock, honest: bool) -> None:
    """Its jobs are done by others; with nobody else the download fails, though there is a peer."""
    left_out: list[FakePeer] = []

    async def has_nothing(job: int) -> None:
        await trio.sleep(1)
        left_out.append(unfit)
        raise Unfit(f"does not have {job}")

    unfit, other = FakePeer("unfit", has_nothing), FakePeer("other", after(3))
    staff = [unfit, other] if honest else [unfit]
    download = Download(staff, range(9), choose=lambda: [peer for peer in staff if peer not in left_out])
    if honest:
        assert await download.run() == list(range(9))
    else:
        with pytest.raises(Failure):
            await download.run()
    assert len(unfit.jobs) == 2
    assert (download.pool.ready, download.pool.dropped, download.pool.lied) == (staff, [], [])


def test_what_the_first_results_may_take_can_be_told() -> None:
    """Until there is one; without a word two are let in."""
    told, untold = Holding[bytes](1000, len, 200), Holding[bytes](1000, len)
    assert [told.has_room(under_way) for under_way in (4, 5)] == [True, False]
    assert [untold.has_room(under_way) for under_way in (1, 2)] == [True, False]
    for holding in (told, untold):
        holding.put(0, bytes(300))
        assert [holding.has_room(under_way) for under_way in (1, 2)] == [True, False]


@pytest.mark.parametrize(
    ("error", "others", "kind", "detail"),
    [
        (HUNG_UP, 0, FailureKind.PEER_LOST, "hung up"),
        (NO_ANSWER, 0, FailureKind.PEER_SILENT, "no answer"),
        (LIE, 0, FailureKind.ALL_BANNED, "all banned"),
        (HUNG_UP, 1, FailureKind.PEER_LOST, "hung up"),
        (NO_ANSWER, 1, FailureKind.PEER_SILENT, "no answer"),
        (LIE, 1, FailureKind.PEER_LIED, "height 2"),
    ],
)
def test_when_the_last_peer_fails_so_does_the_download(
    error: PeerGone | PeerMisbehaved, others: int, kind: FailureKind, detail: str
) -> None:
    """For the reason it had; what was applied stays applied, and others that came meanwhile may go on from there."""

    async def serve(job: int) -> None:
        await trio.sleep(1)
        if job >= 2:
            raise error

    download = Download([FakePeer("a:1", serve)], range(5), per_peer=1)
    download.pool.there += [FakePeer("newcomer", at_once)] * others
    with pytest.raises(Failure, match=detail) as caught:
        run(download)
    assert (caught.value.kind, download.applied) == (kind, [0, 1])


def test_nobody_to_ask_is_the_lack_of_a_peer() -> None:
    """With the pool's words for it, and without waiting for anything."""
    with pytest.raises(Failure, match="nobody there") as caught:
        run(Download([], range(5)))
    assert caught.value.kind is FailureKind.NO_PEER


@pytest.mark.trio
async def test_a_failure_of_a_job_is_the_failure_of_the_download(autojump_clock: trio.testing.MockClock) -> None:
    """What is neither the peer's loss nor its lie is not hidden: one error, not a group."""

    async def dispute(_: int) -> None:
        await trio.lowlevel.checkpoint()
        raise Failure(FailureKind.DISPUTED, "filter headers disputed at 7")

    with pytest.raises(Failure, match="disputed at 7"):
        await Download([FakePeer("a", dispute), FakePeer("b", never)], range(4)).run()


@pytest.mark.trio
async def test_a_bug_is_worth_more_than_a_lost_peer(autojump_clock: trio.testing.MockClock) -> None:
    """Of several errors at once the one that must not be missed comes out."""

    async def crash(job: int) -> None:
        if job == 0:
            await trio.sleep(1)
            raise ZeroDivisionError
        try:
            await trio.sleep_forever()
        finally:
            raise Failure(FailureKind.DISPUTED, "in the clean-up")

    with pytest.raises(ZeroDivisionError):
        await Download([FakePeer("a", crash), FakePeer("b", crash)], range(4), per_peer=1).run()


@pytest.mark.trio
async def test_nothing_to_do_is_done_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """No job, no request."""
    peer = FakePeer("a", never)
    assert await Download([peer], []).run() == []
    assert peer.jobs == []


@pytest.mark.trio
async def test_a_cancelled_download_leaves_nobody_at_work(autojump_clock: trio.testing.MockClock) -> None:
    """Every fetch is cancelled with it, and nothing half done is applied."""
    cancelled = 0

    async def serve(_: int) -> None:
        nonlocal cancelled
        try:
            await trio.sleep_forever()
        finally:
            cancelled += 1

    download = Download([FakePeer("a", serve), FakePeer("b", serve)], range(20))
    with trio.move_on_after(5):
        await download.run()
    assert (cancelled, download.applied) == (4, [])


def _returning(names: int, serve_after: int | None = None) -> Download:
    """Peers that are silent for ten seconds and come back at once; `serve_after` so many silences one answers."""
    silences: list[str] = []

    def peer(name: str) -> FakePeer:
        async def serve(_: int) -> None:
            await trio.sleep(10)
            if serve_after is not None and len(silences) >= serve_after:
                return
            silences.append(name)
            download.pool.there.append(peer(name))
            raise made.silent()

        made = FakePeer(name, serve)
        return made

    download = Download([peer(f"p{i}") for i in range(names)], range(2), 1, steal_after=math.inf)
    download.choose = lambda: list(download.pool.there)
    return download


async def _stirring(download: Download) -> list[int]:
    """The download, with a pool that tells of its changes all the time."""

    async def stir() -> None:
        while True:
            await trio.sleep(0.5)
            download.pool.stir()

    with unwrapped():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stir)
            await download.run()
            nursery.cancel_scope.cancel()
    return download.applied


@pytest.mark.trio
async def test_a_job_that_all_are_silent_about_ends_the_download(autojump_clock: trio.testing.MockClock) -> None:
    """Peers that come back after each silence are not asked for ever: the loss of the last one is the failure."""
    download = _returning(3)
    with pytest.raises(Failure) as caught:
        await _stirring(download)
    assert caught.value.kind is FailureKind.PEER_SILENT
    assert download.applied == []


@pytest.mark.trio
async def test_with_a_hint_at_another_tip_one_silence_is_enough(autojump_clock: trio.testing.MockClock) -> None:
    """What is asked for may have gone with a branch: only a walk from the headers can tell."""
    download, began = _returning(3), trio.current_time()
    download.live.tip_hint = True
    with pytest.raises(Failure) as caught:
        await _stirring(download)
    assert caught.value.kind is FailureKind.PEER_SILENT
    assert trio.current_time() - began < 11


@pytest.mark.trio
@pytest.mark.parametrize(("peers", "silences"), [(1, 3), (6, 5)])
async def test_a_download_persists_until_every_peer_had_its_turn(
    autojump_clock: trio.testing.MockClock, peers: int, silences: int
) -> None:
    """A few silences end nothing, nor do more of them while somebody who is there was not asked yet."""
    assert await _stirring(_returning(peers, silences)) == [0, 1]
