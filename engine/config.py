"""What a user can choose, checked before anything starts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from types import MappingProxyType

import attrs
import platformdirs

from phasegate.consensus.addresses import parse_watch_item
from phasegate.consensus.params import Network, UnfitSetting, UnknownActivation, UnknownNetwork, network
from phasegate.engine.errors import ConfigError
from phasegate.engine.starting import start_at
from phasegate.store import Anchor


@attrs.frozen
class Address:
    """Where a peer listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, default_port: int) -> Address:
        """From `HOST`, `HOST:PORT` or `[IPV6]:PORT`.

        Raises:
            ConfigError: `text` is none of these, or the port is not in 1..65535.
        """
        host, port = _split(text.strip())
        number = default_port if port is None else int(port) if _PORT.fullmatch(port) else 0
        if not (_is_ipv6(host) if ":" in host else _NAME.fullmatch(host)) or not 0 < number < 65536:
            raise ConfigError(f"peer {text!r} is not HOST:PORT with a port from 1 to 65535")
        return cls(host, number)


_PORT = re.compile("[0-9]{1,5}")
_LABEL = "[A-Za-z0-9_-]{1,63}"
_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*\.?")


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except AddressValueError:
        return False
    return True


def _split(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            return "", None
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


@attrs.frozen
class Limits:
    """How much is asked for at once, and how long an answer may take. Durations are seconds.

    `in_flight` bounds the requests under way to one peer in a phase (`locks`: beside the phases), `batch` the items of
    one request (Core answers at most 2000 filter headers and 1000 filters). `window` caps the batches of a download
    that are under way or wait in memory for their turn to be stored, over all peers together. All addresses are
    connected to; of those ready the first `max_peers` in the order of the configuration are asked.

    `idle_timeout` is how long a request may go without any sign of its answer; a connection is lost when a ping, sent
    each `ping_interval`, has no answer by the next. A headers phase waits `gather_time` for the other peers when the
    first one is ready; guards are asked each `tick`. A lost peer is tried again after `reconnect_first`, doubled each
    time up to `reconnect_cap`; a retry of a phase waits `backoff_first`, doubled up to `backoff_cap`; both with jitter.
    A degraded client with a ready peer tries again after `backoff_cap`. `switch_timeout` is how long the recovery by
    another peer waits for one.
    """

    connect_timeout: float = 10.0
    handshake_timeout: float = 10.0
    idle_timeout: float = 10.0
    ping_interval: float = 120.0
    gather_time: float = 0.5
    tick: float = 0.5
    max_peers: int = 8
    reconnect_first: float = 0.5
    reconnect_cap: float = 60.0
    backoff_first: float = 0.5
    backoff_cap: float = 30.0
    switch_timeout: float = 15.0
    in_flight: Mapping[str, int] = attrs.field(
        factory=lambda: MappingProxyType(
            {"headers": 1, "mnlist": 2, "cfheaders": 8, "filters": 8, "blocks": 8, "locks": 4}
        )
    )
    batch: Mapping[str, int] = attrs.field(
        factory=lambda: MappingProxyType({"cfheaders": 2000, "filters": 1000, "blocks": 16})
    )
    window: int = 8


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
        peers: the nodes to connect to, all at once.
        datadir: the directory that keeps `<network>.sqlite`.
        watch: scriptPubKeys to add to the stored watch items.
        masternodes: whether to download masternode lists.
        filters: whether to download filters, and with them matching blocks.
        anchor: the trusted block that a new store begins with, instead of the genesis block.
        birthday: the first height whose filter is wanted, what is watched cannot be older; None: what the store has, in
            a new one the first block.
        min_chainwork: the least work of a chain that counts as complete; None: what the network states.
        max_tip_age: seconds after which the newest block is too old to be the tip; None: never.
        keep_history: how many transition journal rows to keep.
        limits: how much is asked for at once, and how long an answer may take.
        check_facts: re-read the durable facts at each event and stop on any difference (for tests).
    """

    network: Network
    peers: tuple[Address, ...] = ()
    datadir: Path = attrs.field(factory=lambda: Path(platformdirs.user_data_dir("phasegate", appauthor=False)))
    watch: tuple[bytes, ...] = ()
    masternodes: bool = True
    filters: bool = True
    anchor: Anchor | None = None
    birthday: int | None = None
    min_chainwork: int | None = None
    max_tip_age: float | None = None
    keep_history: int = 100_000
    limits: Limits = attrs.field(factory=Limits)
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
        watch: tuple[str, ...] = (),
        activations: Mapping[str, int] | None = None,
        datadir: Path | str | None = None,
        masternodes: bool = True,
        filters: bool = True,
        limits: Limits | None = None,
        devnet: Devnet | None = None,
        checkpoint: str = "",
        trusted_header: str = "",
        birthday: str = "",
        min_chainwork: int | None = None,
        max_tip_age: float | None = None,
    ) -> Config:
        """A configuration from what people write: names, `HOST:PORT`, addresses or script hex.

        Args:
            network_name: mainnet, testnet, devnet, regtest or simnet.
            peers: `HOST:PORT`, the port may be left out.
            watch: addresses of the network, or scripts in hex.
            activations: deployment name to height, for private networks.
            datadir: where the store is kept; None: the user's data directory.
            masternodes: whether to download masternode lists.
            filters: whether to download filters, and with them matching blocks.
            limits: how much is asked for at once, and how long an answer may take.
            devnet: what a devnet chooses for itself.
            checkpoint: begin at the newest built-in checkpoint at or below this height, or at the `latest`.
            trusted_header: `HEIGHT:HEADER:CHAINWORK` (hex) to begin at instead.
            birthday: the first height, or date as `2024-05-31`, whose filter is wanted.
            min_chainwork: the least work of a chain that counts as complete; None: what the network states.
            max_tip_age: seconds after which the newest block is too old; None: the network's, 0: never.

        Raises:
            ConfigError: naming the setting that is wrong, and why.
        """
        chain = _network(network_name, activations, devnet or Devnet())
        start = start_at(chain, checkpoint=checkpoint, trusted_header=trusted_header, birthday=birthday)
        config = cls(
            network=chain,
            peers=tuple(dict.fromkeys(Address.parse(text, chain.port) for text in peers)),
            watch=tuple(dict.fromkeys(watch_script(text, chain) for text in watch)),
            masternodes=masternodes,
            filters=filters,
            limits=limits or Limits(),
            anchor=start.anchor,
            birthday=start.birthday,
            min_chainwork=min_chainwork,
            max_tip_age=chain.max_tip_age if max_tip_age is None else max_tip_age or None,
        )
        return config if datadir is None else attrs.evolve(config, datadir=Path(datadir))


def watch_script(text: str, chain: Network) -> bytes:
    """The scriptPubKey that an address of `chain`, or script hex, stands for.

    Raises:
        ConfigError: it is neither.
    """
    try:
        return parse_watch_item(text, chain)
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
