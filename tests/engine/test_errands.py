"""The desk for announced objects: beside the phase's, bounded, and good for nothing else."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from phasegate.engine.errors import FailureKind, LocalProtocolError, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.requests import Errands, Ledger, Tally
from phasegate.p2p.messages import (
    ClSig,
    GetData,
    GetHeaders,
    Headers,
    InvItem,
    InvType,
    IsdLock,
    Message,
    NotFound,
)

IDLE = 10.0
LOCK = ClSig(7, bytes(32), b"\x01" * 96)
ITEM = InvItem(InvType.CHAINLOCK, LOCK.inventory_hash)
ASK = GetHeaders(70240, (bytes(32),), bytes(32))


class FakePeer(Peer):
    """A peer without a connection, which keeps what it was sent."""

    def __init__(self) -> None:
        self.gone = ""
        self.answers = 0
        self.sent: list[Message] = []

    def __str__(self) -> str:
        return "peer"

    def arriving(self, command: str) -> int:
        return 0

    async def send(self, message: Message) -> None:
        self.sent.append(message)


async def fetch_one(errands: Errands, peer: Peer, item: InvItem) -> ClSig | IsdLock | None:
    """What comes of fetching a single lock."""
    got: list[ClSig | IsdLock | None] = []
    await errands.fetch(peer, [item], lambda _, lock: got.append(lock))
    return got[0]


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


@pytest.mark.trio
async def test_an_announced_lock_is_fetched_while_a_phase_is_active(autojump_clock: trio.testing.MockClock) -> None:
    """The errand runs beside the phase's request, each gets its own answer, and only the phase's is outstanding."""
    ledger, peer = Ledger(), FakePeer()
    got: list[object] = []
    with ledger.errand(2, IDLE) as errands, ledger.desk("headers", 1, IDLE) as desk:
        async with trio.open_nursery() as nursery:

            async def fetch() -> None:
                got.append(await fetch_one(errands, peer, ITEM))

            async def ask() -> None:
                got.append(await desk.ask(peer, ASK, Headers, lambda _: True))

            nursery.start_soon(fetch)
            await settle()
            assert (peer.sent, ledger.outstanding) == ([GetData((ITEM,))], 0)
            nursery.start_soon(ask)
            await settle()
            assert ledger.outstanding == 1
            assert ledger.deliver(peer, Headers(bytes(80)))
            assert ledger.deliver(peer, LOCK)
    assert got == [Headers(bytes(80)), LOCK]
    assert (ledger.tally, ledger.errand_tally, peer.answers) == (Tally(sent=1, answered=1), Tally(1, 1), 1)


@pytest.mark.trio
async def test_nothing_else_leaves_through_it(autojump_clock: trio.testing.MockClock) -> None:
    """A phase's data, a block, alone or among locks, or nothing are our own bug there, and nothing is sent."""
    ledger, peer = Ledger(), FakePeer()
    block = InvItem(InvType.BLOCK, bytes(32))
    wrong = [ASK, GetData((block,)), GetData((ITEM, block)), GetData(())]
    with ledger.errand(2, IDLE) as errands:
        for message in wrong:
            with pytest.raises(LocalProtocolError, match="errands is not the active phase"):
                await errands.ask(peer, message, Headers, lambda _: True)
        with pytest.raises(LocalProtocolError, match="one desk only"), ledger.errand(2, IDLE):
            pass
    assert not peer.sent


@pytest.mark.trio
async def test_a_closed_phase_forgets_its_own_requests_only(autojump_clock: trio.testing.MockClock) -> None:
    """What is under way on an errand survives the change of phases."""
    ledger, peer = Ledger(), FakePeer()
    got: list[object] = []
    with ledger.errand(2, IDLE) as errands:
        async with trio.open_nursery() as nursery:

            async def fetch() -> None:
                got.append(await fetch_one(errands, peer, ITEM))

            nursery.start_soon(fetch)
            with ledger.desk("headers", 1, IDLE):
                await settle()
            assert ledger.deliver(peer, LOCK)
    assert got == [LOCK]


@pytest.mark.trio
async def test_who_no_longer_has_it_says_so(autojump_clock: trio.testing.MockClock) -> None:
    """`notfound` for the object answers the errand; one for something else does not."""
    ledger, peer = Ledger(), FakePeer()
    other = InvItem(InvType.INSTANTSEND_LOCK, ITEM.hash)
    with ledger.errand(2, IDLE) as errands:
        async with trio.open_nursery() as nursery:

            async def answer() -> None:
                await settle()
                assert not ledger.deliver(peer, NotFound((other,)))
                assert not ledger.deliver(peer, ClSig(8, bytes(32), LOCK.signature))
                assert not ledger.deliver(peer, IsdLock(1, (), bytes(32), bytes(32), bytes(96)))
                assert ledger.deliver(peer, NotFound((ITEM,)))

            nursery.start_soon(answer)
            assert await fetch_one(errands, peer, ITEM) is None


@pytest.mark.trio
async def test_silence_ends_an_errand_and_a_late_lock_is_still_good(autojump_clock: trio.testing.MockClock) -> None:
    """The idle timeout applies; a lock that comes later is counted as late, and passed on as one nobody asked for."""
    ledger, peer = Ledger(), FakePeer()
    with ledger.errand(2, IDLE) as errands:
        with pytest.raises(PeerGone) as gone:
            await fetch_one(errands, peer, ITEM)
        assert gone.value.kind is FailureKind.PEER_SILENT
        assert trio.current_time() == pytest.approx(IDLE)
        assert not ledger.deliver(peer, LOCK)
    assert (ledger.tally, ledger.errand_tally) == (Tally(), Tally(sent=1, silent=1, late=1))


@pytest.mark.trio
async def test_errands_to_one_peer_are_bounded_and_leave_nothing_behind(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The third errand waits for its turn; when all are over the desk remembers no peer."""
    ledger, peer = Ledger(), FakePeer()
    locks = [ClSig(height, bytes(32), bytes(96)) for height in range(3)]
    with ledger.errand(2, IDLE) as errands:
        async with trio.open_nursery() as nursery:
            for lock in locks:
                nursery.start_soon(fetch_one, errands, peer, InvItem(InvType.CHAINLOCK, lock.inventory_hash))
            await settle()
            assert len(peer.sent) == 2
            for message in list(peer.sent):
                assert isinstance(message, GetData)
                assert ledger.deliver(peer, NotFound(message.items))
            await settle()
            assert len(peer.sent) == 3
            last = peer.sent[-1]
            assert isinstance(last, GetData)
            ledger.deliver(peer, NotFound(last.items))
        assert errands._turns.idle


LOCKS = [ClSig(height, bytes(32), bytes(96)) for height in range(4)]
ITEMS = [InvItem(InvType.CHAINLOCK, lock.inventory_hash) for lock in LOCKS]


@pytest.mark.trio
async def test_several_are_asked_for_at_once_and_handed_over_as_they_come(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """In any order, whether they come or are denied, one `notfound` for all that are not there."""
    ledger, peer = Ledger(), FakePeer()
    got: list[tuple[InvItem, object]] = []
    with ledger.errand(2, IDLE) as errands:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(errands.fetch, peer, ITEMS, lambda item, lock: got.append((item, lock)))
            await settle()
            assert peer.sent == [GetData(tuple(ITEMS))]
            assert ledger.deliver(peer, LOCKS[2])
            assert got == [(ITEMS[2], LOCKS[2])]
            assert not ledger.deliver(peer, LOCKS[2])  # a second time it is nobody's answer
            assert ledger.deliver(peer, NotFound((ITEMS[0], ITEMS[3])))
            assert ledger.deliver(peer, LOCKS[1])
    assert got[1:] == [(ITEMS[0], None), (ITEMS[3], None), (ITEMS[1], LOCKS[1])]
    assert ledger.errand_tally == Tally(sent=1, answered=1)


@pytest.mark.trio
@pytest.mark.parametrize("pause", [IDLE + 1, IDLE - 1])
async def test_who_keeps_locks_back_does_not_keep_them_from_others(
    autojump_clock: trio.testing.MockClock, pause: float
) -> None:
    """Silent after the first, or one at a time with long pauses: what came was handed over, the rest is given up."""
    ledger, peer = Ledger(), FakePeer()
    got: list[InvItem] = []

    async def trickle() -> None:
        for lock in LOCKS:
            await settle()
            ledger.deliver(peer, lock)
            await trio.sleep(pause)

    with ledger.errand(2, IDLE) as errands:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            with pytest.raises(PeerGone) as gone:
                await errands.fetch(peer, ITEMS, lambda item, _: got.append(item))
            assert trio.current_time() <= 2 * IDLE
    taken = 1 if pause > IDLE else 3
    assert (gone.value.kind, got) == (FailureKind.PEER_SILENT, ITEMS[:taken])
    assert ledger.errand_tally == Tally(sent=1, silent=1, late=4 - taken)


@pytest.mark.trio
async def test_what_was_handed_over_is_not_kept_until_the_last_one_comes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A peer that sends fifteen of sixteen has filled no memory with them: each was handed over, and let go."""
    ledger, peer = Ledger(), FakePeer()
    locks = [ClSig(height, bytes(32), bytes(96)) for height in range(16)]
    items = [InvItem(InvType.CHAINLOCK, lock.inventory_hash) for lock in locks]
    got: list[ClSig | IsdLock | None] = []

    async def fetch(errands: Errands) -> None:
        with pytest.raises(PeerGone, match="no answer to getdata"):
            await errands.fetch(peer, items, lambda _, lock: got.append(lock))

    with ledger.errand(2, IDLE) as errands:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch, errands)
            await settle()
            for lock in locks[:-1]:
                assert ledger.deliver(peer, lock)
            [request] = [request for line in ledger._open.values() for request in line]
            assert (request.settled, request.replies) == (15, [])
    assert got == locks[:-1]
