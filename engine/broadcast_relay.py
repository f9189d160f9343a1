"""Who is told of our transactions, and given them.

A transaction is told to a part of the peers, and at least one is left out: what that one then announces, it has from
others. When nothing came back after a few rounds the ones left out are told as well, for those told first may be of no
use. Peers that wish no transactions (the relay flag of their version message) are told of none; Core would hang up.

A transaction is given to a peer only after it was announced on that very connection, and once for each announcement;
whoever asks else gets `notfound`, whether we have it or not, and learns nothing. What does not fit the peer's queue
waits until it does, so a peer that asks for much, or reads nothing, costs its own room only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence

import trio

from phasegate.engine.broadcast_stages import OnItsWay
from phasegate.engine.peers import Peer
from phasegate.p2p.messages import GetData, Inv, InvItem, InvType, NotFound, TxMessage

MOST_TOLD = 4
"""Peers that one round of announcements tells anew at most."""
LEFT_OUT = 3
"""Rounds in which one peer at least is left to be the echo."""
AGAIN = 600.0
"""The longest pause, in seconds, until a transaction is announced again; it is doubled up to this."""
MOST_ASKED = 1000
"""Items of one request that are looked at [Core MAX_GETDATA_SZ]."""


class Relay:
    """Announces and serves.

    Args:
        outgoing: the transactions by txid; the caller changes it.
        random: who is told first, and when again.
        moved: called with a transaction of which more is known now.
    """

    def __init__(
        self, outgoing: Mapping[bytes, OnItsWay], random: random.Random, moved: Callable[[OnItsWay], None]
    ) -> None:
        self._outgoing = outgoing
        self._random = random
        self._moved = moved
        self._asked: dict[Peer, dict[bytes, None]] = {}

    # -- telling -------------------------------------------------------------------------------------------------

    def announce(self, entries: Iterable[OnItsWay], peers: Sequence[Peer]) -> None:
        """Tell of those among `entries` that are due, each peer all of them in one message."""
        now, willing = trio.current_time(), [peer for peer in peers if peer.info is not None and peer.info.relay]
        due = [entry for entry in entries if _is_due(entry, now)] if willing else []
        chosen = {entry: self._choose(entry, willing) for entry in due}
        told: set[Peer] = set()
        for peer in willing:
            news = [entry for entry, listeners in chosen.items() if peer in listeners]
            if news and peer.send_nowait(Inv(tuple([InvItem(InvType.TX, entry.txid) for entry in news]))):
                told.add(peer)
                _note(peer, news)
        for entry, listeners in chosen.items():
            if told & listeners or not listeners:
                self._postpone(entry, now)
            self._moved(entry)

    def _choose(self, entry: OnItsWay, willing: Sequence[Peer]) -> set[Peer]:
        """Some of those who do not know of it, and all who were told before."""
        fresh = [peer for peer in willing if peer.address not in entry.announced | entry.echoed]
        again = {peer for peer in willing if peer.address in entry.announced}
        self._random.shuffle(fresh)
        left_out = 0 if entry.echoed or len(willing) == 1 or entry.rounds >= LEFT_OUT else 1
        most = min(MOST_TOLD, (len(willing) + 1) // 2, len(fresh) - left_out)
        return again | set(fresh[: max(0, most)])

    def _postpone(self, entry: OnItsWay, now: float) -> None:
        entry.due = now + entry.pause * (0.75 + self._random.random() / 2)
        entry.last, entry.pause = now, min(AGAIN, 2 * entry.pause)
        entry.rounds += 1

    # -- giving --------------------------------------------------------------------------------------------------

    def serve(self, peer: Peer, request: GetData) -> None:
        """Give `peer` what was announced to it, and say of everything else that we have nothing."""
        asked, missing = self._asked.setdefault(peer, {}), []
        for item in dict.fromkeys(request.items[:MOST_ASKED]):
            entry = self._outgoing.get(item.hash) if item.type == InvType.TX else None
            if entry is not None and peer in entry.owed:
                entry.owed.discard(peer)
                asked[item.hash] = None
            elif item.type != InvType.TX or item.hash not in asked:
                missing.append(item)
        if missing:
            peer.send_nowait(NotFound(tuple(missing)))
        self._hand_over(peer)

    def go_on(self) -> None:
        """Give what did not fit before."""
        for peer in list(self._asked):
            if peer.gone:
                del self._asked[peer]
            else:
                self._hand_over(peer)

    def _hand_over(self, peer: Peer) -> None:
        asked = self._asked[peer]
        for txid in list(asked):
            entry = self._outgoing.get(txid)
            if entry is not None and not peer.send_nowait(TxMessage(entry.tx)):
                return
            del asked[txid]
            if entry is not None:
                entry.fetched.add(peer.address)
                self._moved(entry)
        del self._asked[peer]


def _is_due(entry: OnItsWay, now: float) -> bool:
    """Whether it is time, or everybody who was told has gone and nobody has spread it."""
    lost = bool(entry.told) and all(peer.gone for peer in entry.told) and not entry.echoed
    return entry.is_open and (now >= entry.due or lost)


def _note(peer: Peer, entries: Iterable[OnItsWay]) -> None:
    for entry in entries:
        entry.told = {other for other in entry.told if not other.gone} | {peer}
        entry.owed = {other for other in entry.owed if not other.gone} | {peer}
        entry.announced.add(peer.address)
