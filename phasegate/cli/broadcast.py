"""`phasegate broadcast`: send a transaction to the network, and say what became of it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from phasegate.cli import options
from phasegate.cli.configured import ConfigFile, Set, configured
from phasegate.cli.refusal import Code, forget_stdout, refusals, say_error
from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    import trio

    from phasegate.cli.ending import Ending
    from phasegate.engine.broadcast_stages import BroadcastStatus, Stage
    from phasegate.engine.client import Client
    from phasegate.engine.config import Config

STAGES = ("fetched", "echoed", "locked", "mined")
LONGEST = 400_000
"""Characters that are read: twice those of the longest transaction, so there may be spaces and line breaks."""
LOOK_EVERY = 0.2
"""Seconds between two looks whether a peer can come at all."""


def broadcast(
    transaction: Annotated[
        str,
        typer.Argument(metavar="HEX", help="The signed transaction in hex; @FILE reads it from there, - from stdin."),
    ],
    network: options.ChosenNetworkName = None,
    peer: options.Peers = None,
    connect_only: options.ConnectOnly = False,
    proxy: options.Proxy = "",
    dns_seed: options.DnsSeeds = None,
    datadir: options.Datadir = None,
    no_masternodes: options.NoMasternodes = False,
    no_filters: options.NoFilters = False,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
    min_difficulty_blocks: options.MinDifficultyBlocks = 0,
    llmq: options.Llmq = None,
    until: Annotated[
        str, typer.Option(metavar="{fetched,echoed,locked,mined}", help="End when it has come so far.")
    ] = "echoed",
    timeout: Annotated[
        float, typer.Option(metavar="S", min=0.0, help="End after so many seconds all the same. Default 60.")
    ] = 60.0,
    config_file: ConfigFile = None,
    words: Set = None,
    as_json: options.AsJson = False,
) -> None:
    """Send a transaction. It is announced, served and watched; later syncs announce it again until it is mined."""
    with refusals("broadcast"):
        raw = _transaction(transaction)
        timeout = options.seconds("--timeout", timeout)
        if until not in STAGES:
            raise ConfigError(f"--until {until!r} is none of {', '.join(STAGES)}")
        config = configured(
            config_file,
            words,
            network=network,
            peers=tuple(peer or ()),
            connect_only=connect_only or None,
            proxy=proxy,
            dns_seeds=None if dns_seed is None else tuple(dns_seed),
            datadir=datadir,
            masternodes=False if no_masternodes else None,
            filters=False if no_filters else None,
            activations=options.activation_heights(activation),
            devnet=options.devnet_fields(devnet_name, min_difficulty_blocks, llmq),
        )
        config = attrs.evolve(config, relay=True)
        options.refuse_without_sources(config)
        raise typer.Exit(_run(config, raw, until, timeout, as_json))


def _transaction(text: str) -> bytes:
    from phasegate.consensus.transactions import RefusedTransaction, relayable

    try:
        raw = bytes.fromhex(_read(text))
        relayable(raw)
    except ConfigError:
        raise
    except RefusedTransaction as refused:
        raise ConfigError(str(refused)) from refused
    except ValueError as error:
        raise ConfigError("the transaction is not hex") from error
    return raw


def _read(text: str) -> str:
    """What the argument is, or names; no more of it than any transaction has."""
    if text == "-":
        return "" if sys.stdin is None else sys.stdin.read(LONGEST)
    if not text.startswith("@"):
        return text
    try:
        with Path(text[1:]).open(encoding="ascii") as file:
            return file.read(LONGEST)
    except OSError as error:
        raise ConfigError(f"{text[1:]} cannot be read: {error.strerror}") from error


def _run(config: Config, raw: bytes, until: str, timeout: float, as_json: bool) -> int:
    from phasegate.cli.run import attend, display_for
    from phasegate.cli.summary import sum_up
    from phasegate.engine.broadcast_stages import Stage
    from phasegate.engine.client import Client

    began = time.monotonic()
    client = Client(config)
    display = display_for(config, as_json=as_json)
    try:
        ending = attend(client, _Sent(client, raw, Stage(until), timeout), display)
        summary = sum_up(client, ending, time.monotonic() - began)
        display.sum_up(summary)
    except BrokenPipeError:
        forget_stdout()
        return Code.INTERRUPTED
    if summary.ending.code not in (Code.SYNCED, Code.INTERRUPTED):
        say_error("broadcast", summary.ending.reason)
    return summary.ending.code


@attrs.frozen
class _Sent:
    """Ends a run when the transaction has come as far as is wished, has failed, or time is over."""

    client: Client
    raw: bytes
    until: Stage
    timeout: float

    async def verdict(self) -> Ending:
        """Broadcast, and wait; not for peers that cannot come."""
        import trio

        from phasegate.cli.ending import Ending
        from phasegate.engine.broadcasts import BroadcastLimit

        endings: list[Ending] = []
        try:
            await self.client.broadcast(self.raw, timeout=0.0)
        except BroadcastLimit as limit:
            return Ending(self.client.state, str(limit), Code.DEGRADED)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._give_up, endings, nursery.cancel_scope)
            status = await self.client.broadcast(self.raw, until=self.until, timeout=self.timeout)
            endings.append(self._ending(status))
            nursery.cancel_scope.cancel()
        return endings[0]

    async def _give_up(self, endings: list[Ending], scope: trio.CancelScope) -> None:
        """End as soon as no peer can be had any more."""
        import trio

        from phasegate.cli.ending import Ending

        while True:
            await trio.sleep(LOOK_EVERY)
            if self.client.hopeless:
                break
        why = f"the transaction is kept, but there is nobody to announce it to: {self.client.hopeless}"
        endings.append(Ending(self.client.state, why, Code.DEGRADED))
        scope.cancel()

    def _ending(self, status: BroadcastStatus) -> Ending:
        from phasegate.cli.ending import Ending

        name = f"transaction {status.txid[::-1].hex()}"
        if status.stage.has_reached(self.until):
            where = "" if status.height is None else f" at {status.height}"
            return Ending(self.client.state, f"{name} is {status.stage.value}{where}", Code.SYNCED)
        if status.stage.has_failed:
            return Ending(self.client.state, f"{name} is {status.stage.value}: {status.reason}", Code.CONFLICTED)
        return Ending(self.client.state, f"{name} is {_why(status, self.client.status.reason)}", Code.DEGRADED)


def _why(status: BroadcastStatus, trouble: str) -> str:
    """Why a transaction has not come as far as was wished."""
    from phasegate.engine.broadcast_stages import Stage

    later = "it is kept, and every later sync announces it until it is mined"
    if status.stage is Stage.WAITING:
        return f"waiting, as no peer was found{f' ({trouble})' if trouble else ''}; {later}"
    known = f"announced to {status.announced}, fetched by {status.fetched}, echoed by {status.echoed}"
    if status.stage is Stage.FETCHED and status.announced == 1:
        later = f"with one peer nobody can be the echo, --until fetched is all there is; {later}"
    if status.stage is Stage.ANNOUNCED:
        return f"{known}: who was told has it already, or refuses it without a word; {later}"
    return f"{status.stage.value} ({known}); {later}"
