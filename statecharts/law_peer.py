"""The law of the chart of one connection: whatever happens to it, it is closed in the end, and by way of `closing`."""

from __future__ import annotations

from phasegate.statecharts.law import Law, respond

PEER = Law(
    name="peer",
    initial="connecting",
    ends=frozenset({"closed"}),
    leaves=frozenset({"connecting", "handshaking", "ready", "closing", "closed"}),
    goal="closed",
    guarded={"ready": ("acceptable",)},
    leads={
        "connected": frozenset({"handshaking"}),
        "greeted": frozenset({"ready", "closing"}),
        "lost": frozenset({"closing"}),
        "close": frozenset({"closing"}),
        "done": frozenset({"closed"}),
    },
    runs={
        "connecting": "open_stream",
        "handshaking": "shake_hands",
        "ready": "serve",
        "closing": "close_stream",
    },
    returns={"open_stream": "connected", "shake_hands": "greeted", "close_stream": "done"},
    onward=frozenset({"connected", "greeted", "lost", "done"}),
    responses=(
        *respond("connecting", "connected", "-> handshaking"),
        *respond("handshaking", "greeted", "acceptable -> ready", "!acceptable -> closing"),
        *respond("connecting handshaking ready", "lost", "-> closing"),
        *respond("connecting handshaking ready", "close", "-> closing"),
        *respond("closing", "done", "-> closed"),
    ),
)
