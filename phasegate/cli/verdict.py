"""The end of the demo: the chart with its final state, the way through it, what was found, and whether all is true."""

from __future__ import annotations

import json
from collections.abc import Sequence

import attrs
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from phasegate.cli.ending import Ending
from phasegate.cli.listening import Listening
from phasegate.cli.live import called
from phasegate.cli.refusal import Code
from phasegate.cli.summary import dash, hexed
from phasegate.consensus.watch_elements import element_text
from phasegate.engine.config import Config
from phasegate.engine.progress import PHASES
from phasegate.statecharts.anatomy import Anatomy, Box, read
from phasegate.statecharts.catalogue import CHART_OF, CHARTS
from phasegate.statecharts.places import leaves_of
from phasegate.store import JournalRow, Store, StoredTransaction

SHOWN = 4
"""Payments and spends that are shown of all that were found."""
STORED = {"headers": "tip", "cfheaders": "filter_headers", "filters": "filters"}
"""The watermarks that are shown with each step: heading, and name among the facts."""


@attrs.frozen
class Findings:
    """What the store holds after the sync: the journal (without the program's end), transactions, duffs by script."""

    journal: tuple[JournalRow, ...]
    transactions: tuple[StoredTransaction, ...]
    balances: dict[bytes, int]

    @classmethod
    def read(cls, config: Config) -> Findings:
        """From the closed store of `config`."""
        store = Store.open(config.datadir, config.network)
        try:
            journal = tuple(row for row in store.journal() if row.target != "stopped")
            return cls(journal, tuple(store.transactions()), store.balances())
        finally:
            store.close()

    @property
    def path(self) -> tuple[str, ...]:
        """The places of the chart in the order in which they were active."""
        return tuple(row.source for row in self.journal[:1]) + tuple(row.target for row in self.journal)

    @property
    def visited(self) -> set[str]:
        """The states that were active."""
        return {leaf for place in self.path for leaf in leaves_of(place)}

    @property
    def payments(self) -> list[StoredTransaction]:
        """The transactions that pay to watched scripts and spend nothing of theirs."""
        return [found for found in self.transactions if found.sent == 0]

    @property
    def spends(self) -> list[StoredTransaction]:
        """The transactions that spend from watched scripts."""
        return [found for found in self.transactions if found.sent > 0]


@attrs.frozen
class Check:
    """One thing that has to be true."""

    claim: str
    holds: bool


def checks(ending: Ending, found: Findings, node: Listening) -> tuple[Check, ...]:
    """Everything that has to be true after a demo."""
    txids = [hexed(tx.txid) for tx in found.transactions]
    balances = {script.hex(): duffs for script, duffs in found.balances.items()}
    return (
        Check("the client is fully synced", ending.code is Code.SYNCED),
        _walked(found),
        Check(f"the {len(node.transactions)} transactions on the chain were found", txids == list(node.transactions)),
        Check(f"the balances of the {len(node.balances)} scripts are those of the chain", balances == node.balances),
        Check("there is a payment and a spend among them", bool(found.payments and found.spends)),
    )


def _walked(found: Findings) -> Check:
    """Whether all phases were gone through, in the order of the chart that ran."""
    path = found.path
    if not any(len(leaves_of(place)) > 1 for place in path):
        walk = (*PHASES, "synced")
        return Check(f"it went through {', '.join(PHASES)}, in this order", path[-len(walk) :] == walk)
    first, *others = PHASES
    begun = len(path) - path[::-1].index(first) if first in path else len(path)
    worked = {leaf for place in path[begun:] for leaf in leaves_of(place)}
    claim = f"it went through {first}, then through {', '.join(others)} beside each other"
    return Check(claim, worked.issuperset(others) and path[-1] == "synced")


def show_verdict(config: Config, ending: Ending, node: Listening) -> bool:
    """Show how the demo ended, and say whether everything is as it has to be."""
    found, console, chart = Findings.read(config), Console(highlight=False), CHART_OF[config.strategy]
    anatomy = read(CHARTS[chart].chart)
    verdict = checks(ending, found, node)
    console.print("\n[bold]The chart[/], with the states that were visited and the one that is active")
    console.print(_tree(anatomy, found.visited, ending.state))
    console.print("\n[bold]The way through it[/], from the journal")
    console.print(_way(anatomy, found.journal))
    console.print(f"\n[bold]Found[/]: {len(found.payments)} payments and {len(found.spends)} spends, for instance")
    console.print(_sample(config, found))
    for check in verdict:
        console.print("[green]✓[/]" if check.holds else "[red]✗[/]", check.claim)
    if ending.reason:
        console.print(f"{ending.state}: {ending.reason}", markup=False)
    drawn = f"--chart {chart} --active {ending.state} --format svg -o chart.svg"
    console.print(f"\nThe same as a picture: phasegate diagram {drawn}", soft_wrap=True)
    return all(check.holds for check in verdict)


def _tree(anatomy: Anatomy, visited: set[str], active: str) -> Tree:
    tree = Tree(anatomy.name)
    _grow(tree, anatomy.boxes, visited, set(anatomy.path(active)))
    return tree


def _grow(tree: Tree, boxes: Sequence[Box], visited: set[str], active: set[str]) -> None:
    for box in boxes:
        mark = " ✓" if box.id in visited else ""
        here = " ◀ active" if box.id in active and not box.inside else ""
        style = "bold green" if box.id in active else "" if _touched(box, visited) else "dim"
        _grow(tree.add(Text(f"{box.name}{mark}{here}", style)), box.inside, visited, active)


def _touched(box: Box, visited: set[str]) -> bool:
    return any(inner.id in visited for inner in box.walk())


def _way(anatomy: Anatomy, journal: Sequence[JournalRow]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("after", no_wrap=True)
    table.add_column("event", no_wrap=True)
    table.add_column("into", style="cyan")
    for heading in STORED:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in journal:
        facts = json.loads(row.facts_json)
        stored = [str(max(facts[key], 0)) for key in STORED.values()]
        table.add_row(f"{row.time - journal[0].time:6.2f} s", row.event, _named(anatomy, row.target), *stored)
    return table


def _named(anatomy: Anatomy, place: str) -> str:
    leaves = leaves_of(place)
    return anatomy.box(place).name if len(leaves) == 1 else called(place) or "All regions at rest"


def _sample(config: Config, found: Findings) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("height", justify="right")
    table.add_column("transaction", no_wrap=True)
    table.add_column("watched scripts", overflow="fold")
    table.add_column("amount", justify="right", no_wrap=True)
    for tx in (*found.payments[:SHOWN], *found.spends[:SHOWN]):
        names = [element_text(script, config.network) for script in tx.scripts]
        table.add_row(
            str(tx.height), f"{hexed(tx.txid)[:16]}…", "\n".join(names), dash(tx.received - tx.sent, sign="+")
        )
    return table
