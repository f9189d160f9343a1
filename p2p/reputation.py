"""What peers have done wrong, by address: scores that are forgiven with time, and bans that end.

Each offence has its penalty beside it (`consensus/faults.py`). Penalties add up to a score, half of which is forgiven
each `forgive_time`; who reaches 100 is banned for `ban_time`, and begins anew after that. Silence is no offence and
never comes here.

A ban holds for a host, whatever the port: who lies behind one port may lie behind 65,535. Where many nodes share a host
because it is a private one (loopback, a home network, a name), it holds for the one port. People ban and unban either.
However an address is written, it is the same one.

Sans I/O: times are seconds since 1970, given by the caller, and who stores the rows takes what has changed. Clocks are
set, also back: what seems to come from the future is taken as of now, so that no ban lasts longer than it was to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import attrs

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.p2p.addresses import Address

BANNED_AT = 100.0
EVERY_PORT = 0
"""The port of a ban that holds for a whole host."""
BY_HAND = "by-hand"
"""The reason of a ban that a person wished."""
MOST = 10_000
"""Hosts of which something bad is remembered; the least recent that are not banned are forgotten first."""


@attrs.frozen
class Ban:
    """Why an address is not connected to, and until when (seconds since 1970)."""

    until: float
    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


@attrs.frozen
class Record:
    """What is held against a host, or one port of it: the score as it stood at `time`, and the ban if there is one."""

    host: str
    port: int
    score: float
    time: float
    ban: Ban | None = None


class Reputation:
    """The records of one client.

    Args:
        ban_time: seconds that a ban lasts.
        forgive_time: seconds in which half of a score is forgiven.
    """

    def __init__(self, ban_time: float, forgive_time: float) -> None:
        self._ban_time = ban_time
        self._forgive_time = forgive_time
        self._records: dict[tuple[str, int], Record] = {}
        self._changed: dict[tuple[str, int], None] = {}

    def load(self, records: Iterable[Record], now: float) -> None:
        """Take what was stored; bans that are over are left out, and so is what is more than fits."""
        for record in sorted(records, key=lambda record: record.time):
            self._records[record.host, record.port] = record
        self.expire(now)
        self._shrink()

    def blame(self, address: Address, fault: PeerMisbehaved, now: float, *, greeted: bool = True) -> Ban | None:
        """Add the penalty of `fault`; the ban if that is enough for one, else None.

        Args:
            greeted: it has shown in a handshake that it is a node of this network. Whatever else listens at an address
                says nothing about its host: else a stranger could have a node banned by telling of another port there.
        """
        penalty = fault.fault.penalty
        if not penalty:
            return None
        host, port = _scope(address) if greeted else (_spelt(address), address.port)
        known = self._records.get((host, port))
        score = penalty if known is None else self._left(known, now) + penalty
        ban = Ban(now + self._ban_time, fault.fault.code, fault.detail) if score >= BANNED_AT else None
        self._put(Record(host, port, 0.0 if ban else score, now, ban))
        return ban

    def ban(self, host: str, port: int, until: float, now: float, detail: str = "") -> None:
        """Ban a host (`EVERY_PORT`) or one port of it, by hand."""
        self._put(Record(host, port, 0.0, now, Ban(until, BY_HAND, detail)))

    def unban(self, host: str, port: int = EVERY_PORT) -> int:
        """Forget what is held against a host, with a `port` only what holds for that; how many bans that was."""
        names = [name for name in self._records if name[0] == host and (not port or name[1] in (port, EVERY_PORT))]
        lifted = sum(self._records[name].ban is not None for name in names)
        for name in names:
            self._drop(name)
        return lifted

    def banned(self, address: Address, now: float) -> Ban | None:
        """The ban that holds for `address` now."""
        host = _spelt(address)
        for name in ((host, EVERY_PORT), (host, address.port)):
            record = self._records.get(name)
            if record is not None and record.ban is not None and record.ban.until > now:
                return record.ban
        return None

    def score(self, address: Address, now: float) -> float:
        """What is held against `address`, forgiven as far as time has passed; 0.0 for the blameless."""
        record = self._records.get(_scope(address))
        return 0.0 if record is None else self._left(record, now)

    def _left(self, record: Record, now: float) -> float:
        return record.score * math.pow(0.5, max(0.0, now - record.time) / self._forgive_time)

    def expire(self, now: float) -> None:
        """Forget bans that are over and scores of less than one point; when the clock was set back, go back with it."""
        for name, record in list(self._records.items()):
            if record.time > now:
                self._records[name] = record = _redated(record, now)
                self._changed[name] = None
            over = record.ban is None or record.ban.until <= now
            if over and self._left(record, now) < 1.0:
                self._drop(name)

    @property
    def records(self) -> tuple[Record, ...]:
        """All that is remembered."""
        return tuple(self._records.values())

    def take_changes(self) -> tuple[list[Record], list[tuple[str, int]]]:
        """The records that are new or different since the last call, and the names of those that are gone."""
        names, self._changed = list(self._changed), {}
        known = [self._records[name] for name in names if name in self._records]
        return known, [name for name in names if name not in self._records]

    def _put(self, record: Record) -> None:
        name = record.host, record.port
        self._records.pop(name, None)
        self._records[name] = record
        self._changed[name] = None
        self._shrink()

    def _shrink(self) -> None:
        while len(self._records) > MOST:
            free = (old for old, other in self._records.items() if other.ban is None)
            own = (old for old, other in self._records.items() if other.ban is not None and other.ban.reason != BY_HAND)
            self._drop(next(free, next(own, next(iter(self._records)))))

    def _drop(self, name: tuple[str, int]) -> None:
        del self._records[name]
        self._changed[name] = None


def _scope(address: Address) -> tuple[str, int]:
    """The host, or the one port of it, that answers for what `address` does."""
    return _spelt(address), EVERY_PORT if address.is_routable else address.port


def _spelt(address: Address) -> str:
    """The host in its one spelling; to look a plain IPv4 address through takes no time."""
    host = address.host
    return address.canonical.host if ":" in host or not host.replace(".", "").isdigit() else host


def _redated(record: Record, now: float) -> Record:
    """The same as if it had just happened."""
    ban = record.ban and attrs.evolve(record.ban, until=now + record.ban.until - record.time)
    return attrs.evolve(record, time=now, ban=ban)
