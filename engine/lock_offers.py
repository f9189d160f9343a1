"""Locks that peers announced and nobody has sent yet: who is asked for which, some at a time from each peer.

What is kept for a peer is bounded; who announces more loses its own oldest, nobody else's. A lock that several peers
announced is asked of one of them at a time, and of the next when that one does not have it. A peer that was silent
about what it had itself announced is passed over until it has answered something else.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

from phasegate.p2p.messages import InvItem

if TYPE_CHECKING:
    from phasegate.engine.peers import Peer

MOST_OFFERS = 1024
"""Announced locks that are remembered for one peer."""
AT_ONCE = 16
"""Locks that are asked for in one message."""


class Offers:
    """What can be fetched; at most `per_peer` messages that ask for it are under way to one peer."""

    def __init__(self, per_peer: int, most: int = MOST_OFFERS) -> None:
        self.missed = 0
        self._per_peer = per_peer
        self._most = most
        self._offered: dict[Peer, dict[InvItem, None]] = {}
        self._under_way: dict[InvItem, tuple[Peer, int]] = {}
        self._asked = 0
        self._silent: dict[Peer, int] = {}

    def __len__(self) -> int:
        return len(self.items)

    @property
    def items(self) -> set[InvItem]:
        """What is announced and not here yet."""
        return {item for offered in self._offered.values() for item in offered}

    def add(self, peer: Peer, item: InvItem) -> None:
        """Note that `peer` has `item`; beyond the bound its oldest offer is missed."""
        offered = self._offered.setdefault(peer, {})
        offered.setdefault(item)
        if len(offered) > self._most:
            self._withdraw(peer, next(iter(offered)))

    def take(self, may_ask: Callable[[Peer], bool] = lambda _: True) -> tuple[Peer, tuple[InvItem, ...]] | None:
        """The oldest offers of a peer that can be asked now, each under way until `got` or `failed` is told of it.

        Args:
            may_ask: who may be asked at all; what others offered waits.
        """
        self._forget_the_gone()
        for peer, offered in self._offered.items():
            if not may_ask(peer):
                continue
            items = tuple(islice((item for item in offered if item not in self._under_way), AT_ONCE))
            if items and self._busy(peer) < self._per_peer and peer.answers >= self._silent.get(peer, 0):
                self._asked += 1
                self._under_way |= dict.fromkeys(items, (peer, self._asked))
                return peer, items
        return None

    def _busy(self, peer: Peer) -> int:
        """Messages to `peer` that are not answered in full."""
        return len({number for asked, number in self._under_way.values() if asked is peer})

    def got(self, item: InvItem) -> list[Peer]:
        """`item` is there, and nobody is asked for it any more; all who had offered it."""
        self._under_way.pop(item, None)
        owners = [peer for peer, offered in self._offered.items() if item in offered]
        for peer in owners:
            self._drop(peer, item)
        return owners

    def failed(self, peer: Peer, item: InvItem, *, silent: bool = False) -> None:
        """`peer` did not send `item`: whoever else offered it may be asked; missed when nobody did."""
        self._under_way.pop(item, None)
        if silent:
            self._silent[peer] = peer.answers + 1
        self._withdraw(peer, item)

    def _withdraw(self, peer: Peer, item: InvItem) -> None:
        self._drop(peer, item)
        if not any(item in offered for offered in self._offered.values()):
            self.missed += 1

    def _drop(self, peer: Peer, item: InvItem) -> None:
        offered = self._offered.get(peer, {})
        offered.pop(item, None)
        if not offered:
            self._offered.pop(peer, None)

    def _forget_the_gone(self) -> None:
        for peer in [peer for peer in self._offered if peer.gone]:
            for item in list(self._offered[peer]):
                self._withdraw(peer, item)
        self._silent = {peer: answers for peer, answers in self._silent.items() if not peer.gone}
