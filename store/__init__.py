"""What the client has proven, in one SQLite file: data and watermark in one transaction."""

from phasegate.store.changes import (
    AddWatch,
    AppendFilterHeaders,
    AppendHeaders,
    AppendJournal,
    Change,
    KeepHistory,
    MarkMatched,
    PutFilters,
    RecordBlock,
    RemoveWatch,
    RollBack,
    RollBackFilters,
    SetMasternodes,
)
from phasegate.store.errors import StoreCorrupt, StoreError, StoreFailed, StoreLocked, StoreMismatch
from phasegate.store.journal import JournalRow
from phasegate.store.marks import Watermarks
from phasegate.store.repair import Damage, Repair
from phasegate.store.schema import Anchor
from phasegate.store.store import Store
from phasegate.store.wallet import StoredTransaction, WatchItem

__all__ = [
    "AddWatch",
    "Anchor",
    "AppendFilterHeaders",
    "AppendHeaders",
    "AppendJournal",
    "Change",
    "Damage",
    "JournalRow",
    "KeepHistory",
    "MarkMatched",
    "PutFilters",
    "RecordBlock",
    "RemoveWatch",
    "Repair",
    "RollBack",
    "RollBackFilters",
    "SetMasternodes",
    "Store",
    "StoreCorrupt",
    "StoreError",
    "StoreFailed",
    "StoreLocked",
    "StoreMismatch",
    "StoredTransaction",
    "WatchItem",
    "Watermarks",
]
