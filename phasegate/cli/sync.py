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
            help="With --once, how long to wait, when fully synced, for locks that are still queued and make no "
            "progress. This version queues none, so it ends at once.",
        ),
    ] = 5.0,
    as_json: options.AsJson = False,
) -> None:
    """Sync a chain from the given peers. Ctrl-C stops cleanly, and the next run goes on from there."""
    from phasegate.cli.run import Terms, run

    with refusals("sync"):
        config = _config(
            network, tuple(peer or ()), datadir, tuple(watch or ()), watch_file, options.activation_heights(activation)
        )
        config = attrs.evolve(config, masternodes=not no_masternodes, filters=not no_filters)
        for name, seconds in (("--give-up", give_up or 0.0), ("--linger", linger)):
            if not 0 <= seconds < float("inf"):
                raise ConfigError(f"{name} {seconds} is no number of seconds")
        terms = Terms(once, GIVE_UP if give_up is None else give_up, linger)
        raise typer.Exit(run(config, terms, as_json))


def _config(
    network: str,
    peers: tuple[str, ...],
    datadir: Path | None,
    watch: tuple[str, ...],
    watch_file: Path | None,
    activations: dict[str, int],
) -> Config:
    from phasegate.engine.config import Config

    config = Config.create(network, peers=peers, datadir=datadir, watch=watch, activations=activations)
    if not peers:
        raise ConfigError("no peer to sync from: give --peer HOST:PORT (peers are not searched for by this version)")
    if watch_file is not None:
        scripts = options.scripts_in(watch_file, config.network)
        config = attrs.evolve(config, watch=tuple(dict.fromkeys(config.watch + scripts)))
    return config
