"""What a client is asked to watch, on its way to the store: by the configuration, and while it runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from phasegate.consensus.params import Network
from phasegate.consensus.watch_elements import parse_outpoint
from phasegate.consensus.watch_texts import Watch, parse_watch
from phasegate.engine.asked import Asked
from phasegate.engine.broadcasts import Broadcasts
from phasegate.engine.config import Config
from phasegate.engine.errors import ConfigError
from phasegate.engine.labels import Labelled, line, script_of
from phasegate.store import (
    AddKeyChains,
    AddWatch,
    Change,
    KeyPlace,
    LabelWatch,
    RemoveKeyChains,
    RemoveWatch,
    StoredCoin,
    StoredKeyChain,
)


def asked(items: Iterable[bytes | str], network: Network) -> Watch:
    """What `items` ask for: scriptPubKeys as raw bytes, or what `Config.create` takes as `watch`.

    Raises:
        ConfigError: one of them is wrong; the message says which and why.
    """
    if not isinstance(items, Iterable):
        raise ConfigError(f"what is to be watched is a list of items, not {items!r}")
    if isinstance(items, str | bytes | bytearray):
        raise ConfigError("what is to be watched is one item: give a list of items")  # it may be a private key
    try:
        return Watch.joined(
            [
                parse_watch(item, network) if isinstance(item, str) else Watch((script_of(item, network),))
                for item in items
            ]
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def configured(config: Config) -> Watch:
    """What the configuration asks for."""
    return Watch(config.watch, config.key_chains)


def to_add(watch: Watch) -> list[Change]:
    """What has it watched; nothing if nothing is asked for."""
    scripts = AddWatch(tuple([(script, "") for script in watch.scripts]))
    chains = AddKeyChains(tuple([(str(chain.descriptor), chain.gap) for chain in watch.chains]))
    return [*[scripts] * bool(watch.scripts), *[chains] * bool(watch.chains)]


def to_remove(watch: Watch) -> list[Change]:
    """What has it forgotten."""
    chains = RemoveKeyChains(tuple([str(chain.descriptor) for chain in watch.chains]))
    return [RemoveWatch(watch.scripts), *[chains] * bool(watch.chains)]


def to_label(items: Mapping[Any, str], network: Network) -> LabelWatch:
    """What has scripts labelled.

    Raises:
        ConfigError: an item stands for many scripts, or a label is no line of text.
    """
    if not isinstance(items, Mapping):
        raise ConfigError("labels are given as a mapping of items to texts")
    named: list[tuple[bytes, str]] = []
    for item, label in items.items():
        watch, text = asked([item], network), line(label)
        if watch.chains and text:
            raise ConfigError(f"label {text!r} is for a script, and a descriptor with a * stands for many")
        named += [(script, text) for script in watch.scripts]
    return LabelWatch(tuple(named))


class Watching(Asked):
    """The half of a client that is told what to watch."""

    config: Config
    broadcasting: Broadcasts

    async def watch(self, items: Labelled | Iterable[bytes | str]) -> None:
        """Watch more, from the next step on; stored filters are matched for it in the walk that follows.

        Args:
            items: scriptPubKeys as raw bytes; addresses, script hex, output descriptors, extended public keys,
                outpoints, and of masternodes `protx:HASH`, `mnkey:ADDRESS` (or the key's 20-byte id in hex) and
                `collateral:TXID:N`, as texts. An outpoint is `TXID:N:SCRIPT`, or `TXID:N` if it is a known coin. A
                descriptor with a `*` and an extended key are watched as far as their gap limit says (`ITEM:gap=N`, 20
                if it is not said), and further whenever they are used. Or a mapping of these to labels, also of what
                is watched already.

        Raises:
            ConfigError: an item is wrong, or a label is none; nothing was added.
            StoreError: they could not be stored.
            ClientEnded: the client has ended.
        """
        self._check_running("watch")
        network = self.config.network
        if isinstance(items, Mapping):
            named = dict(zip(self._named(items), items.values(), strict=True))
            changes = [*to_add(asked(named, network)), to_label(named, network)]
        else:
            changes = to_add(asked(self._named(items), network))
        await self._commit("watch", changes)
        await self._post("watch", "rewalk", "watch items added")

    async def unwatch(self, items: Iterable[bytes | str]) -> None:
        """Forget what `watch` takes, and the coins and transactions that concern nothing else that is watched.

        A script that a watched descriptor or extended key stands for as well stays watched for that.

        Raises:
            ConfigError: an item is wrong; nothing was removed.
            StoreError: the change could not be stored.
            ClientEnded: the client has ended.
        """
        self._check_running("unwatch")
        await self._commit("unwatch", to_remove(asked(self._named(items), self.config.network)))
        self.broadcasting.search_again()
        await self._post("unwatch", "rewalk", "watch items removed")

    def key_chains(self) -> list[StoredKeyChain]:
        """The watched descriptors with a `*`, their gap limits, and how many of their indexes are watched by now.

        Raises:
            StoreError: the client has ended and its store is closed, or it cannot be read.
        """
        return self._writer.store.key_chains()

    def place_of(self, script: bytes | str) -> KeyPlace | None:
        """Which of the watched chains (`key_chains`) has a script, and at which index; None if none has.

        Args:
            script: the scriptPubKey as raw bytes, or an address of the network or script hex as text.

        Raises:
            ConfigError: it is none of these.
            StoreError: the client has ended and its store is closed, or it cannot be read.
        """
        return self._writer.store.place_of(script_of(script, self.config.network))

    def coin(self, outpoint: str) -> StoredCoin | None:
        """What is known of an output, spent or not; None if it is no coin of a watched script, as far as was found.

        Args:
            outpoint: `TXID:N`, the txid in reversed hex, as people write it.

        Raises:
            ConfigError: it is none.
            StoreError: the client has ended and its store is closed, or it cannot be read.
        """
        if not isinstance(outpoint, str):
            raise ConfigError(f"{outpoint!r} is no outpoint, TXID:N")
        try:
            return self._writer.store.coin_at(parse_outpoint(outpoint))
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def _named(self, items: Iterable[bytes | str]) -> Iterable[bytes | str]:
        """`items`, with the script of each outpoint that is a known coin instead of its name."""
        if isinstance(items, str | bytes) or not isinstance(items, Iterable):
            return items
        return [self._script(item) or item if isinstance(item, str) else item for item in items]

    def _script(self, item: str) -> bytes | None:
        with suppress(ConfigError):
            coin = self.coin(item.strip())
            return None if coin is None else coin.script
        return None
