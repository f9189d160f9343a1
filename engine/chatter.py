"""How much a peer may say that nobody asked for.

Two buckets, of messages and of bytes, fill at a steady rate up to a burst. Who takes more than is in them is read no
faster than they fill: the reader of that one connection sleeps, its socket fills up, and nobody else notices. Answers
to our own questions cost nothing. An honest peer never keeps a bucket in debt for long; who does for `chatter_patience`
seconds has floods as its business.
"""

from __future__ import annotations

import attrs

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.engine.limits import Limits


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
