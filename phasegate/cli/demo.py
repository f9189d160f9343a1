"""`phasegate demo`: a simulated node in a process of its own, a real sync from it, and a verdict.

The node generates a chain and says beforehand what a correct client finds on it. The client knows nothing of that but
the addresses; it syncs over TCP, in a temporary directory, shown as `phasegate sync` shows it. At the end the journal
and the findings are read from the store again, and compared with what the node said.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import attrs
import typer

from phasegate.cli import options
from phasegate.cli.listening import Listening
from phasegate.cli.refusal import Code, refusals, refuse

if TYPE_CHECKING:
    from phasegate.cli.ending import Ending
    from phasegate.cli.run import Display
    from phasegate.cli.summary import Summary
    from phasegate.engine.config import Config
    from phasegate.engine.events import Event

GIVE_UP = 20.0
"""Seconds without stored progress after which the demo ends in failure."""
DELAY = 0.03
"""Seconds before each answer of the node, as on a long line; without it there would be nothing to watch."""


def demo(
    blocks: Annotated[int, typer.Option(min=50, help="Height of the generated chain.")] = 5000,
    seed: Annotated[int, typer.Option(help="What it grows from.")] = 1,
    strategy: options.Strategy = options.StrategyName.SEQUENTIAL,
) -> None:
    """Show a whole sync. A simulated node, all five phases live, the chart, what was found, and whether it is true."""
    from phasegate.cli.verdict import show_verdict
    from phasegate.engine.config import Config

    typer.echo(f"A simulated Dash node mines {blocks} blocks (seed {seed}) ...")
    with TemporaryDirectory(prefix="phasegate-demo-") as place, _node(blocks, seed) as node, refusals("demo"):
        typer.echo(f"It listens on {node.address}. A client syncs from it and watches {len(node.watch)} addresses:\n")
        config = Config.create(
            "simnet",
            peers=(node.address,),
            connect_only=True,
            watch=node.watch,
            datadir=Path(place),
            strategy=strategy.value,
        )
        ending = _sync(config)
        if ending.code is Code.INTERRUPTED:
            raise typer.Exit(ending.code)
        if not show_verdict(config, ending, node):
            raise typer.Exit(Code.FAILED if ending.code is Code.SYNCED else ending.code)


def _sync(config: Config) -> Ending:
    from phasegate.cli.ending import Judge, Terms
    from phasegate.cli.run import attend, display_for
    from phasegate.engine.client import Client
    from phasegate.engine.events import TransactionFound

    display = _Discreet(display_for(config, as_json=False), TransactionFound)
    client = Client(config)
    return attend(client, Judge(client, Terms(once=True, give_up=GIVE_UP, linger=0.0)), display)


@attrs.frozen
class _Discreet:
    """A display that leaves one kind of event out: transactions come in hundreds, and a sample is shown at the end."""

    display: Display
    hidden: type[Event]

    def show(self, event: Event) -> None:
        """Show one event, unless it is hidden."""
        if not isinstance(event, self.hidden):
            self.display.show(event)

    def close(self) -> None:
        """No event follows."""
        self.display.close()

    def sum_up(self, summary: Summary) -> None:
        """Show the summary."""
        self.display.sum_up(summary)


@contextmanager
def _node(blocks: int, seed: int) -> Iterator[Listening]:
    """A simulated node in another process, which ends with the block."""
    chain = ["--blocks", str(blocks), "--seed", str(seed)]
    words = [sys.executable, "-m", "phasegate", "simnet", "--port", "0", *chain, "--delay", str(DELAY)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - this very program
        try:
            yield _first_words(process)
        finally:
            process.terminate()


def _first_words(process: subprocess.Popen[str]) -> Listening:
    assert process.stdout is not None, "it is a pipe"  # noqa: S101 - PIPE was asked for above
    line = process.stdout.readline()
    if not line:
        refuse("demo", "the simulated node ended before it listened", Code.FAILED)
    return Listening.parse(line)
