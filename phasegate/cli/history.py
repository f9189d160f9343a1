"""`phasegate history`: the journal of what the sync chart did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from phasegate.cli import options
from phasegate.cli.refusal import one_line, refusals
from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    from phasegate.consensus.params import Network
    from phasegate.store import JournalRow, Store

    Rows = Iterator[JournalRow]

AT_ONCE = 1000
"""Rows read at a time."""


def history(
    network: options.StoredNetworkName = None,
    datadir: options.Datadir = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the newest N transitions; default: all that are kept.")
    ] = None,
    as_json: options.AsJson = False,
    as_mermaid: Annotated[
        bool, typer.Option("--mermaid", help="Draw a Mermaid sequence diagram; Mermaid takes some 300 transitions.")
    ] = False,
) -> None:
    """Show the stored transitions. Oldest first; with --json as `sync --json` tells them."""
    with refusals("history"):
        if as_json and as_mermaid:
            raise ConfigError("--json and --mermaid are two forms: choose one")
        config = options.stored_config(network, datadir, activation, devnet_name)

        from phasegate.store import Store

        store = Store.open(config.datadir, config.network)
        say: Callable[[Store, Network, Rows], None] = _say_json if as_json else _draw if as_mermaid else _say
        try:
            say(store, config.network, _rows(store, limit))
        finally:
            store.close()


def _rows(store: Store, limit: int | None) -> Rows:
    after = 0 if limit is None else max(0, store.journal_end() - limit)
    while rows := store.journal(after, AT_ONCE):
        yield from rows
        after = rows[-1].row_id


def _say_json(store: Store, network: Network, rows: Rows) -> None:
    """Each row under a line that names the chart: a new one where a client of another strategy was run."""
    from phasegate.cli.output import journal_header, journal_line, write_line
    from phasegate.engine.facts import strategy_of

    told = ""
    for row in rows:
        line = journal_line(row)
        if told != (told := strategy_of(line["facts"])):
            write_line("journal", None, journal_header(network.name, row.row_id, told))
        write_line("transition", row.time, line)
    if not told:
        write_line("journal", None, journal_header(network.name, store.journal_end() + 1))


def _draw(_store: Store, _network: Network, rows: Rows) -> None:
    from phasegate.statecharts.anatomy import read
    from phasegate.statecharts.sync import SyncChart
    from phasegate.store import StoreCorrupt
    from phasegate.verification.recorded import NotAJournal, Recorded
    from phasegate.verification.sequence import sequence

    try:
        drawing = sequence(map(Recorded.from_row, rows), read(SyncChart))
    except NotAJournal as error:
        raise StoreCorrupt(f"the journal is damaged: {error}", table="journal") from error
    typer.echo(drawing, nl=False)


def _say(_store: Store, _network: Network, rows: Rows) -> None:
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.time))
        source, target = changed(row)
        line = f"{when}  {source:>10} -> {target:<10} {row.event:<8} {one_line(row.reason)}"
        typer.echo(line.rstrip())


def changed(row: JournalRow) -> tuple[str, str]:
    """Where a step came from and led to; of regions those that took part."""
    from phasegate.statecharts.places import leaves_of, place

    before, after = leaves_of(row.source), leaves_of(row.target)
    if len(before) != len(after):
        return row.source, row.target
    moved = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] or [(row.source, row.target)]
    return place(old for old, _ in moved), place(new for _, new in moved)
