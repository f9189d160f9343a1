"""Our transactions in the store, so that a restart goes on announcing them.

A row says in which block its transaction was mined: height and hash. What it says is held against the chain when it is
read, for a roll-back may have come in between. What the disk refuses is kept here and stored later; of several changes
to one transaction only the last counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import trio

from phasegate.consensus.faults import Malformed
from phasegate.consensus.primitives import Transaction
from phasegate.engine.broadcast_stages import OnItsWay
from phasegate.engine.seams import Writer
from phasegate.store import BroadcastRow, Change, ForgetBroadcast, PutBroadcast, Store, StoreFailed


class Keeping:
    """The way of our transactions to the store and back.

    Args:
        writer: of the store.
        warn: called with a stable code and a line for the user.
    """

    def __init__(self, writer: Writer, warn: Callable[[str, str], None]) -> None:
        self._writer = writer
        self._warn = warn
        self._unsaved: dict[bytes, Change] = {}
        self._turn = trio.Lock()
        self._told_trouble = False

    def load(self) -> Iterator[OnItsWay]:
        """What is stored, oldest first; rows that are no transaction are forgotten."""
        for row in self._writer.store.broadcasts():
            try:
                tx = Transaction.from_bytes(row.raw)
            except Malformed:
                self.forget(row.txid)
                continue
            yield OnItsWay(tx, row.added, _still_mined(row.state, self._writer.store))

    def keep(self, entry: OnItsWay) -> None:
        """To be stored with the next `save`."""
        self._unsaved[entry.txid] = stored_as(entry)

    def forget(self, txid: bytes) -> None:
        """To be forgotten with the next `save`."""
        self._unsaved[txid] = ForgetBroadcast(txid)

    async def put(self, entry: OnItsWay) -> None:
        """Store a new one, and all that waits, now.

        Raises:
            StoreError: it could not be stored.
        """
        async with self._turn:
            earlier = self._unsaved.get(entry.txid)
            self.keep(entry)
            try:
                await self._flush()
            except BaseException:  # it may have landed all the same: then it goes again, as the caller was told
                self._unsaved[entry.txid] = ForgetBroadcast(entry.txid) if earlier is None else earlier
                raise

    async def save(self) -> None:
        """Store what has changed; what the disk refuses is kept for the next time, and told once."""
        async with self._turn:
            try:
                await self._flush()
            except StoreFailed as refused:
                if not self._told_trouble:
                    self._warn("broadcast-not-stored", f"what became of a transaction could not be stored: {refused}")
                self._told_trouble = True
            else:
                self._told_trouble = False

    async def _flush(self) -> None:
        batch = dict(sorted(self._unsaved.items(), key=lambda pair: isinstance(pair[1], PutBroadcast)))
        if batch:
            await self._writer.commit(list(batch.values()))
        for txid, change in batch.items():
            if self._unsaved.get(txid) is change:
                del self._unsaved[txid]


def stored_as(entry: OnItsWay, mined: tuple[int, bytes] | None = None) -> PutBroadcast:
    """The change that stores `entry`, as it is or as `mined` in a block."""
    place = mined or entry.mined
    state = "" if place is None else f"{place[0]} {place[1][::-1].hex()}"
    return PutBroadcast(BroadcastRow(entry.txid, entry.tx.to_bytes(), entry.added, entry.added, state))


def _still_mined(state: str, store: Store) -> tuple[int, bytes] | None:
    """The block that `state` names, if it is one of the stored chain."""
    height, _, name = state.partition(" ")
    try:
        place = int(height), bytes.fromhex(name)[::-1]
    except ValueError:
        return None
    return place if store.height_of(place[1]) == place[0] else None
