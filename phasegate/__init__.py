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
    from phasegate.consensus.primitives import OutPoint, Transaction, TxIn, TxOut
    from phasegate.consensus.transactions import RefusedTransaction
    from phasegate.engine.block_orders import BlockUnavailable
    from phasegate.engine.broadcast_stages import BroadcastStatus, Stage
    from phasegate.engine.broadcasts import BroadcastLimit
    from phasegate.engine.client import Client, ClientEnded, ClientFailed, Status, open_client
    from phasegate.engine.config import Config, Devnet, Limits
    from phasegate.engine.deriving import address_of, derive
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
    from phasegate.engine.following import Following, Seen
    from phasegate.engine.mempool import UnconfirmedTransaction
    from phasegate.engine.progress import PHASES, PhaseRun
    from phasegate.engine.proven import Masternode, MasternodeList, ProvenBlock, ProvenHeader, UnknownBlock
    from phasegate.statecharts.interleaved import InterleavedChart
    from phasegate.statecharts.peer import PeerChart
    from phasegate.statecharts.sync import SyncChart
    from phasegate.store import (
        Balance,
        JournalRow,
        KeyPlace,
        LostTransaction,
        StoreCorrupt,
        StoredChainLock,
        StoredCoin,
        StoredKeyChain,
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
    "BlockUnavailable",
    "BroadcastLimit",
    "BroadcastMoved",
    "BroadcastStatus",
    "ChainLocked",
    "Client",
    "ClientEnded",
    "ClientFailed",
    "Config",
    "ConfigError",
    "Devnet",
    "Event",
    "Fault",
    "Following",
    "InstantLocked",
    "InterleavedChart",
    "JournalRow",
    "KeyPlace",
    "Lagged",
    "Limits",
    "LocalProtocolError",
    "LostTransaction",
    "Masternode",
    "MasternodeList",
    "Network",
    "OutPoint",
    "PeerChart",
    "PeerMisbehaved",
    "PhaseRun",
    "Progress",
    "ProvenBlock",
    "ProvenHeader",
    "RefusedTransaction",
    "Rewound",
    "Seen",
    "Stage",
    "Status",
    "StoreCorrupt",
    "StoreError",
    "StoreFailed",
    "StoreLocked",
    "StoreMismatch",
    "StoredChainLock",
    "StoredCoin",
    "StoredKeyChain",
    "StoredTransaction",
    "Subscription",
    "SyncChart",
    "Transaction",
    "TransactionConflicted",
    "TransactionDropped",
    "TransactionFound",
    "TransactionLost",
    "TransactionReturned",
    "TransactionSeen",
    "Transition",
    "TxIn",
    "TxOut",
    "UnconfirmedTransaction",
    "UnknownBlock",
    "Utxo",
    "WalletTransaction",
    "Warned",
    "Watermarks",
    "__version__",
    "address_of",
    "derive",
    "network",
    "open_client",
]

_HOMES = {
    "consensus.faults": ("Fault", "PeerMisbehaved"),
    "consensus.params": ("Network", "network"),
    "consensus.primitives": ("OutPoint", "Transaction", "TxIn", "TxOut"),
    "consensus.transactions": ("RefusedTransaction",),
    "engine.block_orders": ("BlockUnavailable",),
    "engine.broadcast_stages": ("BroadcastStatus", "Stage"),
    "engine.broadcasts": ("BroadcastLimit",),
    "engine.client": ("Client", "ClientEnded", "ClientFailed", "Status", "open_client"),
    "engine.config": ("Config", "Devnet", "Limits"),
    "engine.deriving": ("address_of", "derive"),
    "engine.errors": ("ConfigError", "LocalProtocolError"),
    "engine.events": (
        "BroadcastMoved", "ChainLocked", "Event", "InstantLocked", "Lagged", "Progress", "Rewound", "Subscription",
        "TransactionConflicted", "TransactionDropped", "TransactionFound", "TransactionLost", "TransactionReturned",
        "TransactionSeen", "Transition", "Warned",
    ),
    "engine.following": ("Following", "Seen"),
    "engine.progress": ("PHASES", "PhaseRun"),
    "engine.mempool": ("UnconfirmedTransaction",),
    "engine.proven": ("Masternode", "MasternodeList", "ProvenBlock", "ProvenHeader", "UnknownBlock"),
    "statecharts.interleaved": ("InterleavedChart",),
    "statecharts.peer": ("PeerChart",),
    "statecharts.sync": ("SyncChart",),
    "store": (
        "Balance", "JournalRow", "KeyPlace", "LostTransaction",
        "StoreCorrupt", "StoreError", "StoreFailed", "StoreLocked",
        "StoreMismatch", "StoredChainLock", "StoredCoin", "StoredKeyChain",
        "StoredTransaction", "Utxo", "WalletTransaction", "Watermarks",
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
