"""The wallet's side of a client: what was found, how sure it is, what it comes to, and how it is called."""

from __future__ import annotations

import attrs

from phasegate.consensus.watch_elements import element_text
from phasegate.engine.arguments import whole
from phasegate.engine.asked import Asked
from phasegate.engine.config import Config
from phasegate.engine.errors import ConfigError
from phasegate.engine.labels import Labelled, script_of
from phasegate.engine.mempool import UnconfirmedTransaction
from phasegate.engine.unconfirmed import Unconfirmed
from phasegate.engine.watching import to_label
from phasegate.store import Balance, LostTransaction, Store, Utxo, WalletTransaction


class WalletView(Asked):
    """What a wallet asks. Every answer is of one committed state; all is read from the store, nothing is counted twice.

    Scripts are scriptPubKeys as raw bytes, or addresses of the network or script hex as text. What is watched of
    masternodes counts as a script: `protx:HASH`, `mnkey:ADDRESS` or `collateral:TXID:N` as text, its element as bytes.

    Raises:
        ConfigError: from every method that takes scripts: one is none, or is not watched.
        StoreError: from every method: the client has ended and its store is closed, or the disk refuses.
    """

    config: Config
    _store: Store
    _unconfirmed: Unconfirmed

    def transactions(
        self, after: int = 0, *, script: bytes | str | None = None, limit: int | None = None
    ) -> list[WalletTransaction]:
        """Found transactions above row id `after`, in the chain's order; txids are 32 bytes in wire order.

        A transaction of which more was learnt has a new row id. So who asks again with the highest one that it has
        seen misses nothing; confirmations and locks change without one.

        Args:
            after: only those with a higher row id.
            script: only those that pay to it, spend from it or mention it in their payloads.
            limit: at most so many, those with the lowest row ids.
        """
        if limit is not None:
            whole("limit", limit, 0)
        return self._store.history(whole("after", after), None if script is None else self._watched(script), limit)

    def lost_transactions(self, after: int = 0) -> list[LostTransaction]:
        """What reorganisations took out of the chain, above row id `after`, oldest first, and whether it came back."""
        return self._store.lost_transactions(whole("after", after))

    def utxos(self, script: bytes | str | None = None) -> list[Utxo]:
        """The unspent coins, or those of one script, in the chain's order."""
        return self._store.utxos(None if script is None else self._watched(script))

    def balance(self, *scripts: bytes | str) -> Balance:
        """What the unspent coins of these scripts come to, of all that are watched when none is given."""
        held = self.balance_of_each()
        wanted = {self._watched(script) for script in scripts} if scripts else held
        return sum((held[script] for script in wanted), Balance())

    def balance_of_each(self) -> dict[bytes, Balance]:
        """What the unspent coins of every watched script come to; the keys are raw scriptPubKeys."""
        held, fates = self._store.standing(self._unconfirmed.unmined)
        pending = self._unconfirmed.pending(fates)
        return {script: attrs.evolve(balance, unconfirmed=pending[script]) for script, balance in held.items()}

    def unconfirmed(self) -> list[UnconfirmedTransaction]:
        """What was seen of the wallet in no block, the first seen first: of this run, and believed only if locked."""
        return self._unconfirmed.transactions

    def balances(self) -> dict[bytes, int]:
        """Unspent duffs of each watched script; the keys are raw scriptPubKeys."""
        return self._store.balances()

    def labels(self) -> dict[bytes, str]:
        """The label of each watched script, "" where there is none."""
        return {item.script: item.label for item in self._store.watch_items()}

    async def label(self, items: Labelled) -> None:
        """Call watched scripts otherwise: a mapping of what `watch` takes to labels of one line, "" for none.

        Raises:
            ConfigError: `items` is no such mapping, or an item is not watched.
            ClientEnded: the client has ended.
        """
        self._check_running("label")
        change = to_label(items, self.config.network)
        watched = self._store.watched([script for script, _ in change.items])
        for script, _ in change.items:
            if script not in watched:
                raise self._unwatched(script)
        await self._commit("label", [change])

    def _watched(self, item: bytes | str) -> bytes:
        script = script_of(item, self.config.network)
        if not self._store.watched([script]):
            raise self._unwatched(script)
        return script

    def _unwatched(self, script: bytes) -> ConfigError:
        return ConfigError(f"not watched: {element_text(script, self.config.network)}")
