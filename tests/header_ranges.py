"""A chain of bare headers with known blocks, and peers that announce its height and take their time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import attrs
import trio

from phasegate.consensus.params import REGTEST, Network
from phasegate.engine.config import Config, Limits
from phasegate.p2p.messages import Message
from phasegate.p2p.messages_chain import LocatorRequest
from phasegate.store import Store
from tests.scripted_peers import Answer, Bench, FakePeer, HeaderChain, bench

LENGTH, SPAN, LIMIT = 640, 60, 20
"""Headers of the chain and of a range, and those that a peer sends at once."""
ROUND_TRIP = 0.2


@cache
def trunk() -> HeaderChain:
    return HeaderChain().grown(LENGTH)


@cache
def longer() -> HeaderChain:
    """Leaves the trunk above 150, and has more work."""
    return trunk().cut(150).grown(LENGTH - 140, seed=1)


def knowing(chain: HeaderChain, every: int = 30, network: Network = REGTEST) -> Network:
    """The network with each so-many-th block of a chain known."""
    return attrs.evolve(network, known_blocks={at: chain.hash_at(at) for at in range(every, chain.height + 1, every)})


def config(network: Network, span: int = SPAN, **limits: Any) -> Config:
    return Config(network, limits=Limits(header_span=span, **limits))


class Far(FakePeer):
    """A peer that announces a height, and answers one question after another, each after a while."""

    start_height = LENGTH
    delay = 0.0
    line: trio.Lock

    async def send(self, message: Message) -> None:
        async with self.line:
            await trio.sleep(self.delay)
        await super().send(message)

    @property
    def ranges(self) -> list[LocatorRequest]:
        """The questions that ended in a known block."""
        return [question for question in self.asked if any(question.stop)]


def far(
    store: Store,
    *answers: Answer,
    delay: float = 0.0,
    network: Network | None = None,
    compressed: Sequence[int] = (),
    **limits: Any,
) -> tuple[Bench, list[Far]]:
    """A workbench whose peers announce the height of the trunk."""
    on = bench(store, *answers, config=config(network or knowing(trunk()), **limits), compressed=compressed)
    peers = []
    for peer in on.peers:
        peer.__class__ = Far
        assert isinstance(peer, Far)
        peer.delay, peer.line = delay, trio.Lock()
        peers.append(peer)
    return on, peers
