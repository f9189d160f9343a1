"""What the guards see: one frozen snapshot, taken once an event.

The durable part is the store writer's last receipt. The live part is the request ledger, the peers and the
configuration. Guards read nothing else, never the database, so a step of the chart is a pure function of its facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

import attrs

from phasegate.engine.recovery import Strategy
from phasegate.store import Watermarks


@attrs.frozen
class Facts:
    """A snapshot; the properties are the guards of `SyncChart` and `InterleavedChart`.

    Args:
        marks: the store's watermarks, as of its last commit.
        mn_enabled: masternode lists are wanted.
        filters_enabled: filters and blocks are wanted.
        mn_floor: the first height whose coinbase proves a masternode list (DIP3).
        min_work: the least chainwork that a complete chain has.
        max_tip_age: seconds after which the newest block is too old to be the tip; None: never.
        tip_age: seconds since the time that the header of the stored tip states.
        ready_peers: how many peers are ready.
        agreed: since the stored tip last changed every ready peer was asked, and had nothing better; who came after
            that and never answered anything does not count.
        outstanding: requests of the active phases under way.
        under_way: the same by phase, where several may be active; None where only one is.
        lists_open: masternode lists beside that of the tip are being brought.
        claims_open: another peer's word is wanted about filter headers that are stored to the tip.
        tip_hint: a peer hinted at a tip that is not the stored one, or came too late to be asked about the stored one.
        advice: what the recovery policy advises after the last failure.
        remedy_found: the reason for being degraded has ended.
    """

    marks: Watermarks
    mn_enabled: bool
    filters_enabled: bool
    mn_floor: int
    min_work: int
    max_tip_age: float | None = None
    tip_age: float = 0.0
    ready_peers: int = 0
    agreed: bool = False
    outstanding: int = 0
    lists_open: bool = False
    claims_open: bool = False
    tip_hint: bool = False
    advice: Strategy | None = None
    remedy_found: bool = False
    under_way: Mapping[str, int] | None = None

    def _quiet(self, phase: str) -> bool:
        """Whether no request of `phase` is under way."""
        return (self.outstanding if self.under_way is None else self.under_way.get(phase, 0)) == 0

    @property
    def headers_complete(self) -> bool:
        quiet = self.ready_peers > 0 and self.agreed and self.outstanding == 0
        return quiet and self.enough_work

    @property
    def enough_work(self) -> bool:
        """Whether the stored chain has the network's minimum work."""
        return self.marks.work >= self.min_work

    @property
    def masternodes_stored(self) -> bool:
        """Whether the list of the header tip is stored, and each quorum in it judged (there is none below DIP3)."""
        marks = self.marks
        stored = marks.masternodes == marks.tip and marks.masternodes_hash == marks.tip_hash
        return marks.tip < self.mn_floor or (stored and marks.quorums_unjudged == 0)

    @property
    def mnlist_complete(self) -> bool:
        return self.masternodes_stored and self._quiet("mnlist") and not self.lists_open

    @property
    def cfheaders_complete(self) -> bool:
        return self.marks.filter_headers == self.marks.tip and self._quiet("cfheaders") and not self.claims_open

    @property
    def filters_complete(self) -> bool:
        return self.filters_stored and self._quiet("filters")

    @property
    def filters_stored(self) -> bool:
        """Whether all filters are stored to the header tip, and each watch item is matched to it."""
        marks = self.marks
        return marks.filter_headers == marks.tip and min(marks.filters, marks.matched) >= marks.tip

    @property
    def blocks_complete(self) -> bool:
        return self.filters_stored and self.marks.pending_blocks == 0 and self._quiet("blocks")

    @property
    def all_enabled_complete(self) -> bool:
        filters = self.filters_stored and self.marks.pending_blocks == 0
        return (
            self.enough_work
            and (self.masternodes_stored or not self.mn_enabled)
            and (filters or not self.filters_enabled)
            and self.outstanding == 0
        )

    @property
    def filters_fed(self) -> bool:
        return self.marks.filters < self.marks.filter_headers or self.marks.matched < self.marks.filters

    @property
    def blocks_fed(self) -> bool:
        return self.marks.pending_blocks > 0 and self.marks.matched >= self.marks.filters

    @property
    def regions_complete(self) -> bool:
        filters = self.cfheaders_complete and self.filters_complete and self.blocks_complete
        return (self.mnlist_complete or not self.mn_enabled) and (filters or not self.filters_enabled)

    @property
    def sound(self) -> bool:
        return not self.misgiving

    @property
    def misgiving(self) -> str:
        """Why what is complete is not to be relied upon; "" when nothing speaks against it."""
        if self.max_tip_age is not None and self.tip_age > self.max_tip_age:
            return f"stale tip: the newest block, {self.marks.tip}, is {self.tip_age / 3600:.1f} hours old"
        if self.filters_enabled and self.marks.disputed is not None:
            return f"filter headers disputed at {self.marks.disputed}"
        return ""

    @property
    def work_left(self) -> bool:
        return self.tip_hint or self.claims_open or not self.all_enabled_complete

    @property
    def wait_advised(self) -> bool:
        return self.advice is Strategy.WAIT

    @property
    def retry_advised(self) -> bool:
        return self.advice is Strategy.RETRY

    @property
    def restart_advised(self) -> bool:
        return self.advice is Strategy.RESTART

    @property
    def switch_advised(self) -> bool:
        return self.advice is Strategy.SWITCH

    @property
    def peer_ready(self) -> bool:
        return self.ready_peers > 0

    def as_dict(self) -> dict[str, Any]:
        """The facts as plain JSON values, for the journal; hashes in display order.

        `holding` names the guards that say yes, sorted; all others say no. So a journal can be replayed.
        """
        marks = self.marks
        return {
            "tip": marks.tip,
            "tip_hash": marks.tip_hash[::-1].hex(),
            "masternodes": marks.masternodes,
            "filter_headers": marks.filter_headers,
            "filters": marks.filters,
            "matched": marks.matched,
            "pending_blocks": marks.pending_blocks,
            "ready_peers": self.ready_peers,
            "agreed": self.agreed,
            "outstanding": self.outstanding,
            "tip_hint": self.tip_hint,
            "misgiving": self.misgiving,
            "advice": None if self.advice is None else self.advice.value,
            "mn_floor": self.mn_floor,
            **({} if self.under_way is None else {"under_way": dict(self.under_way)}),
            "holding": sorted(guard for guard in self.guards if getattr(self, guard)),
        }

    @property
    def guards(self) -> tuple[str, ...]:
        """The guards that are asked: those of one active phase, or of several."""
        return GUARDS if self.under_way is None else INTERLEAVED_GUARDS


GUARDS = (
    "mn_enabled", "filters_enabled", "headers_complete", "mnlist_complete", "cfheaders_complete", "filters_complete",
    "blocks_complete", "all_enabled_complete", "sound", "work_left", "wait_advised", "retry_advised", "restart_advised",
    "switch_advised", "peer_ready", "remedy_found",
)  # fmt: skip
"""The guards of `SyncChart`, each an attribute of `Facts`."""

INTERLEAVED_GUARDS = (
    *(guard for guard in GUARDS if guard not in ("filters_complete", "blocks_complete")),
    "filters_fed", "blocks_fed", "regions_complete",
)  # fmt: skip
"""The guards of `InterleavedChart`, each an attribute of `Facts`."""


def strategy_of(told: Mapping[str, Any]) -> str:
    """The strategy of the client whose facts, as `as_dict` gives them, were `told`."""
    return "interleaved" if "under_way" in told else "sequential"


class FactsModel:
    """The model of both charts: answers each guard from the snapshot of the current step."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts


for _guard in {*GUARDS, *INTERLEAVED_GUARDS}:  # the library finds guards by looking at the model's class
    setattr(FactsModel, _guard, property(attrgetter(f"facts.{_guard}")))
