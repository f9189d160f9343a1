"""`phasegate simnet`: a simulated Dash node on real TCP, honest or not, or a whole internet of them."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phasegate.cli.refusal import Code, refuse
from phasegate.cli.simnet_options import (
    DEFAULT_BLOCKS,
    DEFAULT_HOST,
    DEFAULT_PORT,
    DEFAULT_SEED,
    MANNERS,
    Options,
)
from phasegate.engine.errors import ConfigError
from phasegate.p2p.simnet import CannotServe

if TYPE_CHECKING:
    from phasegate.p2p.messages import AddressV2
    from phasegate.p2p.simnet.chain import SimulatedChain
    from phasegate.p2p.simnet.internet import Population
    from phasegate.p2p.simnet.node import Node
    from phasegate.p2p.simnet.request_log import RequestLog


def simnet(
    port: Annotated[int, typer.Option(metavar="P", help="Port to listen on; 0 takes any free one.")] = DEFAULT_PORT,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = DEFAULT_HOST,
    recording: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Serve the Dash Core chain recorded in this folder.")
    ] = None,
    blocks: Annotated[
        int | None, typer.Option(metavar="N", help=f"Height of a generated chain [{DEFAULT_BLOCKS}].")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="S", help=f"What the generated chain grows from [{DEFAULT_SEED}].")
    ] = None,
    fork_at: Annotated[
        int | None, typer.Option(metavar="H", help="Last height shared with the chain of the same seed.")
    ] = None,
    fork_seed: Annotated[
        int | None, typer.Option(metavar="S", help="What the chain grows from above --fork-at.")
    ] = None,
    no_locks: Annotated[
        bool, typer.Option("--no-locks", help="Announce no ChainLocks and no InstantSend locks.")
    ] = False,
    mine_every: Annotated[
        float | None, typer.Option(metavar="S", help="Mine a block, of what was broadcast too, each so many seconds.")
    ] = None,
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append one JSON line a request served to this file.")
    ] = None,
    internet: Annotated[
        bool, typer.Option("--internet", help="Serve 50 members of an internet, each on an address of 127.0.0.0/8.")
    ] = False,
    part: Annotated[str | None, typer.Option(metavar="K/N", help="Of the internet, only the K-th of N parts.")] = None,
    known: Annotated[
        list[str] | None, typer.Option(metavar="IP[:PORT]", help="Tell of this address when asked; may be repeated.")
    ] = None,
    share: Annotated[
        int | None, typer.Option(metavar="PERCENT", help="How many of the known addresses to tell [23].")
    ] = None,
    refuse_getaddr: Annotated[bool, typer.Option("--refuse-getaddr", help="Tell no addresses.")] = False,
    announce_by: Annotated[
        str | None, typer.Option(metavar="FORM", help="Tell of blocks by inv, headers, headers2 or cmpctblock only.")
    ] = None,
    delay: Annotated[float, typer.Option(metavar="S", help="Seconds to wait before each answer.")] = 0.0,
    trickle: Annotated[float | None, typer.Option(metavar="BYTES", help="Send so many bytes a second.")] = None,
    stall_after: Annotated[int | None, typer.Option(metavar="N", help="Answer N requests, then nothing.")] = None,
    hang_up_after: Annotated[
        float | None, typer.Option(metavar="S", help="Close each connection after S seconds.")
    ] = None,
    silent: Annotated[bool, typer.Option("--silent", help="Shake hands, then answer nothing.")] = False,
    refuse_txs: Annotated[bool, typer.Option("--refuse-txs", help="Accept no transaction.")] = False,
    lie: Annotated[
        str | None,
        typer.Option(metavar="KIND[@HEIGHT]", help="What to lie about; a wrong KIND names them all."),
    ] = None,
    flood: Annotated[
        str | None,
        typer.Option(metavar="KIND[,KIND...]", help="Send junk without end: inv, addr, ping, unknown, big, or all."),
    ] = None,
) -> None:
    """Run a simulated Dash node. Its first line tells where it listens and what it holds; Ctrl-C ends it."""
    options = Options(**locals())
    try:
        options.check()
        _run(options)
    except (ConfigError, CannotServe) as error:
        refuse("simnet", str(error), Code.USAGE)
    except OSError as error:
        if error.filename is None:  # standard out, which is everybody's business
            raise
        refuse("simnet", f"{error.filename}: {error.strerror}", Code.USAGE)
    except KeyboardInterrupt:
        refuse("simnet", "interrupted", Code.INTERRUPTED)


def _run(options: Options) -> None:
    from contextlib import nullcontext

    import trio

    from phasegate.p2p.simnet.request_log import RequestLog

    with RequestLog.open(options.log) if options.log else nullcontext() as log:
        chain = _chain(options)
        if options.internet:
            trio.run(_serve_internet, _population(options, chain, log), chain, options)
        else:
            trio.run(_serve, _node(options, chain, log), options)


def _chain(options: Options) -> SimulatedChain:
    from phasegate.p2p.simnet.generated import generate
    from phasegate.p2p.simnet.recording import load_recording

    if options.recording is not None:
        return load_recording(options.recording)
    blocks = DEFAULT_BLOCKS if options.blocks is None else options.blocks
    seed = DEFAULT_SEED if options.seed is None else options.seed
    return generate(blocks, seed, fork_at=options.fork_at, fork_seed=options.fork_seed)


def _node(options: Options, chain: SimulatedChain, log: RequestLog | None) -> Node:
    from phasegate.p2p.simnet.flood import Flood
    from phasegate.p2p.simnet.gossip import CORE_SHARE
    from phasegate.p2p.simnet.lies import Lie
    from phasegate.p2p.simnet.node import Node

    return Node(
        chain,
        log=log,
        lie=Lie.parse(options.lie, chain) if options.lie else None,
        flood=Flood.parse(options.flood) if options.flood else None,
        locks=not options.no_locks,
        known=tuple([_known(text, chain.network.port) for text in options.known or ()]),
        share=CORE_SHARE if options.share is None else options.share,
        **{name: getattr(options, name) for name in MANNERS},
    )


def _known(text: str, port: int) -> AddressV2:
    from phasegate.p2p.addresses import Address
    from phasegate.p2p.simnet.gossip import known_node
    from phasegate.p2p.simnet.greeting import SERVICES

    try:
        address = Address.parse(text, port)
        return known_node(address.host, address.port, services=SERVICES, time=time.time())
    except ValueError as error:
        raise ConfigError(f"--known {text}: {error}") from error


def _population(options: Options, chain: SimulatedChain, log: RequestLog | None) -> Population:
    from phasegate.p2p.simnet.internet import Manner, Population

    seed = DEFAULT_SEED if options.seed is None else options.seed
    manner = Manner(time.time, share=100 if options.share is None else options.share, log=log)
    return Population.draw(chain, seed, manner, port=options.port)


async def _serve(node: Node, options: Options) -> None:
    import trio

    try:
        listeners = await node.listen(options.host, options.port)
    except OSError as error:
        raise CannotServe(f"{options.host}:{options.port}: {error.strerror}") from error
    host, port = listeners[0].socket.getsockname()[:2]
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        _say(_listening(node.chain, host, port))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, node.handle, listeners)
            if options.mine_every is not None:
                nursery.start_soon(_mine, node, options.mine_every)
            async for _ in signals:
                nursery.cancel_scope.cancel()


async def _mine(node: Node, pause: float) -> None:
    """Let the chain grow, with what can be mined of the pool, and tell everybody."""
    import trio

    from phasegate.p2p.simnet.generated import GeneratedChain

    while isinstance(node.chain, GeneratedChain):
        await trio.sleep(pause)
        node.chain.extend(1, include=node.chain.mineable(node.pool.transactions))
        await node.announce(1)


async def _serve_internet(population: Population, chain: SimulatedChain, options: Options) -> None:
    import trio

    from phasegate.p2p.simnet.internet import listen, serve

    nodes = population.part(*options.parts)
    listening = await listen(nodes)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        first = population.seeds[0]
        members = [{"address": str(member.address), "role": member.role.value} for member in population.members]
        seeds = [str(address) for address in population.seeds]
        _say(_listening(chain, first.host, first.port) | {"seeds": seeds, "members": members})
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listening)
            async for _ in signals:
                nursery.cancel_scope.cancel()
    told = {str(address): count for address, count in population.told_lies.items() if address in nodes}
    _say({"event": "ended", "told_lies": told})


def _say(line: dict[str, Any]) -> None:
    typer.echo(json.dumps(line))


def _listening(chain: SimulatedChain, host: str, port: int) -> dict[str, object]:
    return {
        "event": "listening",
        "host": host,
        "port": port,
        "network": chain.network.name,
        "height": chain.height,
        "tip": chain.tip_hash[::-1].hex(),
        "watch": list(chain.watch),
        "expected": chain.expected,
    }
