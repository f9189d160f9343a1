"""Requests are answered, ignored and punished as dashd does it."""

from __future__ import annotations

import pytest

from phasegate.consensus.headers import locator_heights
from phasegate.p2p.compressed import expand
from phasegate.p2p.messages import (
    CFCheckpt,
    CFHeaders,
    CFilter,
    GetBlocks,
    GetCFCheckpt,
    GetCFHeaders,
    GetCFilters,
    GetData,
    GetHeaders,
    GetHeaders2,
    GetMnListDiff,
    Headers,
    Headers2,
    Inv,
    InvItem,
    InvType,
    Mempool,
    Message,
    MnListDiff,
    NotFound,
    Services,
)
from phasegate.p2p.simnet.answers import Punished, answer, check_offered
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.recording import RecordedChain

NOWHERE = b"\x11" * 32
V = 70240


def given(chain: GeneratedChain | RecordedChain, request: Message, version: int = V) -> list[Message]:
    """The messages of the answer; none for silence."""
    found = answer(chain, request, version)
    return [] if found is None else list(found.messages)


def located(chain: GeneratedChain, request: Message) -> tuple[int, int]:
    """First and last height of the headers that come."""
    (message,) = given(chain, request)
    assert isinstance(message, Headers)
    start = chain.headers(0, chain.height + 1).index(message.raw) // 80
    return start, start + message.count - 1


def test_headers_come_from_behind_the_first_known_hash(long_chain: GeneratedChain) -> None:
    """The first locator hash on the chain decides; when none is known headers begin at height 1."""
    chain = long_chain
    assert located(chain, GetHeaders(V, (NOWHERE, chain.hash_at(400), chain.hash_at(0)))) == (401, chain.height)
    assert located(chain, GetHeaders(V, (NOWHERE,))) == (1, 2000)
    assert located(chain, GetHeaders(V, tuple(chain.hash_at(h) for h in locator_heights(700)))) == (701, chain.height)


def test_headers_end_at_the_stop(long_chain: GeneratedChain) -> None:
    """The stop block is the last one sent; an unknown stop means no end; without a locator it is sent alone."""
    chain = long_chain
    assert located(chain, GetHeaders(V, (chain.hash_at(0),), chain.hash_at(30))) == (1, 30)
    assert located(chain, GetHeaders(V, (chain.hash_at(0),), NOWHERE)) == (1, 2000)
    assert located(chain, GetHeaders(V, (), chain.hash_at(30))) == (30, 30)
    assert given(chain, GetHeaders(V, (), NOWHERE)) == []


def test_at_the_tip_an_empty_message_comes(long_chain: GeneratedChain) -> None:
    """Nothing new is said with an empty headers message, not with silence."""
    assert given(long_chain, GetHeaders(V, (long_chain.tip_hash,))) == [Headers(b"")]
    assert given(long_chain, GetHeaders2(V, (long_chain.tip_hash,))) == [Headers2(0, b"")]


@pytest.mark.parametrize(("version", "count"), [(70240, 2300), (70235, 2300), (70234, 2000)])
def test_compressed_headers_depend_on_the_version(long_chain: GeneratedChain, version: int, count: int) -> None:
    """At most 8,000 compressed headers from 70235 on, 2,000 before; expanded they are the chain's."""
    (message,) = given(long_chain, GetHeaders2(version, (long_chain.hash_at(0),)), version)
    assert isinstance(message, Headers2)
    assert message.count == count
    assert expand(message) == long_chain.headers(1, count)


def test_blocks_are_listed_five_hundred_at_a_time(long_chain: GeneratedChain) -> None:
    """getblocks is answered by an inv of the next 500 at most, up to but not with the stop."""
    for stop, count in ((bytes(32), 500), (long_chain.hash_at(11), 10)):
        (message,) = given(long_chain, GetBlocks(V, (long_chain.hash_at(0),), stop))
        assert isinstance(message, Inv)
        assert message.items == tuple(InvItem(2, long_chain.hash_at(h)) for h in range(1, count + 1))
    assert given(long_chain, GetBlocks(V, (long_chain.tip_hash,))) == []


def test_filter_headers_come_for_the_span(long_chain: GeneratedChain) -> None:
    """2,000 filter hashes with the filter header before them; from genesis on that header is zero."""
    for start in (0, 300):
        stop = start + 1999
        (message,) = given(long_chain, GetCFHeaders(0, start, long_chain.hash_at(stop)))
        assert isinstance(message, CFHeaders)
        assert message.prev_header == long_chain.filter_header(start - 1)
        assert message.hashes == b"".join(long_chain.filter_hash(h) for h in range(start, stop + 1))


def test_filters_come_one_by_one_ascending(long_chain: GeneratedChain) -> None:
    """1,000 cfilter messages for 1,000 heights, genesis included."""
    messages = given(long_chain, GetCFilters(0, 0, long_chain.hash_at(999)))
    assert messages == [CFilter(0, long_chain.hash_at(h), long_chain.filter(h)) for h in range(1000)]


@pytest.mark.parametrize(("stop", "heights"), [(999, []), (1000, [1000]), (2299, [1000, 2000])])
def test_checkpoints_stand_every_thousand(long_chain: GeneratedChain, stop: int, heights: list[int]) -> None:
    """Filter headers at 1000, 2000, .. up to the stop."""
    (message,) = given(long_chain, GetCFCheckpt(0, long_chain.hash_at(stop)))
    assert message == CFCheckpt(0, long_chain.hash_at(stop), b"".join(long_chain.filter_header(h) for h in heights))


def test_what_dashd_disconnects_for(long_chain: GeneratedChain) -> None:
    """Spans too long, ending before they start or at an unknown block, other filter types, lists nobody asked for."""
    tip, at = long_chain.tip_hash, long_chain.hash_at
    diff = long_chain.mnlistdiff(0, 5)
    assert diff is not None
    for request in (
        GetCFHeaders(0, 0, at(2000)),
        GetCFilters(0, 0, at(1000)),
        GetCFHeaders(0, 6, at(5)),
        GetCFilters(0, 6, at(5)),
        GetCFHeaders(0, 0, NOWHERE),
        GetCFilters(0, 0, NOWHERE),
        GetCFCheckpt(0, NOWHERE),
        GetCFHeaders(1, 2299, tip),
        GetCFilters(1, 2299, tip),
        GetCFCheckpt(1, tip),
        MnListDiff(diff),
    ):
        with pytest.raises(Punished):
            answer(long_chain, request, V)


def test_where_dashd_is_silent(long_chain: GeneratedChain) -> None:
    """Unknown blocks, and list differences of unknown or reversed ones."""
    at = long_chain.hash_at
    for request in (
        GetData((InvItem(InvType.BLOCK, NOWHERE), InvItem(InvType.BLOCK, at(0)))),
        GetData((InvItem(InvType.FILTERED_BLOCK, at(5)),)),
        GetMnListDiff(NOWHERE, at(5)),
        GetMnListDiff(at(5), NOWHERE),
        GetMnListDiff(at(6), at(5)),
    ):
        assert given(long_chain, request) == []
    assert given(generate(20, "young"), Mempool()) == []


def test_blocks_come_in_the_order_asked(long_chain: GeneratedChain) -> None:
    """Known blocks are sent, unknown ones passed over."""
    wanted = [9, 3, 2300]
    items = [InvItem(InvType.BLOCK, long_chain.hash_at(h)) for h in wanted]
    messages = given(long_chain, GetData((items[0], InvItem(InvType.BLOCK, NOWHERE), *items[1:])))
    assert [m.to_payload(V) for m in messages] == [long_chain.block(h) for h in wanted]


def test_unknown_transactions_and_locks_are_not_found(recorded: RecordedChain) -> None:
    """Locks are served by their hash; what is neither here nor a block is answered by notfound."""
    lock = recorded.locks()[0]
    missing = InvItem(InvType.TX, NOWHERE)
    messages = given(recorded, GetData((InvItem(lock.inv_type, lock.hash), missing)))
    assert [(m.command, m.to_payload(V)) for m in messages] == [
        (lock.command, lock.payload),
        ("notfound", NotFound((missing,)).to_payload(V)),
    ]


@pytest.mark.parametrize("name", ["recorded", "long_chain"])
def test_the_memory_pool_tells_the_best_chainlock(name: str, request: pytest.FixtureRequest) -> None:
    """mempool is answered by an inv of the newest ChainLock, whose payload then is to be had."""
    chain: GeneratedChain | RecordedChain = request.getfixturevalue(name)
    (message,) = given(chain, Mempool())
    assert isinstance(message, Inv)
    newest = [lock for lock in chain.locks() if lock.command == "clsig"][-1]
    assert message.items == (InvItem(InvType.CHAINLOCK, newest.hash),)
    assert [m.to_payload(V) for m in given(chain, GetData(message.items))] == [newest.payload]


def test_what_a_node_does_not_offer_ends_the_connection() -> None:
    """Filters asked of a node without them, and the memory pool of one without bloom filters."""
    everything = Services.NETWORK | Services.COMPACT_FILTERS | Services.BLOOM
    for request, service in (
        (GetCFilters(0, 1, NOWHERE), Services.COMPACT_FILTERS),
        (GetCFHeaders(0, 1, NOWHERE), Services.COMPACT_FILTERS),
        (GetCFCheckpt(0, NOWHERE), Services.COMPACT_FILTERS),
        (Mempool(), Services.BLOOM),
    ):
        check_offered(request, everything)
        with pytest.raises(Punished):
            check_offered(request, everything & ~service)
