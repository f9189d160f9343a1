"""How long silence is borne in one phase: doubled when the whole world seems slow, never for one peer's sake.

A silence says that a peer is mute, or that answers take longer than was thought. Which one, others tell. If a request
was answered since the silent one was sent, the world is well. While an answer has proven the timeout that is in force,
who never answered anything tells nothing of the world by its silence; who did, does. And one peer alone tells nothing,
however often it is silent: it takes a second one, or the same anew connected. Then the timeout is doubled, up to a cap,
and is unproven until the next answer. Several that fall silent together had the same timeout, so they double it once.

An answer takes it back to twice the longest pause that it needed, and never below the base. So one prompt answer undoes
whatever mute peers did, though they come back under new addresses; and where every answer takes 15 s, the timeout of
20 s to which two silences led stays, because it is less than twice what the answers need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from phasegate.engine.peers import Peer


@attrs.frozen
class Wait:
    """What a request may wait for a sign of its answer, in seconds, and how many were answered when it was sent."""

    timeout: float
    answers: int


@attrs.define(eq=False)
class Patience:
    """The idle timeout of one phase, from `base` up to `cap` seconds; it outlives the phase's stays."""

    base: float
    cap: float
    _stretched: float = attrs.field(default=0.0, init=False)
    _answers: int = attrs.field(default=0, init=False)
    _proven: bool = attrs.field(default=False, init=False)
    _silent: Peer | None = attrs.field(default=None, init=False)

    @property
    def timeout(self) -> float:
        """The idle timeout of a request that is sent now, in seconds."""
        return max(self.base, min(self.cap, self._stretched))

    def begin(self) -> Wait:
        """What a request that is sent now has to go by."""
        return Wait(self.timeout, self._answers)

    def answered(self, pause: float) -> None:
        """A request was answered, and was never longer than `pause` seconds without a sign of that."""
        self._answers += 1
        self._proven, self._silent = True, None
        self._stretched = min(self._stretched, 2 * pause)

    def silent(self, wait: Wait, peer: Peer) -> None:
        """A request to `peer` that had `wait` to go by was given up."""
        if wait.answers != self._answers or wait.timeout < self.timeout or (self._proven and not peer.answers):
            return
        if self._silent is None or self._silent is peer:
            self._silent = peer
            return
        self._stretched = min(self.cap, 2 * wait.timeout)
        self._proven, self._silent = False, None
