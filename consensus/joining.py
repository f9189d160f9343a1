"""Headers that were judged before what stands below them was known, joined to it without judging them all again.

`follow` judges a stretch of headers that begins at a block of which only the hash is known: proof of work, links,
versions and known blocks throughout, times and difficulty from where it has seen enough headers. What is left is the
beginning of the stretch, and the chainwork. `join` judges that beginning as the continuation of the real tip. Headers
and their hashes stay as they are, so nothing is hashed a second time.

That both together are what `extend` says of the whole stretch is a test.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from phasegate.consensus.difficulty import MEDIAN_SPAN, context_size
from phasegate.consensus.headers import ChainTip, CheckedHeaders, extend, first_judged
from phasegate.consensus.params import Network
from phasegate.consensus.x11 import HEADER_SIZE


def blind_tip(height: int, hash: bytes) -> ChainTip:  # noqa: A002 - the field's own word
    """A tip of which only the height and the hash (wire order) are known; work counts from there."""
    return ChainTip(height, hash, 0, ())


def unjudged(network: Network, tip: ChainTip) -> int:
    """How many of the first headers above `tip` are not judged in full by who knows no header below them."""
    blind = first_judged(network, blind_tip(tip.height, tip.hash))
    return max(MEDIAN_SPAN, blind - 1 - tip.height if blind > first_judged(network, tip) else 0)


def join(network: Network, tip: ChainTip, pieces: Sequence[CheckedHeaders], now: int) -> list[CheckedHeaders]:
    """The pieces of a stretch as the continuation of `tip`, now judged in full, with the work of the whole chain.

    Args:
        network: whose rules apply.
        tip: a tip with all that the next header is judged by.
        pieces: by `follow`, the first from `blind_tip(tip.height, tip.hash)`, each other from the one before it.
        now: seconds since 1970.

    Raises:
        PeerMisbehaved: as `extend`, of the first headers.
        ValueError: the pieces do not follow each other, or do not begin at the tip's height.
    """
    heights = [tip.height, *[piece.tip.height for piece in pieces]]
    if [piece.first_height - 1 for piece in pieces] != heights[:-1]:
        raise ValueError(f"the pieces do not follow each other from {tip.height} on")
    first, hashes = _first(pieces, unjudged(network, tip))
    extend(network, tip, first, now, hashes)
    joined: list[CheckedHeaders] = []
    for piece in pieces:
        known, height = (*tip.window, *piece.tip.window), piece.tip.height
        end = attrs.evolve(piece.tip, work=tip.work + piece.tip.work, window=known[-context_size(network, height) :])
        joined.append(attrs.evolve(piece, tip=end, prev=joined[-1].tip if joined else tip))
    return joined


def _first(pieces: Sequence[CheckedHeaders], count: int) -> tuple[bytes, bytes]:
    """The first `count` headers of the pieces at most, and their hashes."""
    raw, hashes = bytearray(), bytearray()
    for piece in pieces:
        missing = count - len(hashes) // 32
        raw += piece.raw[: missing * HEADER_SIZE]
        hashes += piece.hashes[: missing * 32]
    return bytes(raw), bytes(hashes)
