"""What is known of an address, how it is judged, and what of all that the store has not seen yet."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from phasegate.p2p.addresses import Address

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0

FUTURE = 10 * MINUTE
"""Clocks may differ by this much; what was seen later than that is a lie or a broken clock."""
HORIZON = 30 * DAY
"""Nobody has heard of an address for so long: it is gone."""
RETRIES = 3
"""Failures after which an address that never answered is gone."""
MAX_FAILURES, FAILING_FOR = 10, 7 * DAY
"""Failures, and time since the last success, after which an address that once answered is gone."""
HEARSAY_PENALTY = 2 * HOUR
"""What others say of when a node was seen counts as so much older [Core net_processing.cpp]."""
NONSENSE_AGE, OLDEST_SENSE = 5 * DAY, 100_000_000.0
"""A time that cannot be counts as so long ago; before 1973 there was no network."""
FRESH = 4 * HOUR
"""A holder of a tried place that answered within this time keeps it; a test that failed counts as long."""
TEST_TIME, TEST_WINDOW = MINUTE, 40 * MINUTE
"""What a tested holder has to answer; and how long after its success a newcomer waits for a test."""


@attrs.frozen
class Entry:
    """What is known of one address. Times are seconds since 1970, 0 for never.

    Args:
        address: where it listens.
        source: the host of who told of it, or the word for another origin: "dns", "user", "builtin", "masternodes".
        services: the service bits, as told until it said so itself.
        seen: when it was last alive, as told or known.
        tried: when a connection was last begun.
        succeeded: when it last answered as a node of this network.
        attempts: failures since then.
        in_tried: whether it stands in the table of those that did answer.
    """

    address: Address
    source: str
    services: int = 0
    seen: float = 0.0
    tried: float = 0.0
    succeeded: float = 0.0
    attempts: int = 0
    in_tried: bool = False

    def is_terrible(self, now: float) -> bool:
        """Whether it may make room for any other and is not worth telling of [Core addrman.cpp IsTerrible].

        One that was tried within the last minute may just be answering. One that did answer and seems to have done so
        in the future tells that our clock was set back, and is kept.
        """
        if 0 <= now - self.tried <= MINUTE:
            return False
        unseen = (self.seen > now + FUTURE and not self.succeeded) or now - self.seen > HORIZON
        never = not self.succeeded and self.attempts >= RETRIES
        no_more = now - self.succeeded > FAILING_FOR and self.attempts >= MAX_FAILURES
        return unseen or never or no_more

    def chance(self, now: float) -> float:
        """The share of cases in which it is taken when drawn, above 0, at most 1 [Core addrman.cpp GetChance]."""
        recent = 0.01 if now - self.tried < 10 * MINUTE else 1.0
        return recent * float(0.66 ** min(self.attempts, 8))


def believed(seen: float, now: float, *, by_others: bool) -> float:
    """When an address was probably alive that is said to have been so at `seen`."""
    if not OLDEST_SENSE < seen <= now + FUTURE:
        seen = now - NONSENSE_AGE
    return max(0.0, min(seen, now) - (HEARSAY_PENALTY if by_others else 0.0))


def gives_way(holder: Entry, rival: Entry, now: float) -> bool | None:
    """Whether the holder of a tried place must leave it to a rival; None while that is not known."""
    if now - holder.succeeded < FRESH:
        return False
    if now - holder.tried < FRESH:
        return True if now - holder.tried > TEST_TIME else None
    return True if now - rival.succeeded > TEST_WINDOW else None


class Entries:
    """All entries by address, and the difference to what the store has.

    The difference is bounded by what is here and what is stored, however much came and went between two takes.
    """

    def __init__(self) -> None:
        self._here: dict[Address, Entry] = {}
        self._stored: dict[Address, Entry] = {}
        self._touched: dict[Address, None] = {}

    def __len__(self) -> int:
        return len(self._here)

    def __contains__(self, address: Address) -> bool:
        return address in self._here

    def __getitem__(self, address: Address) -> Entry:
        return self._here[address]

    def get(self, address: Address) -> Entry | None:
        """What is known of `address`."""
        return self._here.get(address)

    def put(self, entry: Entry) -> Entry:
        """Keep `entry` in place of what was known of its address."""
        self._here[entry.address] = entry
        self._touch(entry.address)
        return entry

    def drop(self, address: Address) -> None:
        """Forget what is known of `address`."""
        del self._here[address]
        self._touch(address)

    def assume_stored(self, entries: Iterable[Entry]) -> None:
        """The store has these rows, whether or not they are kept here."""
        for entry in entries:
            self._stored[entry.address] = entry
            self._touch(entry.address)

    @property
    def changed(self) -> bool:
        """Whether the store is behind."""
        return bool(self._touched)

    def take_changes(self) -> tuple[list[Entry], list[Address]]:
        """The entries to write and the addresses to delete; the store counts as having done so from now on."""
        written = [self._here[address] for address in self._touched if address in self._here]
        deleted = [address for address in self._touched if address not in self._here]
        self._stored.update((entry.address, entry) for entry in written)
        for address in deleted:
            del self._stored[address]
        self._touched.clear()
        return written, deleted

    def _touch(self, address: Address) -> None:
        if self._here.get(address) == self._stored.get(address):
            self._touched.pop(address, None)
        else:
            self._touched[address] = None
