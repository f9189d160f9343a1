"""What `import phasegate` promises."""

from __future__ import annotations

import subprocess
import sys

import pytest

import phasegate


def test_the_surface_is_this() -> None:
    """Names are added here on purpose, and never vanish."""
    assert set(phasegate.__all__) == {
        "PHASES", "Balance", "BroadcastLimit", "BroadcastMoved", "BroadcastStatus", "ChainLocked", "Client",
        "ClientEnded", "ClientFailed", "Config", "ConfigError", "Event", "Fault",
        "InstantLocked", "InterleavedChart", "JournalRow",
        "Lagged", "Limits", "LostTransaction",
        "LocalProtocolError", "Network", "PeerChart", "PeerMisbehaved", "PhaseRun", "Progress", "RefusedTransaction",
        "Rewound", "Stage", "Status", "StoreCorrupt", "StoreError", "StoreFailed", "StoreLocked", "StoreMismatch",
        "StoredTransaction", "Subscription", "SyncChart", "TransactionConflicted", "TransactionDropped",
        "TransactionFound", "TransactionLost", "TransactionReturned", "TransactionSeen", "Transition",
        "UnconfirmedTransaction", "Utxo", "WalletTransaction", "Warned", "Watermarks",
        "BlockUnavailable", "Devnet", "Following", "Masternode", "MasternodeList", "OutPoint", "ProvenBlock",
        "ProvenHeader", "Seen", "StoredChainLock", "StoredCoin", "StoredKeyChain", "Transaction", "TxIn", "TxOut",
        "UnknownBlock",
        "KeyPlace", "__version__", "address_of", "derive", "network", "open_client",
    }  # fmt: skip


@pytest.mark.parametrize("name", phasegate.__all__)
def test_each_name_is_there(name: str) -> None:
    """Every promised name can be had, and is listed by dir()."""
    assert getattr(phasegate, name) is not None
    assert name in dir(phasegate)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="nonsense"):
        phasegate.nonsense  # noqa: B018 - the look-up is the test


def test_the_import_is_light() -> None:
    """`import phasegate` loads none of its folders, and the command line no engine, store, chart or bars."""
    heavy = ("apsw", "numpy", "phasegate.store", "rich", "statemachine", "trio")
    for module, unwanted in (("phasegate", ("phasegate.engine",)), ("phasegate.cli.app", heavy)):
        code = f"import sys, {module}; print(*sorted({set(unwanted)!r} & set(sys.modules)))"
        loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
        assert loaded.split() == []
