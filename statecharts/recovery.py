"""What a chart that syncs does about failures: the states of recovery, the ways into them, and the ways out.

However the phases follow each other, a failure is answered in the same way, so both charts of a client are made with
the parts that stand here: guards, activities, the compound state `recovering`, and the transitions to and from it.
They are parts of a chart's definition like any others. What is drawn, explored and run is the chart that has them.

Each call makes new states or transitions. The library lets a subclass, or whoever else takes up a state, add to what
belongs to another chart; so no two charts here share one.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

from statemachine import State
from statemachine.transition_list import TransitionList

Compound = Any
"""A state that may have others inside: the class body that it is written as, to the library's types, is none."""


class RecoveryFacts(Protocol):
    """Guards: the policy's advice on the failure that struck last, and whether it has ended."""

    @property
    def wait_advised(self) -> bool:
        """The network is away: wait for it."""

    @property
    def retry_advised(self) -> bool:
        """The failure may pass: try again after a while."""

    @property
    def restart_advised(self) -> bool:
        """Retrying did not help: start the phase again from its stored watermark."""

    @property
    def switch_advised(self) -> bool:
        """The peer is the trouble, and another may be had."""

    @property
    def peer_ready(self) -> bool:
        """A peer that can serve the enabled phases is ready."""

    @property
    def remedy_found(self) -> bool:
        """The reason for being degraded has ended."""


class RecoveryActivities(Protocol):
    """Entry actions: each asks for one activity that runs for as long as its state is active."""

    def back_off(self, target: State) -> None:
        """Sleep a growing, jittered while."""

    def restart_phase(self, target: State) -> None:
        """Forget what is in memory and start again from the stored watermarks."""

    def switch_peer(self, target: State) -> None:
        """Leave the peer and find another."""

    def wait_for_network(self, target: State) -> None:
        """Wait until any peer can be reached."""

    def await_remedy(self, target: State) -> None:
        """Watch for the end of the reason for being degraded."""


def recovering() -> State:
    """The state that holds one state for each strategy of the policy, but the last: to be degraded."""

    class recovering(State.Compound, name="Recovering"):  # noqa: N801  # its name is the id of the state
        backoff = State("Backing off", initial=True, enter="back_off")
        restarting = State("Restarting phase", enter="restart_phase")
        switching = State("Switching peer", enter="switch_peer")
        waiting = State("Waiting for network", enter="wait_for_network")

    return cast(State, recovering)


def advised(source: Compound, recovering: State, degraded: State) -> TransitionList:
    """From `source` to where the policy's advice leads, in order of preference, and to `degraded` if it has none."""
    backoff, restarting, switching, waiting = recovering.states
    ways: TransitionList = (
        source.to(waiting, cond="wait_advised")
        | source.to(backoff, cond="retry_advised")
        | source.to(restarting, cond="restart_advised")
        | source.to(switching, cond="switch_advised")
        | source.to(degraded)
    )
    return ways


def recovered(recovering: State, degraded: State, begin: State) -> TransitionList:
    """From each state of recovery, and from `degraded`, to `begin`, once what they are there for has come."""
    backoff, restarting, switching, waiting = recovering.states
    ways: TransitionList = (
        backoff.to(begin)
        | restarting.to(begin)
        | switching.to(begin, cond="peer_ready")
        | waiting.to(begin, cond="peer_ready")
        | degraded.to(begin, cond="remedy_found")
    )
    return ways
