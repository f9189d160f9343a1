"""`phasegate sync`: bring the store to the tip of the chain, and keep it there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from phasegate.cli import log_options, options
from phasegate.cli.configured import ConfigFile, Set, configured, peer_limits
from phasegate.cli.refusal import refusals
from phasegate.cli.web import Web, WebToken, view_of

if TYPE_CHECKING:
    from phasegate.cli.ending import Terms
    from phasegate.engine.config import Config

GIVE_UP = 15.0
"""Seconds without stored progress after which a run gives up, if `--give-up` does not say otherwise."""


def sync(
    network: options.ChosenNetworkName = None,
    peer: options.Peers = None,
    connect_only: options.ConnectOnly = False,
    proxy: options.Proxy = "",
    dns_seed: options.DnsSeeds = None,
    max_peers: options.MaxPeers = None,
    datadir: options.Datadir = None,
    watch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ITEM",
            help="Watch this too, now and in later runs (may be repeated): an address, script hex, a masternode "
            "(protx:HASH, mnkey:ADDRESS, collateral:TXID:N), an output descriptor, or an extended public key. "
            "ITEM:gap=N sets the gap limit of the latter two. Default 20.",
        ),
    ] = None,
    watch_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same from a file, one a line; # begins a comment.")
    ] = None,
    no_masternodes: options.NoMasternodes = False,
    no_filters: options.NoFilters = False,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
    min_difficulty_blocks: options.MinDifficultyBlocks = 0,
    llmq: options.Llmq = None,
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
    prune_filters: Annotated[
        bool,
        typer.Option(
            "--prune-filters",
            help="Do not keep filters that everything watched was matched against; what is watched later has them all "
            "downloaded again.",
        ),
    ] = False,
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
    memory_limit: options.MemoryLimit = None,
    strategy: options.ChosenStrategy = None,
    config_file: ConfigFile = None,
    words: Set = None,
    web: Web = "",
    web_token: WebToken = "",
    as_json: options.AsJson = False,
    log_format: log_options.LogFormat = None,
    log_file: log_options.LogFile = None,
    quiet: log_options.Quiet = False,
    verbose: log_options.Verbose = False,
) -> None:
    """Sync a chain from its network. Ctrl-C stops cleanly, and the next run goes on from there."""
    from phasegate.cli.logs import Manner
    from phasegate.cli.run import run

    with refusals("sync"):
        config = configured(
            config_file,
            words,
            network=network,
            peers=tuple(peer or ()),
            connect_only=connect_only or None,
            proxy=proxy,
            dns_seeds=None if dns_seed is None else tuple(dns_seed),
            datadir=datadir,
            limits=peer_limits(max_peers),
            watch=tuple(watch or ()),
            activations=options.activation_heights(activation),
            masternodes=False if no_masternodes else None,
            filters=False if no_filters else None,
            devnet=options.devnet_fields(devnet_name, min_difficulty_blocks, llmq),
            checkpoint=checkpoint,
            trusted_header=trusted_header,
            birthday=birthday,
            prune_filters=prune_filters or None,
            min_chainwork=options.chainwork(min_chainwork),
            max_tip_age=None if max_tip_age is None else options.seconds("--max-tip-age", max_tip_age),
            memory_limit=None if memory_limit is None else memory_limit << 20,
            strategy=None if strategy is None else strategy.value,
        )
        config, terms = _with_watched(config, watch_file), _terms(once, give_up, linger)
        with view_of(web, web_token) as view:
            raise typer.Exit(run(config, terms, as_json, view, Manner(log_format, log_file, quiet, verbose)))


def _terms(once: bool, give_up: float | None, linger: float) -> Terms:
    from phasegate.cli.ending import Terms

    patience = GIVE_UP if give_up is None else options.seconds("--give-up", give_up)
    return Terms(once, patience, options.seconds("--linger", linger))


def _with_watched(config: Config, watch_file: Path | None) -> Config:
    options.refuse_without_sources(config)
    if watch_file is None:
        return config
    from phasegate.consensus.watch_texts import Watch
    from phasegate.engine.errors import ConfigError
    from phasegate.engine.watching import configured

    if not config.filters:
        raise ConfigError("watch-file without filters: nothing would ever be matched")
    watch = Watch.joined([configured(config), options.watch_in(watch_file, config.network)])
    return attrs.evolve(config, watch=watch.scripts, key_chains=watch.chains)
