"""One request under way: what it asks for, what has come of it, and when it is given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import trio

from phasegate.engine.patience import Wait
from phasegate.p2p.filter_runs import CFilterRun
from phasegate.p2p.messages import Message

if TYPE_CHECKING:
    from phasegate.engine.desks import Desk
    from phasegate.engine.peers import Peer


@attrs.frozen
class RequestView:
    """A request under way, as it is now.

    `number` counts the requests of the run, `stay` the desks; `size` is bytes on the wire, `arriving` the bytes so far
    of a reply that is not whole yet; times are of Trio's clock, and `sent_at` is None while the peer takes nothing.
    """

    number: int
    phase: str
    stay: int
    peer: Peer
    command: str
    size: int
    sent_at: float | None
    deadline: float
    expected: int
    settled: int
    arriving: int


@attrs.define(eq=False)
class Request:
    """One request under way: `accepts` says how many of the `expected` replies a message is; it goes into `replies`,
    unless `keeps` says that who asks takes each as it comes.

    `accepts_run`, where filters may come together, says how many of the first of a run are replies.

    `answer` is the name of such messages, `alive` when it was sent or last gave a sign of life, `pause` the longest
    time that this took so far. `question` is what is asked, byte for byte, `turn_at` since when the peer has nothing
    to send before the next reply to it; `in_time`: no reply took too long; `cut_off`: the peer hung up in the middle.
    """

    number: int
    desk: Desk
    peer: Peer
    command: str
    size: int
    accepts: Callable[[Message], int]
    expected: int
    answer: str
    wait: Wait
    alive: float
    pause: float = 0.0
    sent_at: float | None = None
    settled: int = 0
    replies: list[Message | CFilterRun] = attrs.field(factory=list)
    accepts_run: Callable[[CFilterRun], int] | None = None
    heard: trio.Event = attrs.field(factory=trio.Event)
    keeps: bool = True
    question: bytes = b""
    turn_at: float = 0.0
    in_time: bool = True
    cut_off: bool = False
    lost: str = ""

    @property
    def sent(self) -> bool:
        """Whether the peer's queue has taken it."""
        return self.sent_at is not None

    @property
    def answered(self) -> bool:
        """Whether every expected reply has come."""
        return self.settled >= self.expected

    @property
    def deadline(self) -> float:
        """When it is given up, unless there is a sign of life before."""
        return self.alive + self.wait.timeout

    @property
    def arriving(self) -> int:
        """Bytes so far of a reply that is not whole yet."""
        return self.peer.arriving(self.answer)

    def depart(self, now: float) -> None:
        """It is on its way: its clock begins."""
        self.sent_at = self.alive = self.turn_at = now

    def touch(self, now: float) -> None:
        """There is a sign of life."""
        if (pause := now - self.alive) > self.pause:
            self.pause = pause
        self.alive = now

    def wake(self) -> None:
        """Let the owner look again: all is there, or nothing more comes."""
        self.heard.set()
        self.heard = trio.Event()

    def view(self) -> RequestView:
        """What may be shown of it."""
        whose = self.number, self.desk.phase, self.desk.stay, self.peer, self.command
        return RequestView(*whose, self.size, self.sent_at, self.deadline, self.expected, self.settled, self.arriving)
