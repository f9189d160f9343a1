"""Nodes that drip: for some questions they send a frame of the greatest size, just fast enough to seem on their way."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from phasegate.p2p.framing import encode_frame
from phasegate.p2p.messages import KnownMessage, Message
from phasegate.p2p.simnet.conversation import Conversation
from phasegate.p2p.simnet.node import Node
from phasegate.p2p.simnet.wire import Gone

DROP, EVERY = 4200, 9.0
"""Bytes that a drop has, and seconds between two."""


class Drips:
    """Has some nodes drip from now on.

    Args:
        monkeypatch: undoes it.
        nodes: which.
        asked: the question that they answer like that.
        answer: what they pretend to send.
        size: bytes of payload that they say it has; None: as many as it may have.
        hang_up_after: drops after which they hang up; None: they go on.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        nodes: list[Node],
        asked: type[Message],
        answer: type[KnownMessage],
        size: int | None = None,
        hang_up_after: int | None = None,
    ) -> None:
        self.times = 0
        self._nodes = nodes
        self._asked = asked
        self._frame = (answer.command, bytes(answer.max_payload if size is None else size))
        self._drops = hang_up_after
        real, drips = Conversation._answer, self

        async def answered(conversation: Conversation, request: Any) -> None:
            if conversation.node in drips._nodes and isinstance(request, drips._asked):
                await drips._drip(conversation)
            else:
                await real(conversation, request)

        monkeypatch.setattr(Conversation, "_answer", answered)

    async def _drip(self, conversation: Conversation) -> None:
        self.times += 1
        frame = encode_frame(conversation.node.chain.network.magic, *self._frame)
        try:
            async with conversation.wire._sending:
                for place in range(0, len(frame), DROP)[: self._drops]:
                    await conversation.wire.stream.send_all(frame[place : place + DROP])
                    await trio.sleep(EVERY)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as broken:
            raise Gone from broken
        if self._drops is not None:
            raise Gone
