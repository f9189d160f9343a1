"""What a peer can do wrong: one enumerated reason each, with its penalty beside it.

A reason is named once, here, and travels unchanged to the log, the ban list and the user. Silence is not in this list:
a peer that says nothing is asked elsewhere, never punished. Every fault drops the peer. Penalties add up, and are
forgiven with time (`p2p/reputation.py`); 100 is a ban: what no honest node can send has 100, what is only too much has
less. One of 0 is held against nobody: a header from the future may just as well mean that our own clock is slow.
"""

from __future__ import annotations

from enum import Enum


class Fault(Enum):
    """A way to misbehave: `(code, penalty)`, the code being the stable name shown to users."""

    MALFORMED_MESSAGE = ("malformed-message", 100)
    OVERSIZED_MESSAGE = ("oversized-message", 100)
    WRONG_NETWORK = ("wrong-network", 100)
    HANDSHAKE_BROKEN = ("handshake-broken", 100)
    UNFITTING_REPLY = ("unfitting-reply", 100)
    BAD_PROOF_OF_WORK = ("bad-proof-of-work", 100)
    BROKEN_HEADER_LINK = ("broken-header-link", 100)
    BAD_DIFFICULTY = ("bad-difficulty", 100)
    BAD_HEADER_TIME = ("bad-header-time", 100)
    HEADER_FROM_THE_FUTURE = ("header-from-the-future", 0)
    BAD_HEADER_VERSION = ("bad-header-version", 100)
    CHECKPOINT_CONTRADICTED = ("checkpoint-contradicted", 100)
    LOW_WORK_HEADERS = ("low-work-headers", 100)
    CONFLICTS_WITH_CHAINLOCK = ("conflicts-with-chainlock", 100)
    BAD_COMPRESSED_HEADERS = ("bad-compressed-headers", 100)
    BAD_MERKLE_PROOF = ("bad-merkle-proof", 100)
    BAD_COINBASE = ("bad-coinbase", 100)
    BAD_MASTERNODE_DIFF = ("bad-masternode-diff", 100)
    BAD_MASTERNODE_ROOT = ("bad-masternode-root", 100)
    BAD_QUORUM_ROOT = ("bad-quorum-root", 100)
    BAD_QUORUM_COMMITMENT = ("bad-quorum-commitment", 100)
    BAD_QUORUM_SNAPSHOT = ("bad-quorum-snapshot", 100)
    BAD_CHAINLOCK = ("bad-chainlock", 100)
    BAD_INSTANTLOCK = ("bad-instantlock", 100)
    BROKEN_FILTER_HEADER_CHAIN = ("broken-filter-header-chain", 100)
    BAD_FILTER_CHECKPOINT = ("bad-filter-checkpoint", 100)
    BAD_FILTER_HEADER = ("bad-filter-header", 100)
    BAD_FILTER = ("bad-filter", 100)
    BAD_BLOCK_MERKLE_ROOT = ("bad-block-merkle-root", 100)
    MUTATED_BLOCK = ("mutated-block", 100)
    BAD_TRANSACTION = ("bad-transaction", 100)
    CORRUPTED_FRAMES = ("corrupted-frames", 50)
    FLOODING = ("flooding", 50)

    @property
    def code(self) -> str:
        """The stable name shown to users and kept in logs."""
        return self.value[0]

    @property
    def penalty(self) -> int:
        """Points of misbehaviour; 100 together are a ban."""
        return self.value[1]


class PeerMisbehaved(Exception):
    """A peer broke a rule.

    Args:
        fault: the enumerated reason.
        detail: one line that names what was wrong, with height or field where there is one.
    """

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault.code}: {detail}")
        self.fault = fault
        self.detail = detail


class Malformed(PeerMisbehaved):
    """Bytes that do not parse, strictly and to the last byte, as what they claim to be."""

    def __init__(self, detail: str) -> None:
        super().__init__(Fault.MALFORMED_MESSAGE, detail)
