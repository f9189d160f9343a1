"""What dashd answers to each request of a light client, and what it punishes [Core net_processing.cpp].

Pure: a chain and a request give an `Answer`, nothing at all (dashd is silent on what it does not know), or `Punished`,
upon which the connection ends without a word. The limits are those of Core; so is every silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs

from phasegate.consensus.raw_blocks import RawBlock
from phasegate.p2p.compressed import compress, max_headers2
from phasegate.p2p.messages import (
    BlockMessage,
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
    GetQrInfo,
    Headers,
    Inv,
    InvItem,
    InvType,
    Mempool,
    Message,
    MnListDiff,
    NotFound,
    Ping,
    Pong,
    QrInfo,
    Services,
    Unknown,
)
from phasegate.p2p.messages_chain import MAX_HEADERS, LocatorRequest
from phasegate.p2p.messages_filters import BASIC, MAX_FILTER_HEADERS_ASKED, MAX_FILTERS_ASKED, FilterRange
from phasegate.p2p.simnet.chain import SimulatedChain

CHECKPOINT_INTERVAL = 1000
MAX_BLOCKS_ANNOUNCED = 500
NULL_HASH = bytes(32)


class Punished(Exception):
    """dashd would end the connection; the text says why, for the log only."""


@attrs.frozen
class Answer:
    """Messages to send, in order, and what the log says about them.

    `covers` are the heights that the answer is about, `facts` the fields of the log line.
    """

    messages: Iterable[Message]
    covers: range = range(0)
    facts: dict[str, Any] = attrs.field(factory=dict)


def answer(chain: SimulatedChain, request: Message, version: int) -> Answer | None:
    """The answer to `request` of a peer that negotiated `version`; None for silence.

    Raises:
        Punished: the request ends the connection.
    """
    handler = _ANSWERS.get(type(request))
    return None if handler is None else handler(chain, request, version)


def check_offered(request: Message, services: int) -> None:
    """Refuse what a node of these `Services` does not do.

    Raises:
        Punished: the request ends the connection.
    """
    if isinstance(request, GetCFilters | GetCFHeaders | GetCFCheckpt) and not services & Services.COMPACT_FILTERS:
        raise Punished(f"{request.command} to a node without filters")
    if isinstance(request, Mempool) and not services & Services.BLOOM:
        raise Punished("mempool to a node without bloom filters")


def _span(start: int, count: int) -> dict[str, Any]:
    return {"from": start, "to": start + count - 1}


def _headers(chain: SimulatedChain, request: LocatorRequest, _version: int) -> Answer | None:
    start, raw = _located(chain, request, MAX_HEADERS)
    return None if start is None else Answer([Headers(raw)], *_about(start, len(raw) // 80))


def _headers2(chain: SimulatedChain, request: LocatorRequest, version: int) -> Answer | None:
    start, raw = _located(chain, request, max_headers2(version))
    return None if start is None else Answer([compress(raw)], *_about(start, len(raw) // 80))


def _about(start: int, count: int) -> tuple[range, dict[str, Any]]:
    return range(start, start + count), _span(start, count)


def _located(chain: SimulatedChain, request: LocatorRequest, limit: int) -> tuple[int | None, bytes]:
    """The first height to send and the headers from there on; None when even an empty answer is not due."""
    stop = chain.height_of(request.stop)
    if not request.locator:
        return stop, b"" if stop is None else chain.header(stop)
    start = fork_point(chain, request.locator) + 1
    count = limit if stop is None or stop < start else min(limit, stop - start + 1)
    return start, chain.headers(start, count)


def fork_point(chain: SimulatedChain, locator: Iterable[bytes]) -> int:
    """The height of the first locator hash on the chain; 0 when none is."""
    known = (chain.height_of(block_hash) for block_hash in locator)
    return next((height for height in known if height is not None), 0)


def _block_inventory(chain: SimulatedChain, request: LocatorRequest, _version: int) -> Answer | None:
    start, stop = fork_point(chain, request.locator) + 1, chain.height_of(request.stop)
    end = min(chain.height + 1, start + MAX_BLOCKS_ANNOUNCED)
    end = end if stop is None or stop < start else min(end, stop)
    if start >= end:
        return None
    items = [InvItem(InvType.BLOCK, chain.hash_at(height)) for height in range(start, end)]
    return Answer([Inv(tuple(items))], range(start, end), _span(start, end - start))


def _filter_span(chain: SimulatedChain, request: FilterRange, limit: int) -> tuple[int, int]:
    """The heights asked for, both included."""
    stop = _stop(chain, request.filter_type, request.stop_hash)
    if request.start_height > stop:
        raise Punished(f"start {request.start_height} above stop {stop}")
    if stop - request.start_height >= limit:
        raise Punished(f"{stop - request.start_height + 1} asked for, {limit} allowed")
    return request.start_height, stop


def _stop(chain: SimulatedChain, filter_type: int, stop_hash: bytes) -> int:
    if filter_type != BASIC:
        raise Punished(f"filter type {filter_type}")
    stop = chain.height_of(stop_hash)
    if stop is None:
        raise Punished("unknown stop block")
    return stop


def _filters(chain: SimulatedChain, request: FilterRange, _version: int) -> Answer:
    start, stop = _filter_span(chain, request, MAX_FILTERS_ASKED)

    def messages() -> Iterator[Message]:
        for height in range(start, stop + 1):
            yield CFilter(BASIC, chain.hash_at(height), chain.filter(height))

    return Answer(messages(), *_about(start, stop - start + 1))


def _filter_headers(chain: SimulatedChain, request: FilterRange, _version: int) -> Answer:
    start, stop = _filter_span(chain, request, MAX_FILTER_HEADERS_ASKED)
    hashes = b"".join([chain.filter_hash(height) for height in range(start, stop + 1)])
    message = CFHeaders(BASIC, request.stop_hash, chain.filter_header(start - 1), hashes)
    return Answer([message], *_about(start, stop - start + 1))


def _filter_checkpoints(chain: SimulatedChain, request: GetCFCheckpt, _version: int) -> Answer:
    stop = _stop(chain, request.filter_type, request.stop_hash)
    heights = range(CHECKPOINT_INTERVAL, stop + 1, CHECKPOINT_INTERVAL)
    headers = b"".join([chain.filter_header(height) for height in heights])
    return Answer([CFCheckpt(BASIC, request.stop_hash, headers)], range(stop + 1), {"to": stop})


def _data(chain: SimulatedChain, request: GetData, _version: int) -> Answer | None:
    heights = [chain.height_of(item.hash) for item in request.items if item.type == InvType.BLOCK]
    here = [height for height in heights if height is not None and chain.block(height) is not None]
    others = [item for item in request.items if item.type not in (InvType.BLOCK, InvType.FILTERED_BLOCK)]
    found = [lock for item in others if (lock := chain.lock(item.type, item.hash))]
    missing = tuple([item for item in others if chain.lock(item.type, item.hash) is None])

    def messages() -> Iterator[Message]:
        for height in here:
            yield BlockMessage(RawBlock(chain.block(height) or b""))
        yield from [Unknown(lock.command, lock.payload) for lock in found]
        yield from [NotFound(missing)] if missing else []

    covers = range(min(here), max(here) + 1) if here else range(0)
    facts = ({"heights": here} if here else {}) | ({"locks": len(found)} if found else {})
    return Answer(messages(), covers, facts) if here or found or missing else None


def _list_diff(chain: SimulatedChain, request: GetMnListDiff, _version: int) -> Answer | None:
    base = 0 if request.base == NULL_HASH else chain.height_of(request.base)
    height = chain.height_of(request.block)
    if base is None or height is None or base > height:
        return None
    diff = chain.mnlistdiff(base, height)
    if diff is None:
        return None
    message = MnListDiff(attrs.evolve(diff, base_hash=request.base))
    return Answer([message], range(base + 1, height + 1), {"base": base, "block": height})


def _rotation(chain: SimulatedChain, request: GetQrInfo, version: int) -> Answer | None:
    info, height = chain.qrinfo(request, version), chain.height_of(request.block)
    return None if info is None or height is None else Answer([info], range(height, height + 1), {"block": height})


def _pong(_chain: SimulatedChain, request: Ping, _version: int) -> Answer:
    return Answer([Pong(request.nonce)])


def _memory_pool(chain: SimulatedChain, _request: Mempool, _version: int) -> Answer | None:
    best = [lock for lock in chain.locks() if lock.inv_type == InvType.CHAINLOCK][-1:]
    return Answer([Inv(tuple([InvItem(lock.inv_type, lock.hash) for lock in best]))]) if best else None


def _unrequested(_chain: SimulatedChain, request: Message, _version: int) -> Answer:
    raise Punished(f"{request.command} that nobody asked for")


_ANSWERS: dict[type[Message], Callable[[SimulatedChain, Any, int], Answer | None]] = {
    GetHeaders: _headers,
    GetHeaders2: _headers2,
    GetBlocks: _block_inventory,
    GetCFilters: _filters,
    GetCFHeaders: _filter_headers,
    GetCFCheckpt: _filter_checkpoints,
    GetData: _data,
    GetMnListDiff: _list_diff,
    GetQrInfo: _rotation,
    Ping: _pong,
    Mempool: _memory_pool,
    MnListDiff: _unrequested,
    QrInfo: _unrequested,
}
