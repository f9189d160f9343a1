"""`phasegate simnet`: a simulated Dash node on real TCP, honest or not."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from phasegate.cli.refusal import Code, refuse
from phasegate.engine.errors import ConfigError
from phasegate.p2p.simnet import CannotServe

if TYPE_CHECKING:
    from phasegate.p2p.simnet.chain import SimulatedChain
    from phasegate.p2p.simnet.node import Node

MAX_BLOCKS = 10_000_000
DEFAULT_PORT, DEFAULT_BLOCKS, DEFAULT_SEED = 29899, 5000, 1


@attrs.frozen
class Options:
    """What the user asked for."""

    host: str
    port: int
    recording: Path | None
    blocks: int | None
    seed: int | None
    fork_at: int | None
    fork_seed: int | None
    no_locks: bool
    log: Path | None
    lie: str | None
    delay: float
    silent: bool


def simnet(
    port: Annotated[int, typer.Option(metavar="P", help="Port to listen on; 0 takes any free one.")] = DEFAULT_PORT,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = "127.0.0.1",
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
    log: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Append one JSON line a request served to this file.")
    ] = None,
    lie: Annotated[
        str | None, typer.Option(metavar="KIND[@HEIGHT]", help="What to lie about; a wrong KIND names them all.")
    ] = None,
    delay: Annotated[float, typer.Option(metavar="S", help="Seconds to wait before each answer.")] = 0.0,
    silent: Annotated[bool, typer.Option("--silent", help="Shake hands, then answer nothing.")] = False,
) -> None:
    """Run a simulated Dash node. Its first line tells where it listens and what it holds; Ctrl-C ends it."""
    options = Options(host, port, recording, blocks, seed, fork_at, fork_seed, no_locks, log, lie, delay, silent)
    try:
        _check(options)
        _run(options)
    except (ConfigError, CannotServe) as error:
        refuse("simnet", str(error), Code.USAGE)
    except OSError as error:
        if error.filename is None:  # standard out, which is everybody's business
            raise
        refuse("simnet", f"{error.filename}: {error.strerror}", Code.USAGE)
    except KeyboardInterrupt:
        refuse("simnet", "interrupted", Code.INTERRUPTED)


def _check(options: Options) -> None:
    generated = (options.blocks, options.seed, options.fork_at, options.fork_seed)
    if options.recording is not None and any(value is not None for value in generated):
        raise ConfigError("--recording cannot be combined with --blocks, --seed, --fork-at or --fork-seed")
    if options.fork_seed is not None and options.fork_at is None:
        raise ConfigError("--fork-seed needs --fork-at")
    if (options.blocks or 0) > MAX_BLOCKS:
        raise ConfigError(f"a chain of {options.blocks} blocks is too long: at most {MAX_BLOCKS}")
    if not 0 <= options.port <= 65535:
        raise ConfigError(f"{options.port} is no port")
    if options.lie is not None:  # before a long chain is generated
        from phasegate.p2p.simnet.lies import kind_of

        kind_of(options.lie)
    if not 0 <= options.delay < float("inf"):
        raise ConfigError(f"a delay of {options.delay} seconds is impossible")


def _run(options: Options) -> None:
    from contextlib import nullcontext

    import trio

    from phasegate.p2p.simnet.lies import Lie
    from phasegate.p2p.simnet.node import Node
    from phasegate.p2p.simnet.request_log import RequestLog

    with RequestLog.open(options.log) if options.log else nullcontext() as log:
        chain = _chain(options)
        lie = Lie.parse(options.lie, chain) if options.lie else None
        locks = not options.no_locks
        node = Node(chain, log=log, lie=lie, delay=options.delay, silent=options.silent, locks=locks)
        trio.run(_serve, node, options)


def _chain(options: Options) -> SimulatedChain:
    from phasegate.p2p.simnet.generated import generate
    from phasegate.p2p.simnet.recording import load_recording

    if options.recording is not None:
        return load_recording(options.recording)
    blocks = DEFAULT_BLOCKS if options.blocks is None else options.blocks
    seed = DEFAULT_SEED if options.seed is None else options.seed
    return generate(blocks, seed, fork_at=options.fork_at, fork_seed=options.fork_seed)


async def _serve(node: Node, options: Options) -> None:
    import trio

    try:
        listeners = await node.listen(options.host, options.port)
    except OSError as error:
        raise CannotServe(f"{options.host}:{options.port}: {error.strerror}") from error
    host, port = listeners[0].socket.getsockname()[:2]
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        typer.echo(json.dumps(_listening(node.chain, host, port)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, node.handle, listeners)
            async for _ in signals:
                nursery.cancel_scope.cancel()


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
