"""The ledger: one desk at a time, bounded requests, idle deadlines, and every reply given to its own request."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from phasegate.engine.errors import FailureKind, LocalProtocolError, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.requests import STEADY, Desk, Ledger, Tally
from phasegate.p2p.messages import CFilter, GetCFilters, GetHeaders, Headers, Message, Ping
from tests.asked_peers import reply

IDLE = 10.0
ASK = GetHeaders(70240, (bytes(32),), bytes(32))
SOME = Headers(bytes(80))


class FakePeer(Peer):
    """A peer without a connection: keeps what it was sent, and counts bytes as the test says."""

    def __init__(self, name: str = "peer") -> None:
        self.name = name
        self.gone = ""
        self.answers = 0
        self.sent: list[Message] = []
        self.received = 0
        self.room = trio.Event()
        self.room.set()

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__

    def arriving(self, command: str) -> int:
        return self.received if command == Headers.command else 0

    async def send(self, message: Message) -> None:
        await self.room.wait()
        self.sent.append(message)


def anything(_: Message) -> bool:
    return True


def replies_in(numbers: range) -> Callable[[CFilter], bool]:
    """Accepts each of a range of filters once."""
    missing = {reply(number).block_hash for number in numbers}

    def fits(message: CFilter) -> bool:
        fresh = message.block_hash in missing
        missing.discard(message.block_hash)
        return fresh

    return fits


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.trio
async def test_a_reply_reaches_its_request(autojump_clock: trio.testing.MockClock) -> None:
    """The message leaves, the answer comes back, and nothing is outstanding after it."""
    ledger, peer = Ledger(), FakePeer()
    with ledger.desk("headers", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                await settle()
                assert (peer.sent, ledger.outstanding) == ([ASK], 1)
                assert ledger.deliver(peer, SOME)

            nursery.start_soon(answer)
            assert await desk.ask(peer, ASK, Headers, anything) is SOME
        assert ledger.outstanding == 0
    assert ledger.tally == Tally(sent=1, answered=1)
    assert peer.answers == 1


@pytest.mark.trio
async def test_only_one_desk_is_open_at_a_time() -> None:
    """Two phases never overlap: that would be our bug, and it is named."""
    ledger = Ledger()
    with (
        ledger.desk("headers", 1, IDLE),
        pytest.raises(LocalProtocolError, match="filters wants to send while headers is active"),
        ledger.desk("filters", 1, IDLE),
    ):
        pass
    with ledger.desk("filters", 1, IDLE):  # the refusal left the ledger as it was
        pass


@pytest.mark.trio
async def test_a_desk_that_is_closed_may_not_send() -> None:
    """Only the active phase's requests may leave; the peer gets nothing."""
    ledger, peer = Ledger(), FakePeer()
    with ledger.desk("headers", 1, IDLE) as old:
        pass
    with (
        ledger.desk("filters", 1, IDLE),
        pytest.raises(LocalProtocolError, match="headers is not the active phase and may not send getheaders"),
    ):
        await old.ask(peer, ASK, Headers, anything)
    assert (peer.sent, ledger.outstanding, ledger.tally.sent) == ([], 0, 0)


@pytest.mark.trio
async def test_a_silent_peer_is_given_up_after_the_idle_timeout(autojump_clock: trio.testing.MockClock) -> None:
    """Not before, and with the command that got no answer."""
    ledger, peer = Ledger(), FakePeer("a:1")
    with ledger.desk("headers", 1, IDLE) as desk:
        start = trio.current_time()
        with pytest.raises(PeerGone, match="a:1: no answer to getheaders within 10 s") as caught:
            await desk.ask(peer, ASK, Headers, anything)
        assert trio.current_time() - start == IDLE
    assert caught.value.kind is FailureKind.PEER_SILENT
    assert ledger.tally == Tally(sent=1, silent=1)


async def answer_after(ledger: Ledger, peer: FakePeer, pauses: Sequence[float]) -> None:
    """One reply after each pause."""
    for number, pause in enumerate(pauses):
        await trio.sleep(pause)
        assert ledger.deliver(peer, reply(number))


async def ask_filters(desk: Desk, peer: Peer, count: int) -> list[CFilter]:
    return await desk.ask_many(peer, GetCFilters(0, 0, bytes(32)), CFilter, replies_in(range(count)), count)


@pytest.mark.trio
async def test_steady_progress_never_times_out(autojump_clock: trio.testing.MockClock) -> None:
    """Each reply renews the deadline: a thousand of them take hours, and that is fine (field-bugs 25)."""
    ledger, peer = Ledger(), FakePeer()
    start = trio.current_time()
    with ledger.desk("filters", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_after, ledger, peer, [IDLE - 0.01] * 1000)
            assert await ask_filters(desk, peer, 1000) == [reply(number) for number in range(1000)]
    assert trio.current_time() - start > 2 * 3600
    assert ledger.tally.silent == 0


@given(st.lists(st.floats(0.0, 2 * IDLE).filter(lambda pause: abs(pause - IDLE) > 0.001), min_size=1, max_size=20))
@settings(deadline=None)
def test_a_request_times_out_exactly_when_a_pause_is_too_long(pauses: list[float]) -> None:
    """Whatever the pauses between replies add up to."""
    outcome = trio.run(outcome_of, pauses, clock=trio.testing.MockClock(autojump_threshold=0))
    assert outcome == ("peer-silent" if max(pauses) > IDLE else "")


async def outcome_of(pauses: list[float]) -> str:
    """How a request ends whose replies come after these pauses."""
    ledger, peer, outcome = Ledger(), FakePeer(), ""
    with ledger.desk("filters", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_after, ledger, peer, pauses)
            try:
                await ask_filters(desk, peer, len(pauses))
            except PeerGone as gone:
                outcome = gone.kind.value
            nursery.cancel_scope.cancel()
    return outcome


@pytest.mark.trio
async def test_silence_after_some_replies_times_out_too(autojump_clock: trio.testing.MockClock) -> None:
    """Half an answer is none; its deadline runs from the last reply."""
    ledger, peer = Ledger(), FakePeer()
    start = trio.current_time()
    with ledger.desk("filters", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_after, ledger, peer, [5.0] * 3)
            with pytest.raises(PeerGone, match="no answer to getcfilters"):
                await ask_filters(desk, peer, 4)
    assert trio.current_time() - start == 3 * 5.0 + IDLE


@pytest.mark.trio
async def test_a_large_answer_on_a_slow_line_is_no_silence(autojump_clock: trio.testing.MockClock) -> None:
    """Bytes that keep coming are an answer on its way, though no message is whole yet; a trickle is not."""
    ledger, peer = Ledger(), FakePeer()
    start = trio.current_time()

    async def trickle() -> None:
        for piece in (STEADY, STEADY, STEADY, STEADY - 1):
            await trio.sleep(IDLE / 2)
            peer.received += piece
            await trio.sleep(IDLE / 2)

    with ledger.desk("headers", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            with pytest.raises(PeerGone):
                await desk.ask(peer, ASK, Headers, anything)
    assert trio.current_time() - start == 4 * IDLE


@pytest.mark.trio
async def test_the_bound_per_peer_is_kept(autojump_clock: trio.testing.MockClock) -> None:
    """Twenty requests, three at once to one peer; another peer's do not count with them."""
    ledger, peer, other = Ledger(), FakePeer(), FakePeer("other")
    most = 0

    async def serve(who: FakePeer) -> None:
        nonlocal most
        for number in range(20):
            await settle()
            most = max(most, len(who.sent) - number)
            assert ledger.deliver(who, reply(0))

    with ledger.desk("filters", 3, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            for who in (peer, other):
                for _ in range(20):
                    nursery.start_soon(ask_filters, desk, who, 1)
                nursery.start_soon(serve, who)
            await settle()
            assert ledger.outstanding == 6
    assert (len(peer.sent), len(other.sent), most) == (20, 20, 3)


@pytest.mark.trio
async def test_waiting_for_a_turn_is_not_silence(autojump_clock: trio.testing.MockClock) -> None:
    """The deadline of a request begins when it leaves."""
    ledger, peer = Ledger(), FakePeer()
    with ledger.desk("filters", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask_filters, desk, peer, 1)
            for _ in range(5):
                await trio.sleep(IDLE - 1)
                assert ledger.deliver(peer, reply(0))
    assert ledger.tally == Tally(sent=5, answered=5)


@pytest.mark.trio
async def test_replies_go_to_requests_in_the_order_they_were_sent(autojump_clock: trio.testing.MockClock) -> None:
    """A node answers in order, so of two requests that would take a reply the older one gets it."""
    ledger, peer = Ledger(), FakePeer()
    got: list[tuple[str, Headers]] = []

    async def ask(name: str) -> None:
        got.append((name, await desk.ask(peer, ASK, Headers, anything)))

    with ledger.desk("headers", 2, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            for name in ("first", "second"):
                nursery.start_soon(ask, name)
                await settle()
            for raw in (b"\1" * 80, b"\2" * 80):
                ledger.deliver(peer, Headers(raw))
                await settle()
    assert got == [("first", Headers(b"\1" * 80)), ("second", Headers(b"\2" * 80))]


@pytest.mark.trio
async def test_another_peers_answer_is_nobodys() -> None:
    """Who was not asked cannot answer, and neither can another kind of message."""
    ledger, peer, other = Ledger(), FakePeer(), FakePeer("other")
    with ledger.desk("headers", 1, IDLE) as desk, ledger.enter(desk, peer, ASK, anything, 1):
        assert not ledger.deliver(other, SOME)
        assert ledger.deliver(peer, SOME)
        assert not ledger.deliver(peer, SOME)  # it has its one reply


@pytest.mark.trio
async def test_a_reply_of_the_wrong_kind_or_content_is_not_taken(autojump_clock: trio.testing.MockClock) -> None:
    """The request goes on waiting for its own."""
    ledger, peer = Ledger(), FakePeer()
    with ledger.desk("filters", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_filters, desk, peer, 1)
            await settle()
            assert not ledger.deliver(peer, Ping(1))
            assert not ledger.deliver(peer, reply(5))
            assert ledger.deliver(peer, reply(0))


@pytest.mark.trio
async def test_what_nobody_asked_for_is_counted() -> None:
    """Dropped, one more `unasked`."""
    ledger, peer = Ledger(), FakePeer()
    assert not ledger.deliver(peer, SOME)
    ledger.drop()
    assert ledger.tally == Tally(unasked=1)


@pytest.mark.trio
async def test_a_reply_after_its_timeout_is_late(autojump_clock: trio.testing.MockClock) -> None:
    """Neither an error nor unasked (field-bugs 24); from another peer it would be, and so would a second one."""
    ledger, peer, other = Ledger(), FakePeer(), FakePeer("other")
    with ledger.desk("filters", 1, IDLE) as desk:
        with pytest.raises(PeerGone):
            await ask_filters(desk, peer, 1)
        assert [ledger.deliver(who, reply(0)) for who in (other, peer, peer)] == [False, True, False]
    assert ledger.tally.late == 1


@pytest.mark.trio
async def test_the_second_of_two_equal_answers_was_not_asked_for(autojump_clock: trio.testing.MockClock) -> None:
    """A duplicate changes nothing (field-bugs 5)."""
    ledger, peer = Ledger(), FakePeer()
    with ledger.desk("filters", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_filters, desk, peer, 1)
            await settle()
            assert ledger.deliver(peer, reply(0))
        assert not ledger.deliver(peer, reply(0))


@pytest.mark.trio
async def test_a_stay_that_ends_forgets_its_requests(autojump_clock: trio.testing.MockClock) -> None:
    """Cancelled with its activity: none outstanding, and what comes for them is late."""
    ledger, peer = Ledger(), FakePeer()
    with trio.move_on_after(1), ledger.desk("filters", 2, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            for _ in range(2):
                nursery.start_soon(ask_filters, desk, peer, 1)
    assert ledger.outstanding == 0
    assert ledger.deliver(peer, reply(0))
    assert ledger.tally == Tally(sent=2, late=1)


@pytest.mark.trio
async def test_a_reply_to_a_forgotten_request_is_not_the_answer_to_the_next(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A phase left and entered again asks anew: the answer to the first question comes first, and is late."""
    ledger, peer = Ledger(), FakePeer()
    with trio.move_on_after(1), ledger.desk("headers", 1, IDLE) as desk:
        await desk.ask(peer, ASK, Headers, anything)
    with ledger.desk("headers", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:

            async def answer_both() -> None:
                await settle()
                for raw in (b"\1" * 80, b"\2" * 80):
                    assert ledger.deliver(peer, Headers(raw))

            nursery.start_soon(answer_both)
            assert await desk.ask(peer, ASK, Headers, anything) == Headers(b"\2" * 80)
    assert ledger.tally == Tally(sent=2, answered=1, late=1)


@pytest.mark.trio
async def test_a_request_that_never_left_is_owed_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Cancelled while the peer's queue was full: the next answer belongs to the next request."""
    ledger, peer = Ledger(), FakePeer()
    peer.room = trio.Event()
    with trio.move_on_after(1), ledger.desk("headers", 1, IDLE) as desk:
        await desk.ask(peer, ASK, Headers, anything)
    peer.room.set()
    with ledger.desk("headers", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                await settle()
                assert ledger.deliver(peer, SOME)

            nursery.start_soon(answer)
            assert await desk.ask(peer, ASK, Headers, anything) is SOME
    assert ledger.tally == Tally(sent=1, answered=1)


@pytest.mark.trio
async def test_a_lost_peer_ends_all_its_requests_at_once(autojump_clock: trio.testing.MockClock) -> None:
    """With the reason, without waiting for a timeout; other peers' requests go on."""
    ledger, peer, other = Ledger(), FakePeer(), FakePeer("other")
    ends: list[tuple[FailureKind, str]] = []

    async def ask(who: FakePeer) -> None:
        try:
            await ask_filters(desk, who, 1)
        except PeerGone as gone:
            ends.append((gone.kind, str(gone)))

    with ledger.desk("filters", 2, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            for who in (peer, peer, other):
                nursery.start_soon(ask, who)
            await settle()
            ledger.peer_lost(peer, "the peer closed the connection")
            await settle()
            assert ends == [(FailureKind.PEER_LOST, "peer: the peer closed the connection")] * 2
            assert ledger.outstanding == 1
            assert ledger.deliver(other, reply(0))
    assert ledger.tally == Tally(sent=3, answered=1)


@pytest.mark.trio
async def test_an_answer_that_came_before_the_loss_counts(autojump_clock: trio.testing.MockClock) -> None:
    """The peer answered and hung up: the answer is used."""
    ledger, peer = Ledger(), FakePeer()
    with ledger.desk("headers", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:

            async def answer_and_go() -> None:
                await settle()
                ledger.deliver(peer, SOME)
                ledger.peer_lost(peer, "gone")

            nursery.start_soon(answer_and_go)
            assert await desk.ask(peer, ASK, Headers, anything) is SOME


@pytest.mark.trio
async def test_a_peer_that_is_gone_is_not_asked() -> None:
    """At once, with its reason; nothing is sent."""
    ledger, peer = Ledger(), FakePeer()
    peer.gone = "banned"
    with ledger.desk("headers", 1, IDLE) as desk, pytest.raises(PeerGone, match="banned") as caught:
        await desk.ask(peer, ASK, Headers, anything)
    assert (caught.value.kind, peer.sent, ledger.outstanding) == (FailureKind.PEER_LOST, [], 0)


@pytest.mark.trio
async def test_only_what_is_still_owed_is_late(autojump_clock: trio.testing.MockClock) -> None:
    """Of a forgotten request half of whose replies had come, the other half is late, and then no more."""
    ledger, peer = Ledger(), FakePeer()
    with trio.move_on_after(1), ledger.desk("filters", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_filters, desk, peer, 4)
            await settle()
            for number in (0, 1):
                ledger.deliver(peer, reply(number))
    assert [ledger.deliver(peer, reply(number)) for number in (1, 2, 3, 3)] == [False, True, True, False]
    assert ledger.tally == Tally(sent=1, late=2)


@pytest.mark.trio
async def test_a_lost_peer_owes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Its requests, timed out before or lost with it, are forgotten for good: nothing of it is kept in memory."""
    ledger, peer = Ledger(), FakePeer()
    with ledger.desk("filters", 2, IDLE) as desk:
        with pytest.raises(PeerGone):
            await ask_filters(desk, peer, 1)
        async with trio.open_nursery() as nursery:

            async def lose() -> None:
                await settle()
                ledger.peer_lost(peer, "gone")

            nursery.start_soon(lose)
            with pytest.raises(PeerGone, match="gone"):
                await ask_filters(desk, peer, 1)
    assert not ledger._forgotten
