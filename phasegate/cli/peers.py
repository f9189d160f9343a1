"""`phasegate peers`: what is remembered of peers, and bans by hand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from phasegate.cli import options
from phasegate.cli.refusal import one_line, refusals
from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from phasegate.engine.config import Address, Config
    from phasegate.p2p.reputation import Record, Reputation
    from phasegate.store import PeerRow, Store

SHOWN = 40
"""Addresses that a person is shown, if not all are asked for."""
LONGEST = 24 * 3650
"""Hours of a ban at most."""

peers = typer.Typer(
    name="peers",
    help="Show what is known of peers, ban and unban. No sync may be running.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Where = Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="Without a port every port of that host is meant.")]


@peers.callback(invoke_without_command=True)
def listed(
    context: typer.Context,
    network: options.StoredNetworkName = None,
    datadir: options.Datadir = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
    every: Annotated[bool, typer.Option("--all", help=f"All known addresses, not only the best {SHOWN}.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show what is known of peers, ban and unban. No sync may be running."""
    with refusals("peers"):
        if (command := context.invoked_subcommand) is not None:
            if network or datadir or activation or devnet_name or every or as_json:
                raise ConfigError(f"options stand after the command: phasegate peers {command} HOST --option ...")
            return
        config = options.stored_config(network, datadir, activation, devnet_name)

        from phasegate.store import Store

        store = Store.open(config.datadir, config.network)
        try:
            known, records = store.peers(), _reputation(config, store).records
        finally:
            store.close()
        best = sorted(known, key=lambda row: (-row.succeeded, -row.seen, row.host, row.port))
        shown = best if every or as_json else best[:SHOWN]
        (_say_json if as_json else _say)(
            shown, len(known), [record for record in records if record.ban or record.score]
        )


@peers.command()
def ban(
    where: Where,
    network: options.StoredNetworkName = None,
    datadir: options.Datadir = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
    hours: Annotated[
        float, typer.Option("--hours", metavar="N", min=0.0, help="How long the ban lasts. Default 24.")
    ] = 24.0,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="A note that is shown with the ban.")] = "",
) -> None:
    """Ban a host, or one port of it, for a while."""
    with refusals("peers ban"):
        config = options.stored_config(network, datadir, activation, devnet_name)
        host, port = _parse(where)
        if not 0 < hours <= LONGEST:
            raise ConfigError(f"--hours {hours} is not more than 0 and at most {LONGEST}, ten years")
        now = time.time()
        _change(config, lambda reputation: reputation.ban(host, port, now + hours * 3600, now, one_line(why)))
    typer.echo(f"{_named(host, port)} is banned for {hours:g} hours")


@peers.command()
def unban(
    where: Where,
    network: options.StoredNetworkName = None,
    datadir: options.Datadir = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
) -> None:
    """Lift the bans of a host, or of one port of it, and forget what is held against it."""
    with refusals("peers unban"):
        config = options.stored_config(network, datadir, activation, devnet_name)
        host, port = _parse(where)
        gone: list[Record] = []
        _change(config, lambda reputation: gone.extend(_pardon(reputation, host, port)))
        if not gone:
            raise ConfigError(f"{_named(host, port)} is not banned, and nothing is held against it")
    for record in gone:
        ban, name = record.ban, _named(record.host, record.port)
        typer.echo(
            f"{name} is banned no more ({one_line(str(ban))})" if ban else f"{name} was not banned, its score is 0"
        )


def _pardon(reputation: Reputation, host: str, port: int) -> list[Record]:
    """Forget what is held against a host, or one port of it; where the whole host is banned, that port is, too."""
    from phasegate.p2p.addresses import Address
    from phasegate.p2p.reputation import EVERY_PORT

    same = [record for record in reputation.records if Address(record.host, record.port).canonical.host == host]
    meant = [record for record in same if port == EVERY_PORT or record.port in (port, EVERY_PORT)]
    for record in meant:
        reputation.unban(record.host, port)
    return meant


def _parse(text: str) -> tuple[str, int]:
    """Host and port, port 0 where none is written.

    Raises:
        ConfigError: it is no HOST or HOST:PORT.
    """
    from phasegate.engine.config import peer_address

    first, other = (peer_address(text, default, what="address") for default in (1, 2))
    return first.canonical.host, first.port if first == other else 0


def _named(host: str, port: int) -> str:
    from phasegate.p2p.addresses import Address

    return str(Address(host, port)) if port else host


def _reputation(config: Config, store: Store) -> Reputation:
    from phasegate.engine.peer_memory import record_of
    from phasegate.p2p.reputation import Reputation

    reputation = Reputation(config.limits.ban_time, config.limits.forgive_time)
    reputation.load(map(record_of, store.reputations()), time.time())
    return reputation


def _change(config: Config, change: Callable[[Reputation], None]) -> None:
    """Open the store, have its reputation changed, and store the difference."""
    from phasegate.engine.peer_memory import reputation_changes
    from phasegate.store import Store

    store = Store.open(config.datadir, config.network)
    try:
        reputation = _reputation(config, store)
        change(reputation)
        if batch := reputation_changes(reputation):
            store.commit(batch)
    finally:
        store.close()


def _say(shown: Iterable[PeerRow], known: int, records: list[Record]) -> None:
    rows = list(shown)
    for row in rows:
        when = _ago(row.succeeded) if row.succeeded else f"told {_ago(row.seen)}"
        tries = f", {row.attempts} failures since" if row.attempts else ""
        typer.echo(f"{_address(row)!s:<48} {when}{tries}  {_services(row.services)}")
    typer.echo(f"{known} known addresses" + (f", {len(rows)} shown; --all shows the rest" if len(rows) < known else ""))
    for record in records:
        if record.ban is not None:
            until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.ban.until))
            typer.echo(f"banned  {_named(record.host, record.port)} until {until}: {one_line(str(record.ban))}")
        else:
            typer.echo(f"        {_named(record.host, record.port)}: {record.score:.0f} of 100 points for a ban")


def _say_json(shown: Iterable[PeerRow], known: int, records: list[Record]) -> None:
    from phasegate.cli.output import write_line

    for row in shown:
        fields = {"source": row.source, "services": row.services, "seen": row.seen, "succeeded": row.succeeded or None}
        write_line("peer", None, {"address": str(_address(row)), **fields, "attempts": row.attempts})
    for record in records:
        ban = record.ban
        write_line("reputation", None, {
            "address": _named(record.host, record.port),
            "score": round(record.score, 2),
            "banned_until": None if ban is None else ban.until,
            "reason": None if ban is None else ban.reason,
            "detail": None if ban is None else ban.detail,
        })  # fmt: skip
    write_line("summary", None, {"known": known, "banned": sum(record.ban is not None for record in records)})


def _address(row: PeerRow) -> Address:
    from phasegate.p2p.addresses import Address

    return Address(row.host, row.port)


def _services(services: int) -> str:
    from phasegate.p2p.messages import Services

    return ", ".join(name.lower() for flag in Services if services & flag and (name := flag.name))


def _ago(when: float) -> str:
    hours = max(0.0, time.time() - when) / 3600
    return (
        f"{hours * 60:.0f} min ago" if hours < 1 else f"{hours:.0f} h ago" if hours < 48 else f"{hours / 24:.0f} d ago"
    )
