"""One connection to one peer as a statechart: connecting, handshaking, ready, closing.

The chart runs once a connection: a peer that is tried again gets a new one, so nothing of an earlier connection
survives. The pool of peers is no chart; it starts these and reads `ready`.
"""

from __future__ import annotations

from typing import Protocol

from statemachine import State

from phasegate.statecharts.chart import Chart


class PeerFacts(Protocol):
    """The guards: what the chart may ask."""

    @property
    def acceptable(self) -> bool:
        """The finished handshake shows a peer of our network, new enough, not ourselves, and able to serve us."""


class PeerActivities(Protocol):
    """The entry actions: each asks for one activity that runs for as long as its state is active."""

    def open_stream(self, target: State) -> None:
        """Open the connection."""

    def shake_hands(self, target: State) -> None:
        """Exchange versions and features."""

    def serve(self, target: State) -> None:
        """Carry messages both ways and keep the connection alive."""

    def close_stream(self, target: State) -> None:
        """Close the connection and give up what is still asked for."""


class PeerChart(Chart[PeerFacts]):
    """The life of one connection: every way out of it leads through `closing`."""

    connecting = State("Connecting", initial=True, enter="open_stream")
    handshaking = State("Handshaking", enter="shake_hands")
    ready = State("Ready", enter="serve")
    closing = State("Closing", enter="close_stream")
    closed = State("Closed", final=True)

    connected = connecting.to(handshaking)
    greeted = handshaking.to(ready, cond="acceptable") | handshaking.to(closing)
    lost = connecting.to(closing) | handshaking.to(closing) | ready.to(closing)
    close = connecting.to(closing) | handshaking.to(closing) | ready.to(closing)
    done = closing.to(closed)
