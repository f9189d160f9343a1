"""`phasegate sync`: bring the store to the tip of the chain, and keep it there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from phasegate.cli import options
from phasegate.cli.refusal import refusals
from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    from phasegate.cli.ending import Terms
    from phasegate.engine.config import Config

GIVE_UP = 15.0
"""Seconds without stored progress after which a run gives up, if `--give-up` does not say otherwise."""


def sync(
    network: options.NetworkName,
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="A node to sync from (may be repeated); the port may be left out."),
    ] = None,
    datadir: options.Datadir = None,
    watch: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS_OR_SCRIPT_HEX", help="Watch this too, now and in later runs (may be repeated)."),
    ] = None,
    watch_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same from a file, one a line; # begins a comment.")
    ] = None,
    no_masternodes: Annotated[bool, typer.Option("--no-masternodes", help="Leave masternode lists out.")] = False,
    no_filters: Annotated[
        bool, typer.Option("--no-filters", help="Leave out filters, and with them blocks and transactions.")
    ] = False,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
    min_difficulty_blocks: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of a devnet: blocks up to this height have the least difficulty.")
    ] = 0,
    llmq: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Of a devnet: params=SIZE:THRESHOLD; chainlocks, instantsend, platform or mnhf=TYPE (repeatable).",
        ),
    ] = None,
    checkpoint: Annotated[
        str,
        typer.Option(metavar="HEIGHT|latest", help="Begin a new store at the built-in checkpoint at or below this."),
    ] = "",
    trusted_header: Annotated[
        str,
        typer.Option(
            metavar="HEIGHT:HEADER:CHAINWORK", help="Begin a new store at this header (80 bytes and chainwork in hex)."
        ),
    ] = "",
    birthday: Annotated[
        str,
        typer.Option(
            metavar="HEIGHT|DATE",
            help="Nothing watched is older: filters from there on, headers from the nearest checkpoint before it.",
        ),
    ] = "",
    min_chainwork: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Less work than this is no complete chain; default: the network's."),
    ] = None,
    max_tip_age: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            min=0.0,
            help="A newest block older than this is a stale tip; 0: never. Default 24 h, never on regtest and simnet.",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when fully synced, or when it cannot be done.")] = False,
    give_up: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            min=0.0,
            help="With --once, give up after so many seconds of trouble without stored progress; without it, only if "
            "no peer was ever met. Default 15.",
        ),
    ] = None,
    linger: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=0.0,
            help="With --once, how long to wait, when fully synced, for announced ChainLocks and InstantSend locks "
            "that cannot be verified yet. Default 5.",
        ),
    ] = 5.0,
    as_json: options.AsJson = False,
) -> None:
    """Sync a chain from the given peers. Ctrl-C stops cleanly, and the next run goes on from there."""
    from phasegate.cli.run import run

    with refusals("sync"):
        from phasegate.engine.config import Config, Devnet

        config = Config.create(
            network,
            peers=tuple(peer or ()),
            datadir=datadir,
            watch=tuple(watch or ()),
            activations=options.activation_heights(activation),
            masternodes=not no_masternodes,
            filters=not no_filters,
            devnet=Devnet(devnet_name, min_difficulty_blocks, options.quorum_arguments(llmq)),
            checkpoint=checkpoint,
            trusted_header=trusted_header,
            birthday=birthday,
            min_chainwork=options.chainwork(min_chainwork),
            max_tip_age=None if max_tip_age is None else _seconds("--max-tip-age", max_tip_age),
        )
        raise typer.Exit(run(_with_scripts(config, watch_file), _terms(once, give_up, linger), as_json))


def _terms(once: bool, give_up: float | None, linger: float) -> Terms:
    from phasegate.cli.ending import Terms

    patience = GIVE_UP if give_up is None else _seconds("--give-up", give_up)
    return Terms(once, patience, _seconds("--linger", linger))


def _seconds(name: str, value: float) -> float:
    if not 0 <= value < float("inf"):
        raise ConfigError(f"{name} {value} is no number of seconds")
    return value


def _with_scripts(config: Config, watch_file: Path | None) -> Config:
    if not config.peers:
        raise ConfigError("no peer to sync from: give --peer HOST:PORT (peers are not searched for by this version)")
    if watch_file is None:
        return config
    scripts = options.scripts_in(watch_file, config.network)
    return attrs.evolve(config, watch=tuple(dict.fromkeys(config.watch + scripts)))
