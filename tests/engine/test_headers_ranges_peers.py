"""Header ranges and their peers: who lies, who is silent, slow or elsewhere, and what becomes of their ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from phasegate.consensus.faults import Fault
from phasegate.consensus.headers import ChainTip, CheckedHeaders
from phasegate.consensus.joining import join
from phasegate.consensus.params import REGTEST, Network
from phasegate.engine.errors import Failure
from phasegate.engine.peers import Peer
from phasegate.engine.phases import headers_ranges
from phasegate.engine.phases.headers import download_headers
from phasegate.p2p.compressed import compress
from phasegate.p2p.messages import GetHeaders, Message
from phasegate.p2p.messages_chain import LocatorRequest
from phasegate.store import Store
from tests.header_ranges import LENGTH, LIMIT, ROUND_TRIP, Far, far, longer, trunk
from tests.scripted_peers import Answer, HeaderChain, Serving, changed, remined

pytestmark = pytest.mark.trio


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store of regtest."""
    store = Store.open(tmp_path, REGTEST)
    yield store
    store.close()


def lying_at(height: int, lie: Callable[[bytes], bytes]) -> Answer:
    """Honest but for the header at `height`."""
    honest = Serving(trunk(), LIMIT)

    def answer(message: LocatorRequest) -> bytes:
        raw = honest(message)
        first = trunk().height_of(raw[4:36])
        at = height - 1 - (first if first is not None else height)
        return changed(raw, at, 0, lie(raw[at * 80 : at * 80 + 80])) if 0 <= at < len(raw) // 80 else raw

    return answer


def other_time(header: bytes) -> bytes:
    """As good a header, but another."""
    return remined(changed(header, 0, 68, (int.from_bytes(header[68:72], "little") + 1).to_bytes(4, "little")))


def unproven(header: bytes) -> bytes:
    """Its root is another, its work not done."""
    for byte in range(256):
        made = changed(header, 0, 36, bytes([byte]) * 32)
        if remined(made) != made:
            return made
    raise AssertionError("all prove their work")


LIES = {
    "another block where one is known": (420, other_time, Fault.CHECKPOINT_CONTRADICTED),
    "a block in a range that the next one does not continue": (389, other_time, Fault.BROKEN_HEADER_LINK),
    "a block without work": (401, unproven, Fault.BAD_PROOF_OF_WORK),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_liar_in_the_middle_is_banned_and_others_bring_its_ranges(
    store: Store, autojump_clock: MockClock, lie: str
) -> None:
    """Nothing of what it told of that range is stored, and the others are none the worse."""
    height, told, fault = LIES[lie]
    on, peers = far(store, lying_at(height, told), *[Serving(trunk(), LIMIT)] * 2, delay=ROUND_TRIP)
    peers[0].delay = 0.0  # it has most to tell
    await download_headers(on.work)
    assert {peer: found.fault for peer, found in on.pool.faults.items()} == {peers[0]: fault}
    assert set(on.pool.dropped) <= {peers[0]}
    assert store.marks.tip_hash == trunk().tip_hash


async def test_a_peer_of_another_branch_is_caught_at_the_next_known_block(
    store: Store, autojump_clock: MockClock
) -> None:
    """It has the block at which a range begins, and another at its end: as in a walk, that is a contradiction."""
    on, peers = far(store, Serving(longer(), LIMIT), *[Serving(trunk(), LIMIT)] * 2, delay=ROUND_TRIP)
    peers[0].delay = 0.0
    await download_headers(on.work)
    assert [found.fault for found in on.pool.faults.values()] == [Fault.CHECKPOINT_CONTRADICTED]
    assert store.marks.tip_hash == trunk().tip_hash


@pytest.mark.parametrize("chain", ["shorter", "genesis", "other"])
async def test_a_peer_that_does_not_have_the_ranges_is_left_to_the_walk(
    store: Store, autojump_clock: MockClock, chain: str
) -> None:
    """It claims more than it has, or is on another chain from the beginning: neither dropped, nor asked for more."""
    network = attrs.evolve(REGTEST, known_blocks={at: trunk().hash_at(at) for at in range(210, LENGTH, 30)})
    has = {"shorter": trunk().cut(200), "genesis": trunk().cut(0), "other": HeaderChain().grown(40, seed=9)}[chain]
    on, peers = far(store, Serving(has, LIMIT), *[Serving(trunk(), LIMIT)] * 2, delay=ROUND_TRIP, network=network)
    peers[0].delay = ROUND_TRIP / 2
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.dropped) == (trunk().tip_hash, {})
    ends = {question.stop for question in peers[0].ranges if trunk().height_of(question.stop)}
    assert 0 < len(ends) <= on.work.limits.in_flight["headers"]
    by_walk = {found.detail[:11] for found in on.pool.faults.values()}
    assert by_walk == ({"a fork at 0"} if chain == "other" else set())


async def test_those_who_claim_less_have_their_turn_when_those_who_claim_most_have_nothing(
    store: Store, autojump_clock: MockClock
) -> None:
    """One that claims the whole chain has none of it, one that claims half of it has that."""
    on, peers = far(store, Serving(trunk().cut(3), LIMIT), Serving(trunk().cut(320), LIMIT), delay=ROUND_TRIP)
    peers[1].start_height = 320
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults, on.pool.dropped) == (trunk().hash_at(320), {}, {})
    stops = [height for question in peers[1].ranges if (height := trunk().height_of(question.stop)) is not None]
    assert set(stops) == {60, 120, 180, 240, 300}


@pytest.mark.parametrize("claim", [LENGTH, LENGTH + 1])
async def test_a_silent_peer_holds_nobody_up_for_long(store: Store, autojump_clock: MockClock, claim: int) -> None:
    """Its ranges are asked of others after `steal_after`, or, when it claims most, after its timeout."""
    on, peers = far(store, *[Serving(trunk(), LIMIT)] * 3, delay=ROUND_TRIP)
    peers[0].mute, peers[0].start_height = True, claim
    with trio.fail_after(30):
        await download_headers(on.work)
    assert store.marks.tip_hash == trunk().tip_hash
    assert set(on.pool.dropped) <= {peers[0]}


async def test_crumbs_are_put_together(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few headers come in an answer, what waits to be stored is in few pieces."""
    monkeypatch.setattr(headers_ranges, "LEAST_PIECE", 25)
    joined: list[list[int]] = []

    def watched(network: Network, tip: ChainTip, pieces: list[CheckedHeaders], now: int) -> list[CheckedHeaders]:
        joined.append([piece.count for piece in pieces])
        return join(network, tip, pieces, now)

    monkeypatch.setattr(headers_ranges, "join", watched)
    on, _ = far(store, Serving(trunk(), 7))
    await download_headers(on.work)
    assert (store.marks.tip_hash, store.marks.work) == (trunk().tip_hash, trunk().tip.work)
    assert joined == [[28, 28, 4]] * 10 + [[28, 2]]


async def test_a_peer_that_brings_crumbs_is_overtaken(store: Store, autojump_clock: MockClock) -> None:
    """One header an answer: others bring its ranges long before."""
    on, peers = far(store, Serving(trunk(), 1), *[Serving(trunk(), LIMIT)] * 2, delay=ROUND_TRIP, steal_after=1.0)
    peers[0].delay = 1.0
    with trio.fail_after(60):
        await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults) == (trunk().tip_hash, {})


async def test_wrong_compression_is_asked_again_plainly(store: Store, autojump_clock: MockClock) -> None:
    """Said once, however many ranges were under way; the peer stays."""
    on, peers = far(store, *[Serving(trunk(), LIMIT)] * 2, compressed=(LIMIT, LIMIT), delay=ROUND_TRIP)

    def spoiled(raw: bytes) -> Message:
        return compress(changed(raw, 5, 36, b"\1" * 32) if len(raw) > 400 else raw)

    peers[0].packed = spoiled
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults, on.pool.dropped) == (trunk().tip_hash, {}, {})
    assert on.warned == ["headers2-unusable"]
    assert any(isinstance(question, GetHeaders) for question in peers[0].ranges)
    assert not any(isinstance(question, GetHeaders) for question in peers[1].ranges)


async def test_when_all_are_gone_the_walk_says_so(store: Store, autojump_clock: MockClock) -> None:
    """With what is stored by then."""
    on, peers = far(store, lying_at(301, unproven), delay=ROUND_TRIP)
    with pytest.raises(Failure):
        await download_headers(on.work)
    assert [found.fault for found in on.pool.faults.values()] == [Fault.BAD_PROOF_OF_WORK]
    assert store.marks.tip_hash == trunk().hash_at(store.marks.tip)
    assert peers[0].ranges


async def test_who_sends_more_than_was_asked_for_is_cut_short(store: Store, autojump_clock: MockClock) -> None:
    """The range ends where it ends, whatever a peer takes the stop hash for."""
    honest = Serving(trunk(), 2000)
    on, _ = far(store, lambda message: honest(attrs.evolve(message, stop=bytes(32))))
    await download_headers(on.work)
    assert (store.marks.tip_hash, on.pool.faults) == (trunk().tip_hash, {})


class Forgetful(Far):
    """Loses its third question, once."""

    number = 0
    lost: LocatorRequest | None = None

    async def send(self, message: Message) -> None:
        self.number += 1
        if self.number == 3 and isinstance(message, LocatorRequest):
            self.lost = message
        else:
            await super().send(message)


@pytest.mark.parametrize("compressed", [(), (LIMIT,)])
async def test_a_lost_question_does_not_get_the_next_ones_answer(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, compressed: tuple[int, ...]
) -> None:
    """Each answer goes to the question whose block it follows: the lost one is silent, all others are as they were."""
    on, [peer] = far(store, Serving(trunk(), LIMIT), delay=ROUND_TRIP, compressed=compressed)
    peer.__class__ = Forgetful
    assert isinstance(peer, Forgetful)
    brought: list[int] = []
    real = headers_ranges._Download._fetch

    async def watched(self: headers_ranges._Download, peer: Peer, wanted: headers_ranges.Range) -> list[CheckedHeaders]:
        pieces = await real(self, peer, wanted)
        brought.append(wanted.start)
        return pieces

    monkeypatch.setattr(headers_ranges._Download, "_fetch", watched)
    with pytest.raises(Failure):  # the lone peer is dropped for its silence
        await download_headers(on.work)
    assert peer.lost is not None
    assert on.pool.faults == {}
    assert [why for why in on.pool.dropped.values() if f"no answer to {peer.lost.command} within 10 s" in why]
    assert set(brought) == set(range(0, 601, 60)) - {trunk().height_of(peer.lost.locator[0])}
