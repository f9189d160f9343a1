"""What can be asked of the wallet in a store: what is watched, and what was found of it."""

from __future__ import annotations

from collections.abc import Iterable

from phasegate.consensus.blocks import Coin
from phasegate.consensus.primitives import OutPoint
from phasegate.store import holdings, instantlocks, key_chain_use, key_chains, lost, outpoints, wallet
from phasegate.store.found_reading import FoundReading
from phasegate.store.holdings import Balance, Utxo


class WalletReading(FoundReading):
    """The wallet's part of `Reading`, for which the same holds."""

    def watch_items(self) -> list[wallet.WatchItem]:
        """All watch items, by script."""
        with self._database.snapshot() as rows:
            return wallet.watch_items(rows)

    def place_of(self, script: bytes) -> key_chains.KeyPlace | None:
        """Which watched chain has `script`, and at which index; None if none has."""
        with self._database.snapshot() as rows:
            return key_chains.place_of(rows, script)

    def key_chains(self) -> list[key_chains.StoredKeyChain]:
        """The watched chains of keys, by descriptor."""
        with self._database.snapshot() as rows:
            return key_chains.key_chains(rows)

    def key_chain_uses(self) -> list[key_chain_use.KeyChainUse]:
        """The same, and how far each was used and matched."""
        with self._database.snapshot() as rows:
            return key_chain_use.key_chain_uses(rows)

    def watched_alone(self) -> set[bytes]:
        """The scripts that are watched for themselves, whether a chain of keys has them as well or not."""
        with self._database.snapshot() as rows:
            return key_chains.watched_alone(rows)

    def pending(self, limit: int, after: int = -1) -> list[int]:
        """The first `limit` matched heights above `after` whose blocks have not been searched yet, ascending."""
        with self._database.snapshot() as rows:
            return wallet.pending(rows, limit, after)

    def matched_heights(self) -> list[int]:
        """All matched heights, searched or not, ascending."""
        with self._database.snapshot() as rows:
            return wallet.matched_heights(rows)

    def coins(self) -> dict[OutPoint, Coin]:
        """The unspent coins of watched scripts."""
        with self._database.snapshot() as rows:
            return wallet.coins(rows)

    def coin_at(self, outpoint: OutPoint) -> outpoints.StoredCoin | None:
        """The coin at `outpoint`, spent or not; None if it is no coin of a watched script, as far as was found."""
        with self._database.snapshot() as rows:
            return outpoints.coin_at(rows, outpoint)

    def rival(self, txid: bytes, inputs: Iterable[OutPoint]) -> bytes | None:
        """Another transaction than `txid` that spends one of `inputs`, found in a block or held by a verified lock."""
        with self._now() as (rows, _):
            return lost.rival(rows, txid, inputs)

    def fates(self, unmined: Iterable[lost.Unmined]) -> dict[bytes, lost.Fate]:
        """What became of each of `unmined`, by txid, all of one committed state."""
        with self._now() as (rows, _):
            return {each.txid: lost.fate(rows, each) for each in unmined}

    def watched(self, scripts: Iterable[bytes]) -> set[bytes]:
        """Those of `scripts` that are watched."""
        with self._now() as (rows, _):
            return wallet.watched(rows, scripts)

    def coins_at(self, points: Iterable[OutPoint]) -> list[Coin]:
        """The coins of watched scripts at these places, unspent or not."""
        with self._now() as (rows, _):
            return wallet.coins_at(rows, points)

    def contradicted(self, txid: bytes) -> list[bytes]:
        """The txids of found transactions that spend what a verified lock holds for `txid`, and have none."""
        with self._database.snapshot() as rows:
            return instantlocks.contradicted(rows, txid)

    def locked_against(self, txid: bytes) -> bytes | None:
        """The txid of the transaction for which a verified lock holds an input of the found transaction `txid`."""
        with self._database.snapshot() as rows:
            return instantlocks.locked_against(rows, txid)

    def utxos(self, script: bytes | None = None) -> list[Utxo]:
        """The unspent coins, or those of one script, in the chain's order."""
        with self._now() as (rows, chain):
            return holdings.utxos(rows, chain, script)

    def holdings(self) -> dict[bytes, Balance]:
        """What the unspent coins of each watched script come to."""
        with self._now() as (rows, chain):
            return holdings.balances(rows, chain)

    def standing(self, unmined: Iterable[lost.Unmined]) -> tuple[dict[bytes, Balance], dict[bytes, lost.Fate]]:
        """Both `holdings` and `fates`, of the same committed state: nothing is in a block and unmined at once."""
        with self._now() as (rows, chain):
            return holdings.balances(rows, chain), {each.txid: lost.fate(rows, each) for each in unmined}

    def transaction_height(self, txid: bytes) -> int | None:
        """The height of the found transaction `txid` (32 bytes, wire order); None if it was not found."""
        with self._database.snapshot() as rows:
            return wallet.transaction_height(rows, txid)

    def balances(self) -> dict[bytes, int]:
        """Every watched script with the sum of its unspent coins, in duffs."""
        with self._database.snapshot() as rows:
            return wallet.balances(rows)
