"""What the charts must do, said a second time and by hand.

A chart says how its states follow each other; a law says which stories may never be told and which answer each event
must get. The exploration holds the one against the other. Nothing here may be derived from a chart: a law that copies
the chart would agree with every mistake in it.

The parts of a law:

- `requires`: a phase is entered only when these phases, if enabled, were proven complete in this walk. "Proven" means
  that the step which left the phase asked its completion guard (`completed_by`) and heard yes. Entering a leaf that
  requires nothing forgets all proofs: a new walk proves everything again.
- `enabled_by`: a phase is entered only if its configuration switch is on.
- `guarded`: a leaf is entered only in a step that asked these guards and heard yes.
- `exclusive`: of the branches such an event has in one state at most one can hold, whatever the guards say.
- `responses`: what each event does in each leaf, with the guards that are asked, in that order, and what they say. An
  event that has no line for a leaf must be refused there.
- `goal`: from every state that is not an end this leaf stays reachable.
- `leads`: an event leads to one of these leaves, wherever it is sent, or is refused.
- `everywhere`: every leaf that is no end takes these events, whatever the guards say.
- `runs`: the activity that each leaf asks for when it is entered; the other leaves ask for none. `returns`: the event
  that an activity's return stands for.
- `beside`: where a chart has parallel regions, the state that holds them and the leaves of each region. Then one leaf
  of each is active, or none of any. There a phase is proven by the step that leaves all regions, and a response line of
  a leaf is about its own region; the lines of the state that holds them are about what no region takes for itself.
- `onward` and `bad_news`: when nothing is wrong (each guard says yes, but those of `bad_news` no), every way that the
  events of `onward` leave leads to the goal: none goes round in a circle, none stops short.

A law is broken in one of the ways that `Clause` names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cached_property

import attrs

Answers = tuple[tuple[str, bool], ...]


class Clause(StrEnum):
    """The parts of a law, as they are named when one is broken; all but the last are invariants."""

    ORDERING = "ordering"
    ENABLING = "enabling"
    GUARDED = "guarded"
    EXCLUSIVE = "exclusive"
    ONE_LEAF = "one leaf"
    MEANING = "meaning"
    EVERYWHERE = "everywhere"
    ACTIVITY = "activity"
    BEGINNING = "beginning"
    ENDS = "ends"
    REACHABLE = "reachable"
    GOAL = "goal"
    LIVELOCK = "livelock"
    RESPONSE = "response"


INVARIANTS = frozenset(Clause) - {Clause.RESPONSE}
"""What holds in every state and for every way, without a word about single events."""


@attrs.frozen
class Response:
    """In `leaf`, on `event`, after `answers`: the chart enters `target`, or refuses and stays if that is None."""

    leaf: str
    event: str
    answers: Answers
    target: str | None


@attrs.frozen
class Beside:
    """Parallel regions: the state that holds them, and the leaves of each, the first being where the region begins."""

    state: str
    regions: tuple[tuple[str, ...], ...]

    @cached_property
    def leaves(self) -> frozenset[str]:
        """The leaves of all regions."""
        return frozenset(leaf for region in self.regions for leaf in region)

    @property
    def begin(self) -> tuple[str, ...]:
        """The leaves that are active after entering the state that holds the regions."""
        return tuple(region[0] for region in self.regions)


@attrs.frozen
class Law:
    """The rules for one chart. Names are ids of leaves, events and guards."""

    name: str
    initial: str
    ends: frozenset[str]
    leaves: frozenset[str]
    goal: str
    responses: tuple[Response, ...]
    requires: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    completed_by: Mapping[str, str] = attrs.field(factory=dict)
    enabled_by: Mapping[str, str] = attrs.field(factory=dict)
    guarded: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    exclusive: frozenset[str] = frozenset()
    leads: Mapping[str, frozenset[str]] = attrs.field(factory=dict)
    everywhere: frozenset[str] = frozenset()
    runs: Mapping[str, str] = attrs.field(factory=dict)
    returns: Mapping[str, str] = attrs.field(factory=dict)
    onward: frozenset[str] = frozenset()
    bad_news: frozenset[str] = frozenset()
    beside: Beside | None = None

    def fits(self, leaves: Iterable[str]) -> bool:
        """Whether these leaves may be active together: one alone, or one of each region."""
        active = list(leaves)
        regions = () if self.beside is None else self.beside.regions
        if self.beside is None or self.beside.leaves.isdisjoint(active):
            return len(active) == 1 and active[0] in self.leaves
        return len(active) == len(regions) and all(sum(leaf in region for leaf in active) == 1 for region in regions)

    def left_with(self, phase: str) -> str:
        """The state that has to be left for `phase` to be over: itself, or what holds its region."""
        return self.beside.state if self.beside is not None and phase in self.beside.leaves else phase

    def after(self, leaves: Sequence[str], entered: Collection[str]) -> tuple[str, ...] | None:
        """The leaves that are active when of `leaves` some were left for `entered`; None if none was entered."""
        if not entered:
            return None
        if self.beside is None or self.beside.leaves.isdisjoint(entered) or self.beside.leaves.isdisjoint(leaves):
            return tuple(entered)
        regions = zip(self.beside.regions, leaves, strict=True)
        return tuple(next((new for new in entered if new in region), old) for region, old in regions)

    def may_lead(self, leaves: Sequence[str], target: Sequence[str], ways: Iterable[Collection[str]]) -> bool:
        """Whether some of the `ways` (the leaves that each enters) together lead from `leaves` to `target`."""
        each = list(ways)
        if self.beside is None or self.beside.leaves.isdisjoint(leaves) or self.beside.leaves.isdisjoint(target):
            return any(tuple(way) == tuple(target) for way in each)
        changed = set(target) - set(leaves)
        return bool(changed) and changed <= {leaf for way in each if len(way) == 1 for leaf in way}

    @property
    def switches(self) -> tuple[str, ...]:
        """The configuration guards: constant for a whole run, each tried on and off."""
        return tuple(sorted(set(self.enabled_by.values())))


def respond(leaves: str, event: str, *lines: str) -> tuple[Response, ...]:
    """Response lines for several leaves (separated by blanks) and one event.

    A line reads `guard !guard -> target`, the guards in the order in which they are asked, `!` for no; the target
    `stay` means that the event is refused and nothing changes.

    Raises:
        ValueError: if a line has no arrow or not one target.
    """
    return tuple(_response(leaf, event, line) for leaf in leaves.split() for line in lines)


def _response(leaf: str, event: str, line: str) -> Response:
    asked, arrow, target = line.partition("->")
    if not arrow or len(target.split()) != 1:
        raise ValueError(f"{line!r} does not read `guard !guard -> target`")
    answers = tuple((word.removeprefix("!"), not word.startswith("!")) for word in asked.split())
    return Response(leaf, event, answers, None if target.strip() == "stay" else target.strip())
