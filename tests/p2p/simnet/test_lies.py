"""Each lie changes what it names and nothing else, and a client's rules catch it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from phasegate.consensus.blocks import check_block
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.filter_proofs import filter_lies, is_pre_23
from phasegate.consensus.filters import chain_headers, filter_hash
from phasegate.consensus.headers import extend, genesis_tip
from phasegate.consensus.masternodes import apply_diff
from phasegate.consensus.params import SIMNET
from phasegate.consensus.primitives import Block
from phasegate.consensus.x11 import x11
from phasegate.p2p.compressed import expand
from phasegate.p2p.framing import FrameDecoder
from phasegate.p2p.messages import (
    BlockMessage,
    CFCheckpt,
    CFHeaders,
    CFilter,
    GetCFCheckpt,
    GetCFHeaders,
    GetCFilters,
    GetData,
    GetHeaders,
    GetHeaders2,
    GetMnListDiff,
    Headers,
    Headers2,
    InvItem,
    InvType,
    Message,
    MnListDiff,
    Ping,
    decode,
)
from phasegate.p2p.simnet.answers import answer
from phasegate.p2p.simnet.generated import GeneratedChain, generate
from phasegate.p2p.simnet.lies import FALSE_FILTERS, KINDS, Lie, UnknownLie
from phasegate.p2p.simnet.node import Node
from phasegate.p2p.simnet.wire import RawFrame

V = 70240
LATER = 1 << 31
MIDDLE = 1150
HEADER_LIES = {
    "wrong-pow": Fault.BAD_PROOF_OF_WORK,
    "broken-link": Fault.BROKEN_HEADER_LINK,
    "wrong-difficulty": Fault.BAD_DIFFICULTY,
}
LIST_LIES = {
    "wrong-merkle-proof": Fault.BAD_MERKLE_PROOF,
    "wrong-masternode-entry": Fault.BAD_MASTERNODE_ROOT,
    "wrong-quorum": Fault.BAD_QUORUM_ROOT,
}


def told(chain: GeneratedChain, lie: str, request: Message) -> list[Message]:
    """What a lying node answers."""
    given = answer(chain, request, V)
    assert given is not None
    return list(Lie.parse(lie, chain).tell(chain, given, V).messages)


def honest(chain: GeneratedChain, request: Message) -> list[Message]:
    given = answer(chain, request, V)
    assert given is not None
    return list(given.messages)


def block_request(chain: GeneratedChain, heights: Iterable[int]) -> GetData:
    return GetData(tuple(InvItem(InvType.BLOCK, chain.hash_at(h)) for h in heights))


def requests(chain: GeneratedChain) -> Sequence[Message]:
    """One request of each kind that covers the middle of the chain."""
    at = chain.hash_at
    return (
        GetHeaders(V, (at(0),)),
        GetHeaders2(V, (at(0),)),
        GetMnListDiff(at(0), at(chain.height)),
        GetCFHeaders(0, 1000, at(1999)),
        GetCFCheckpt(0, at(chain.height)),
        GetCFilters(0, 1000, at(1999)),
        block_request(chain, chain.watched_heights),
    )


def plain_headers(message: Message) -> bytes:
    assert isinstance(message, Headers | Headers2)
    return message.raw if isinstance(message, Headers) else expand(message)


@pytest.mark.parametrize("kind", HEADER_LIES)
@pytest.mark.parametrize("make", [GetHeaders, GetHeaders2], ids=["headers", "headers2"])
@pytest.mark.parametrize("start", [0, MIDDLE - 1, MIDDLE - 2], ids=["in the middle", "first", "second"])
def test_a_wrong_header_breaks_one_rule(
    long_chain: GeneratedChain, kind: str, make: Callable[..., Message], start: int
) -> None:
    """Wherever in a message, plain or compressed, the header at the height fails by the rule that the lie names."""
    (message,) = told(long_chain, kind, make(V, (long_chain.hash_at(start),)))
    before = extend(SIMNET, genesis_tip(SIMNET), long_chain.headers(1, start), LATER).tip
    raw = plain_headers(message)
    with pytest.raises(PeerMisbehaved, match=f"height {MIDDLE}:") as caught:
        extend(SIMNET, before, raw, LATER)
    assert caught.value.fault is HEADER_LIES[kind]
    checked = extend(SIMNET, before, raw[: 80 * (MIDDLE - 1 - start)], LATER)
    assert checked.tip.height == MIDDLE - 1


@pytest.mark.parametrize("kind", HEADER_LIES)
def test_other_headers_stay_honest(long_chain: GeneratedChain, kind: str) -> None:
    """Of a message, plain or compressed, only 80 bytes differ."""
    for make in (GetHeaders, GetHeaders2):
        (message,) = told(long_chain, kind, make(V, (long_chain.hash_at(0),)))
        raw, true = plain_headers(message), long_chain.headers(1, 2000)
        differing = [h for h in range(2000) if raw[80 * h : 80 * h + 80] != true[80 * h : 80 * h + 80]]
        assert differing == [MIDDLE - 1]


def test_lying_headers_cost_their_work(long_chain: GeneratedChain) -> None:
    """A broken link and a wrong difficulty come with real proof of work; a wrong one misses the target."""
    for kind, meets in (("broken-link", True), ("wrong-difficulty", True), ("wrong-pow", False)):
        (message,) = told(long_chain, f"{kind}@5", GetHeaders(V, (long_chain.hash_at(4),)))
        header = plain_headers(message)[:80]
        target = SIMNET.pow_limit >> (kind == "wrong-difficulty")
        assert (int.from_bytes(x11(header), "little") <= target) is meets


@pytest.mark.parametrize("kind", LIST_LIES)
@pytest.mark.parametrize("span", [(0, 2300), (MIDDLE - 1, MIDDLE)], ids=["whole", "one block without changes"])
def test_a_wrong_list_is_caught_by_its_root(long_chain: GeneratedChain, kind: str, span: tuple[int, int]) -> None:
    """A difference that leads over the height is wrong in the part that the lie names."""
    base, height = span
    (message,) = told(long_chain, kind, GetMnListDiff(long_chain.hash_at(base), long_chain.hash_at(height)))
    assert isinstance(message, MnListDiff)
    with pytest.raises(PeerMisbehaved) as caught:
        apply_diff(SIMNET, long_chain.masternodes_at(base), message.diff, long_chain.header(height), height)
    assert caught.value.fault is LIST_LIES[kind]


def test_a_wrong_filter_hides_the_block(long_chain: GeneratedChain) -> None:
    """One filter is empty and misses its filter header; the others are the chain's."""
    messages = told(long_chain, "wrong-filter", GetCFilters(0, 1000, long_chain.hash_at(1999)))
    for height, message in enumerate(messages, 1000):
        assert isinstance(message, CFilter)
        assert (filter_hash(message.filter) == long_chain.filter_hash(height)) is (height != MIDDLE)


def test_a_wrong_filter_header_breaks_the_chain(long_chain: GeneratedChain) -> None:
    """One filter hash differs; the chain of headers misses the next checkpoint."""
    request = GetCFHeaders(0, 1000, long_chain.hash_at(1999))
    (message,), (true,) = told(long_chain, "wrong-filter-header", request), honest(long_chain, request)
    assert isinstance(message, CFHeaders)
    assert isinstance(true, CFHeaders)
    assert (message.prev_header, message.stop_hash) == (true.prev_header, true.stop_hash)
    differing = [i for i in range(1000) if message.hashes[32 * i : 32 * i + 32] != true.hashes[32 * i : 32 * i + 32]]
    assert differing == [MIDDLE - 1000]
    assert chain_headers(message.prev_header, message.hashes)[-32:] != long_chain.filter_header(1999)


@pytest.mark.parametrize("kind", FALSE_FILTERS)
def test_a_lie_about_elements_is_at_one_with_itself(long_chain: GeneratedChain, kind: str) -> None:
    """The liar's filters lead to its filter headers and these to its checkpoints, whichever way they are asked for."""
    lie = Lie.parse(f"{kind}", long_chain)

    def told_by(request: Message) -> list[Message]:
        given = answer(long_chain, request, V)
        assert given is not None
        return list(lie.tell(long_chain, given, V).messages)

    headers: list[bytes] = []
    for start in range(0, long_chain.height + 1, 1000):
        stop = long_chain.hash_at(min(start + 999, long_chain.height))
        (told_headers,), told_filters = (
            told_by(GetCFHeaders(0, start, stop)),
            told_by(GetCFilters(0, start, stop)),
        )
        assert isinstance(told_headers, CFHeaders)
        hashes = [filter_hash(m.filter) for m in told_filters if isinstance(m, CFilter)]
        assert b"".join(hashes) == told_headers.hashes
        assert told_headers.prev_header == (headers[-1] if headers else bytes(32))
        chained = chain_headers(told_headers.prev_header, told_headers.hashes)
        headers += [chained[i : i + 32] for i in range(0, len(chained), 32)]
    (checkpoints,) = told_by(GetCFCheckpt(0, long_chain.tip_hash))
    assert isinstance(checkpoints, CFCheckpt)
    assert checkpoints.headers == b"".join(headers[1000::1000])
    differing = [height for height, header in enumerate(headers) if header != long_chain.filter_header(height)]
    assert lie.height <= differing[0]
    assert differing == list(range(differing[0], long_chain.height + 1))


@pytest.mark.parametrize("kind", FALSE_FILTERS)
def test_the_block_shows_each_of_them_but_one(long_chain: GeneratedChain, kind: str) -> None:
    """Junk instead of what the block does not tell is the lie that cannot be proved; old rules are no lie."""
    filters = [
        (height, raw) for height in range(1, 300) if (raw := FALSE_FILTERS[kind](long_chain, height)) is not None
    ]
    assert filters
    for height, raw in filters:
        block = Block.from_bytes(long_chain.block(height) or b"")
        assert filter_lies(block, long_chain.filter(height)) is None
        assert (filter_lies(block, raw) is None) == (kind == "added-element")
        assert is_pre_23(block, raw) == (kind == "pre-23-filters")


def test_a_lie_that_the_block_gives_no_occasion_for_is_refused(long_chain: GeneratedChain) -> None:
    """At a height where no input tells its script there is no spend to omit."""
    height = next(h for h in range(1, 300) if FALSE_FILTERS["omitted-spend"](long_chain, h) is None)
    with pytest.raises(UnknownLie, match="omitted-spend"):
        Lie.parse(f"omitted-spend@{height}", long_chain)


@pytest.mark.parametrize(("height", "wrong"), [("", [1000]), ("@999", [1000]), ("@1001", [2000]), ("@2001", [])])
def test_one_checkpoint_is_wrong(long_chain: GeneratedChain, height: str, wrong: list[int]) -> None:
    """The first checkpoint at or above the height differs, if there is one."""
    (message,) = told(long_chain, f"wrong-cfcheckpt{height}", GetCFCheckpt(0, long_chain.tip_hash))
    assert isinstance(message, CFCheckpt)
    headers = [message.headers[32 * i : 32 * i + 32] for i in range(2)]
    assert [1000 * i for i, h in enumerate(headers, 1) if h != long_chain.filter_header(1000 * i)] == wrong


def test_a_wrong_block_body_misses_its_root(long_chain: GeneratedChain) -> None:
    """Among the blocks that a client asks for, one in the middle has another transaction."""
    heights = long_chain.watched_heights
    lied = heights[len(heights) // 2]
    for height, message in zip(
        heights, told(long_chain, "wrong-block-body", block_request(long_chain, heights)), strict=True
    ):
        assert isinstance(message, BlockMessage)
        if height == lied:
            with pytest.raises(PeerMisbehaved) as caught:
                check_block(message.block, long_chain.hash_at(height))
            assert caught.value.fault is Fault.BAD_BLOCK_MERKLE_ROOT
        else:
            check_block(message.block, long_chain.hash_at(height))


def test_another_block_comes_instead(long_chain: GeneratedChain) -> None:
    """The block before the one that was asked for, whole and true."""
    height = long_chain.watched_heights[3]
    (message,) = told(long_chain, f"other-block@{height}", block_request(long_chain, [height]))
    assert message.to_payload(V) == long_chain.block(height - 1)


def framed(chain: GeneratedChain, message: Message) -> Message:
    """What a client reads from the frame of a lie."""
    assert isinstance(message, RawFrame)
    decoder = FrameDecoder(chain.network.magic)
    decoder.receive_data(message.data)
    frame = decoder.next_frame()
    assert frame is not None
    return decode(frame.command, frame.payload, V)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [("truncated-message", Fault.MALFORMED_MESSAGE), ("oversized-message", Fault.OVERSIZED_MESSAGE)],
)
def test_broken_messages_are_named(long_chain: GeneratedChain, kind: str, fault: Fault) -> None:
    """Every answer about the height is cut or announced too long."""
    for request in requests(long_chain)[:6]:
        for message in told(long_chain, kind, request):
            with pytest.raises(PeerMisbehaved) as caught:
                framed(long_chain, message)
            assert caught.value.fault is fault


def test_a_wrong_checksum_drops_the_frame(long_chain: GeneratedChain) -> None:
    """The frame is whole but its checksum is not."""
    (message,) = told(long_chain, "wrong-checksum", GetHeaders(V, (long_chain.hash_at(0),)))
    assert isinstance(message, RawFrame)
    decoder = FrameDecoder(SIMNET.magic)
    decoder.receive_data(message.data)
    assert decoder.next_frame() is None
    assert decoder.dropped == 1


def test_unasked_messages_come_before_every_answer(long_chain: GeneratedChain) -> None:
    """The answer is the honest one, with four messages about a foreign block in front of it."""
    for request in requests(long_chain):
        assert told(long_chain, "unasked-messages", request)[4:] == honest(long_chain, request)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_named_stays_honest(long_chain: GeneratedChain, kind: str) -> None:
    """Answers of another kind, answers about other heights, and pongs are untouched."""
    at = long_chain.hash_at
    for request in (
        Ping(3),
        GetHeaders(V, (at(0),), at(50)),
        GetMnListDiff(at(3), at(40)),
        GetCFHeaders(0, 0, at(60)),
        GetCFilters(0, 30, at(60)),
        block_request(long_chain, long_chain.watched_heights[:5]),
    ):
        if kind != "unasked-messages":
            text = kind if kind in FALSE_FILTERS else f"{kind}@{MIDDLE}"
            assert told(long_chain, text, request) == honest(long_chain, request)
    named = sum(told(long_chain, kind, request) != honest(long_chain, request) for request in requests(long_chain))
    assert named >= 1
    assert named <= (
        7
        if kind in ("truncated-message", "oversized-message", "wrong-checksum", "unasked-messages")
        else 3
        if kind in FALSE_FILTERS
        else 2
    )


@pytest.mark.parametrize("text", ["", "nonsense", "@5", "wrong-pow@", "wrong-pow@0", "wrong-pow@61", "wrong-pow@x"])
def test_what_is_no_lie_is_refused(text: str) -> None:
    """A kind that does not exist and a height off the chain are named in one line; an empty height means the middle."""
    chain = generate(60, "lies")
    if text == "wrong-pow@":
        assert Lie.parse(text, chain).height == 30
    else:
        with pytest.raises(UnknownLie):
            Lie.parse(text, chain)


@pytest.mark.trio
async def test_a_lying_node_lies_on_the_wire(call: Callable[[Node], Any]) -> None:
    """The same lie each time it is asked, and honest headers before it."""
    chain = generate(60, "lies")
    caller = call(Node(chain, lie=Lie.parse("wrong-pow@40", chain)))
    await caller.greet()
    for _ in range(2):
        (message,) = await caller.ask(GetHeaders(V, (chain.hash_at(0),)))
        with pytest.raises(PeerMisbehaved, match="height 40"):
            extend(SIMNET, genesis_tip(SIMNET), message.raw, LATER)
    assert await caller.ask(GetHeaders(V, (chain.hash_at(40),))) == honest(chain, GetHeaders(V, (chain.hash_at(40),)))


@pytest.mark.trio
async def test_an_oversized_message_breaks_the_connection(call: Callable[[Node], Any]) -> None:
    """The client's own connection names the fault."""
    chain = generate(60, "lies")
    caller = call(Node(chain, lie=Lie.parse("oversized-message", chain)))
    await caller.greet()
    await caller.connection.send(GetHeaders(V, (chain.hash_at(0),)))
    with pytest.raises(PeerMisbehaved) as caught:
        await caller.connection.receive()
    assert caught.value.fault is Fault.OVERSIZED_MESSAGE
