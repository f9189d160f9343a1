"""What the client has proven, in one SQLite file: data and watermark in one transaction."""

from phasegate.store.branches import RefusedBranch
from phasegate.store.chainlocks import StoredChainLock
from phasegate.store.changes import (
    AppendFilterHeaders,
    AppendHeaders,
    AppendJournal,
    Change,
    Corroborate,
    ForgetDisputes,
    JudgeQuorums,
    KeepAnchors,
    KeepHistory,
    MarkMatched,
    PruneFilters,
    PutFilters,
    PutFilterVariants,
    QuorumVerdict,
    RecordBlock,
    RecordChainLock,
    RecordInstantLock,
    RecordRefusedBranch,
    Rematch,
    RollBack,
    RollBackFilters,
    SearchBlocks,
    SetContext,
    SetMasternodes,
    SetQuorumSet,
)
from phasegate.store.damage import Damage
from phasegate.store.errors import StoreCorrupt, StoreError, StoreFailed, StoreLocked, StoreMismatch
from phasegate.store.history import WalletTransaction
from phasegate.store.holdings import Balance, Utxo
from phasegate.store.identity import Anchor
from phasegate.store.instantlocks import StoredInstantLock
from phasegate.store.journal import JournalRow
from phasegate.store.key_chain_changes import AddKeyChains, RemoveKeyChains
from phasegate.store.key_chain_use import KeyChainUse
from phasegate.store.key_chains import KeyPlace, StoredKeyChain
from phasegate.store.lost import Fate, LostTransaction, Unmined
from phasegate.store.marks import Watermarks
from phasegate.store.outpoints import StoredCoin
from phasegate.store.packed import PackedFilters
from phasegate.store.peer_changes import (
    BroadcastRow,
    ForgetBroadcast,
    ForgetPeers,
    ForgetReputation,
    PeerRow,
    PutBroadcast,
    PutPeers,
    PutReputation,
    ReputationRow,
    SetAnchors,
    SetPeerKey,
)
from phasegate.store.quorums import StoredQuorum
from phasegate.store.repair import Repair
from phasegate.store.store import Store
from phasegate.store.wallet import StoredTransaction, WatchItem
from phasegate.store.watch_changes import AddWatch, LabelWatch, RecordLost, RemoveWatch

__all__ = [
    "AddKeyChains",
    "AddWatch",
    "Anchor",
    "AppendFilterHeaders",
    "AppendHeaders",
    "AppendJournal",
    "Balance",
    "BroadcastRow",
    "Change",
    "Corroborate",
    "Damage",
    "Fate",
    "ForgetBroadcast",
    "ForgetDisputes",
    "ForgetPeers",
    "ForgetReputation",
    "JournalRow",
    "JudgeQuorums",
    "KeepAnchors",
    "KeepHistory",
    "KeyChainUse",
    "KeyPlace",
    "LabelWatch",
    "LostTransaction",
    "MarkMatched",
    "PackedFilters",
    "PeerRow",
    "PruneFilters",
    "PutBroadcast",
    "PutFilterVariants",
    "PutFilters",
    "PutPeers",
    "PutReputation",
    "QuorumVerdict",
    "RecordBlock",
    "RecordChainLock",
    "RecordInstantLock",
    "RecordLost",
    "RecordRefusedBranch",
    "RefusedBranch",
    "Rematch",
    "RemoveKeyChains",
    "RemoveWatch",
    "Repair",
    "ReputationRow",
    "RollBack",
    "RollBackFilters",
    "SearchBlocks",
    "SetAnchors",
    "SetContext",
    "SetMasternodes",
    "SetPeerKey",
    "SetQuorumSet",
    "Store",
    "StoreCorrupt",
    "StoreError",
    "StoreFailed",
    "StoreLocked",
    "StoreMismatch",
    "StoredChainLock",
    "StoredCoin",
    "StoredInstantLock",
    "StoredKeyChain",
    "StoredQuorum",
    "StoredTransaction",
    "Unmined",
    "Utxo",
    "WalletTransaction",
    "WatchItem",
    "Watermarks",
]
