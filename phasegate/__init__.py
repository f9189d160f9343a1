"""A Dash light client whose synchronisation is a statechart: every phase proven complete before the next begins.

This is the public face; what `__all__` names is kept, everything else may change. The names are looked up when they
are first used, so that `import phasegate` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phasegate.consensus.faults import Fault, PeerMisbehaved
    from phasegate.consensus.params import Network, network
    from phasegate.consensus.transactions import RefusedTransaction
    from phasegate.engine.broadcast_stages import BroadcastStatus, Stage
    from phasegate.engine.broadcasts import BroadcastLimit
    from phasegate.engine.client import Client, ClientFailed, Status, open_client
    from phasegate.engine.config import Config, Limits
    from phasegate.engine.errors import ConfigError, LocalProtocolError
    from phasegate.engine.events import (
        BroadcastMoved,
        ChainLocked,
        Event,
        InstantLocked,
        Lagged,
        Progress,
        Rewound,
        Subscription,
        TransactionConflicted,
        TransactionDropped,
        TransactionFound,
        TransactionLost,
        TransactionReturned,
        TransactionSeen,
        Transition,
        Warned,
    )
    from phasegate.engine.progress import PHASES, PhaseRun
    from phasegate.engine.unconfirmed import UnconfirmedTransaction
    from phasegate.statecharts.interleaved import InterleavedChart
    from phasegate.statecharts.peer import PeerChart
    from phasegate.statecharts.sync import SyncChart
    from phasegate.store import (
        Balance,
        JournalRow,
        LostTransaction,
        StoreCorrupt,
        StoredTransaction,
        StoreError,
        StoreFailed,
        StoreLocked,
        StoreMismatch,
        Utxo,
        WalletTransaction,
        Watermarks,
    )

    __version__: str

__all__ = [
    "PHASES",
    "Balance",
    "BroadcastLimit",
    "BroadcastMoved",
    "BroadcastStatus",
    "ChainLocked",
    "Client",
    "ClientFailed",
    "Config",
    "ConfigError",
    "Event",
    "Fault",
    "InstantLocked",
    "InterleavedChart",
    "JournalRow",
    "Lagged",
    "Limits",
    "LocalProtocolError",
    "LostTransaction",
    "Network",
    "PeerChart",
    "PeerMisbehaved",
    "PhaseRun",
    "Progress",
    "RefusedTransaction",
    "Rewound",
    "Stage",
    "Status",
    "StoreCorrupt",
    "StoreError",
    "StoreFailed",
    "StoreLocked",
    "StoreMismatch",
    "StoredTransaction",
    "Subscription",
    "SyncChart",
    "TransactionConflicted",
    "TransactionDropped",
    "TransactionFound",
    "TransactionLost",
    "TransactionReturned",
    "TransactionSeen",
    "Transition",
    "UnconfirmedTransaction",
    "Utxo",
    "WalletTransaction",
    "Warned",
    "Watermarks",
    "__version__",
    "network",
    "open_client",
]

_HOMES = {
    "consensus.faults": ("Fault", "PeerMisbehaved"),
    "consensus.params": ("Network", "network"),
    "consensus.transactions": ("RefusedTransaction",),
    "engine.broadcast_stages": ("BroadcastStatus", "Stage"),
    "engine.broadcasts": ("BroadcastLimit",),
    "engine.client": ("Client", "ClientFailed", "Status", "open_client"),
    "engine.config": ("Config", "Limits"),
    "engine.errors": ("ConfigError", "LocalProtocolError"),
    "engine.events": (
        "BroadcastMoved", "ChainLocked", "Event", "InstantLocked", "Lagged", "Progress", "Rewound", "Subscription",
        "TransactionConflicted", "TransactionDropped", "TransactionFound", "TransactionLost", "TransactionReturned",
        "TransactionSeen", "Transition", "Warned",
    ),
    "engine.progress": ("PHASES", "PhaseRun"),
    "engine.unconfirmed": ("UnconfirmedTransaction",),
    "statecharts.interleaved": ("InterleavedChart",),
    "statecharts.peer": ("PeerChart",),
    "statecharts.sync": ("SyncChart",),
    "store": (
        "Balance", "JournalRow", "LostTransaction", "StoreCorrupt", "StoreError", "StoreFailed", "StoreLocked",
        "StoreMismatch", "StoredTransaction", "Utxo", "WalletTransaction", "Watermarks",
    ),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = import_module("importlib.metadata").version("phasegate")
    elif name in _HOME_OF:
        value = getattr(import_module(f"phasegate.{_HOME_OF[name]}"), name)
    else:
        raise AttributeError(f"module 'phasegate' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
