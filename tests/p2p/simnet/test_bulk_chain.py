"""Bulk chains: the same plan is the same chain, it keeps every rule, and its node says what a simulated node says."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from phasegate.consensus.blocks import Coin, check_block, scan_block
from phasegate.consensus.filters import (
    _golomb,
    block_elements,
    build_filter,
    chain_headers,
    decode_filter,
    filter_hash,
    match_filters,
)
from phasegate.consensus.headers import extend, genesis_tip
from phasegate.consensus.primitives import Block, OutPoint
from phasegate.consensus.x11 import x11
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.messages import (
    GetCFCheckpt,
    GetCFHeaders,
    GetCFilters,
    GetData,
    GetHeaders,
    GetHeaders2,
    InvItem,
    InvType,
    Mempool,
    Message,
    Ping,
)
from phasegate.p2p.simnet.answers import Punished, answer
from phasegate.p2p.simnet.bulk_answers import bulk_answer
from phasegate.p2p.simnet.bulk_chain import BulkChain
from phasegate.p2p.simnet.bulk_files import made
from phasegate.p2p.simnet.bulk_filters import ordinary_filters, ordinary_values
from phasegate.p2p.simnet.bulk_node import Slowness, Talk
from phasegate.p2p.simnet.bulk_plan import BulkPlan
from phasegate.verification.bench.peer import _framed, _greet

PLAN = BulkPlan(2_300, filters=400, matched=30, elements=20, transactions=4, known_every=500)
NOW = 1_700_000_000
VERSION = 70240


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the chains of these tests are kept."""
    return tmp_path_factory.mktemp("bulk")


@pytest.fixture(scope="module")
def chain(cache: Path) -> BulkChain:
    """One small chain."""
    return BulkChain.open(PLAN, made(PLAN, cache))


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_same_plan_is_the_same_chain(chain: BulkChain, cache: Path, tmp_path: Path) -> None:
    """Made again elsewhere, every file has the same bytes; made where it is already, nothing is done."""
    small = BulkPlan(150, filters=60, matched=15, elements=20, transactions=3)
    assert _digests(made(small, tmp_path)) == _digests(made(small, cache))
    said: list[str] = []
    made(small, cache, said.append)
    assert said == []
    assert [path.name for path in tmp_path.iterdir()] == [small.name]


def test_a_fork_shares_what_is_below_it(chain: BulkChain, cache: Path) -> None:
    """And nothing above."""
    plain, forked = (BulkPlan(120, filters=50, matched=10, elements=20, fork=fork) for fork in (0, 5))
    one, other = (BulkChain.open(plan, made(plan, cache)) for plan in (plain, forked))
    assert one.headers(0, 116) == other.headers(0, 116)
    assert [one.filter(h) for h in range(71, 116)] == [other.filter(h) for h in range(71, 116)]
    assert not {one.hash_at(h) for h in range(116, 121)} & {other.hash_at(h) for h in range(116, 121)}


def test_impossible_plans_are_refused() -> None:
    """As are filters with too many elements."""
    with pytest.raises(ValueError, match="no chain can be"):
        BulkPlan(10, filters=11)
    with pytest.raises(ValueError, match="too few or too many"):
        ordinary_filters(1, 1, 1, 200)


def test_the_headers_keep_every_rule(chain: BulkChain) -> None:
    """Links, work, the difficulty at each height, times and known blocks; the bits do change."""
    raw, hashes = chain.headers(1, PLAN.headers), chain.hashes(1, PLAN.headers)
    checked = extend(chain.network, genesis_tip(chain.network), raw, NOW, hashes)
    assert checked.tip.hash == chain.tip_hash
    assert chain.hash_at(PLAN.headers) == x11(chain.header(PLAN.headers))
    assert len({raw[at + 72 : at + 76] for at in range(0, len(raw), 80)}) > 100
    assert list(chain.network.known_blocks) == [500, 1000, 1500, 2000]


def test_every_block_is_there_and_true_to_its_header(chain: BulkChain) -> None:
    """The watched coins that are found are those that the plan tells."""
    coins, touching = dict[OutPoint, Coin](), list[str]()
    for height in (1, 2, *range(PLAN.birthday, PLAN.headers + 1)):
        block = Block.from_bytes(chain.block(height) or b"")
        check_block(block, chain.hash_at(height))
        found = scan_block(block, height, set(PLAN.watched), coins)
        touching += [tx.txid[::-1].hex() for tx in found.transactions]
        coins.update({coin.outpoint: coin for coin in found.created})
        for outpoint, _ in found.spent:
            del coins[outpoint]
    assert touching == chain.expected["transactions"]
    balances = dict.fromkeys(PLAN.watched, 0)
    for coin in coins.values():
        balances[coin.script] += coin.value
    assert balances == PLAN.balances


def test_filters_and_their_headers_are_sound(chain: BulkChain) -> None:
    """Those of matched blocks are true to the block; every one leads to its filter header."""
    start, count = PLAN.birthday, PLAN.filters
    filters = [chain.filter(height) for height in range(start, start + count)]
    assert b"".join(map(filter_hash, filters)) == chain.filter_hashes(start, count)
    headers = chain_headers(bytes(32), chain.filter_hashes(0, PLAN.headers + 1))
    assert [headers[32 * h : 32 * h + 32] for h in (0, 7, PLAN.headers)] == [
        chain.filter_header(h) for h in (0, 7, PLAN.headers)
    ]
    found = match_filters(chain.hashes(start, count), filters, PLAN.watched)
    assert set(chain.watched_heights) <= {start + i for i in found}
    height = chain.watched_heights[12]
    paying = PLAN.paying(height, 12)
    block = Block.from_bytes(chain.block(height) or b"")
    built = build_filter(chain.hash_at(height), block_elements(block, paying.spent_scripts))
    assert chain.filter(height) == built
    with pytest.raises(LookupError):
        chain.filter(start - 1)


def test_ordinary_filters_are_those_of_plain_python() -> None:
    """The kernel makes the numbers that the oracle makes, in the form that BIP158 gives them."""
    for height, raw in enumerate(ordinary_filters(77, 1000, 40, 90), 1000):
        values = ordinary_values(77, height, 90)
        assert 54 <= len(values) <= 126
        assert raw == bytes((len(values),)) + _golomb(values)
        assert decode_filter(raw, bytes(32)) == values


def _requests(chain: BulkChain) -> Iterable[Message]:
    """Every kind of question, at the ends and in the middle, in range and beyond."""
    tip, zero = chain.tip_hash, bytes(32)
    for kind in (GetHeaders, GetHeaders2):
        for height in (0, 1, 298, PLAN.headers - 2, PLAN.headers - 1, PLAN.headers):
            yield kind(VERSION, (zero, chain.hash_at(height)))
        for last in (9, 10, 11, 12, 700):
            yield kind(VERSION, (chain.hash_at(10),), chain.hash_at(last))
        yield kind(VERSION, (b"\7" * 32,))
        yield kind(VERSION, (), chain.hash_at(5))
    for start in (0, 1, 999, PLAN.headers - 1999, PLAN.headers):
        yield GetCFHeaders(0, start, chain.hash_at(min(start + 500, PLAN.headers)))
    yield GetCFHeaders(0, PLAN.headers - 1999, tip)
    for start in (PLAN.birthday, PLAN.birthday + 7, PLAN.headers):
        yield GetCFilters(0, start, tip)
    yield GetCFilters(0, PLAN.birthday, chain.hash_at(PLAN.birthday + 20))
    yield GetCFCheckpt(0, tip)
    heights = (1, PLAN.birthday, *chain.watched_heights[:3], PLAN.headers)
    yield GetData(tuple(InvItem(InvType.BLOCK, chain.hash_at(height)) for height in heights))
    yield GetData((InvItem(InvType.TX, zero),))
    yield Ping(5)
    yield Mempool()


def test_the_answers_are_those_of_a_simulated_node(chain: BulkChain) -> None:
    """Byte for byte, to every kind of question."""
    for request in _requests(chain):
        told, fast = answer(chain, request, VERSION), bulk_answer(chain, request, VERSION)
        plain = [] if told is None else [(m.command, m.to_payload(VERSION)) for m in told.messages]
        frames = b"".join([encode_frame(chain.network.magic, *message) for message in plain])
        assert b"".join(fast.frames if fast else []) == frames, request


@pytest.mark.parametrize(
    "request_", [GetCFilters(1, 5, bytes(32)), GetCFHeaders(0, 1, bytes(32)), GetCFilters(0, 1, bytes(32))]
)
def test_what_a_simulated_node_punishes_a_bulk_node_punishes(chain: BulkChain, request_: Message) -> None:
    """Other filter types and unknown blocks; and too much at once."""
    with pytest.raises(Punished):
        bulk_answer(chain, request_, VERSION)
    with pytest.raises(Punished, match="allowed"):
        bulk_answer(chain, GetCFHeaders(0, 1, chain.tip_hash), VERSION)
    with pytest.raises(Punished, match="has them from"):
        bulk_answer(chain, GetCFilters(0, PLAN.birthday - 1, chain.hash_at(PLAN.birthday)), VERSION)


def test_a_slow_node_answers_all_that_was_asked_meanwhile(chain: BulkChain) -> None:
    """Two questions that come one after the other are answered in their order, whatever it waits for."""
    ours, theirs = socket.socketpair()
    slow = Slowness(delay=0.001, loop=0.001, filters=1e6, blocks=1e6)
    thread = threading.Thread(target=Talk(chain, slow, theirs).run)
    thread.start()
    with ours:
        _greet(ours, chain)
        questions = [GetCFilters(0, PLAN.birthday, chain.hash_at(PLAN.birthday)), GetData((_block(chain, 5),)), Ping(9)]
        answers = [bulk_answer(chain, question, VERSION) for question in questions]
        expected = b"".join(bytes(frame) for told in answers if told is not None for frame in told.frames)
        for question in questions:
            ours.sendall(_framed(chain, question))
        assert ours.recv(len(expected), socket.MSG_WAITALL) == expected
    thread.join()


def _block(chain: BulkChain, height: int) -> InvItem:
    return InvItem(InvType.BLOCK, chain.hash_at(height))


def test_a_connection_ends_with_what_is_punished(chain: BulkChain) -> None:
    """Frames of another network, too."""
    ours, theirs = socket.socketpair()
    with ours:
        ours.sendall(b"nonsense" * 3)
        Talk(chain, Slowness(), theirs).run()
        assert ours.recv(1) == b""
