"""What a bulk node answers, as it goes on the wire: the same bytes as `answers` gives for the same chain, sooner.

Headers, filter hashes and filters are slices of the files; no message is built of them. Everything else a light client
may ask is answered by `answers` itself. Requests that end the connection do so here too, and silence stays silence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np

from phasegate.consensus.codec import compact_size
from phasegate.p2p.compressed import max_headers2
from phasegate.p2p.framing import encode_frame
from phasegate.p2p.messages import GetCFHeaders, GetCFilters, GetData, GetHeaders, GetHeaders2, InvType, Message
from phasegate.p2p.messages_chain import MAX_HEADERS, LocatorRequest
from phasegate.p2p.messages_filters import BASIC, MAX_FILTER_HEADERS_ASKED, MAX_FILTERS_ASKED, FilterRange
from phasegate.p2p.simnet.answers import Punished, answer, fork_point
from phasegate.p2p.simnet.bulk_chain import BulkChain
from phasegate.p2p.simnet.bulk_headers import compressed

Buffer = bytes | memoryview


@attrs.frozen
class BulkAnswer:
    """Whole frames to send one after the other, and how many headers, filters or blocks they bring."""

    frames: Sequence[Buffer]
    items: int = 0


def bulk_answer(chain: BulkChain, request: Message, version: int) -> BulkAnswer | None:
    """The answer to `request` of a peer that negotiated `version`; None for silence.

    Raises:
        Punished: the request ends the connection.
    """
    fast = _FAST.get(type(request))
    if fast is not None and (given := fast(chain, request, version)) is not None:
        return given
    told = answer(chain, request, version)
    if told is None:
        return None
    frames = [_framed(chain, message.command, message.to_payload(version)) for message in told.messages]
    return BulkAnswer(frames, len(frames))


def _framed(chain: BulkChain, command: str, payload: bytes) -> bytes:
    return encode_frame(chain.network.magic, command, payload)


def _located(chain: BulkChain, request: LocatorRequest, limit: int) -> tuple[int, int]:
    """The first height to send and how many headers."""
    stop, start = chain.height_of(request.stop), fork_point(chain, request.locator) + 1
    count = limit if stop is None or stop < start else min(limit, stop - start + 1)
    return start, max(0, min(count, chain.height - start + 1))


def _headers(chain: BulkChain, request: LocatorRequest, _version: int) -> BulkAnswer | None:
    if not request.locator:
        return None
    start, count = _located(chain, request, MAX_HEADERS)
    rows = np.zeros((count, 81), np.uint8)
    rows[:, :80] = chain.header_array(start, count)
    return BulkAnswer([_framed(chain, "headers", compact_size(count) + rows.tobytes())], count)


def _headers2(chain: BulkChain, request: LocatorRequest, version: int) -> BulkAnswer | None:
    if not request.locator:
        return None
    start, count = _located(chain, request, max_headers2(version))
    payload = compressed(count, chain.headers(start, min(2, count)), chain.records(start + 2, max(0, count - 2)))
    return BulkAnswer([_framed(chain, "headers2", payload)], count)


def _span(chain: BulkChain, request: FilterRange, limit: int) -> range:
    """The heights asked for; an empty range where it is for `answers` to refuse them."""
    stop = chain.height_of(request.stop_hash)
    if request.filter_type != BASIC or stop is None or not stop - limit < request.start_height <= stop:
        return range(0)
    return range(request.start_height, stop + 1)


def _filters(chain: BulkChain, request: FilterRange, _version: int) -> BulkAnswer | None:
    span = _span(chain, request, MAX_FILTERS_ASKED)
    if span and span.start < chain.plan.birthday:
        raise Punished(f"filters from {span.start} of a bulk chain that has them from {chain.plan.birthday}")
    return BulkAnswer([chain.filter_frames(span.start, len(span))], len(span)) if span else None


def _filter_headers(chain: BulkChain, request: FilterRange, _version: int) -> BulkAnswer | None:
    span = _span(chain, request, MAX_FILTER_HEADERS_ASKED)
    if not span:
        return None
    head = bytes((BASIC,)) + request.stop_hash + chain.filter_header(span.start - 1) + compact_size(len(span))
    payload = head + chain.filter_hashes(span.start, len(span))
    return BulkAnswer([_framed(chain, "cfheaders", payload)], len(span))


def _blocks(chain: BulkChain, request: GetData, _version: int) -> BulkAnswer | None:
    if any(item.type != InvType.BLOCK for item in request.items):
        return None
    heights = [height for item in request.items if (height := chain.height_of(item.hash))]
    return BulkAnswer([b"".join([chain.block_frame(height) for height in heights])], len(heights))


_FAST: dict[type[Message], Callable[[BulkChain, Any, int], BulkAnswer | None]] = {
    GetHeaders: _headers,
    GetHeaders2: _headers2,
    GetCFilters: _filters,
    GetCFHeaders: _filter_headers,
    GetData: _blocks,
}
