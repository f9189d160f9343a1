"""What is to happen in one run: the chain, the peers, the configuration, and a list of happenings, all from one seed.

A happening strikes a while after the client first entered a state, so that every phase is hit and not only the longest.
Each can be left out without changing any other: that is how a failing plan is shrunk.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Sequence
from typing import Self

import attrs

from phasegate.engine.progress import PHASES
from phasegate.p2p.simnet.internet import PROVABLE_LIES
from phasegate.verification.disk import Fault

STATES = ("", "headers", "mnlist", "cfheaders", "filters", "blocks", "synced")
"""After the first entry into which of them a happening strikes; "" stands for the start of the program."""
LIES = (*PROVABLE_LIES, "wrong-checksum", "truncated-message", "oversized-message", "unasked-messages")
MANNERS = ("lying", "lying", "silent", "stalling", "hanging-up", "trickling", "plain", "flooding")
"""What peers beside the honest ones are like."""


@attrs.frozen
class PeerPlan:
    """A peer: honest if `manner` is empty, else a nuisance of that kind; `lie` is what a liar lies about."""

    delay: float
    latency: float
    manner: str = ""
    lie: str = ""


@attrs.frozen
class Happening:
    """Something that happens `after` seconds after the client first entered `state`.

    Attributes:
        kind: a name of `phasegate.verification.simulation.world.KINDS`.
        amount: how much of it, in the unit of its kind: seconds, messages, blocks.
        peer: the index of the peer that it concerns.
        fault: for a disk fault, which.
    """

    kind: str
    state: str
    after: float
    amount: float = 0.0
    peer: int = 0
    fault: Fault | None = None

    def __str__(self) -> str:
        when = f"{self.after:.2f} s after {self.state or 'the start'}"
        what = f" {self.fault.value}" if self.fault else ""
        return f"{when}: {self.kind}{what}, amount {self.amount:g}, peer {self.peer}"


@attrs.frozen
class Plan:
    """A whole run.

    Attributes:
        seed: that it was drawn from; it also seeds the scheduler, the nonces and the disk.
        shape: which of a few families of chains.
        height: the height of the chain in the beginning.
        masternodes, filters: whether these phases are enabled.
        batches: how much is asked for at once, by phase.
        watched: how many of the chain's scripts are watched from the beginning; the others are added later, if ever.
        peers: the first two are honest.
        happenings: in no order.
        strategy: whether phases follow each other or run beside each other; the latter in every fourth plan.
    """

    seed: int
    shape: int
    height: int
    masternodes: bool
    filters: bool
    batches: tuple[tuple[str, int], ...]
    watched: int
    peers: tuple[PeerPlan, ...]
    happenings: tuple[Happening, ...]
    strategy: str = "sequential"

    @classmethod
    def draw(cls, seed: int) -> Self:
        """The plan of that seed."""
        rng = random.Random(f"phasegate simulation {seed}")
        peers = _peers(rng)
        filters = rng.random() < 0.9
        return cls(
            seed,
            shape=rng.randrange(SHAPES),
            height=rng.choice(HEIGHTS),
            masternodes=rng.random() < 0.75,
            filters=filters,
            batches=(
                ("cfheaders", rng.choice((5, 40, 2000))),
                ("filters", rng.choice((3, 20, 1000))),
                ("blocks", rng.choice((1, 4, 16))),
            ),
            watched=rng.choice((0, 1, 2, 100, 100)),
            peers=peers,
            happenings=(*[_happening(rng, len(peers)) for _ in range(rng.choice((1, 2, 3, 4, 6, 9)))], *_ambush(rng)),
            strategy="interleaved" if rng.random() < 1 / 4 else "sequential",
        )

    def keeping(self, kept: Collection[int]) -> Self:
        """This plan with only these happenings, by their index."""
        return attrs.evolve(self, happenings=tuple([h for i, h in enumerate(self.happenings) if i in kept]))

    def __str__(self) -> str:
        phases = ", ".join(name for name in ("masternodes", "filters") if getattr(self, name)) or "headers only"
        peers = "; ".join(f"{i}: {_told(peer)}" for i, peer in enumerate(self.peers))
        happenings = "".join(f"\n    {i}. {h}" for i, h in enumerate(self.happenings))
        chain = f"{self.height} blocks of shape {self.shape}"
        return f"seed {self.seed}: {chain}, {phases}, {self.strategy}; peers {peers}{happenings}"


def _told(peer: PeerPlan) -> str:
    what = f"{peer.manner} {peer.lie}".strip() or "honest"
    return f"{what} ({peer.delay:.2f} s, {peer.latency:.2f} s away)"


SHAPES = 4
HEIGHTS = (24, 36, 60)
"""Few, because each chain is generated once a process."""
GROWTH = (1, 2, 5)
"""Blocks that may be mined at once."""


def _peers(rng: random.Random) -> tuple[PeerPlan, ...]:
    honest = [PeerPlan(rng.uniform(0.0, 0.2), rng.uniform(0.0, 0.2)) for _ in range(2)]
    return (*honest, *[_nuisance(rng) for _ in range(rng.choice((0, 1, 1, 2, 3)))])


def _nuisance(rng: random.Random) -> PeerPlan:
    manner = rng.choice(MANNERS)
    lie = rng.choice(LIES) if manner == "lying" else ""
    return PeerPlan(rng.uniform(0.0, 0.1), rng.uniform(0.0, 0.1), manner, lie)


def _happening(rng: random.Random, peers: int) -> Happening:
    (kind,) = rng.choices(tuple(_AMOUNTS), [_WEIGHTS.get(kind, 1) for kind in _AMOUNTS])
    amounts: Sequence[float] = _AMOUNTS[kind]
    fault = rng.choice(_DISK_FAULTS) if kind == "disk-fault" else None
    state = rng.choice((*STATES, *_FULL.get(kind, ())))
    after = rng.choice((0.0, rng.uniform(0.0, 0.3), rng.uniform(0.0, 3.0)))
    return Happening(kind, state, round(after, 3), rng.choice(amounts), rng.randrange(peers), fault)


def _ambush(rng: random.Random) -> Iterator[Happening]:
    """In every third plan nobody answers any more just when a phase has begun: what is begun is not done."""
    if rng.random() < 1 / 3:
        yield Happening("dark", rng.choice(PHASES), round(rng.uniform(0.0, 0.5), 3), rng.choice((12, 30)))


_DISK_FAULTS = (Fault.SHORT_WRITE, Fault.FULL, Fault.IO_ERROR, Fault.FAILED_SYNC, Fault.KILL, Fault.POWER_CUT)
_AMOUNTS: dict[str, Sequence[float]] = {
    "cut": (0,),
    "stall": (0.5, 5, 40),
    "leave": (1, 20),
    "lose": (1, 2, 5),
    "duplicate": (2, 1000),
    "reorder": (1, 3),
    "dark": (2, 30),
    "grow": GROWTH,
    "grow-much": (6,),
    "reorg": (1, 2, 5, 12, 20),
    "disk-fault": (1, 2, 5, 40),
    "kill": (0.1, 2),
    "power-cut": (0.1, 2),
    "restart": (0.1, 5),
    "clock-jump": (-4000, -30, 20, 45, 100_000),
    "pause": (0.2, 3, 60),
    "watch": (0,),
}
"""The kinds of happenings, and of how much each may be."""
_WEIGHTS = {"reorg": 6, "disk-fault": 3, "watch": 2, "duplicate": 2}
"""What happens more often than other things, for it takes many forms."""
_FULL = dict.fromkeys(("reorg", "watch"), ("blocks", "synced", "synced", "synced"))
"""What happens rather when much is stored."""
