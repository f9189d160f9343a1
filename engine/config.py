"""What a user can choose, checked before anything starts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import attrs
import platformdirs

from phasegate.consensus.params import Network, UnfitSetting, UnknownActivation, UnknownNetwork, network
from phasegate.consensus.private_keys import hushed
from phasegate.consensus.watch_elements import parse_element
from phasegate.consensus.watch_texts import KeyChain, Watch, parse_watch
from phasegate.engine.errors import ConfigError
from phasegate.engine.limits import Limits
from phasegate.engine.memory import MEMORY_LIMIT, within
from phasegate.engine.starting import start_at
from phasegate.p2p.addresses import Address, BadAddress
from phasegate.store import Anchor

__all__ = ["STRATEGIES", "Address", "Config", "Devnet", "Limits", "peer_address", "watch_script", "watched"]


STRATEGIES = ("sequential", "interleaved")
"""How phases follow each other: the statecharts to choose from."""


@attrs.frozen
class Devnet:
    """What a devnet chooses for itself.

    Args:
        name: as Core's `-devnet=NAME`.
        min_difficulty_blocks: as Core's `-minimumdifficultyblocks`.
        quorums: Core's quorum arguments without the dash: `llmqdevnetparams` as `SIZE:THRESHOLD`, `llmqchainlocks`,
            `llmqinstantsenddip0024`, `llmqplatform` and `llmqmnhf` as the name of a quorum type.
    """

    name: str = ""
    min_difficulty_blocks: int = 0
    quorums: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen
class Config:
    """The configuration of one client.

    Args:
        network: the chain's rules and identity, from `phasegate.consensus.params.network`.
        peers: nodes to connect to first, all at once.
        connect_only: connect to no others; otherwise more are searched for.
        dns_seeds: names (or `HOST:PORT`) that are asked for nodes; None: the network's.
        proxy: a SOCKS5 proxy through which every connection goes, and which resolves every name.
        datadir: the directory that keeps `<network>.sqlite`.
        watch: scriptPubKeys to add to the stored watch items.
        key_chains: descriptors with a `*`, and their gap limits, to add to those that are watched.
        masternodes: whether to download masternode lists.
        filters: whether to download filters, and with them matching blocks.
        relay: whether to hear of transactions that are in no block yet even without filters, for the echo of one's own.
        unconfirmed: whether announced transactions are fetched to see those of the wallet before they are in a block.
        anchor: the trusted block that a new store begins with, instead of the genesis block.
        birthday: the first height whose filter is wanted, what is watched cannot be older; None: what the store has, in
            a new one the first block.
        prune_filters: whether filters go when everything watched was matched against them and the newest 2,000 blocks
            are above them. What is watched later then has them all downloaded again, from the birthday on.
        min_chainwork: the least work of a chain that counts as complete; None: what the network states.
        max_tip_age: seconds after which the newest block is too old to be the tip; None: never.
        strategy: `sequential`: one phase after the other, each complete before the next begins; `interleaved`: headers
            first, then all other phases beside each other.
        keep_history: how many transition journal rows to keep.
        limits: how much is asked for at once, and how long an answer may take.
        memory_limit: bytes that the whole process may take; `create` derives the limits from it.
        check_facts: re-read the durable facts at each event and stop on any difference (for tests).
    """

    network: Network
    peers: tuple[Address, ...] = ()
    connect_only: bool = False
    dns_seeds: tuple[str, ...] | None = None
    proxy: Address | None = None
    datadir: Path = attrs.field(factory=lambda: Path(platformdirs.user_data_dir("phasegate", appauthor=False)))
    watch: tuple[bytes, ...] = ()
    key_chains: tuple[KeyChain, ...] = ()
    masternodes: bool = True
    filters: bool = True
    relay: bool = False
    unconfirmed: bool = True
    anchor: Anchor | None = None
    birthday: int | None = None
    prune_filters: bool = False
    min_chainwork: int | None = None
    max_tip_age: float | None = None
    strategy: str = "sequential"
    keep_history: int = 100_000
    limits: Limits = attrs.field(factory=Limits)
    memory_limit: int = MEMORY_LIMIT
    check_facts: bool = False

    @property
    def least_work(self) -> int:
        """The chainwork below which headers are never complete."""
        return self.network.min_chainwork if self.min_chainwork is None else self.min_chainwork

    @classmethod
    def create(
        cls,
        network_name: str,
        *,
        peers: tuple[str, ...] = (),
        connect_only: bool = False,
        dns_seeds: tuple[str, ...] | None = None,
        proxy: str = "",
        watch: tuple[str | bytes, ...] = (),
        activations: Mapping[str, int] | None = None,
        datadir: Path | str | None = None,
        masternodes: bool = True,
        filters: bool = True,
        unconfirmed: bool = True,
        limits: Limits | None = None,
        devnet: Devnet | None = None,
        checkpoint: str | int = "",
        trusted_header: str = "",
        birthday: str | int | date = "",
        prune_filters: bool = False,
        min_chainwork: int | str | None = None,
        max_tip_age: float | None = None,
        memory_limit: int | str | None = None,
        strategy: str = "sequential",
    ) -> Config:
        """A configuration from what people write: names, `HOST:PORT`, addresses, descriptors.

        A value of another type than its argument has is refused by the argument's name.

        Args:
            network_name: mainnet, testnet, devnet, regtest or simnet.
            peers: `HOST:PORT`, the port may be left out.
            connect_only: connect to these only, and search for no others.
            dns_seeds: names that are asked for nodes; None: the network's, empty: none.
            proxy: `HOST:PORT` of a SOCKS5 proxy, "" for none; the port may be left out (1080).
            watch: addresses of the network, scripts in hex or as raw bytes, `protx:HASH`, `mnkey:ADDRESS`,
                `collateral:TXID:N`, output descriptors, or extended public keys; the latter two with `:gap=N` behind
                them for another gap limit than 20.
            activations: deployment name to height, for private networks.
            datadir: where the store is kept; None: the user's data directory.
            masternodes: whether to download masternode lists.
            filters: whether to download filters, and with them matching blocks.
            unconfirmed: whether announced transactions are fetched, to see those of the wallet before a block has them.
            limits: how much is asked for at once, and how long an answer may take.
            devnet: what a devnet chooses for itself.
            checkpoint: begin at the newest built-in checkpoint at or below this height, or at the `latest`.
            trusted_header: `HEIGHT:HEADER:CHAINWORK` (hex) to begin at instead.
            birthday: the first height, or date (also as `2024-05-31`), whose filter is wanted.
            prune_filters: whether filters go when everything watched was matched against them.
            min_chainwork: the least work of a chain that counts as complete, as a number or in hex; None: what the
                network states.
            max_tip_age: seconds after which the newest block is too old; None: the network's, 0: never.
            memory_limit: bytes that the whole process may take, also as `512 MB`, from which `hold_bytes`, `window` and
                the batch of blocks in `limits` follow; None: 256 MB, and `limits` as they are.
            strategy: `sequential` or `interleaved`.

        Raises:
            ConfigError: naming the setting that is wrong, and why.
        """
        arguments = dict(locals())
        from phasegate.engine.setting_checks import checked

        _refuse_words(peers=peers, watch=watch, dns_seeds=dns_seeds)
        return cls._made(checked(arguments))

    @classmethod
    def _made(cls, given: Any) -> Config:
        """As `create`, of arguments that are of their kinds."""
        chain = _network(given.network_name, given.activations, given.devnet or Devnet())
        if "\0" in str(given.datadir):
            raise ConfigError(f"datadir {str(given.datadir)!r} is no path")
        if given.connect_only and not given.peers:
            raise ConfigError("connect_only without a peer: there is nobody to connect to")
        if given.strategy not in STRATEGIES:
            raise ConfigError(f"strategy {given.strategy!r} is none of {', '.join(STRATEGIES)}")
        for seed in given.dns_seeds or ():
            peer_address(seed, chain.port, what="dns seed")
        if given.watch and not given.filters:
            raise ConfigError("watch without filters: nothing would ever be matched")
        asked = watched(given.watch, chain)
        begin = {"checkpoint": given.checkpoint, "trusted_header": given.trusted_header, "birthday": given.birthday}
        start, limits = start_at(chain, **begin), given.limits or Limits()
        config = cls(
            network=chain,
            peers=tuple(dict.fromkeys(peer_address(text, chain.port) for text in given.peers)),
            connect_only=given.connect_only,
            dns_seeds=given.dns_seeds,
            proxy=peer_address(given.proxy, SOCKS_PORT, what="proxy") if given.proxy else None,
            watch=asked.scripts,
            key_chains=asked.chains,
            masternodes=given.masternodes,
            filters=given.filters,
            unconfirmed=given.unconfirmed,
            limits=limits if given.memory_limit is None else within(limits, given.memory_limit),
            memory_limit=MEMORY_LIMIT if given.memory_limit is None else given.memory_limit,
            anchor=start.anchor,
            birthday=start.birthday,
            prune_filters=given.prune_filters,
            min_chainwork=given.min_chainwork,
            max_tip_age=chain.max_tip_age if given.max_tip_age is None else given.max_tip_age or None,
            strategy=given.strategy,
        )
        return config if given.datadir is None else attrs.evolve(config, datadir=Path(given.datadir))

    @classmethod
    def load(cls, path: Path | str | None = None, environ: Mapping[str, str] | None = None, **given: object) -> Config:
        """A configuration from a file and the environment; what is given here is stronger than both.

        Args:
            path: a TOML file with the arguments of `create`, `network` for the first; None: the one that
                `PHASEGATE_CONFIG` names, or else `phasegate.toml` in the user's configuration directory if it is there.
            environ: where variables such as `PHASEGATE_PEERS` stand, stronger than the file; None: of this process.
            given: arguments as to `create`; None is not given, a mapping for `limits` or `devnet` has some fields.

        Raises:
            ConfigError: naming the setting that is wrong, the file or variable it stands in, and why.
        """
        from phasegate.engine.settings import load

        return load(path, os.environ if environ is None else environ, given)


def _refuse_words(**given: object) -> None:
    """Refuse a single text where several are wanted: each of its letters would be taken for one."""
    for name, value in given.items():
        if isinstance(value, str):
            raise ConfigError(f"{name} {hushed(repr(value))} is a text: give a tuple of texts")


SOCKS_PORT = 1080
"""Where SOCKS5 proxies listen if nothing else is said [RFC 1928]."""


def peer_address(text: str, default_port: int, what: str = "peer") -> Address:
    """The address that `text` (`HOST`, `HOST:PORT`, `[IPV6]:PORT`) stands for.

    Raises:
        ConfigError: it is none of these; the message begins with `what` it should have been.
    """
    try:
        return Address.parse(text, default_port)
    except BadAddress as error:
        raise ConfigError(f"{what} {error}") from error


def watch_script(text: str, chain: Network) -> bytes:
    """The filter element that an address of `chain`, script hex or an item of a masternode stands for.

    Raises:
        ConfigError: it is none of these.
    """
    try:
        return parse_element(text, chain)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def watched(items: Iterable[str | bytes], chain: Network) -> Watch:
    """What `items` ask to have watched on `chain`: texts, and scripts as raw bytes.

    Raises:
        ConfigError: one of them is nothing that can be watched; the message says why.
    """
    try:
        return Watch.joined([parse_watch(item if isinstance(item, str) else item.hex(), chain) for item in items])
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _network(name: str, activations: Mapping[str, int] | None, devnet: Devnet) -> Network:
    try:
        return network(
            name,
            activations,
            devnet_name=devnet.name,
            min_difficulty_blocks=devnet.min_difficulty_blocks,
            quorums=devnet.quorums,
        )
    except (UnknownNetwork, UnknownActivation, UnfitSetting) as error:
        raise ConfigError(str(error)) from error
