"""What the recorded facts of the sync chart must say, by hand: not the guards' answers, but what they were given for.

A journal keeps heights and counts beside each answer. This table says what they have to be when a phase is left by
`advance`, when `synced` or `degraded` is entered by it, and under which answer of a guard. It shares no code with
`engine/facts.py`, which answers the guards: where both are wrong, they are wrong in two ways, and that is seen.

- Not every condition of a guard is recorded (chainwork, quorums, the claims about filter headers are not). So of most
  guards only a yes can be contradicted; the table has a no where the facts decide alone.
- Below DIP3 (`mn_floor`) there is no masternode list to have. A journal that does not keep that height is believed when
  it has no list at all.
- Within a walk the target does not move: its headers are chosen in `headers`, nothing that is stored above them goes
  before the next walk. Filter headers that peers contradict are dropped in `cfheaders`, with the filters that hang on
  them. How far items are matched falls whenever one more is watched; filters that were let go are then wanted again,
  which `blocks` may bring about by deriving scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from phasegate.statecharts.places import leaves_of

Facts = Mapping[str, Any]


@attrs.frozen
class Claim:
    """What facts can say: in words, on which of them it rests, and whether it is so."""

    text: str
    keys: tuple[str, ...]
    holds: Callable[[Facts], bool]


def _list_at_tip(facts: Facts) -> bool:
    none_to_have = facts["tip"] < facts["mn_floor"] if "mn_floor" in facts else facts["masternodes"] is None
    return none_to_have or facts["masternodes"] == facts["tip"]


def _advised(strategy: str) -> Claim:
    return Claim(f"the advice is {strategy}", ("advice",), lambda facts: facts["advice"] == strategy)


AGREED = Claim("all peers agree with the tip", ("agreed",), lambda facts: facts["agreed"] is True)
PEERS = Claim("a peer is ready", ("ready_peers",), lambda facts: facts["ready_peers"] >= 1)
QUIET = Claim("no request is outstanding", ("outstanding",), lambda facts: facts["outstanding"] == 0)
LIST = Claim("the masternode list is that of the tip", ("tip", "masternodes"), _list_at_tip)
FILTER_HEADERS = Claim(
    "the filter headers reach the tip", ("tip", "filter_headers"), lambda facts: facts["filter_headers"] == facts["tip"]
)
FILTERS = Claim("the filters reach the tip", ("tip", "filters"), lambda facts: facts["filters"] >= facts["tip"])
MATCHED = Claim("all is matched to the tip", ("tip", "matched"), lambda facts: facts["matched"] >= facts["tip"])
SEARCHED = Claim("no matched block is left", ("pending_blocks",), lambda facts: facts["pending_blocks"] == 0)
SOUND = Claim("nothing speaks against the tip", ("misgiving",), lambda facts: facts["misgiving"] == "")
DOUBTED = Claim("something speaks against the tip", ("misgiving",), lambda facts: facts["misgiving"] != "")
NO_HINT = Claim("no peer hints at another tip", ("tip_hint",), lambda facts: facts["tip_hint"] is False)

LEAVING: Mapping[str, tuple[Claim, ...]] = {
    "headers": (AGREED, PEERS, QUIET),
    "mnlist": (LIST, QUIET),
    "cfheaders": (FILTER_HEADERS, QUIET),
    "filters": (FILTER_HEADERS, FILTERS, MATCHED, QUIET),
    "blocks": (FILTER_HEADERS, FILTERS, MATCHED, SEARCHED, QUIET),
}
"""What holds when a phase is left by `advance`."""

ENTERING: Mapping[str, tuple[Claim, ...]] = {"synced": (QUIET, SOUND), "degraded": (QUIET, DOUBTED)}
"""What holds when these are entered by `advance`, beside `ENABLED`."""


def _quiet(phase: str) -> Claim:
    return Claim(
        f"no request of {phase} is outstanding", ("under_way",), lambda facts: facts["under_way"].get(phase, 0) == 0
    )


FILTERS_FED = Claim(
    "a filter header is stored without its filter, or an item is not matched to the filters",
    ("filters", "filter_headers", "matched"),
    lambda facts: facts["filters"] < facts["filter_headers"] or facts["matched"] < facts["filters"],
)
FILTERS_DONE = Claim(
    "each stored filter header has its filter, and all is matched to these",
    FILTERS_FED.keys,
    lambda facts: not FILTERS_FED.holds(facts),
)
BLOCKS_FED = Claim(
    "a matched block is left, and no item waits for filters below it",
    ("pending_blocks", "matched", "filters"),
    lambda facts: facts["pending_blocks"] > 0 and facts["matched"] >= facts["filters"],
)
BLOCKS_DONE = Claim(
    "no matched block is left that could be searched", BLOCKS_FED.keys, lambda facts: not BLOCKS_FED.holds(facts)
)

ENABLED: Mapping[str, tuple[Claim, ...]] = {
    "mn_enabled": (LIST,),
    "filters_enabled": (FILTER_HEADERS, FILTERS, MATCHED, SEARCHED),
}
"""What holds then for each switch that is on."""

ANSWERED_YES: Mapping[str, tuple[Claim, ...]] = {
    "headers_complete": LEAVING["headers"],
    "mnlist_complete": LEAVING["mnlist"],
    "cfheaders_complete": LEAVING["cfheaders"],
    "filters_complete": LEAVING["filters"],
    "blocks_complete": LEAVING["blocks"],
    "all_enabled_complete": (QUIET,),
    "sound": (SOUND,),
    "wait_advised": (_advised("wait"),),
    "retry_advised": (_advised("retry"),),
    "restart_advised": (_advised("restart"),),
    "switch_advised": (_advised("switch"),),
    "peer_ready": (PEERS,),
    "remedy_found": (PEERS,),
}
"""What holds when a guard says yes; `all_enabled_complete` has `ENABLED` too."""

ANSWERED_NO: Mapping[str, tuple[Claim, ...]] = {"work_left": (NO_HINT,), "sound": (DOUBTED,)}
"""What holds when a guard says no."""

DECIDED = ("filters_complete", "blocks_complete", "peer_ready", "wait_advised", "retry_advised", "restart_advised",
           "switch_advised")  # fmt: skip
"""Guards that say yes whenever what a yes needs holds."""


@attrs.frozen
class Table:
    """What has to hold, for one chart: the parts are those above, for its leaves and its guards."""

    leaving: Mapping[str, tuple[Claim, ...]]
    entering: Mapping[str, tuple[Claim, ...]]
    answered_yes: Mapping[str, tuple[Claim, ...]]
    decided: tuple[str, ...]


_OF_WHOLE_PHASES = ("filters_complete", "blocks_complete")
"""Guards that only the sequential chart asks."""
SEQUENTIAL = Table(LEAVING, ENTERING, ANSWERED_YES, DECIDED)
INTERLEAVED = Table(
    {
        "headers": LEAVING["headers"],
        "mnlist": (LIST, _quiet("mnlist")),
        "cfheaders": (FILTER_HEADERS, _quiet("cfheaders")),
        "filters": (FILTERS_DONE,),
        "blocks": (BLOCKS_DONE,),
    },
    {**ENTERING, "filters": (FILTERS_FED,), "blocks": (BLOCKS_FED,)},
    {
        **{guard: claims for guard, claims in ANSWERED_YES.items() if guard not in _OF_WHOLE_PHASES},
        "mnlist_complete": (LIST, _quiet("mnlist")),
        "cfheaders_complete": (FILTER_HEADERS, _quiet("cfheaders")),
        "filters_fed": (FILTERS_FED,),
        "blocks_fed": (BLOCKS_FED,),
        "regions_complete": (),
    },
    ("filters_fed", "blocks_fed", *(guard for guard in DECIDED if guard not in _OF_WHOLE_PHASES)),
)
"""Where phases run beside each other: the requests are told by phase, which is how such facts are known."""

ALL_ENABLED = ("all_enabled_complete", "regions_complete")
"""Guards whose yes needs all of `ENABLED` that is on."""

WATERMARKS: Mapping[str, frozenset[str]] = {
    "tip": frozenset({"headers"}),
    "masternodes": frozenset({"headers"}),
    "filter_headers": frozenset({"headers", "cfheaders"}),
    "filters": frozenset({"headers", "cfheaders", "blocks"}),
}
"""Watermarks that do not shrink within a walk, and the phases in which they may."""


@attrs.frozen
class Finding:
    """What speaks against a row, a line each, and whether the facts had all that the table asks for."""

    against: tuple[str, ...]
    whole: bool


class _Search:
    """Holds facts against claims, and notes what fails and what cannot be said."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._held: dict[str, bool | None] = {}
        self.against: list[str] = []
        self.whole = True

    def holds(self, claim: Claim) -> bool | None:
        """Whether a claim holds; None if a fact that it rests on was not recorded. Each is looked at once."""
        if claim.text not in self._held:
            known = all(key in self._facts for key in claim.keys)
            self._held[claim.text] = claim.holds(self._facts) if known else None
            self.whole = self.whole and known
        return self._held[claim.text]

    def demand(self, occasion: str, claims: Iterable[Claim]) -> None:
        """Note each claim that does not hold."""
        self.against += [f"{occasion}, but not: {claim.text}" for claim in claims if self.holds(claim) is False]


def examine(
    source: str, event: str, target: str, facts: Facts, holding: frozenset[str] | None, enabled: frozenset[str]
) -> Finding:
    """Hold the facts of one step against the table.

    Args:
        source: the place that was left.
        event: of the chart.
        target: the place that was entered.
        facts: what was recorded, known keys of the right kinds.
        holding: the guards that said yes; None if that was not recorded.
        enabled: the switches known to be on.
    """
    search, table = _Search(facts), INTERLEAVED if "under_way" in facts else SEQUENTIAL
    before, after = leaves_of(source), leaves_of(target)
    if event == "advance":
        alone = len(after) == 1  # then everything is left, and be it entered again
        for leaf in before:
            if alone or leaf not in after:
                search.demand(f"{leaf} is left", table.leaving.get(leaf, ()))
        for leaf in after:
            if alone or leaf not in before:
                search.demand(f"{leaf} is entered", table.entering.get(leaf, ()))
                search.demand(f"{leaf} is entered", _enabled(enabled) if leaf in ENTERING else ())
    if holding is not None:
        _examine_answers(search, holding, table)
    return Finding(tuple(dict.fromkeys(search.against)), search.whole)


def _examine_answers(search: _Search, holding: frozenset[str], table: Table) -> None:
    for guard, claims in table.answered_yes.items():
        if guard in holding:
            search.demand(f"{guard} said yes", claims)
        elif guard in table.decided and all(search.holds(claim) for claim in claims):
            search.against.append(f"{guard} said no, but: {' and '.join(claim.text for claim in claims)}")
    for guard in ALL_ENABLED:
        if guard in holding:
            search.demand(f"{guard} said yes", _enabled(holding))
    for guard, claims in ANSWERED_NO.items():
        if guard not in holding:
            search.demand(f"{guard} said no", claims)
    if not {"work_left", "all_enabled_complete"} & holding:
        search.against.append("neither work_left nor all_enabled_complete said yes")


def _enabled(switches: frozenset[str]) -> Iterator[Claim]:
    return (claim for switch, claims in ENABLED.items() if switch in switches for claim in claims)


def moved_back(source: str, event: str, before: Facts, facts: Facts) -> tuple[str, ...]:
    """What fell, or changed, within a walk though it may not, between two steps that follow each other; a line each."""
    if event != "advance":  # a phase that rolled something back can be interrupted before it says so: the walk ends
        return ()
    against = [
        f"{name} fell from {before[name]} to {facts[name]} in {source}"
        for name, phases in WATERMARKS.items()
        if phases.isdisjoint(leaves_of(source)) and _fell(before.get(name), facts.get(name))
    ]
    known = "tip_hash" in before and "tip_hash" in facts
    if source != "headers" and known and before["tip_hash"] != facts["tip_hash"]:
        against.append(f"the tip changed in {source}")
    return tuple(against)


def _fell(before: int | None, now: int | None) -> bool:
    return before is not None and now is not None and now < before
