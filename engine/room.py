"""The room in memory that all downloads of a client share.

A download knows what it takes: results that wait or are being applied, and what those under way may bring (`holding`).
Where phases run beside each other each download also sees what the others take, so there is one bound for the client,
however many phases are at work.

For lack of room a download would stand still, with all that it holds. So the job that it waits for is let in without;
but one download at a time may exceed the room like that, until the job is applied. Then it is the next one's turn, in
the order of asking. Thus all downloads together take the limit and one result at the most, as one alone does, and each
of them gets on. When one takes less than before, the others look again.

A download that is begun while a job of another one is being applied needs no turn of its own, which would not come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import attrs


@attrs.define(eq=False)
class Share:
    """What one download has of the room.

    Args:
        takes: tells the bytes that it takes now.
        look_again: called when another one takes less than before.
        within: the download in which it was begun, if in any.
    """

    takes: Callable[[], int]
    look_again: Callable[[], None]
    within: Share | None = None

    @property
    def outermost(self) -> Share:
        """This one, or that in which all began."""
        return self if self.within is None else self.within.outermost


class Room:
    """Who takes how much; one a client."""

    def __init__(self) -> None:
        self._shares: list[Share] = []
        self._turns: list[Share] = []

    @contextmanager
    def shared_by(self, share: Share) -> Iterator[None]:
        """While a download lasts; one that begins meanwhile in the same task is within it."""
        share.within = _own.get()
        self._shares.append(share)
        token = _own.set(share)
        try:
            yield
        finally:
            _own.reset(token)
            self._shares.remove(share)
            self.end_turn(share)

    @property
    def taken(self) -> int:
        """The bytes that all downloads take."""
        return sum(share.takes() for share in self._shares)

    def taken_beside(self, share: Share) -> int:
        """The bytes that all others take."""
        return sum(other.takes() for other in self._shares if other is not share)

    def may_exceed(self, share: Share) -> bool:
        """Whether the job that a download waits for may come without room; if not, its turn will come."""
        own = share.outermost
        if own not in self._shares:
            return True  # it is over, and takes no turn any more
        if own not in self._turns:
            self._turns.append(own)
        return self._turns[0] is own

    def waits(self, share: Share) -> bool:
        """Whether a download has asked for a turn that has not come."""
        return share.outermost in self._turns[1:]

    def end_turn(self, share: Share) -> None:
        """What a download waited for is applied, or it is over."""
        if share in self._turns:
            self._turns.remove(share)
        self.given_back(share)

    def given_back(self, share: Share) -> None:
        """A download takes less than before."""
        for other in [other for other in self._shares if other is not share]:
            other.look_again()


_own: ContextVar[Share | None] = ContextVar("phasegate_share", default=None)
