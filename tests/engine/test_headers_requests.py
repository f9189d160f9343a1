"""Plain and compressed headers: negotiated peer by peer, given up peer by peer, and never hashed twice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from phasegate.consensus import headers as rules
from phasegate.consensus.faults import Fault
from phasegate.consensus.params import REGTEST
from phasegate.consensus.x11 import x11_many
from phasegate.engine.errors import Failure, FailureKind, PeerGone
from phasegate.engine.peers import Peer
from phasegate.engine.phases.headers import download_headers
from phasegate.engine.phases.headers_requests import Batch, HeaderRequests
from phasegate.p2p.compressed import Headers2, compress
from phasegate.p2p.handshake import PeerInfo
from phasegate.p2p.messages import GetHeaders, GetHeaders2, Message, Services
from phasegate.store import Store
from tests.scripted_peers import Bench, FakePeer, HeaderChain, Serving, bench, changed

pytestmark = pytest.mark.trio


@cache
def trunk() -> HeaderChain:
    return HeaderChain().grown(100)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A new store of regtest."""
    store = Store.open(tmp_path, REGTEST)
    yield store
    store.close()


def kinds(peer: FakePeer) -> set[type]:
    return {type(question) for question in peer.asked}


class Real(Peer):
    """A peer that said this of itself."""

    def __init__(self, services: int, negotiated: int) -> None:
        self.info = PeerInfo(negotiated, services, "", 0, True, negotiated)


@pytest.mark.parametrize(
    ("services", "negotiated", "limit"),
    [
        (Services.NETWORK, 70240, 0),
        (Services.NETWORK | Services.HEADERS_COMPRESSED, 70240, 8000),
        (Services.NETWORK | Services.HEADERS_COMPRESSED, 70235, 8000),
        (Services.NETWORK | Services.HEADERS_COMPRESSED, 70234, 2000),
    ],
)
async def test_compression_is_negotiated_by_service_bit_and_version(services: int, negotiated: int, limit: int) -> None:
    """8000 headers a message when both sides know that limit, 2000 before, none without the bit."""
    assert Real(services, negotiated).compressed_limit == limit


async def test_each_peer_is_asked_in_the_form_it_announces(store: Store, autojump_clock: MockClock) -> None:
    """Full compressed messages and full plain ones both mean that there is more."""
    on = bench(store, Serving(trunk(), 40), Serving(trunk(), 40), compressed=(40, 0))
    await download_headers(on.work)
    assert store.marks.tip_hash == trunk().tip_hash
    assert [kinds(peer) for peer in on.peers] == [{GetHeaders2}, {GetHeaders}]


async def test_a_short_batch_is_short_by_the_limit_that_was_negotiated(store: Store, autojump_clock: MockClock) -> None:
    """2000 compressed headers are few for one peer and a full message for another."""
    on = bench(store, Serving(HeaderChain().grown(2000)), Serving(trunk()), compressed=(8000, 2000))
    with on.work.desk("headers") as desk:
        requests = HeaderRequests(on.work, desk)
        asked = [REGTEST.genesis]
        batch = await requests.ask(on.peers[0], [rules.genesis_tip(REGTEST).hash])
        assert (len(batch.raw), batch.full) == (2000 * 80, False)
        on.peers[1].answer = on.peers[0].answer
        assert (await requests.ask(on.peers[1], asked)).full
        on.peers[1].compressed_limit = 0
        assert (await requests.ask(on.peers[1], asked)).full


async def test_headers_are_hashed_once(
    store: Store, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever expands a message knows all hashes; the rules take them over."""
    hashed: list[int] = []

    def counted(raw: bytes) -> bytes:
        hashed.append(len(raw) // 80)
        return x11_many(raw)

    monkeypatch.setattr(rules, "x11_many", counted)
    await download_headers(bench(store, Serving(trunk()), compressed=(8000,)).work)
    assert store.hashes(1, 100) == trunk().hashes(1, 100)
    assert not hashed


async def run_with(store: Store, packed: Any, answer: Any = None) -> Bench:
    """A walk with one peer whose compressed answers are `packed` from the headers due."""
    on = bench(store, answer or Serving(trunk(), 40), Serving(trunk(), 40), compressed=(40, 40))
    on.peers[0].packed = packed
    await download_headers(on.work)
    return on


async def test_a_peer_with_a_wrong_encoder_is_asked_for_plain_headers(store: Store, autojump_clock: MockClock) -> None:
    """Its compressed headers break a rule, its plain ones do not: it keeps its place, and so does compression."""
    on = await run_with(store, lambda raw: compress(changed(raw, 5, 76, bytes(4)) if raw else raw))
    assert store.marks.tip_hash == trunk().tip_hash
    assert not on.pool.faults
    assert on.warned == ["headers2-unusable"]
    assert [kinds(peer) for peer in on.peers] == [{GetHeaders2, GetHeaders}, {GetHeaders2}]


async def test_a_liar_lies_in_plain_form_too(store: Store, autojump_clock: MockClock) -> None:
    """Then it is a liar, by what it says in plain form."""
    serving = Serving(trunk(), 40)
    on = await run_with(store, compress, lambda q: changed(serving(q), 5, 76, bytes(4)))
    assert store.marks.tip_hash == trunk().tip_hash
    assert on.pool.faults[on.peers[0]].fault in (Fault.BAD_PROOF_OF_WORK, Fault.BROKEN_HEADER_LINK)


@pytest.mark.parametrize(
    "packed",
    [
        lambda _: Headers2(1, b"\x39" + bytes(80)),
        lambda raw: Headers2(2, compress(raw[:80]).records + b"\x05" + bytes(38)),
        lambda raw: compress(raw + raw),
    ],
)
async def test_what_no_encoder_can_have_made_is_an_offence(
    store: Store, autojump_clock: MockClock, packed: Any
) -> None:
    """A version that nobody told, a first header that is not whole, more headers than a message has."""
    on = await run_with(store, packed)
    assert on.pool.faults[on.peers[0]].fault is Fault.BAD_COMPRESSED_HEADERS
    assert store.marks.tip_hash == trunk().tip_hash


class Deaf(FakePeer):
    """Knows no `getheaders2`, whatever it announces."""

    async def send(self, message: Message) -> None:
        self.mute = isinstance(message, GetHeaders2)
        await super().send(message)


async def test_a_peer_that_does_not_answer_getheaders2_is_asked_plainly(
    store: Store, autojump_clock: MockClock
) -> None:
    """On the same connection, and from then on."""
    on = bench(store, Serving(trunk(), 40), Serving(trunk(), 40), compressed=(40, 40))
    on.peers[0].__class__ = Deaf
    await download_headers(on.work)
    assert store.marks.tip_hash == trunk().tip_hash
    assert on.warned == ["headers2-unanswered"]
    assert not on.pool.dropped
    assert sum(isinstance(question, GetHeaders2) for question in on.peers[0].asked) == 1
    assert kinds(on.peers[1]) == {GetHeaders2}


async def test_a_peer_that_answers_nothing_is_silent(store: Store, autojump_clock: MockClock) -> None:
    """No form of the question helps, and nothing is said about forms."""
    on = bench(store, Serving(trunk()), compressed=(40,))
    on.peers[0].mute = True
    with pytest.raises(Failure) as caught:
        await download_headers(on.work)
    assert caught.value.kind is FailureKind.PEER_SILENT
    assert kinds(on.peers[0]) == {GetHeaders2, GetHeaders}
    assert not on.warned


async def test_a_peer_that_hangs_up_on_getheaders2_is_asked_plainly_when_it_is_back(
    store: Store, autojump_clock: MockClock
) -> None:
    """The address is remembered, and only it."""
    on = bench(store, Serving(trunk()), Serving(trunk()), compressed=(40, 40))
    first, other = on.peers

    class HangsUp(FakePeer):
        async def send(self, message: Message) -> None:
            self.asked.append(message)  # type: ignore[arg-type]  # only questions for headers come
            self.ledger.peer_lost(self, "the peer closed the connection")

    first.__class__ = HangsUp
    with on.work.desk("headers") as desk, pytest.raises(PeerGone):
        await HeaderRequests(on.work, desk).ask(first, [])
    assert not on.work.live.compression.wanted(first)
    assert on.work.live.compression.wanted(other)


async def test_a_batch_is_cut_without_losing_its_hashes() -> None:
    """Headers and hashes stay side by side."""
    chain = trunk()
    batch = Batch(chain.headers(1, 100), chain.hashes(1, 100), full=True)
    rest = batch.after(98)
    assert (rest.raw, rest.hashes) == (chain.headers(99, 2), chain.hashes(99, 2))
    assert (rest.last_hash, attrs.evolve(rest, hashes=b"").last_hash) == (chain.tip_hash, chain.tip_hash)
    assert Batch(b"").pieces() == []
