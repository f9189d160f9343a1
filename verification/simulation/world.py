"""The simulated world of one run: nodes with their chains, the lines to them, and what happens to both."""

from __future__ import annotations

import errno
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import trio

from phasegate.p2p.messages import Services
from phasegate.p2p.simnet import CannotServe
from phasegate.p2p.simnet.flood import ALL, Flood
from phasegate.p2p.simnet.generated import GeneratedChain
from phasegate.p2p.simnet.greeting import SERVICES, Identity
from phasegate.p2p.simnet.lies import Lie
from phasegate.p2p.simnet.node import Node
from phasegate.p2p.simnet.pipe import PipeEnd, pipe
from phasegate.verification.simulation import trees
from phasegate.verification.simulation.line import Line, Trouble
from phasegate.verification.simulation.plan import Happening, PeerPlan, Plan

START = 1_800_000_000.0
"""The wall clock at the beginning, later than every block."""
HONEST = 2
"""So many of the peers, the first, are honest and hear of every block."""
MOST_ATTEMPTS = 12
"""Blocks more than it replaces that a branch may need to be the heavier one."""
FLOOD_RATE = 20_000.0
"""Bytes of junk a second of a flooding peer."""


@attrs.define(eq=False)
class Place:
    """A peer: its node, the trouble of its line, and the connections that are open."""

    plan: PeerPlan
    node: Node
    trouble: Trouble
    open: list[PipeEnd] = attrs.field(factory=list)
    away_until: float = 0.0


class World:
    """Nodes by number, reached through streams in memory; peer `i` listens at port `i + 1`.

    `heard` has, by port, the hashes of headers of which the client was told what follows them, on that connection.

    Args:
        plan: what it is like in the beginning.
        nursery: the connections live in it.
        path: of the chain, if not the one of the plan.
        sent: called whenever the client has sent something.
    """

    def __init__(
        self, plan: Plan, nursery: trio.Nursery, path: trees.Path | None = None, sent: Callable[[], None] = lambda: None
    ) -> None:
        self.done: Counter[str] = Counter()
        self.heard: dict[int, set[bytes]] = {}
        self.path: trees.Path = path or ((plan.height, plan.shape),)
        self.wall = START
        self._nursery = nursery
        self._sent = sent
        self._branches = 0
        self._rng = random.Random(f"world {plan.seed}")
        self.places = [self._place(peer) for peer in plan.peers]

    @property
    def chain(self) -> GeneratedChain:
        """What the honest peers serve now."""
        return trees.chain(self.path)

    def now(self) -> float:
        """The wall clock."""
        return self.wall + trio.current_time()

    def _place(self, plan: PeerPlan) -> Place:
        ways = MANNERS[plan.manner](self._rng)
        if plan.lie:
            with suppress(CannotServe):  # a chain may have no place for a lie: that liar is honest
                ways["lie"] = Lie.parse(plan.lie, self.chain)
        node = Node(self.chain, delay=plan.delay, rng=random.Random(self._rng.getrandbits(64)), now=self.now, **ways)
        return Place(plan, node, Trouble(plan.latency, self.done))

    async def open_stream(self, _host: str, port: int, /) -> trio.abc.Stream:
        """The client's end of a new connection.

        Raises:
            OSError: nobody is there.
        """
        place = self.places[port - 1]
        await trio.sleep(place.trouble.latency)
        await place.trouble.pass_dark()
        if trio.current_time() < place.away_until:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nothing listens at port {port}")
        ours, theirs = pipe()
        place.open.append(theirs)
        self._nursery.start_soon(self._serve, place, theirs)
        self.heard[port] = set()
        return Line(ours, place.trouble, self.heard[port], self._sent)

    async def _serve(self, place: Place, stream: PipeEnd) -> None:
        try:
            await place.node.handle(stream)
        finally:
            place.open.remove(stream)

    # -- what happens --------------------------------------------------------------------------------------------

    async def let_happen(self, what: Happening) -> None:
        """Let it happen now."""
        place = self.places[what.peer]
        match what.kind:
            case "cut":
                await self._cut(place)
            case "leave":
                place.away_until = trio.current_time() + what.amount
                await self._cut(place)
            case "stall":
                self._darken(place, what.amount)
            case "dark":
                for other in self.places:
                    self._darken(other, what.amount)
            case "lose" | "duplicate" | "reorder":
                setattr(place.trouble, what.kind, getattr(place.trouble, what.kind) + int(what.amount))
            case "grow" | "grow-much":
                await self._go_over(trees.grown(self.path, int(what.amount)))
            case "reorg":
                await self._go_over(self._heavier(int(what.amount)))
            case "clock-jump":
                self.wall += what.amount
        self.done[what.kind] += 1

    def _darken(self, place: Place, seconds: float) -> None:
        place.trouble.dark_until = max(place.trouble.dark_until, trio.current_time() + seconds)

    async def _cut(self, place: Place) -> None:
        for stream in list(place.open):
            await trio.aclose_forcefully(stream)

    async def _go_over(self, path: trees.Path) -> None:
        """All who are honest go over to a chain, one a little later than the other."""
        self.path = path
        for place in self.places:
            if place.plan.manner != "lying":
                await place.node.switch(self.chain)
                await trio.sleep(self._rng.uniform(0, 0.05))

    def _heavier(self, depth: int) -> trees.Path:
        """A branch that leaves the chain so many blocks below the tip and has more work."""
        self._branches += 1
        depth = min(depth, self.path[-1][0] - 1)
        for more in range(1, MOST_ATTEMPTS):
            path = trees.forked(self.path, depth, depth + more, self._branches)
            if trees.work(path) > trees.work(self.path):
                return path
        return self.path

    async def end_trouble(self) -> None:
        """From now on lines are good and everybody is there; who lies, floods or is silent goes on."""
        for place in self.places:
            place.trouble.end()
            place.away_until = 0.0

    async def repeat_tip(self) -> None:
        """The honest tell their newest block once more, as if it had just come."""
        for place in self.places[:HONEST]:
            await place.node.announce(1)

    def tally(self) -> Counter[str]:
        """What was done to the client, by kind."""
        lies = sum(place.node.told_lies for place in self.places)
        manners = Counter(f"peer {place.plan.manner}" for place in self.places if place.plan.manner)
        return self.done + manners + Counter({"lie told": lies})


Ways = dict[str, Any]

MANNERS: dict[str, Callable[[random.Random], Ways]] = {
    "": lambda _: {},
    "lying": lambda _: {},
    "silent": lambda _: {"silent": True},
    "stalling": lambda rng: {"stall_after": rng.randrange(8)},
    "hanging-up": lambda rng: {"hang_up_after": rng.choice((0.1, 1.0, 10.0))},
    "trickling": lambda rng: {"trickle": rng.choice((500.0, 5000.0))},
    "plain": lambda _: {"identity": Identity(services=SERVICES & ~Services.COMPACT_FILTERS)},
    "flooding": lambda _: {"flood": Flood.parse(ALL, FLOOD_RATE)},
}
"""What each manner is to a node."""
