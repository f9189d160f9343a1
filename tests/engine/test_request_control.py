"""Request control under any traffic: bounds, rates, fairness, patience, and nothing left behind."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.engine.buckets import Bucket
from phasegate.engine.errors import PeerGone
from phasegate.engine.requests import REMEMBERED, Desk, Ledger, Tally
from phasegate.engine.turns import Turns
from phasegate.p2p.messages import CFilter, GetCFilters, Message
from tests.asked_peers import CAP, IDLE, FakePeer, ask, patient, question, reply, settle, virtually

TINY = 1e-6


@attrs.frozen
class Deed:
    """One request: when it is made, to whom, what becomes of it there, and after how long its owner loses interest."""

    at: float
    peer: int
    delay: float
    patience: float


@attrs.frozen
class Stay:
    """One stay of a phase: its figures, its requests, and when it is left at the latest."""

    phase: str
    per_peer: int
    concurrency: int
    rate: float
    deeds: list[Deed]
    end: float


NEVER, LOST = math.inf, -1.0
DEEDS = st.builds(
    Deed,
    at=st.sampled_from([0.0, 0.0, 0.5, 3.0, 20.0]),
    peer=st.integers(0, 3),
    delay=st.sampled_from([0.0, 0.1, 2.0, 9.0, 15.0, NEVER, LOST]),
    patience=st.sampled_from([NEVER, NEVER, NEVER, 0.0, 1.0, 12.0]),
)
STAYS = st.builds(
    Stay,
    phase=st.sampled_from(["cfheaders", "filters"]),
    per_peer=st.integers(1, 3),
    concurrency=st.integers(1, 5),
    rate=st.sampled_from([0.3, 1.0, 2.5, 500.0]),
    deeds=st.lists(DEEDS, max_size=25),
    end=st.sampled_from([NEVER, NEVER, 5.0]),
)


class Traffic:
    """Runs stays one after another, and keeps the books by itself: what is under way, and what was sent when."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.peers = [FakePeer(f"p{i}", self._sent) for i in range(4)]
        self.under_way: dict[int, FakePeer] = {}
        self.sent: dict[str, list[float]] = defaultdict(list)
        self.ends: Counter[str] = Counter()
        self.deeds: list[Deed] = []

    def _sent(self, peer: FakePeer, number: int) -> None:
        self.under_way[number] = peer
        self.sent[self.stay.phase].append(trio.current_time())
        assert max(Counter(self.under_way.values()).values()) <= self.stay.per_peer
        assert len(self.under_way) <= self.stay.concurrency
        assert self.ledger.outstanding <= self.stay.concurrency
        assert all(view.phase == self.stay.phase for view in self.ledger.open_requests())
        self.nursery.start_soon(self._answer, peer, number, self.deeds[number].delay)

    async def _answer(self, peer: FakePeer, number: int, delay: float) -> None:
        if delay == LOST:
            await trio.sleep(1.0)
            self.ledger.peer_lost(peer, "hung up")
        elif delay < NEVER:
            await trio.sleep(delay)
            self.ledger.deliver(peer, reply(number))

    async def _do(self, desk: Desk, number: int) -> None:
        deed = self.deeds[number]
        await trio.sleep(deed.at)
        with trio.move_on_after(deed.patience) as interest:
            try:
                await ask(desk, self.peers[deed.peer], number)
            except PeerGone as gone:
                self.ends[gone.kind.value] += 1
            else:
                self.ends["answered"] += 1
            finally:
                self.under_way.pop(number, None)
        self.ends["cancelled"] += interest.cancelled_caught

    async def run(self, stays: Sequence[Stay]) -> None:
        """Each stay to its end; then nothing is held."""
        async with trio.open_nursery() as self.nursery:
            for self.stay in stays:
                await self._live()
            self.nursery.cancel_scope.cancel()
        assert sum(self.ends.values()) == len(self.deeds)

    async def _live(self) -> None:
        stay, before = self.stay, len(self.deeds)
        self.deeds += stay.deeds
        figures = {"concurrency": stay.concurrency, "rate": stay.rate, "idle_cap": CAP}
        with self.ledger.desk(stay.phase, stay.per_peer, IDLE, **figures) as desk:  # type: ignore[arg-type]
            with trio.move_on_after(stay.end) as left:
                async with trio.open_nursery() as nursery:
                    for number in range(before, len(self.deeds)):
                        nursery.start_soon(self._do, desk, number)
            assert desk._turns.idle
            assert not desk._bucket._line.locked()
        if left.cancelled_caught:
            self.ends["cancelled"] = len(self.deeds) - (self.ends.total() - self.ends["cancelled"])
        assert (self.under_way, self.ledger.outstanding, self.ledger.open_requests()) == ({}, 0, ())


@given(st.lists(STAYS, max_size=4))
@settings(deadline=None, max_examples=150)
def test_any_traffic_keeps_the_bounds_and_drains(stays: list[Stay]) -> None:
    """Delays, losses, silence and lost interest, over several stays: nothing too much, and every request ends.

    That all end although nobody gives up waiting for a turn says that no one is left out for ever.
    """
    traffic = Traffic()
    virtually(traffic.run, stays)
    for phase, times in traffic.sent.items():
        rate = max(stay.rate for stay in stays if stay.phase == phase)
        assert_rate_kept(times, rate)
    tally = traffic.ledger.tally
    assert tally.sent == sum(map(len, traffic.sent.values()))
    assert (tally.answered, tally.silent) == (traffic.ends["answered"], traffic.ends["peer-silent"])
    for peer in traffic.peers:
        traffic.ledger.peer_lost(peer, "the end")
    assert not traffic.ledger._forgotten
    assert not traffic.ledger._strays


def assert_rate_kept(times: Sequence[float], rate: float) -> None:
    """In no interval are there more than a full bucket and what came into it meanwhile."""
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert last - first + 1 <= max(1.0, rate) + rate * (times[last] - times[first]) + TINY


@given(st.floats(0.05, 20.0), st.lists(st.floats(0.0, 3.0), max_size=40))
@settings(deadline=None)
def test_tokens_come_at_the_rate_and_no_later(rate: float, pauses: list[float]) -> None:
    """Whenever they are asked for, each is given as soon as a count of tokens, refilled all the time, allows."""
    taken: list[float] = []
    arrivals = [sum(pauses[: i + 1]) for i in range(len(pauses))]

    async def take_all() -> None:
        bucket = Bucket(rate)

        async def take(at: float) -> None:
            await trio.sleep_until(at)
            await bucket.take()
            taken.append(trio.current_time())

        async with trio.open_nursery() as nursery:
            for arrival in arrivals:
                nursery.start_soon(take, arrival)

    virtually(take_all)
    assert taken == pytest.approx(by_counting_tokens(rate, arrivals), abs=1e-5)
    assert_rate_kept(taken, rate)


def by_counting_tokens(rate: float, arrivals: Iterable[float]) -> list[float]:
    """When each of `arrivals`, ascending, gets its token from a bucket that is full at the beginning."""
    tokens, now, given = max(1.0, rate), 0.0, list[float]()
    for arrival in arrivals:
        start = max(now, arrival)
        tokens = min(max(1.0, rate), tokens + rate * (start - now))
        now = start + max(0.0, 1 - tokens) / rate
        tokens = max(0.0, tokens - 1)
        given.append(now)
    return given


@pytest.mark.trio
async def test_who_is_cancelled_while_waiting_takes_no_token(autojump_clock: trio.testing.MockClock) -> None:
    """The next in line gets it, at the time at which the other one would have."""
    bucket = Bucket(0.1)
    await bucket.take()
    with trio.move_on_after(9.0):
        await bucket.take()
    await bucket.take()
    assert trio.current_time() == pytest.approx(10.0)


@pytest.mark.trio
async def test_a_phase_that_is_entered_again_has_no_fresh_burst(autojump_clock: trio.testing.MockClock) -> None:
    """Its tokens outlive its stays; those of another phase are others."""
    ledger, times = Ledger(), list[float]()
    peer = FakePeer("peer", lambda *_: times.append(trio.current_time()))
    for phase in ("filters", "filters", "blocks"):
        with trio.move_on_after(1.0), ledger.desk(phase, 4, IDLE, rate=2.0) as desk:
            async with trio.open_nursery() as nursery:
                for number in range(4):
                    nursery.start_soon(ask, desk, peer, number)
    assert times == pytest.approx([0.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.5], abs=TINY)


@pytest.mark.trio
async def test_a_peer_that_is_gone_costs_no_token(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever waited for its turn with it learns so at once, and others do not wait for that."""
    ledger, gone, other = Ledger(), FakePeer("gone"), FakePeer("other")
    gone.gone = "hung up"
    with ledger.desk("filters", 4, IDLE, rate=0.1) as desk:
        for number in range(5):
            with pytest.raises(PeerGone, match="hung up"):
                await ask(desk, gone, number)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, desk, other, 9)
            await settle()
            assert (gone.asked, other.asked) == ([], [9])
            ledger.deliver(other, reply(9))
    assert trio.current_time() == 0


@pytest.mark.trio
async def test_errands_have_figures_of_their_own(autojump_clock: trio.testing.MockClock) -> None:
    """A phase that has used up its tokens and its turns does not keep locks waiting."""
    ledger = Ledger()
    with (
        ledger.desk("filters", 1, IDLE, concurrency=1, rate=0.01) as desk,
        ledger.errand(2, IDLE, concurrency=3, rate=7.0) as errands,
    ):
        assert desk._bucket is not errands._bucket
        assert (errands._turns.per_peer, errands._turns.concurrency, errands._bucket.rate) == (2, 3, 7.0)
        assert errands.stay == desk.stay + 1


@pytest.mark.trio
async def test_who_waits_for_a_token_is_neither_outstanding_nor_silent(autojump_clock: trio.testing.MockClock) -> None:
    """The clock of a request begins when it leaves, however long that takes."""
    ledger = Ledger()
    peer = FakePeer("peer", lambda _, number: asked.send_nowait(number))
    asked, to_answer = trio.open_memory_channel[int](10)
    with ledger.desk("filters", 5, IDLE, rate=0.02) as desk:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(ask, desk, peer, number)
            for _ in range(5):
                number = await to_answer.receive()
                await trio.sleep(IDLE - 1)
                assert ledger.outstanding == 1
                ledger.deliver(peer, reply(number))
                await settle()
                assert ledger.outstanding == 0
    assert ledger.tally == Tally(sent=5, answered=5)
    assert trio.current_time() == pytest.approx(4 * 50 + IDLE - 1)


STEPS = st.lists(st.tuples(st.sampled_from(["wait", "wait", "end", "cancel"]), st.integers(0, 9)), max_size=60)


@given(st.integers(1, 3), st.integers(1, 4), STEPS)
@settings(deadline=None, max_examples=200)
def test_turns_are_fair(per_peer: int, concurrency: int, steps: list[tuple[str, int]]) -> None:
    """In the order of asking for each peer; while one waits and has room, every other gets one turn at most."""
    virtually(Lobby(per_peer, concurrency).run, steps)


class Lobby:
    """Asks for turns, ends them and gives up waiting as it is told, and judges each turn that is given."""

    def __init__(self, per_peer: int, concurrency: int) -> None:
        self.turns = Turns(per_peer, concurrency)
        self.peers = [FakePeer(f"p{i}") for i in range(4)]
        self.waiting: dict[int, FakePeer] = {}
        self.having: dict[int, FakePeer] = {}
        self.scopes: dict[int, trio.CancelScope] = {}
        self.overtaken: Counter[tuple[FakePeer, FakePeer]] = Counter()

    def has_room(self, peer: FakePeer) -> bool:
        return list(self.having.values()).count(peer) < self.turns.per_peer

    async def visit(self, number: int, peer: FakePeer) -> None:
        with trio.CancelScope() as self.scopes[number]:
            self.waiting[number] = peer
            async with self.turns.turn(peer):
                self.judge(number, peer)
                await trio.sleep_forever()
        self.having.pop(number, None)
        if self.waiting.pop(number, None) is not None and peer not in self.waiting.values():
            self.forget(peer)

    def forget(self, peer: FakePeer) -> None:
        """It had its turn, or nobody waits for one: what overtook it before counts no more."""
        for other in self.peers:
            self.overtaken.pop((peer, other), None)

    def judge(self, number: int, peer: FakePeer) -> None:
        assert number == min(n for n, other in self.waiting.items() if other is peer)
        for other in set(self.waiting.values()) - {peer}:
            if self.has_room(other):
                self.overtaken[other, peer] += 1
                assert self.overtaken[other, peer] <= 1
        self.having[number] = self.waiting.pop(number)
        self.forget(peer)
        assert len(self.having) <= self.turns.concurrency
        assert list(self.having.values()).count(peer) <= self.turns.per_peer

    async def run(self, steps: Sequence[tuple[str, int]]) -> None:
        async with trio.open_nursery() as nursery:
            for number, (what, which) in enumerate(steps):
                if what == "wait":
                    nursery.start_soon(self.visit, number, self.peers[which % 4])
                elif group := sorted(self.having if what == "end" else self.waiting):
                    self.scopes[group[which % len(group)]].cancel()
                await settle()
                free = len(self.having) < self.turns.concurrency
                assert not (free and any(map(self.has_room, self.waiting.values()))), "a turn was kept back"
            while self.having:
                self.scopes[min(self.having)].cancel()
                await settle()
        assert (self.waiting, self.turns.idle) == ({}, True)


@pytest.mark.trio
async def test_the_order_of_requests_is_that_in_which_the_peer_took_them(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Two that wait for room in its queue may change places there: what comes first answers what went first."""
    ledger, peer, got = Ledger(), Swapping("peer"), list[tuple[int, CFilter]]()

    async def ask_anything(number: int) -> None:
        got.append((number, await desk.ask(peer, question(number), CFilter, lambda _: True)))

    with patient(ledger) as desk:
        async with trio.open_nursery() as nursery:
            for number in (1, 2):
                nursery.start_soon(ask_anything, number)
                await settle()
            assert peer.asked == []
            peer.room[2].set()
            await settle()
            peer.room[1].set()
            await settle()
            assert [view.number for view in ledger.open_requests()] == [1, 2]
            for number in (7, 8):
                assert ledger.deliver(peer, reply(number))
                await settle()
    assert (peer.asked, got) == ([2, 1], [(2, reply(7)), (1, reply(8))])


class Swapping(FakePeer):
    """A peer whose queue has room for a message when the test says so."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.room = {1: trio.Event(), 2: trio.Event()}

    async def send(self, message: Message) -> None:
        assert isinstance(message, GetCFilters)
        await self.room[message.start_height].wait()
        self.asked.append(message.start_height)


@pytest.mark.trio
async def test_what_is_under_way_can_be_looked_at(autojump_clock: trio.testing.MockClock) -> None:
    """Number, phase, stay, peer, size, deadline and how much has come, as long as it is open."""
    ledger, peer, other = Ledger(), FakePeer("peer"), FakePeer("other")
    with ledger.desk("headers", 1, IDLE):
        pass
    with ledger.desk("filters", 2, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.ask_many, peer, question(7), CFilter, lambda _: True, 3)
            await trio.sleep(4.0)
            nursery.start_soon(ask, desk, other, 8)
            await settle()
            assert ledger.deliver(peer, reply(7))
            first, second = ledger.open_requests()
            assert (first.number, first.phase, first.stay, first.command) == (1, "filters", 2, "getcfilters")
            assert (first.peer, second.peer, second.number) == (peer, other, 2)
            assert first.size == 24 + len(question(7).to_bytes())
            assert (first.sent_at, first.deadline, first.expected, first.settled) == (0.0, 4.0 + IDLE, 3, 1)
            assert (second.sent_at, second.deadline, second.settled) == (4.0, 4.0 + IDLE, 0)
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                first.size = 0  # type: ignore[misc]
            nursery.cancel_scope.cancel()
    assert ledger.open_requests() == ()


@pytest.mark.trio
async def test_strays_are_counted_for_each_peer_and_forgotten_with_it(autojump_clock: trio.testing.MockClock) -> None:
    """Late, a second time, never asked for; and no more requests are remembered than a bound, for each peer."""
    ledger, peer, other = Ledger(), FakePeer("peer"), FakePeer("other")
    for number in range(REMEMBERED + 5):
        with trio.move_on_after(1.0), ledger.desk("filters", 1, IDLE) as desk:
            await ask(desk, peer if number else other, number)
    assert (ledger.owed(peer), ledger.owed(other)) == (REMEMBERED, 1)
    numbers = (0, REMEMBERED + 4, REMEMBERED + 4, 3)  # other's own, late, twice, and one that is remembered no more
    for who, number in ((other, 0), *[(peer, number) for number in numbers]):
        if not ledger.deliver(who, reply(number)):
            ledger.drop(who)
    assert (ledger.strays(peer), ledger.strays(other), ledger.owed(other)) == (4, 1, 0)
    assert (ledger.tally.late, ledger.tally.unasked) == (2, 3)
    ledger.peer_lost(peer, "gone")
    assert (ledger.strays(peer), ledger.strays(other), ledger.owed(peer)) == (0, 1, 0)
    peer.gone = "gone"
    ledger.drop(peer)
    assert ledger.strays(peer) == 0
