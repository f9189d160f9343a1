"""Starting in mid-chain: the headers right below the base, fetched backwards, so that nothing above goes unchecked.

The base is trusted: a built-in checkpoint, or a header that the user vouches for. The first headers above it are judged
by what stands below it (24 headers for the difficulty, 11 for the median time, more under the older rules), and each
header names the one before it by hash. So what is below can be had from anybody, one by one: an empty locator and a
stop hash ask for exactly that header, and X11 of the answer must be the hash. Until all of it is there, nothing is
added to the chain.
"""

from __future__ import annotations

from phasegate.consensus.difficulty import MEDIAN_SPAN, WINDOW
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.headers import ChainTip, context_size, follow, genesis_tip
from phasegate.consensus.x11 import HEADER_SIZE, x11
from phasegate.engine.errors import Failure, FailureKind, PeerGone
from phasegate.engine.phases.headers_requests import HeaderRequests
from phasegate.engine.work import Work
from phasegate.store import SetContext


def context_wanted(work: Work) -> int:
    """How many headers below the base are needed: those that the base itself, and all above, are judged by."""
    base = work.writer.marks.base
    return min(base, max(context_size(work.network, base) - 1, WINDOW + MEDIAN_SPAN))


async def fetch_context(work: Work, requests: HeaderRequests) -> None:
    """Have the headers below the base stored; nothing to do where they are, or where the base is the genesis block.

    Raises:
        Failure: no peer is left that has them, or the base is none by the rules.
    """
    wanted = context_wanted(work)
    found = _linked(work, work.store.context()[-wanted * HEADER_SIZE :]) if wanted else b""
    if len(found) == wanted * HEADER_SIZE:
        return
    while len(found) < wanted * HEADER_SIZE:
        found = await _one_more(work, requests, found) + found
    _judge(work, found)
    await work.writer.commit([SetContext(found)])


async def _one_more(work: Work, requests: HeaderRequests, found: bytes) -> bytes:
    """The header before those that are `found`, or before the base; nothing if the peer does not have it."""
    base = work.writer.marks.base
    parent = _parent(found or work.store.header(base))
    if parent == x11(work.network.genesis):
        return work.network.genesis
    peer = work.any_peer()[0]
    try:
        with work.blame(peer):
            return await requests.header(peer, parent)
    except PeerGone as gone:
        if not work.pool.ready:
            detail = f"{gone}; no peer is left that knows what is below block {base}, where this store begins"
            raise Failure(gone.kind, detail) from gone
    except PeerMisbehaved:
        return b""  # banned, with the reason, by `blame`
    return b""


def _judge(work: Work, context: bytes) -> None:
    """Hold the base, and what stands below it, against all rules that this many headers let one judge."""
    base = work.writer.marks.base
    below = base - len(context) // HEADER_SIZE - 1
    start, raw = ChainTip(below, _parent(context), 0, ()), context + work.store.header(base)
    if below < 0:
        start, raw = genesis_tip(work.network), raw[HEADER_SIZE:]
    try:
        follow(work.network, start, raw, int(work.seams.now()))
    except PeerMisbehaved as wrong:
        detail = f"the block at {base}, where this store begins, is none of {work.network.file_name}: {wrong}"
        raise Failure(FailureKind.DISPUTED, detail) from wrong


def _linked(work: Work, context: bytes) -> bytes:
    """The stored context, or nothing if it does not lead to the base."""
    expected = _parent(work.store.header(work.writer.marks.base))
    for at in range(len(context) - HEADER_SIZE, -1, -HEADER_SIZE):
        header = context[at : at + HEADER_SIZE]
        if x11(header) != expected:
            return b""
        expected = _parent(header)
    return context


def _parent(header: bytes) -> bytes:
    return header[4:36]
