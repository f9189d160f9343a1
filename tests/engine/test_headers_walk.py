"""The headers walk and peers that answer out of turn: patience with the honest, none with who leads in circles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import trio
import trio.testing

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import SIMNET
from phasegate.consensus.x11 import HEADER_SIZE
from phasegate.engine.config import Address, Config
from phasegate.engine.errors import Failure, FailureKind
from phasegate.engine.peers import Peer
from phasegate.engine.phases.headers import download_headers
from phasegate.engine.pool import Pool
from phasegate.engine.requests import Ledger
from phasegate.engine.seams import Writer, inline_seams
from phasegate.engine.work import Live, Work
from phasegate.p2p.messages import GetHeaders, Headers, Message
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.store import Store

TRUNK, FORK, LENGTH = 60, 40, 50
BATCH = 7
Answer = Callable[[GetHeaders], bytes]


@cache
def trunk() -> GeneratedChain:
    return generate(TRUNK, 3)


@cache
def branch() -> GeneratedChain:
    """Leaves the trunk above `FORK` and stays shorter."""
    return generate(LENGTH, 3, fork_at=FORK, fork_seed=8)


class FakePeer(Peer):
    """A peer that answers each getheaders as its script says."""

    def __init__(self, ledger: Ledger, answer: Answer) -> None:
        self.address = Address("peer", 1)
        self.ledger = ledger
        self.answer = answer
        self.gone = ""
        self.answers = 0
        self.info = None
        self.asked = 0
        self.mute = False

    def __str__(self) -> str:
        return "peer"

    __repr__ = __str__

    def arriving(self, command: str) -> int:
        return 0

    async def send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        assert isinstance(message, GetHeaders)
        self.asked += 1
        answer = Headers(self.answer(message))
        if not self.mute:
            self.ledger.deliver(self, answer)


class FakePool(Pool):
    """One peer, or none once it is banned."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.fault: PeerMisbehaved | None = None

    @property
    def ready(self) -> list[Peer]:
        return [] if self.fault else [self.peer]

    @property
    def hopeless(self) -> str:
        return str(self.fault or "")

    async def first_contact(self) -> None:
        await trio.lowlevel.checkpoint()

    async def changed(self) -> None:
        await trio.sleep_forever()  # nobody comes

    def ban(self, peer: Peer, fault: PeerMisbehaved) -> None:
        assert peer is self.peer
        self.fault = fault


def following(chain: GeneratedChain) -> Answer:
    """The answers of an honest node, in small batches."""

    def answer(message: GetHeaders) -> bytes:
        known = [height for block in message.locator if (height := chain.height_of(block)) is not None]
        return chain.headers(known[0] + 1, min(BATCH, chain.height - known[0]))

    return answer


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store of simnet."""
    store = Store.open(tmp_path, SIMNET)
    yield store
    store.close()


def work_with(store: Store, answer: Answer) -> tuple[Work, FakePool, FakePeer]:
    """A workbench whose one peer answers like that."""
    ledger = Ledger()
    peer = FakePeer(ledger, answer)
    pool = FakePool(peer)
    seams = inline_seams(0, now=lambda: 1_900_000_000.0)
    writer = Writer(store, seams.write)
    work = Work(Config(SIMNET), seams, writer, pool, ledger, Live(), lambda *_: None, lambda *_: None)
    return work, pool, peer


async def sync(store: Store, chain: GeneratedChain) -> None:
    """Store the headers of a chain, from an honest peer."""
    work, pool, _ = work_with(store, following(chain))
    await download_headers(work)
    assert pool.fault is None


@pytest.mark.trio
async def test_an_honest_peer_is_followed_to_its_tip(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    """Each batch is asked for once, and one more answer says that there is nothing above."""
    work, _, peer = work_with(store, following(trunk()))
    await download_headers(work)
    assert store.marks.tip_hash == trunk().tip_hash
    assert peer.asked == -(-TRUNK // BATCH) + 1
    assert work.has_agreed(peer)


@pytest.mark.trio
async def test_a_walk_entered_again_is_not_led_astray_by_late_answers(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    """The answer to the last stay's question is dropped; else each question would get the answer to the one before."""
    honest = following(trunk())
    owed: list[bytes] = []
    work, pool, peer = work_with(store, honest)

    def hold_back(message: GetHeaders) -> bytes:
        owed.append(honest(message))
        return honest(message)

    peer.answer = hold_back
    peer.mute = True
    with trio.move_on_after(1):
        await download_headers(work)
    peer.mute = False

    def late_first(message: GetHeaders) -> bytes:
        peer.ledger.deliver(peer, Headers(owed[0]))
        peer.answer = honest
        return honest(message)

    peer.answer = late_first
    await download_headers(work)
    assert (store.marks.tip_hash, pool.fault) == (trunk().tip_hash, None)
    assert peer.ledger.tally.late == 1
    assert peer.asked == 1 + -(-TRUNK // BATCH) + 1


@pytest.mark.trio
async def test_a_shorter_branch_is_read_and_left_alone(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    """Valid, but worth less: nothing is rolled back, and its peer is no liar."""
    await sync(store, trunk())
    work, pool, peer = work_with(store, following(branch()))
    await download_headers(work)
    assert (store.marks.tip_hash, pool.fault) == (trunk().tip_hash, None)
    assert work.has_agreed(peer)


@pytest.mark.trio
async def test_a_longer_branch_replaces_the_stored_one(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    """In one commit, once its work is more."""
    await sync(store, branch())
    await sync(store, trunk())
    assert (store.marks.tip, store.marks.tip_hash) == (TRUNK, trunk().tip_hash)
    assert store.headers(1, TRUNK) == trunk().headers(1, TRUNK)


def circles() -> dict[str, Answer]:
    """Ways to answer for ever without ever getting further."""
    first, other = branch().header(FORK + 1), trunk().headers(FORK - 5, 3)
    turns = [branch().headers(FORK + 1, 2), trunk().headers(FORK - 5, 3)]

    def alternate(_: GetHeaders) -> bytes:
        turns.append(turns.pop(0))
        return turns[0]

    def regrow(message: GetHeaders) -> bytes:
        at = branch().height_of(message.locator[0])
        return branch().header(at + 1) if at is not None and at < FORK + 3 else first

    return {
        "the same piece of a branch": lambda _: first,
        "the same stored headers": lambda _: other,
        "a branch and stored headers in turn": alternate,
        "a branch grown and begun again": regrow,
    }


@pytest.mark.trio
@pytest.mark.parametrize("way", circles())
async def test_a_peer_that_leads_in_circles_is_dropped(
    way: str, store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    """One such peer cannot keep the walk from ending."""
    await sync(store, trunk())
    work, pool, peer = work_with(store, circles()[way])
    fail_after(1000, peer)
    with pytest.raises(Failure) as caught:
        await download_headers(work)
    assert caught.value.kind is FailureKind.ALL_BANNED
    assert pool.fault is not None
    assert pool.fault.fault is Fault.UNFITTING_REPLY
    assert store.marks.tip_hash == trunk().tip_hash


@pytest.mark.trio
async def test_a_peer_whose_chain_ends_inside_ours_agrees(store: Store, autojump_clock: trio.testing.MockClock) -> None:
    """It knows none of the newest hashes of a locator, and has nothing better: that is no offence, however often."""
    await sync(store, trunk())
    ends_at = trunk().height - 20
    work, pool, peer = work_with(store, lambda m: answer_up_to(ends_at, m))
    fail_after(10, peer)
    await download_headers(work)
    assert pool.fault is None
    assert work.has_agreed(peer)
    assert not work.live.elsewhere


def answer_up_to(end: int, message: GetHeaders) -> bytes:
    """What an honest node says that has the trunk only up to `end`."""
    heights = [trunk().height_of(block) for block in message.locator]
    known = next(height for height in heights if height is not None and height <= end)
    return trunk().headers(known + 1, end - known)


def fail_after(most: int, peer: FakePeer) -> None:
    """Fail the test after so many questions, instead of running for ever."""
    answer = peer.answer

    def bounded(message: GetHeaders) -> bytes:
        assert peer.asked < most, "the walk goes round in circles"
        return answer(message)

    peer.answer = bounded


@pytest.mark.trio
async def test_stale_answers_with_progress_between_them_are_forgiven(
    store: Store, autojump_clock: trio.testing.MockClock
) -> None:
    """Only answers in a row that bring nothing count: a node that repeats itself all the way is slow, not hostile."""
    honest = following(trunk())
    last: list[bytes] = []

    def twice(message: GetHeaders) -> bytes:
        if last:
            return last.pop()
        last.append(honest(message))
        return last[0]

    work, pool, _ = work_with(store, twice)
    await download_headers(work)
    assert (store.marks.tip_hash, pool.fault) == (trunk().tip_hash, None)


def test_the_chains_of_these_tests_are_what_they_say() -> None:
    """The branch leaves the trunk where it should, and is shorter."""
    assert trunk().header(FORK) == branch().header(FORK)
    assert trunk().header(FORK + 1) != branch().header(FORK + 1)
    assert len(trunk().headers(1, TRUNK)) == TRUNK * HEADER_SIZE
