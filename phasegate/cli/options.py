"""The options that several commands share, and what is made of their values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phasegate.cli.configured import usual_store
from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    from phasegate.consensus.params import Network
    from phasegate.consensus.watch_texts import Watch
    from phasegate.engine.config import Config

NAMES = "{mainnet,testnet,devnet,regtest,simnet}"

NetworkName = Annotated[str, typer.Option("--network", metavar=NAMES, help="Which chain.")]
ChosenNetworkName = Annotated[
    str | None, typer.Option("--network", metavar=NAMES, help="Which chain; needed if the configuration names none.")
]
StoredNetworkName = Annotated[
    str | None,
    typer.Option("--network", metavar=NAMES, help="Which chain; needed only if the directory holds several."),
]
Datadir = Annotated[
    Path | None,
    typer.Option("--datadir", metavar="DIR", help="Where the store is kept; default: the user's data directory."),
]
Activations = Annotated[
    list[str] | None,
    typer.Option(
        "--activation",
        metavar="NAME=HEIGHT",
        help="Activation height of a deployment, for private networks (may be repeated). It is part of the store's "
        "identity: give the same ones to every command.",
    ),
]
DevnetName = Annotated[
    str,
    typer.Option(
        "--devnet-name", metavar="NAME", help="Which devnet. It is part of the store's identity, as activations are."
    ),
]
Peers = Annotated[
    list[str] | None,
    typer.Option(
        "--peer", metavar="HOST:PORT", help="A node to connect to first (may be repeated); the port may be left out."
    ),
]
ConnectOnly = Annotated[
    bool, typer.Option("--connect-only", help="Connect to the given peers only, and search for no others.")
]
Proxy = Annotated[
    str,
    typer.Option(
        "--proxy",
        metavar="HOST[:PORT]",
        help="A SOCKS5 proxy, such as Tor's, for every connection and every name. Default port 1080.",
    ),
]
DnsSeeds = Annotated[
    list[str] | None,
    typer.Option(
        "--dns-seed",
        metavar="NAME[:PORT]",
        help="Ask this name for nodes, instead of the network's own seeds and built-in nodes (may be repeated).",
    ),
]


class StrategyName(StrEnum):
    """How the phases of a sync follow each other."""

    SEQUENTIAL = "sequential"
    INTERLEAVED = "interleaved"


_STRATEGY = typer.Option(
    "--strategy",
    metavar="NAME",
    help="sequential: one phase after the other, each complete first; interleaved: once the headers are there all "
    "others beside each other, each as far as what it builds on is stored.",
)
Strategy = Annotated[StrategyName, _STRATEGY]
ChosenStrategy = Annotated[StrategyName | None, _STRATEGY]
NoMasternodes = Annotated[bool, typer.Option("--no-masternodes", help="Leave masternode lists out.")]
NoFilters = Annotated[
    bool, typer.Option("--no-filters", help="Leave out filters, and with them blocks and transactions.")
]
MinDifficultyBlocks = Annotated[
    int,
    typer.Option(
        "--min-difficulty-blocks",
        metavar="N",
        min=0,
        help="Of a devnet: blocks up to this height have the least difficulty.",
    ),
]
Llmq = Annotated[
    list[str] | None,
    typer.Option(
        "--llmq",
        metavar="NAME=VALUE",
        help="Of a devnet: params=SIZE:THRESHOLD; chainlocks, instantsend, platform or mnhf=TYPE (repeatable).",
    ),
]
MaxPeers = Annotated[
    int | None,
    typer.Option("--max-peers", metavar="N", min=1, max=64, help="How many peers to be connected to. Default 8."),
]
MemoryLimit = Annotated[
    int | None,
    typer.Option(
        "--memory-limit",
        metavar="MB",
        min=1,
        max=1 << 20,
        help="The most memory that the whole process may take, whatever the chain's length. Default 256.",
    ),
]
HIGHEST = (1 << 31) - 1
"""The last height that Dash Core can count to."""

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, nothing else on standard out.")]


def seconds(name: str, value: float) -> float:
    """The seconds given for the option `name`.

    Raises:
        ConfigError: `value` is below 0, infinite or no number.
    """
    if not 0 <= value < float("inf"):
        raise ConfigError(f"{name} {value} is no number of seconds")
    return value


def refuse_without_sources(config: Config) -> None:
    """Refuse a configuration in which no peer could ever be found.

    Raises:
        ConfigError: there is neither a peer nor a seed, nor anything remembered.
    """
    seeds = config.network.dns_seeds if config.dns_seeds is None else config.dns_seeds
    if config.peers or (seeds and not config.connect_only):
        return
    if config.connect_only or not _holds(config.datadir, config.network.file_name):
        network = config.network.file_name
        raise ConfigError(f"no peer to sync from: give --peer HOST:PORT ({network} has no seeds to ask for others)")


def activation_heights(items: Sequence[str] | None) -> dict[str, int]:
    """Deployment names and heights from `NAME=HEIGHT` words.

    Raises:
        ConfigError: one of them is not of that form; whether the name exists is the network's business.
    """
    heights = {}
    for item in items or ():
        name, equals, height = item.partition("=")
        if not (name and equals and height.isascii() and height.isdigit()):
            raise ConfigError(f"activation {item!r} is not NAME=HEIGHT")
        heights[name] = int(height)
    return heights


QUORUM_ARGUMENTS = {
    "params": "llmqdevnetparams",
    "chainlocks": "llmqchainlocks",
    "instantsend": "llmqinstantsenddip0024",
    "platform": "llmqplatform",
    "mnhf": "llmqmnhf",
}
"""The words of `--llmq`, and the arguments of Dash Core that they stand for."""


def quorum_arguments(items: Sequence[str] | None) -> dict[str, str]:
    """Core's quorum arguments from `NAME=VALUE` words.

    Raises:
        ConfigError: one of them is not of that form, or has another name; the network knows whether the value fits.
    """
    chosen = {}
    for item in items or ():
        name, equals, value = item.partition("=")
        if name not in QUORUM_ARGUMENTS or not (equals and value):
            raise ConfigError(f"llmq {item!r} is not NAME=VALUE with a name of {', '.join(QUORUM_ARGUMENTS)}")
        chosen[QUORUM_ARGUMENTS[name]] = value
    return chosen


def devnet_fields(name: str, min_difficulty_blocks: int, llmq: Sequence[str] | None) -> dict[str, object]:
    """What options say of a devnet; what is not given is empty.

    Raises:
        ConfigError: as `quorum_arguments`.
    """
    quorums = quorum_arguments(llmq)
    return {"name": name, "min_difficulty_blocks": min_difficulty_blocks or None, "quorums": quorums}


def hex_bytes(name: str, text: str, size: int) -> bytes:
    """The `size` bytes that the argument `name` states in hex.

    Raises:
        ConfigError: it has other characters, or another length.
    """
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != size or len(text) != 2 * size:
        raise ConfigError(f"{name} is not {size} bytes of hex")
    return raw


def chainwork(text: str | None) -> int | None:
    """A chainwork from hex digits, as `getblockheader` shows it.

    Raises:
        ConfigError: it is not hex, or does not fit 256 bits.
    """
    if text is None:
        return None
    try:
        work = int(text, 16)
    except ValueError as error:
        raise ConfigError(f"min-chainwork {text!r} is not a hexadecimal number") from error
    if not 0 <= work < 1 << 256:
        raise ConfigError(f"min-chainwork {text!r} is not a 256-bit number")
    return work


def watch_in(path: Path, chain: Network) -> Watch:
    """What a file asks to have watched, an item a line; `#` begins a comment, but behind `)` a checksum.

    Raises:
        ConfigError: the file cannot be read, or a line is nothing that can be watched; the message names the line.
    """
    from phasegate.consensus.watch_texts import Watch
    from phasegate.engine.config import watched

    parts = []
    for number, line in enumerate(_lines(path), 1):
        if text := re.split(r"(?<!\))#", line, maxsplit=1)[0].strip():
            try:
                parts.append(watched([text], chain))
            except ConfigError as error:
                raise ConfigError(f"{path}:{number}: {error}") from error
    return Watch.joined(parts)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file") from error


def stored_config(
    network: str | None, datadir: Path | None, activations: Sequence[str] | None, devnet_name: str = ""
) -> Config:
    """The configuration of a store that exists already; without a directory, of that which the settings name.

    Raises:
        ConfigError: the network or an activation is wrong, or there are several networks to choose from.
        StoreError: there is no such store.
    """
    from phasegate.consensus.params import SIMNET
    from phasegate.engine.config import Config, Devnet
    from phasegate.store import StoreFailed

    heights: Mapping[str, int] = activation_heights(activations)
    if datadir is None:
        usual = usual_store(network, devnet_name, heights)
        datadir, network, devnet_name, heights = usual.datadir, usual.network, usual.devnet_name, usual.heights
    place = Config(network=SIMNET).datadir if datadir is None else datadir
    if not (network or devnet_name):
        if not (held := held_in(place)):
            raise StoreFailed(f"{place} holds no store; `phasegate sync` makes one")
        network, devnet_name = the_only(held, place)
    config = Config.create(network or "devnet", datadir=place, activations=heights, devnet=Devnet(devnet_name))
    if not _holds(place, config.network.file_name):
        raise StoreFailed(f"{place} holds no {config.network.file_name} store; `phasegate sync` makes one")
    return config


def _holds(place: Path, name: str) -> bool:
    from phasegate.store import StoreFailed

    try:
        return (place / f"{name}.sqlite").is_file()
    except OSError as error:
        raise StoreFailed(f"{place} cannot be read: {error.strerror}") from error


def held_in(place: Path) -> list[str]:
    """The names of the networks of which a directory holds a store.

    Raises:
        StoreFailed: it cannot be read.
    """
    from phasegate.consensus.params import NETWORKS

    held = [name for name in NETWORKS if _holds(place, name)]
    return held + sorted([file.stem for file in place.glob("devnet-*.sqlite")])


def the_only(held: Sequence[str], place: Path) -> tuple[str, str]:
    """Network and devnet name of the one store in `place`.

    Raises:
        ConfigError: it holds several.
    """
    if len(held) > 1:
        named = " or --devnet-name" if any("-" in name for name in held) else ""
        raise ConfigError(f"{place} holds stores of {', '.join(held)}: choose one with --network{named}")
    name, _, own = held[0].partition("-")
    return name, own
