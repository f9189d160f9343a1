"""One transaction of our own on its way: how far it has come, and who knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

import attrs

from phasegate.consensus.faults import Malformed
from phasegate.consensus.primitives import OutPoint, Transaction
from phasegate.consensus.special_txs import filter_data
from phasegate.consensus.spent_scripts import spent_script
from phasegate.engine.config import Address
from phasegate.engine.peers import Peer

FIRST_AGAIN = 30.0
"""Seconds until a transaction is announced a second time."""
AT_ONCE = float("-inf")
OP_RETURN = b"\x6a"


class Stage(Enum):
    """How far a transaction has come."""

    WAITING = "waiting"
    ANNOUNCED = "announced"
    FETCHED = "fetched"
    ECHOED = "echoed"
    LOCKED = "locked"
    MINED = "mined"
    CONFLICTED = "conflicted"
    EXPIRED = "expired"

    def has_reached(self, other: Stage) -> bool:
        """Whether this is `other` or beyond; the two ends in failure reach nothing but themselves."""
        order = list(Stage)[:6]
        return self is other or (self in order and other in order and order.index(self) > order.index(other))

    @property
    def has_failed(self) -> bool:
        """Whether nothing better can follow."""
        return self in (Stage.CONFLICTED, Stage.EXPIRED)


@attrs.frozen
class BroadcastStatus:
    """What is known of a transaction of our own.

    Args:
        txid: 32 bytes, wire order.
        stage: how far it has come.
        announced: peers that were told of it.
        fetched: peers that asked for it and were given it.
        echoed: peers that announced it to us without having been told by us.
        height: of its block; None while it is in none.
        reason: why it failed, "" otherwise.
    """

    txid: bytes
    stage: Stage
    announced: int
    fetched: int
    echoed: int
    height: int | None = None
    reason: str = ""


@attrs.define(eq=False)
class OnItsWay:
    """One transaction and who knows of it.

    Args:
        added: when the user gave it, in seconds since 1970.
        mined: height and hash of its block, None while it is in none.
        searched: whether the newest stored blocks have been searched for it.
        told: the connections on which it was announced.
        owed: those that have not asked for it since.
        announced: the addresses that were told of it, on any connection; as `fetched` and `echoed`.
        due: when it is announced next, Trio's time.
        last: when it was announced last.
        pause: seconds until the time after that.
        rounds: how often it has been announced.
    """

    tx: Transaction
    added: float
    mined: tuple[int, bytes] | None = None
    searched: bool = False
    locked: bool = False
    failed: Stage | None = None
    reason: str = ""
    told: set[Peer] = attrs.field(factory=set)
    owed: set[Peer] = attrs.field(factory=set)
    announced: set[Address] = attrs.field(factory=set)
    fetched: set[Address] = attrs.field(factory=set)
    echoed: set[Address] = attrs.field(factory=set)
    due: float = AT_ONCE
    last: float = AT_ONCE
    pause: float = FIRST_AGAIN
    rounds: int = 0

    @property
    def txid(self) -> bytes:
        """32 bytes, wire order."""
        return self.tx.txid

    @property
    def is_open(self) -> bool:
        """Whether it waits for its block."""
        return self.mined is None and self.failed is None

    @property
    def stage(self) -> Stage:
        """The best that is known."""
        reached = (
            (self.failed is not None, self.failed or Stage.EXPIRED),
            (self.mined is not None, Stage.MINED),
            (self.locked, Stage.LOCKED),
            (bool(self.echoed), Stage.ECHOED),
            (bool(self.fetched), Stage.FETCHED),
            (bool(self.announced), Stage.ANNOUNCED),
        )
        return next((stage for holds, stage in reached if holds), Stage.WAITING)

    @property
    def status(self) -> BroadcastStatus:
        """For the user."""
        counts = len(self.announced), len(self.fetched), len(self.echoed)
        height = None if self.mined is None else self.mined[0]
        return BroadcastStatus(self.txid, self.stage, *counts, height, self.reason)

    def begin_again(self) -> None:
        """Have it announced at once, as if for the first time; who has told it to us is kept."""
        self.due, self.pause = AT_ONCE, FIRST_AGAIN

    @property
    def spends(self) -> frozenset[OutPoint]:
        """The coins it spends."""
        return frozenset(txin.prevout for txin in self.tx.inputs)

    def traces(self) -> Iterator[bytes]:
        """What the filter of its block holds of it: scripts it pays, scripts it spends as far as they can be read off.

        The latter stand in the filter of any block that spends the same coins, too, so a rival is found by them.
        """
        yield from (out.script for out in self.tx.outputs if out.script[:1] not in (b"", OP_RETURN))
        yield from (script for txin in self.tx.inputs if (script := spent_script(txin.script_sig)) is not None)
        try:
            yield from filter(None, filter_data(self.tx))
        except Malformed:
            return
