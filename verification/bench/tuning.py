"""How much to ask for at once: the rates that batch sizes and numbers of requests in flight give with a node like Core.

Such a node answers what has been asked each time its message loop comes round, some tenths of a second apart, however
much that is; and it gives filters and blocks no faster than it can. From the rates follows how long an answer takes,
and from that how patient a client may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

import attrs

from phasegate.engine.limits import Limits
from phasegate.p2p.simnet.bulk_plan import BulkPlan
from phasegate.verification.bench.stage import LIKE_CORE, Stage

BATCHES: Mapping[str, tuple[int, ...]] = {
    "headers": (12_000, 48_000),
    "cfheaders": (1000, 2000),
    "filters": (200, 1000),
    "blocks": (4, 16, 64),
}
"""For headers the batch is a range, `header_span`, which takes several answers of at most 8,000."""
IN_FLIGHT = (1, 4, 8, 16)
_BEFORE = {"cfheaders": "headers", "filters": "cfheaders", "blocks": "filters"}


@attrs.frozen
class Setting:
    """What one choice gave.

    Args:
        phase: which asks.
        batch: items of one request.
        in_flight: requests to the peer at once.
        window: batches that may be under way or wait for their turn.
        rate: items a second.
        default: whether this is what a client does by itself.
    """

    phase: str
    batch: int
    in_flight: int
    window: int
    rate: float
    default: bool

    @property
    def answer(self) -> float:
        """The seconds that an answer takes: as long as all that is in flight."""
        return self.batch * self.in_flight / self.rate

    @property
    def patience(self) -> float:
        """How many such answers the least timeout is long."""
        return Limits().idle_timeout / self.answer


def tuned(stage: Stage, phases: tuple[str, ...] = tuple(BATCHES)) -> Iterator[Setting]:
    """Every choice of batch and number in flight, phase by phase, with one peer."""
    for phase in phases:
        plan = stage.sizes.blocks if phase == "blocks" else stage.sizes.large if stage.quick else stage.sizes.middle
        store = _before(stage, plan, phase)
        for batch, in_flight in sorted({*product(BATCHES[phase], IN_FLIGHT), _default(phase)}):
            yield _tried(
                stage, plan, store, Setting(phase, batch, in_flight, max(Limits().window, in_flight), 0, False)
            )


def _default(phase: str) -> tuple[int, int]:
    limits = Limits()
    return limits.header_span if phase == "headers" else limits.batch[phase], limits.in_flight[phase]


def _before(stage: Stage, plan: BulkPlan, phase: str) -> Path | None:
    """A store in which all phases before `phase` are over; None before the first."""
    if phase not in _BEFORE:
        return None
    stage.say(f"syncing up to {phase}")
    store = stage.new_store()
    with stage.peers(plan) as peers:
        stage.client(plan, peers, datadir=str(store), filters=True, until=_BEFORE[phase])
    return store


def _tried(stage: Stage, plan: BulkPlan, store: Path | None, choice: Setting) -> Setting:
    phase = choice.phase
    limits = {"in_flight": {phase: choice.in_flight}, "window": choice.window}
    limits |= {"header_span": choice.batch} if phase == "headers" else {"batch": {phase: choice.batch}}
    with stage.peers(plan, LIKE_CORE) as peers:
        datadir = stage.new_store() if store is None else stage.copy_of(store)
        task = {"datadir": str(datadir), "filters": True, "until": phase, "limits": limits}
        result = stage.client(plan, peers, **task)
    rate = result.items[phase] / result.phases[phase]
    return attrs.evolve(choice, rate=rate, default=(choice.batch, choice.in_flight) == _default(phase))
