"""The options that several commands share, and what is made of their values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    from phasegate.consensus.params import Network
    from phasegate.engine.config import Config

NAMES = "{mainnet,testnet,devnet,regtest,simnet}"

NetworkName = Annotated[str, typer.Option("--network", metavar=NAMES, help="Which chain.")]
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
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, nothing else on standard out.")]


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


def scripts_in(path: Path, chain: Network) -> tuple[bytes, ...]:
    """The scriptPubKeys of a file with one address or script hex a line, `#` beginning a comment.

    Raises:
        ConfigError: the file cannot be read, or a line is neither; the message names the line.
    """
    from phasegate.engine.config import watch_script

    scripts = []
    for number, line in enumerate(_lines(path), 1):
        if text := line.partition("#")[0].strip():
            try:
                scripts.append(watch_script(text, chain))
            except ConfigError as error:
                raise ConfigError(f"{path}:{number}: {error}") from error
    return tuple(scripts)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a text file") from error


def stored_config(network: str | None, datadir: Path | None, activations: Sequence[str] | None) -> Config:
    """The configuration of a store that exists already.

    Raises:
        ConfigError: the network or an activation is wrong, or there are several networks to choose from.
        StoreError: there is no such store.
    """
    from phasegate.consensus.params import SIMNET
    from phasegate.engine.config import Config
    from phasegate.store import StoreFailed

    place = Config(network=SIMNET).datadir if datadir is None else datadir
    config = Config.create(network or _only_network(place), datadir=place, activations=activation_heights(activations))
    if not _holds(place, config.network.name):
        raise StoreFailed(f"{place} holds no {config.network.name} store; `phasegate sync` makes one")
    return config


def _holds(place: Path, name: str) -> bool:
    from phasegate.store import StoreFailed

    try:
        return (place / f"{name}.sqlite").is_file()
    except OSError as error:
        raise StoreFailed(f"{place} cannot be read: {error.strerror}") from error


def _only_network(place: Path) -> str:
    from phasegate.consensus.params import NETWORKS
    from phasegate.store import StoreFailed

    held = [name for name in NETWORKS if _holds(place, name)]
    if not held:
        raise StoreFailed(f"{place} holds no store; `phasegate sync` makes one")
    if len(held) > 1:
        raise ConfigError(f"{place} holds stores of {', '.join(held)}: choose one with --network")
    return held[0]
