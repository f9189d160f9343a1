"""A peer whose life is executed by its law instead of its chart, so that a thousand lives fit into a second.

Everything that a connection does is the engine's own: the activities of `engine/peers.py`, how they judge an error,
what the pool is told. Only the order of the activities comes from elsewhere: from the table `law.PEER`, which the
exploration proves to be equal to the chart. That saves the chart's library, and the tasks of an interpreter that has to
be ready for any chart; here one task goes through the states in their order.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import trio
from statemachine import State

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.engine.interpreter import Bindings, Interpreter, Post, Step
from phasegate.engine.peers import Peer
from phasegate.p2p.connection import ConnectionLost
from phasegate.statecharts.law_peer import PEER

_ACTIVITIES = {
    "connecting": "open_stream",
    "handshaking": "shake_hands",
    "ready": "serve",
    "closing": "close_stream",
}
_STATES = {name: State(name.capitalize(), value=name) for name in _ACTIVITIES}


class LeanInterpreter(Interpreter[Any]):
    """Executes the law of a peer; what it is told from outside ends the stay in the state that it is in."""

    def __init__(self, bindings: Any) -> None:
        self._bindings: Bindings = bindings
        self._model = bindings.model
        self._leaf = PEER.initial
        self._told: deque[Post] = deque()
        self._stay = trio.CancelScope()

    @property
    def leaf(self) -> str:
        return self._leaf

    def post_nowait(self, event: str, reason: str = "") -> bool:
        if self._leaf in PEER.ends:
            return False
        self._told.append(Post(event, reason))
        self._stay.cancel()
        return True

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        while self._leaf not in PEER.ends:
            post = await self._outcome_of(self._leaf)
            source, target = self._leaf, self._after(post)
            if target is not None:
                self._leaf = target
                await self._bindings.report(Step(source, target, post.event, post.reason))

    async def _outcome_of(self, state: str) -> Post:
        """What ends the stay in a state: its activity, an error of it, or a word from outside."""
        getattr(self._bindings, _ACTIVITIES[state])(_STATES[state])
        start: Any = self._bindings.effects.pop()
        with trio.CancelScope() as self._stay:
            if self._told:
                self._stay.cancel()
            try:
                await start.run()
            except (PeerMisbehaved, ConnectionLost, OSError, ExceptionGroup) as error:
                post = self._bindings.classify(state, error)
                if post is None:
                    raise
                return post
            return Post(start.then)
        return self._told.popleft()

    def _after(self, post: Post) -> str | None:
        """Where an event leads, None if it is refused."""
        lines = [line for line in PEER.responses if (line.leaf, line.event) == (self._leaf, post.event)]
        fits = [line for line in lines if all(getattr(self._model, guard) is says for guard, says in line.answers)]
        return fits[0].target if fits else None


class LeanPeer(Peer):
    """A peer that is executed by its law."""

    def _executed(self, bindings: Any) -> LeanInterpreter:
        return LeanInterpreter(bindings)

    @property
    def waiting(self) -> tuple[int, int]:
        """Messages that wait to be written, and their bytes."""
        return len(self._bindings.outgoing), self._bindings.outgoing.bytes

    @property
    def buffered(self) -> int:
        """Bytes received and not yet read as messages."""
        connection = self._bindings.connection
        return 0 if connection is None else connection.buffered
