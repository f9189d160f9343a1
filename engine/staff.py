"""The peers of one download: who may be asked, and who is to be asked next.

The next job goes to the peer that has least to do, so that all work from the start and a slow one gets fewer; of equals
the first in the given order is preferred, so that a single job is the first peer's. What a peer still owes of jobs that
nobody waits for counts as work. A peer that was outrun comes after all others and gets one job at a time until it has
done as many as it lost races; while it owes an answer it gets none, unless nobody else is there. Who dragged an answer
out comes last, even when it has come back on a new connection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from phasegate.engine.errors import Failure
from phasegate.engine.peers import Peer
from phasegate.engine.work import Work


class Staff:
    """Who may be asked, and how much each has to do.

    Args:
        work: the workbench.
        choose: who may be asked, the best first; may raise Failure when there is nobody.
        per_peer: jobs under way to one peer.

    Raises:
        Failure: `choose` raised it.
    """

    def __init__(self, work: Work, choose: Callable[[], Sequence[Peer]], per_peer: int) -> None:
        self.load: Counter[Peer] = Counter()
        self._outrun: Counter[Peer] = Counter()
        self._work = work
        self._choose = choose
        self._per_peer = per_peer
        self._rank = _ranked(choose())

    def look_again(self) -> None:
        """Take in who is new; when there is nobody to choose, keep who is there."""
        try:
            self._rank = _ranked(self._choose())
        except Failure:
            self._rank = {peer: rank for peer, rank in self._rank.items() if not peer.gone}

    def idle(self) -> list[Peer]:
        """Who can take one more job, the best first."""
        free = [peer for peer in self._rank if not peer.gone and self.load[peer] < self._room(peer)]
        fit = [peer for peer in free if not (self._outrun[peer] and self._owed(peer))]
        return sorted(fit or ([] if self.load.total() else free), key=self._merit)

    def did(self, peer: Peer) -> None:
        """`peer` brought a result that was still wanted."""
        self._outrun[peer] = max(0, self._outrun[peer] - 1)

    def lost_race(self, peer: Peer) -> None:
        """Another one was faster than `peer`, though it began later."""
        self._outrun[peer] += 1
        self._work.outrun(peer)

    def _room(self, peer: Peer) -> int:
        return 1 if self._outrun[peer] else self._per_peer

    def _merit(self, peer: Peer) -> tuple[int, int, int, int]:
        dragged = self._work.live.dragged[peer.address]
        return dragged, self._outrun[peer], self.load[peer] + self._owed(peer), self._rank[peer]

    def _owed(self, peer: Peer) -> int:
        return self._work.ledger.owed(peer)


def _ranked(peers: Sequence[Peer]) -> dict[Peer, int]:
    return {peer: rank for rank, peer in enumerate(dict.fromkeys(peers))}
