"""How much a peer may say that nobody asked for, and announce so that it is asked for.

Two buckets, of messages and of bytes, fill at a steady rate up to a burst. Who takes more than is in them is read no
faster than they fill: the reader of that one connection sleeps, its socket fills up, and nobody else notices. Answers
to our own questions cost nothing. An honest peer never keeps a bucket in debt for long; who does for `chatter_patience`
seconds has floods as its business.

What is fetched only because a peer announced it (`Purses`) is no answer to a question of ours in that sense: it costs
as much as if it had come unasked. There is nothing to be slowed down, and so no offence: in debt, nothing more is
fetched of it until it is out of debt, and what others announced, too, is had of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.engine.limits import Limits

if TYPE_CHECKING:
    from phasegate.engine.config import Address

PURSES = 1024
"""Addresses whose purse is remembered."""


@attrs.define
class Allowance:
    """Tokens that come at `rate` a second, up to `burst`; it may be overdrawn, and the debt is told in seconds."""

    rate: float
    burst: float
    level: float = attrs.field(init=False)
    filled: float = attrs.field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        self.level = self.burst

    def take(self, amount: float, now: float) -> float:
        """Take `amount` out; the seconds until the bucket is out of debt (0.0 when it is not in debt)."""
        if self.filled > float("-inf"):
            self.level = min(self.burst, self.level + (now - self.filled) * self.rate)
        self.filled = now
        self.level -= amount
        return max(0.0, -self.level / self.rate)


class Chatter:
    """The allowance of one connection; times are Trio's."""

    def __init__(self, limits: Limits) -> None:
        self._patience = limits.chatter_patience
        self._messages = Allowance(limits.chatter_rate, limits.chatter_burst)
        self._bytes = Allowance(limits.chatter_bytes, limits.chatter_burst_bytes)
        self._in_debt_since: float | None = None
        self.throttled = 0.0
        """Seconds that this connection's reader has slept."""

    def spend(self, size: int, now: float) -> float:
        """Account for an unasked message of `size` bytes; the seconds to wait before the next is read.

        Raises:
            PeerMisbehaved: FLOODING, it has been in debt for longer than patience lasts.
        """
        wait = max(self._messages.take(1, now), self._bytes.take(size, now))
        if not wait:
            self._in_debt_since = None
        elif self._in_debt_since is None:
            self._in_debt_since = now
        elif now - self._in_debt_since > self._patience:
            raise PeerMisbehaved(Fault.FLOODING, f"for {now - self._in_debt_since:.0f} s more than it was asked for")
        self.throttled += wait
        return wait


class Purses:
    """What may be fetched of the announcements at each address, in bytes; a new connection brings no new purse.

    A small object costs what a message costs: in the end as many may be fetched in a second as may come unasked.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._least = limits.chatter_bytes / limits.chatter_rate
        self._purses: dict[Address, Allowance] = {}

    def pay(self, address: Address, size: int, now: float) -> bool:
        """Account for an object of `size` bytes; whether `address` is in debt."""
        if address not in self._purses:
            self._purses[address] = Allowance(self._limits.chatter_bytes, self._limits.chatter_burst_bytes)
            if len(self._purses) > PURSES:
                del self._purses[next(iter(self._purses))]
        return self._purses[address].take(max(size, self._least), now) > 0

    def in_debt(self, address: Address, now: float) -> bool:
        """Whether nothing is to be fetched of `address` now."""
        purse = self._purses.get(address)
        return purse is not None and purse.take(0, now) > 0
