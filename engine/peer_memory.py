"""What a client remembers of the network between runs: addresses, anchors, and what was held against whom.

The address book and the reputation decide in memory; this keeps them in the store, a difference at a time, so that
nothing is lost by a kill but the last minute of hearsay. Bans are stored at once. All of it is hints: when the disk
refuses, it is kept in memory and tried again later, and no phase notices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address

import trio

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.consensus.params import DEVNET, MAINNET, REGTEST, SIMNET, TESTNET, Network
from phasegate.engine.config import Config
from phasegate.engine.peer_rows import Backlog, entry_of, record_of, record_row
from phasegate.engine.seams import Seams, Writer
from phasegate.p2p.address_book import AddressBook
from phasegate.p2p.addresses import Address, Kind
from phasegate.p2p.reputation import Ban, Reputation
from phasegate.store import Change, ForgetReputation, PutReputation, StoreFailed

__all__ = ["ANCHORS", "PeerMemory", "acceptable", "record_of", "reputation_changes"]

SAVED_EVERY = 60.0
"""Seconds after which what was heard is stored."""
ANCHORS = 2
"""Peers of the last run that the next one connects to first [Core net.h MAX_BLOCK_RELAY_ONLY_ANCHORS]."""


class PeerMemory:
    """The address book and the reputation of one client, and their way to the store.

    Args:
        config: says which addresses are of use.
        seams: randomness and the wall clock.
        writer: of the store; without one, nothing outlives this object.
        warn: called with a stable code and a line for the user.
    """

    def __init__(
        self,
        config: Config,
        seams: Seams,
        writer: Writer | None = None,
        warn: Callable[[str, str], None] = lambda _code, _line: None,
    ) -> None:
        self._seams = seams
        self._writer = writer
        self._warn = warn
        self._told_trouble = False
        self._urgent = trio.Event()
        self._left = Backlog()
        limits = config.limits
        self.reputation = Reputation(limits.ban_time, limits.forgive_time)
        self.anchors: tuple[Address, ...] = ()
        stored_key = None if writer is None else writer.store.peer_key()
        key = stored_key or seams.random.getrandbits(256).to_bytes(32, "big")
        if stored_key is None:
            self._left.set_key(key)
        accepts = acceptable(config.network)
        if _is_public(config.network):
            self.book = AddressBook(key, seams.random, accepts=accepts)
        else:  # all nodes may be in one network group: few buckets, as large together
            self.book = AddressBook(key, seams.random, accepts=accepts, new_buckets=16, tried_buckets=4, slots=4096)
        if writer is not None:
            self._load(writer)

    def _load(self, writer: Writer) -> None:
        store = writer.store
        self.book.load(map(entry_of, store.peers()))
        self.reputation.load(map(record_of, store.reputations()), self._seams.now())
        self.anchors = tuple(Address(host, port) for host, port in store.anchors())

    # -- bans ----------------------------------------------------------------------------------------------------

    def banned(self, address: Address) -> Ban | None:
        """The ban that holds for `address` now."""
        return self.reputation.banned(address, self._seams.now())

    def score(self, address: Address) -> float:
        """The points held against `address` now."""
        return self.reputation.score(address, self._seams.now())

    def blame(self, address: Address, fault: PeerMisbehaved, *, greeted: bool = True) -> Ban | None:
        """Hold `fault` against `address`; the ban if that comes to one."""
        ban = self.reputation.blame(address, fault, self._seams.now(), greeted=greeted)
        if ban is not None:
            self._urgent.set()
        return ban

    # -- hearsay -------------------------------------------------------------------------------------------------

    def learn(self, addresses: Iterable[tuple[Address, int]], source: str, seen: float | None = None) -> int:
        """Take addresses and their services from `source` into the book; how many of them are new."""
        now = self._seams.now()
        taken = [self.book.add(at, source, services, now if seen is None else seen, now) for at, services in addresses]
        return sum(taken)

    def keep_anchors(self, peers: Sequence[Address]) -> None:
        """Remember whom to connect to first in the next run: `peers`, and the earlier ones while those are too few."""
        anchors = tuple(dict.fromkeys([*peers, *self.anchors]))[:ANCHORS]
        if anchors != self.anchors:
            self.anchors = anchors
            self._left.set_anchors(anchors)

    # -- the store -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Store what has changed, at intervals and when somebody was banned, until cancelled."""
        while True:
            with trio.move_on_after(SAVED_EVERY):
                await self._urgent.wait()
            self._urgent = trio.Event()
            self.reputation.expire(self._seams.now())
            await self.save()

    async def save(self) -> None:
        """Store what has changed since the last call; what the disk refuses is kept for the next."""
        self._left.add_records(*self.reputation.take_changes())
        self._left.add_entries(*self.book.take_changes())
        if self._writer is None:
            self._left = Backlog()
        try:
            while self._writer is not None and self._left:
                piece = self._left.piece()
                await self._writer.commit(piece.changes())
                self._left.stored(piece)
                self._told_trouble = False
        except StoreFailed as refused:
            self._say_once(str(refused))

    def _say_once(self, why: str) -> None:
        if not self._told_trouble:
            self._warn("peers-not-stored", f"what is known of peers could not be stored: {why}")
        self._told_trouble = True


def _is_public(network: Network) -> bool:
    return network.name in (MAINNET.name, TESTNET.name)


def acceptable(network: Network) -> Callable[[Address], bool]:
    """Which addresses that somebody told are worth remembering.

    On public networks those that can be reached from anywhere; on a devnet any; on regtest, which is private, those
    that cannot; on simnet, which never leaves one machine, those of the loopback. So no gossip of a private network
    makes a client call on strangers; hidden services are called on only through a proxy that the user names. Where
    strangers can be reached, no port below 1024, where other services listen: we do not knock at their doors.
    """
    fits = _FITTING.get(network.name, _is_public_node)
    return lambda address: address.kind in _HIDDEN or (address.kind in (Kind.IPV4, Kind.IPV6) and fits(address))


def _is_public_node(address: Address) -> bool:
    return address.is_routable and address.port >= UNPRIVILEGED


UNPRIVILEGED = 1024
_HIDDEN = (Kind.TORV3, Kind.I2P, Kind.CJDNS)
_FITTING: dict[str, Callable[[Address], bool]] = {
    DEVNET.name: lambda address: address.port >= UNPRIVILEGED,
    REGTEST.name: lambda address: not address.is_routable,
    SIMNET.name: lambda address: ip_address(address.host).is_loopback,
}


def reputation_changes(reputation: Reputation) -> list[Change]:
    """What has to be stored of what has changed in `reputation` since the last call."""
    records, pardoned = reputation.take_changes()
    changes: list[Change] = [PutReputation(record_row(record)) for record in records]
    return [*changes, *[ForgetReputation(host, port) for host, port in pardoned]]
