"""What to do when a phase cannot go on: a table, so that it can be read, printed and checked.

A row says: when this phase fails for this reason, up to this many times in a row without stored progress, follow this
strategy. The rows of the phase itself are asked first, then those for any phase (`*`); among them the first that fits
decides. Each strategy is a state of `SyncChart`, and none of them completes a phase.

The last row of every reason has no end and says `degrade`: nothing is tried for ever in silence. A degraded client
names its reason and leaves that state by itself as soon as the reason ends; what ends it stands in `REMEDIES`.
`phasegate.statecharts.policy_check` holds the table and the chart together against what recovery has to promise.

`synced` is no phase but fails like one. What fails *while* a recovery is under way needs no row: the chart degrades.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from enum import Enum

import attrs

ANY = "*"
"""Stands for every phase, and for `synced`."""
ALWAYS = sys.maxsize
"""More failures in a row than can ever happen: the row has no end."""


class Reason(Enum):
    """Why a phase could not go on."""

    NO_PEER = "no-peer"
    NO_CAPABLE_PEER = "no-capable-peer"
    PEER_SILENT = "peer-silent"
    PEER_LOST = "peer-lost"
    PEER_LIED = "peer-lied"
    STALLED = "stalled"
    ALL_BANNED = "all-banned"
    DISPUTED = "disputed"
    NOT_ENOUGH_WORK = "not-enough-work"
    UNSOUND = "unsound"
    DISK = "disk-failed"


class Strategy(Enum):
    """The recovery strategies, and `degrade`, the end of them; each is a state of the chart."""

    RETRY = "retry"
    RESTART = "restart"
    SWITCH = "switch"
    WAIT = "wait"
    DEGRADE = "degrade"


@attrs.frozen
class Rule:
    """One row: `strategy` in `phase` for `reason` while no more than `attempts` failures in a row stored nothing."""

    phase: str
    reason: Reason
    attempts: int
    strategy: Strategy
    why: str

    @property
    def ends(self) -> bool:
        """Whether other rows follow when this one is used up."""
        return self.attempts < ALWAYS


POLICY: tuple[Rule, ...] = (
    Rule(ANY, Reason.NO_PEER, 10, Strategy.WAIT, "the network is away, and may come back at any moment"),
    Rule(ANY, Reason.NO_PEER, ALWAYS, Strategy.DEGRADE, "peers come and go, and nothing gets stored between"),
    Rule(ANY, Reason.NO_CAPABLE_PEER, ALWAYS, Strategy.DEGRADE, "those at hand cannot serve it; another is looked for"),
    Rule(ANY, Reason.PEER_SILENT, 10, Strategy.SWITCH, "the silent one was left; another may answer"),
    Rule(ANY, Reason.PEER_SILENT, ALWAYS, Strategy.DEGRADE, "nobody answers"),
    Rule("synced", Reason.PEER_LOST, 10, Strategy.WAIT, "nothing was interrupted; connections are made again at once"),
    Rule(ANY, Reason.PEER_LOST, 3, Strategy.RETRY, "connections break; the next one may hold"),
    Rule(ANY, Reason.PEER_LOST, 10, Strategy.SWITCH, "this one breaks again and again; another peer's may hold"),
    Rule(ANY, Reason.PEER_LOST, ALWAYS, Strategy.DEGRADE, "no connection holds for long enough"),
    Rule(ANY, Reason.PEER_LIED, 20, Strategy.SWITCH, "the liar was left; another may be honest"),
    Rule(ANY, Reason.PEER_LIED, ALWAYS, Strategy.DEGRADE, "one after the other lied"),
    Rule(ANY, Reason.ALL_BANNED, ALWAYS, Strategy.DEGRADE, "nobody is left who could be asked"),
    Rule(ANY, Reason.DISPUTED, 1, Strategy.RESTART, "memory may be at fault; judge anew from what is stored"),
    Rule(ANY, Reason.DISPUTED, ALWAYS, Strategy.DEGRADE, "it is stored data, or the peers, that disagree"),
    Rule("blocks", Reason.STALLED, 2, Strategy.SWITCH, "one peer may lack a block that another has"),
    Rule(ANY, Reason.STALLED, 2, Strategy.RESTART, "memory may be at fault; begin at the stored watermark"),
    Rule(ANY, Reason.STALLED, 5, Strategy.RETRY, "peers may need time until they have what is asked for"),
    Rule(ANY, Reason.STALLED, 10, Strategy.SWITCH, "these peers do not get it done; others may"),
    Rule(ANY, Reason.STALLED, ALWAYS, Strategy.DEGRADE, "nothing that was tried helped"),
    Rule(ANY, Reason.NOT_ENOUGH_WORK, ALWAYS, Strategy.DEGRADE, "the best chain on offer is too weak to rely on"),
    Rule(ANY, Reason.UNSOUND, ALWAYS, Strategy.DEGRADE, "all is stored, and something speaks against relying on it"),
    Rule(ANY, Reason.DISK, 5, Strategy.RETRY, "a full or busy disk may take it a moment later"),
    Rule(ANY, Reason.DISK, ALWAYS, Strategy.DEGRADE, "the disk takes nothing; a person should know"),
)

REMEDIES: Mapping[Reason, str] = {
    Reason.NO_PEER: "any peer gets ready",
    Reason.NO_CAPABLE_PEER: "a peer gets ready that serves what is lacking",
    Reason.PEER_SILENT: "another peer gets ready, or the next try, after a growing while, is answered",
    Reason.PEER_LOST: "a peer gets ready, and its connection holds",
    Reason.PEER_LIED: "a peer gets ready, and is honest",
    Reason.STALLED: "another peer gets ready, or the next try, after a growing while, stores something",
    Reason.ALL_BANNED: "a peer gets ready that is not banned",
    Reason.DISPUTED: "another peer gets ready, or the next try, after a growing while, finds agreement",
    Reason.NOT_ENOUGH_WORK: "a peer has more work to show: on a hint, when one gets ready, or at the next try",
    Reason.UNSOUND: "a fresh block or agreement: on a hint, when a peer gets ready, or at the next try",
    Reason.DISK: "a commit stands: tried again and again, after a growing while",
}
"""What ends a degradation, by its reason; by hand, as `engine/sync.py` brings it about."""


def ruling(phase: str, reason: Reason, attempt: int, policy: Iterable[Rule] = POLICY) -> Rule:
    """The row that decides the `attempt`-th failure in a row (from 1) of `phase` for `reason`.

    Raises:
        LookupError: no row fits.
    """
    fitting = [rule for rule in policy if rule.reason is reason and attempt <= rule.attempts]
    for name in (phase, ANY):
        for rule in fitting:
            if rule.phase == name:
                return rule
    raise LookupError(f"no row of the policy answers failure {attempt} of {phase} for {reason.value}")


def advise(phase: str, reason: Reason, attempt: int) -> Strategy:
    """The strategy for the `attempt`-th failure in a row (from 1) of `phase` for `reason`."""
    return ruling(phase, reason, attempt).strategy
