"""What comes of one request for filters, judged as it comes: what a liar makes us hold is one filter more.

Filters that come together, in the order of their heights, are judged together in a compiled loop. All others are
judged one by one, which is the same judgement: a filter is wanted if it is of a block of the span and the first one of
that block, and right if it leads from the stored filter header before it to its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from phasegate.consensus.filters import filter_hash, filter_header
from phasegate.consensus.packed import Packed
from phasegate.engine.phases.filter_spans import BASIC, Span
from phasegate.p2p.filter_runs import CFilterRun
from phasegate.p2p.messages import CFilter
from phasegate.store import Store


def load_arrivals() -> None:
    """Load what is compiled for filters that come together; takes a second or two the first time in a process."""
    from phasegate.consensus.filter_chain_kernel import lead_on
    from phasegate.p2p.filter_runs import load_runs

    lead_on(bytes(32), Packed.of([b"\0"]), bytes(32), bytes(64), bytearray(b"\1"))
    load_runs()


class Arrivals:
    """The filters of one span on their way.

    Args:
        store: holds the block hashes and filter headers of the span.
        span: the heights.
        on_wrong: called with the first filter that does not lead to its filter header.

    `wrong` is that filter with its place in the span, None while there is none.
    """

    def __init__(self, store: Store, span: Span, on_wrong: Callable[[], None]) -> None:
        self.hashes = store.hashes(span.start, span.count)
        self._headers = store.filter_header_at(span.start - 1) + store.filter_headers(span.start, span.count)
        self._wanted = bytearray(b"\1" * span.count)
        self._next = 0
        self._taken: list[int] = []
        self._on_wrong = on_wrong
        self.wrong: tuple[int, bytes] | None = None

    @cached_property
    def _places(self) -> dict[bytes, int]:
        return {self.hashes[at : at + 32]: at // 32 for at in range(0, len(self.hashes), 32)}

    def _place(self, name: bytes) -> int | None:
        """Where in the span the block of that hash is."""
        if name == self.hashes[32 * self._next : 32 * self._next + 32]:
            return self._next
        return self._places.get(name)

    def takes(self, reply: CFilter) -> bool:
        """Whether `reply` is wanted; it is not any more."""
        place = self._place(reply.block_hash)
        if reply.filter_type != BASIC or place is None or not self._wanted[place]:
            return False
        self._wanted[place] = 0
        self._took(place, 1)
        if self.wrong is None and not self._leads_on(reply.filter, place):
            self._refuse(place, reply.filter)
        return True

    def takes_run(self, run: CFilterRun) -> int:
        """How many of the first filters of `run` are wanted, in their order; they are not any more."""
        place = self._place(run.names[:32]) if self.wrong is None else None
        if place is None:
            return 0
        from phasegate.consensus.filter_chain_kernel import lead_on

        hashes, headers, wanted = self.hashes[32 * place :], self._headers[32 * place :], self._wanted[place:]
        taken, wrong = lead_on(run.names, run.filters, hashes, headers, wanted)
        self._wanted[place:] = wanted
        self._took(place, taken)
        if wrong:
            self._refuse(place + taken - 1, run.filters[taken - 1])
        return taken

    def _took(self, place: int, count: int) -> None:
        if count:
            self._taken.append(place)
            self._next = place + count

    def _refuse(self, place: int, raw: bytes) -> None:
        self.wrong = place, raw
        self._on_wrong()

    def _leads_on(self, raw: bytes, place: int) -> bool:
        """Whether a filter leads from the filter header before `place` to the one there."""
        before, after = self._headers[32 * place : 32 * place + 32], self._headers[32 * place + 32 : 32 * place + 64]
        return filter_header(filter_hash(raw), before) == after

    def in_order(self, replies: Sequence[CFilter | CFilterRun]) -> Packed:
        """All filters of the span, ascending: `replies` are those that were taken, in the order in which they were."""
        pieces = [reply for _, reply in sorted(zip(self._taken, replies, strict=True), key=lambda both: both[0])]
        data = [piece.filters.joined if isinstance(piece, CFilterRun) else piece.filter for piece in pieces]
        sizes = [piece.filters.sizes if isinstance(piece, CFilterRun) else [len(piece.filter)] for piece in pieces]
        return Packed.by_sizes(b"".join(data), np.concatenate(sizes, dtype=np.int64))
