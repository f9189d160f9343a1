"""How long one answer may take in all, however steadily it comes: as long as nobody else could give it, for ever.

The idle timeout (`patience`) tells a mute peer from one that is on its way. It does not tell a slow line from a peer
that sends just enough to seem on its way: at 467 bytes a second a masternode list of 3 MB takes two hours. So an answer
has `ROUNDS` idle timeouts, and a second more for each `SWIFT` bytes that have come. With the defaults that is 70 s for
one that drips, 100 s at 5 kB/s (500 kB are there by then), at most five minutes for a message of 3 MB, and no end for
who is faster than `SWIFT`. It counts from when it is the answer's turn, for a node answers in order; of many answers
to one question each has that time: steady progress never times out, but is raced (`pipeline`).

Who takes longer is left if another one can be asked. That is no offence: it counts as silence does. Where two questions
of a kind met that, the world may be slow, an onion line for all peers, say; then the time for that kind is doubled,
again and again, so that what is large comes in the end. But once a peer has answered the very same question in time,
nobody has more time for it; and if that was a question that was given up, the time is what it was at first.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from phasegate.engine.under_way import Request

ROUNDS = 6
"""Idle timeouts, beside the one that is borne before the first sign of it, within which any answer has come."""
SWIFT = 16 * 1024
"""Bytes a second; who is slower has not much longer than `ROUNDS`."""
DOUBLED_BY = 2
"""Questions of a kind that nobody answers in time, after which the time for that kind is doubled."""
MOST_DOUBLED = 6
"""How often that happens at most."""
REMEMBERED = 256
"""Questions that are remembered, of those that were answered in time and of those that were not."""


@attrs.define(eq=False)
class Pace:
    """What is known of one client's run about how long answers take; kinds are the names of the answers."""

    _doubled: Counter[str] = attrs.field(factory=Counter, init=False)
    _unanswered: Counter[str] = attrs.field(factory=Counter, init=False)
    _overrun: dict[bytes, None] = attrs.field(factory=dict, init=False)
    _in_time: dict[bytes, None] = attrs.field(factory=dict, init=False)

    def allowed(self, request: Request) -> float:
        """Seconds from its turn within which the next reply to `request` has to be whole, as much of it having come."""
        doubled = 0 if request.question in self._in_time else self._doubled[request.answer]
        return _first_allowed(request) * (1 << doubled) + request.arriving / SWIFT

    def overrun(self, request: Request) -> None:
        """`request` was given up for what it took."""
        if request.question in self._in_time:
            return
        _remember(self._overrun, request.question)
        self._unanswered[request.answer] += 1
        if self._unanswered[request.answer] == DOUBLED_BY:
            self._unanswered[request.answer] = 0
            self._doubled[request.answer] = min(MOST_DOUBLED, self._doubled[request.answer] + 1)

    def is_in_time(self, request: Request) -> bool:
        """Whether the message that has come now, a reply to `request`, took no longer than is allowed at first."""
        return trio.current_time() - request.turn_at <= _first_allowed(request) + request.peer.last_size / SWIFT

    def answered(self, request: Request) -> None:
        """`request` was answered."""
        if not request.in_time:
            return
        _remember(self._in_time, request.question)
        if request.question in self._overrun:
            self._unanswered[request.answer] = self._doubled[request.answer] = 0


def _first_allowed(request: Request) -> float:
    """Seconds for an answer of which nothing has come, while nothing is known."""
    return ROUNDS * request.desk.patience.base + request.wait.timeout


def _remember(known: dict[bytes, None], question: bytes) -> None:
    known.pop(question, None)
    known[question] = None
    if len(known) > REMEMBERED:
        del known[next(iter(known))]
