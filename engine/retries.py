"""When an address may be tried again, and how many are tried at all.

A peer that was of use and is lost is tried again soon, then more and more rarely. An address that leads nowhere, or to
nobody of use, waits longer, for there are others. But while nobody is there who is needed it waits a few seconds at
most, except where a node was reached. And a failure while nobody at all is there counts for nothing: it may be our own
line that is down. Who never answers has silence to do penance for, though that is no offence; who made room for others
stays aside. All that lasts for one run, of so many addresses.

The pace is for all addresses together: a burst, then some in a second, and the longer the row of failures the fewer, so
that neither a book full of dead addresses nor a day without a line costs much. A node that is met ends that; if it was
our line that was down, the burst is there again, and once a minute it is there when there is hurry.
"""

from __future__ import annotations

import math

import attrs

from phasegate.engine.chatter import Allowance
from phasegate.engine.limits import Limits
from phasegate.engine.recovery import backoff
from phasegate.engine.seams import Seams
from phasegate.p2p.addresses import Address

LATER, MUCH_LATER = 30.0, 1800.0
"""Seconds that an address which was of no use waits: the first time, and at most."""
ASIDE, LONGEST_ASIDE = 600.0, 4 * 3600.0
"""Seconds for which a peer that was of no use is left aside: the first time, and at most."""
MOST = 4096
"""Addresses that are remembered."""
BURST = 32
"""Addresses that may be tried at once."""
RATES = ((64, 4.0), (512, 0.4), (math.inf, 0.2))
"""How many are tried in a second, up to so many failures in a row."""
BURST_EVERY = 60.0
"""Seconds after which hurry brings the burst back again, while our line may be down."""


@attrs.define
class _Retry:
    """What an address did so far; it waits until `until` (Trio's time), or `soon` when there is hurry."""

    attempts: int = 0
    silences: int = 0
    asides: int = 0
    until: float = float("-inf")
    soon: float = float("-inf")


class Retries:
    """What is remembered of the addresses that were tried in this run."""

    def __init__(self, limits: Limits, seams: Seams) -> None:
        self._limits = limits
        self._random = seams.random
        self._known: dict[Address, _Retry] = {}

    def __len__(self) -> int:
        return len(self._known)

    def may_try(self, address: Address, now: float, *, hurry: bool) -> bool:
        """Whether it has waited long enough; `hurry`: nobody is there who is needed."""
        known = self._known.get(address)
        return known is None or now >= (known.soon if hurry else known.until)

    def lost(self, address: Address, now: float, *, answered: bool, reached: bool, excused: bool = False) -> None:
        """A connection is over, or did not come about.

        Args:
            answered: it answered a request of ours.
            reached: there was a node, of whatever kind.
            excused: what failed may well be on our side.
        """
        known, limits = self._of(address), self._limits
        if answered:
            known.attempts = known.asides = known.silences = 0
        known.attempts = max(1, known.attempts + (not excused))
        soon = backoff(known.attempts, limits.reconnect_first, limits.reconnect_cap, self._random)
        soon = soon if reached else min(soon, limits.waiting_cap)
        later = backoff(known.attempts, LATER, MUCH_LATER, self._random)
        self._wait(known, now, soon if answered or excused else later, soon)

    def was_silent(self, address: Address) -> None:
        """It left a request without an answer, and has answered none before."""
        self._of(address).silences += 1

    def forgive(self, address: Address) -> None:
        """It has answered."""
        if address in self._known:
            self._known[address].silences = 0

    def penance(self, address: Address) -> float:
        """Seconds that an address has to wait because it was silent: 0.0 when it was not."""
        known, limits = self._known.get(address), self._limits
        if known is None or not known.silences:
            return 0.0
        return backoff(known.silences, limits.idle_timeout, limits.reconnect_cap, self._random)

    def put_aside(self, address: Address, now: float) -> None:
        """Others are tried before it for a while, though it did nothing wrong."""
        known = self._of(address)
        known.asides += 1
        self._wait(known, now, backoff(known.asides, ASIDE, LONGEST_ASIDE, self._random), self._limits.reconnect_cap)

    def cut_short(self) -> None:
        """Every wait is over, now."""
        for known in self._known.values():
            known.until = known.soon = float("-inf")

    def _wait(self, known: _Retry, now: float, delay: float, soon: float) -> None:
        known.until = max(known.until, now + delay)
        known.soon = max(known.soon, now + soon)

    def _of(self, address: Address) -> _Retry:
        known = self._known.pop(address, None) or _Retry()
        self._known[address] = known  # the last one that something happened to is last
        if len(self._known) > MOST:
            for oldest in list(self._known)[: MOST // 8]:
                del self._known[oldest]
        return known


class Pace:
    """How many connections may be begun; times are Trio's."""

    def __init__(self) -> None:
        self._bucket = Allowance(RATES[0][1], BURST)
        self._vain = 0
        self._excused = 0
        self._burst_at = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until one more may be begun."""
        self._bucket.take(0, now)
        return max(0.0, (1 - self._bucket.level) / self._bucket.rate)

    def begun(self, now: float) -> None:
        """One is begun."""
        self._bucket.take(1, now)

    def failed(self, now: float, *, excused: bool = False) -> None:
        """No node was met; `excused`: it may well be our own line that is down."""
        self._excused += excused
        self._count(self._vain + 1, now)

    def well(self, now: float) -> None:
        """A node was met."""
        was_down = self._may_be_down
        self._excused = 0
        self._count(0, now)
        if was_down:
            self._bucket.level = BURST

    @property
    def _may_be_down(self) -> bool:
        """Whether nothing speaks against it that our own line is, or was, down."""
        return 0 < self._vain == self._excused

    def _count(self, vain: int, now: float) -> None:
        self._vain = vain
        self._bucket.take(0, now)
        self._bucket.rate = next(rate for most, rate in RATES if vain <= most)

    def hurry(self, now: float) -> None:
        """One may be begun at once; while our line may be down, now and then a whole burst."""
        self._bucket.level = max(1.0, self._bucket.level)
        if self._may_be_down and now - self._burst_at >= BURST_EVERY:
            self._burst_at, self._bucket.level = now, BURST
