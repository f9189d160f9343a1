"""What a store remembers of peers and broadcasts, in plain dicts, and strategies for changes to it."""

from __future__ import annotations

import attrs
from hypothesis import strategies as st

from phasegate.store import (
    BroadcastRow,
    Change,
    ForgetBroadcast,
    ForgetPeers,
    ForgetReputation,
    PeerRow,
    PutBroadcast,
    PutPeers,
    PutReputation,
    ReputationRow,
    SetAnchors,
    Store,
    broadcasts,
    peers,
    reputations,
)

HOSTS = st.sampled_from(["10.0.0.1", "10.0.0.2", "2001:db8::7", "a" * 56 + ".onion", "seed.example"])
PORTS = st.sampled_from([0, 9999, 19999])
ADDRESSES = st.tuples(HOSTS, PORTS)
TIMES = st.sampled_from([0.0, 1.0, 2.5, 3.0, 1e9]) | st.floats(-1e12, 1e12)
PEERS = st.builds(
    PeerRow,
    HOSTS,
    PORTS,
    st.text(st.characters(codec="utf-8"), max_size=9),
    st.integers(0, (1 << 64) - 1),
    TIMES,
    TIMES,
    TIMES,
    st.integers(0, 1000),
    st.booleans(),
)
SCORES = st.floats(0, 1000)
REPUTATIONS = st.builds(ReputationRow, HOSTS, PORTS, SCORES, TIMES, TIMES, st.text(max_size=9), st.text(max_size=9))
TXIDS = st.integers(0, 5).map(lambda number: bytes((number,)) * 32)
BROADCASTS = st.builds(BroadcastRow, TXIDS, st.binary(min_size=1, max_size=9), TIMES, TIMES, st.text(max_size=9))
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.lists(PEERS, max_size=4).map(lambda rows: PutPeers(tuple(rows))),
    st.lists(ADDRESSES, max_size=2).map(lambda addresses: ForgetPeers(tuple(addresses))),
    st.lists(ADDRESSES, max_size=peers.ANCHORS).map(lambda addresses: SetAnchors(tuple(addresses))),
    REPUTATIONS.map(PutReputation),
    st.builds(ForgetReputation, HOSTS, PORTS),
    BROADCASTS.map(PutBroadcast),
    TXIDS.map(ForgetBroadcast),
)


@attrs.define
class Remembered:
    """What a store remembers, by address or txid."""

    peers: dict[tuple[str, int], PeerRow] = attrs.field(factory=dict)
    anchors: tuple[tuple[str, int], ...] = ()
    reputations: dict[tuple[str, int], ReputationRow] = attrs.field(factory=dict)
    broadcasts: dict[bytes, BroadcastRow] = attrs.field(factory=dict)

    def apply(self, change: Change) -> bool:
        """What each change means; whether it is one of these."""
        match change:
            case PutPeers(rows):
                found = {**self.peers, **{(row.host, row.port): row for row in rows}}
                newest = sorted(found.items(), key=lambda item: (item[1].seen, item[0]))[-peers.KEPT :]
                self.peers = dict(newest)
            case ForgetPeers(addresses):
                self.peers = {address: row for address, row in self.peers.items() if address not in addresses}
            case SetAnchors(addresses):
                self.anchors = addresses
            case PutReputation(row):
                self._put_reputation(row)
            case ForgetReputation(host, port):
                self.reputations.pop((host, port), None)
            case PutBroadcast(row):
                found_broadcasts = {**self.broadcasts, row.txid: row}
                last = sorted(found_broadcasts.values(), key=lambda row: (row.added, row.txid))[-broadcasts.KEPT :]
                self.broadcasts = {row.txid: row for row in last}
            case ForgetBroadcast(txid):
                self.broadcasts.pop(txid, None)
            case _:
                return False
        return True

    def _put_reputation(self, put: ReputationRow) -> None:
        self.reputations[(put.host, put.port)] = put
        while len(self.reputations) > reputations.KEPT:
            free = [row for row in self.reputations.values() if row.banned_until <= put.time]
            oldest = min(row.time for row in free or self.reputations.values())
            last = max((r.host, r.port) for r in free or self.reputations.values() if r.time == oldest)
            del self.reputations[last]

    def agrees(self, store: Store) -> None:
        """The store says the same."""
        assert store.peers() == [row for _, row in sorted(self.peers.items())]
        assert store.anchors() == list(self.anchors)
        assert store.reputations() == [row for _, row in sorted(self.reputations.items())]
        assert store.broadcasts() == sorted(self.broadcasts.values(), key=lambda row: (row.added, row.txid))
