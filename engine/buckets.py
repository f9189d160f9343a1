"""How many requests a second: a token bucket [the generic cell rate algorithm, ITU-T I.371].

Instead of counting tokens, which rounds, a bucket remembers when it will be full again. A token is there while that
moment is less than a whole bucket away, and taking one moves it by the time that a token needs to come. So in any
interval of `t` seconds at most `burst + rate * t` tokens are taken, whatever happened before it.
"""

from __future__ import annotations

import math

import attrs
import trio


@attrs.define(eq=False)
class Bucket:
    """Tokens that come at `rate` a second, of which one second's worth, at least one, can wait to be taken."""

    rate: float = math.inf
    _full: float = -math.inf
    _line: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    @property
    def burst(self) -> float:
        """How many tokens a full bucket has."""
        return max(1.0, self.rate)

    async def take(self) -> None:
        """Wait for a token, first come, first served; who is cancelled while waiting has taken none."""
        if self._ripe > trio.current_time() or self._line.locked():
            async with self._line:
                await trio.sleep_until(self._ripe)
                self._spend()
        else:
            self._spend()

    @property
    def _ripe(self) -> float:
        """When there is a token, or was."""
        return self._full - max(0.0, 1.0 - 1.0 / self.rate)

    def _spend(self) -> None:
        self._full = max(self._full, trio.current_time()) + 1.0 / self.rate
