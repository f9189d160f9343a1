"""A branch: valid headers that leave the stored chain and are not yet worth more than what is stored.

Headers of a branch are cheap for whoever lets the difficulty fall first, so until their work is proved they may cost
memory only within bounds. The first `HELD` headers are kept in full. Of what follows only an outline is kept: the hash
of each `STRIDE`-th header, 32 bytes for 2000 of them, and the state of the rules at the end. Should such a branch
outweigh the stored chain after all, it is fetched a second time, and because each header names the one before, the
outline makes sure that it is the same one, whose work is known by then (Core calls this PRESYNC and REDOWNLOAD).

Nothing here does any I/O. Work is that of validated chains only: a branch grows by `CheckedHeaders` alone.
"""

from __future__ import annotations

import attrs

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.headers import ChainTip, CheckedHeaders
from phasegate.store import AppendHeaders, Change, RollBack

HELD = 20_000
"""Headers of a branch that are kept in full before its work is proved (112 bytes each)."""
STRIDE = 2000
"""Headers between two hashes of the outline."""
MAX_LEAD = 32_000
"""How many headers a branch may be longer than the stored chain with less work, before it counts as spam."""
_HASH = 32


@attrs.define
class Branch:
    """What is known of one branch.

    Args:
        fork: the last header it shares with the stored chain.
        held: how many headers may be kept in full before the work is proved.
    """

    fork: ChainTip
    held: int = HELD
    _tip: ChainTip = attrs.field(init=False)
    _held_tip: ChainTip = attrs.field(init=False)
    _raw: bytearray = attrs.field(factory=bytearray, init=False)
    _hashes: bytearray = attrs.field(factory=bytearray, init=False)
    _outline: dict[int, bytes] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._tip = self._held_tip = self.fork

    @property
    def tip(self) -> ChainTip:
        """Its end, as far as it has been validated."""
        return self._tip

    @property
    def missing_from(self) -> ChainTip:
        """The end of what is held in full."""
        return self._held_tip

    @property
    def whole(self) -> bool:
        """Whether all of it is held in full."""
        return self._held_tip.height == self._tip.height

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self._raw) + len(self._hashes) + _HASH * len(self._outline)

    def is_spam(self, height: int) -> bool:
        """Whether it is so much longer than the stored chain of `height`, with less work, that nobody honest has it."""
        return self._tip.height > height + MAX_LEAD

    def hash_at(self, height: int) -> bytes | None:
        """The hash of its header at `height`; None at or below the fork, and where only the outline is kept."""
        at = (height - self.fork.height - 1) * _HASH
        return bytes(self._hashes[at : at + _HASH]) if 0 <= at < len(self._hashes) else None

    def grow(self, piece: CheckedHeaders) -> None:
        """Add validated headers at its end.

        Raises:
            ValueError: they do not continue it.
        """
        if piece.prev.hash != self._tip.hash:
            raise ValueError(
                f"headers after {piece.prev.height} do not continue a branch that ends at {self._tip.height}"
            )
        if self.whole and len(self._hashes) // _HASH + piece.count <= self.held:
            self._hold(piece)
        for height in _strides(piece):
            self._outline[height] = _hash_in(piece, height)
        self._tip = piece.tip

    def refill(self, piece: CheckedHeaders) -> None:
        """Hold headers in full that came a second time.

        Raises:
            PeerMisbehaved: UNFITTING_REPLY, they are not those that came the first time.
        """
        strange = any(
            self._outline[height] != _hash_in(piece, height) for height in _strides(piece) if height < self._tip.height
        )
        if (
            strange
            or piece.tip.height > self._tip.height
            or (piece.tip.height == self._tip.height and piece.tip.hash != self._tip.hash)
        ):
            detail = f"the branch above {self.fork.height} is another one when it is asked for again"
            raise PeerMisbehaved(Fault.UNFITTING_REPLY, detail)
        self._hold(piece)

    def _hold(self, piece: CheckedHeaders) -> None:
        self._raw += piece.raw
        self._hashes += piece.hashes
        self._held_tip = piece.tip

    def changes(self) -> list[Change]:
        """Roll back to the fork and append all of it, as one batch.

        Raises:
            ValueError: it is not held in full.
        """
        if not self.whole:
            raise ValueError(f"the branch above {self.fork.height} is held up to {self._held_tip.height} only")
        start, work = self.fork.height + 1, self._tip.work
        return [
            RollBack(self.fork.height, self.fork.work),
            AppendHeaders(start, bytes(self._raw), bytes(self._hashes), work),
        ]


def _strides(piece: CheckedHeaders) -> range:
    """The heights in `piece` whose hashes belong in an outline."""
    first = -(-piece.first_height // STRIDE) * STRIDE
    return range(first, piece.tip.height + 1, STRIDE)


def _hash_in(piece: CheckedHeaders, height: int) -> bytes:
    at = (height - piece.first_height) * _HASH
    return piece.hashes[at : at + _HASH]
