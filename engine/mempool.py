"""The wallet's mempool: its transactions in no block, how they hang together, and which of them count.

One that spends an output of another stands and falls with it: who leaves takes along whatever spends of it. The only
exception is a transaction that was mined. Of those that spend the same coin at most one is ever mined, so at most one
counts: the one that a verified lock holds, or else the one that was seen first.

All is bounded, for anybody can send more. What is counted is memory, not the length on the wire: a transaction of many
inputs takes several times that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import attrs

from phasegate.consensus.blocks import Coin
from phasegate.consensus.primitives import OutPoint, TxOut
from phasegate.store import Unmined

MOST, MOST_BYTES = 1000, 4 << 20
"""Transactions that are kept at once, and the memory that they take."""
EACH, SPENT, PAID = 1200, 280, 280
"""Bytes that one takes beside its serialisation: by itself, and for each input and each script or output of ours."""


@attrs.frozen
class UnconfirmedTransaction:
    """A transaction that was seen in no block.

    Args:
        txid: 32 bytes in wire order.
        time: when it was first seen, in seconds since 1970.
        raw: its whole serialisation.
        changes: what it adds to or takes from each watched script, in duffs, by script; 0 for what it only mentions.
        received: duffs that it pays to watched scripts.
        sent: duffs of coins of watched scripts that it spends.
        instantlock: whether a verified InstantSend lock holds it.
    """

    txid: bytes
    time: float
    raw: bytes
    changes: tuple[tuple[bytes, int], ...]
    received: int
    sent: int
    instantlock: bool = False

    @property
    def scripts(self) -> tuple[bytes, ...]:
        """The watched scripts that it concerns, sorted."""
        return tuple([script for script, _ in self.changes])


@attrs.frozen
class Effect:
    """What a transaction does to the wallet.

    Args:
        pays: its outputs to watched scripts, by their place.
        spends: the coins of watched scripts that it spends.
        mentions: what its payload holds that is watched.
    """

    pays: Mapping[int, TxOut]
    spends: Sequence[Coin]
    mentions: Collection[bytes] = ()

    @property
    def changes(self) -> tuple[tuple[bytes, int], ...]:
        """What it adds to or takes from each script, in duffs, by script."""
        changes = dict.fromkeys(self.mentions, 0)
        for out in self.pays.values():
            changes[out.script] = changes.get(out.script, 0) + out.value
        for coin in self.spends:
            changes[coin.script] = changes.get(coin.script, 0) - coin.value
        return tuple(sorted(changes.items()))

    @property
    def amounts(self) -> tuple[int, int]:
        """Duffs that it pays to watched scripts, and those of theirs that it spends."""
        return sum([out.value for out in self.pays.values()]), sum([coin.value for coin in self.spends])


@attrs.define(eq=False)
class Held:
    """One that is kept.

    Args:
        told: what is told of it.
        spends: all that it spends.
        pays: its outputs to watched scripts, by their place.
        since: when it was first seen, by Trio's clock.
    """

    told: UnconfirmedTransaction
    spends: frozenset[OutPoint]
    pays: Mapping[int, TxOut]
    since: float

    @property
    def txid(self) -> bytes:
        """32 bytes in wire order."""
        return self.told.txid

    @property
    def size(self) -> int:
        """About the bytes that it takes in memory."""
        told = self.told
        return EACH + len(told.raw) + SPENT * len(self.spends) + PAID * (len(self.pays) + len(told.changes))

    @property
    def unmined(self) -> Unmined:
        """What the store is asked about it with."""
        return Unmined(self.txid, self.spends, self.told.scripts)


class Mempool:
    """What is kept, the first seen first."""

    def __init__(self) -> None:
        self._held: dict[bytes, Held] = {}

    def __contains__(self, txid: bytes) -> bool:
        return txid in self._held

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(tuple(self._held.values()))

    def get(self, txid: bytes) -> Held | None:
        """The one with this txid."""
        return self._held.get(txid)

    def put(self, held: Held) -> None:
        """Keep one more."""
        self._held[held.txid] = held

    def remove(self, txid: bytes) -> None:
        """Keep it no longer, but whatever spends of it: a block has it, or nobody asks for it any more."""
        self._held.pop(txid, None)

    def give_up(self, txid: bytes) -> list[Held]:
        """Keep neither it nor what spends of it, directly or not; all that go, each after what it spends of."""
        gone = [self._held[each] for each in self._family(txid, self._children())]
        for held in gone:
            del self._held[held.txid]
        return gone

    # -- kinship -------------------------------------------------------------------------------------------------

    def spending_of(self, txids: Collection[bytes]) -> list[Held]:
        """Those that spend an output of one of these transactions."""
        return [held for held in self if any(point.txid in txids for point in held.spends)] if txids else []

    def rivals(self, txid: bytes, inputs: Iterable[OutPoint]) -> list[Held]:
        """Those other than `txid` that spend one of `inputs`."""
        points = set(inputs)
        return [held for held in self if held.txid != txid and not points.isdisjoint(held.spends)]

    def coins_at(self, points: Iterable[OutPoint]) -> list[Coin]:
        """The coins of watched scripts at these places that transactions in no block make."""
        found = [(point, held.pays.get(point.index)) for point in points if (held := self._held.get(point.txid))]
        return [Coin(point, out.value, out.script, -1) for point, out in found if out is not None]

    def _children(self) -> dict[bytes, list[bytes]]:
        """Of each the ones that spend of it."""
        children: dict[bytes, list[bytes]] = {txid: [] for txid in self._held}
        for held in self._held.values():
            for parent in {point.txid for point in held.spends}:
                if parent in children:
                    children[parent].append(held.txid)
        return children

    def _family(self, txid: bytes, children: dict[bytes, list[bytes]]) -> dict[bytes, None]:
        """`txid` and all that spend of it, directly or not, in an order in which they could be mined."""
        family, found = dict[bytes, None](), [(txid, False)]  # children first
        while found:
            each, done = found.pop()
            if done:
                family[each] = None
            elif each not in family:
                found += [(each, True), *[(child, False) for child in children[each]]]
        return dict.fromkeys(reversed(family))

    # -- who goes, and who counts --------------------------------------------------------------------------------

    def is_loose(self, txid: bytes) -> bool:
        """Whether no verified lock holds it, nor one that spends of it."""
        return self._is_loose(txid, self._children())

    def _is_loose(self, txid: bytes, children: dict[bytes, list[bytes]]) -> bool:
        return not any(self._held[each].told.instantlock for each in self._family(txid, children))

    def surplus(self) -> bytes | None:
        """The oldest, those that are locked last, if there are too many."""
        if len(self) <= MOST and sum(held.size for held in self._held.values()) <= MOST_BYTES:
            return None
        children = self._children()
        return next((txid for txid in self._held if self._is_loose(txid, children)), next(iter(self._held)))

    def counted(self, mined: Collection[bytes], defeated: Collection[bytes]) -> list[Held]:
        """Of those that spend the same coin the locked one, or the first seen; none that spends of one left out.

        Args:
            mined: those that are in a block.
            defeated: those that can never be.
        """
        children, spent = self._children(), set[OutPoint]()
        out = {each for txid in defeated for each in self._family(txid, children)}
        for held in sorted(self, key=lambda held: not held.told.instantlock):
            if held.txid in out:
                continue
            if spent.isdisjoint(held.spends):
                spent |= held.spends
            else:
                out.update(self._family(held.txid, children))
        return [held for held in self if held.txid not in out and held.txid not in mined]
