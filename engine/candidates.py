"""Whom to connect to next: an anchor of the last run, else somebody out of the address book, by chance.

A small book is looked through; out of a large one a bounded number is drawn, however few of them fit, because a look
must not hold up everything else: who is rare there is found a little later. No two peers are of one network group, for
one party easily has all of that (where groups tell nothing, on private networks, only if there is a choice).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
import trio

from phasegate.consensus.params import MAINNET, TESTNET
from phasegate.engine.config import Address, Config
from phasegate.engine.peer_memory import PeerMemory
from phasegate.engine.peers import Peer, Role
from phasegate.engine.retries import Retries
from phasegate.engine.seams import Seams
from phasegate.p2p.address_book import Entry
from phasegate.p2p.address_groups import Kind, group
from phasegate.p2p.messages import Services

WALKED = 200
"""Addresses in a book that is small enough to be looked through at once."""
DRAWS = 64
"""Addresses drawn at once out of a larger one."""
WORD_HOLDS = 86_400.0
"""Seconds for which a node is taken at its word about what it does not serve."""
BARREN = 5.0
"""Seconds for which a small book without a fitting address is left alone."""
BARREN_SOON = 0.5
"""The same when it is urgent, or the book is large."""


@attrs.frozen
class Wanted:
    """What is looked for: `filters`: only who may serve compact filters; `hurry`: nobody is there who is needed."""

    filters: bool = False
    hurry: bool = False


class Candidates:
    """Chooses addresses for one client.

    Args:
        lines: the connections that there are or that are being made.
    """

    def __init__(
        self, config: Config, seams: Seams, memory: PeerMemory, retries: Retries, lines: Mapping[Address, Peer]
    ) -> None:
        self._config = config
        self._seams = seams
        self._memory = memory
        self._retries = retries
        self._lines = lines
        self._anchors = list(memory.anchors)
        self._configured = {peer.canonical for peer in config.peers}
        self._public = config.network.name in (MAINNET.name, TESTNET.name)
        self._barren = float("-inf"), 0

    def next(self, wanted: Wanted) -> Address | None:
        """Whom to connect to now, None if there is nobody."""
        while self._anchors:
            if self.may_try(anchor := self._anchors.pop(0), wanted.hurry):
                return anchor
        if self.wait() > 0:
            return None
        now, size = trio.current_time(), len(self._memory.book)
        found = (self._looked_up if size <= WALKED else self._drawn)(wanted)
        if found is None:
            soon = wanted.hurry or size > WALKED
            self._barren = now + (BARREN_SOON if soon else BARREN), size
        return found

    def wait(self) -> float:
        """Seconds until it is worth while to look again, unless something changes."""
        if self._anchors or len(self._memory.book) != self._barren[1]:
            return 0.0
        return max(0.0, self._barren[0] - trio.current_time())

    def look_again(self) -> None:
        """Something may fit now that did not."""
        self._barren = float("-inf"), 0

    def feeler(self) -> Address | None:
        """Whom to try only to see whether it is alive: who holds a place that is wanted, else one never reached."""
        book = self._memory.book
        doubted = [at for at in book.collisions if self.may_try(at)]
        for _ in range(0 if doubted else DRAWS):
            entry = book.select(self._seams.now(), wanted=_anybody, new_only=True)
            if entry is None or self.may_try(entry.address):
                return None if entry is None else entry.address
        return doubted[0] if doubted else None

    def may_try(self, address: Address, hurry: bool = False) -> bool:
        """Whether `address` can be reached, is not connected, not configured, not banned, and has waited enough."""
        return (
            address not in self._lines
            and address not in self._configured
            and self._retries.may_try(address, trio.current_time(), hurry=hurry)
            and self._can_reach(address)
            and self._memory.banned(address) is None
        )

    def _looked_up(self, wanted: Wanted) -> Address | None:
        book, taken = self._memory.book, self._taken()
        for suits in self._tastes(wanted):
            fitting = {entry.address for entry in book.entries() if suits(entry)}
            diverse = {address for address in fitting if group(address) not in taken}
            if choice := diverse or (set() if self._public else fitting):
                found = book.select(self._seams.now(), wanted=lambda entry: entry.address in choice)
                return None if found is None else found.address
        return None

    def _drawn(self, wanted: Wanted) -> Address | None:
        now, taken = self._seams.now(), self._taken()
        drawn = [self._memory.book.select(now, wanted=_anybody) for _ in range(DRAWS)]
        for suits in self._tastes(wanted):
            fitting = [entry.address for entry in drawn if entry is not None and suits(entry)]
            diverse = [address for address in fitting if group(address) not in taken]
            if choice := diverse or ([] if self._public else fitting):
                return choice[0]
        return None

    def _taken(self) -> set[bytes]:
        return {group(peer.address) for peer in self._lines.values() if peer.role is Role.OUTBOUND}

    def _tastes(self, wanted: Wanted) -> list[Callable[[Entry], bool]]:
        """Who suits, and who does if there is no such: others said that it has no filters, or it did long ago."""
        now = self._seams.now()
        needed = Services.NETWORK | (Services.COMPACT_FILTERS if wanted.filters else 0)

        def suits(entry: Entry) -> bool:
            fits = not entry.services or entry.services & needed == needed
            return fits and self.may_try(entry.address, wanted.hurry)

        def may_suit(entry: Entry) -> bool:
            said_so = now - entry.succeeded < WORD_HOLDS and entry.services & needed != needed
            return not said_so and self.may_try(entry.address, wanted.hurry)

        return [suits, may_suit]

    def _can_reach(self, address: Address) -> bool:
        """Onion addresses take a proxy; I2P and CJDNS addresses are not connected to."""
        kind = address.kind
        return self._config.proxy is not None if kind is Kind.TORV3 else kind not in (Kind.I2P, Kind.CJDNS)


def _anybody(_: Entry) -> bool:
    return True
