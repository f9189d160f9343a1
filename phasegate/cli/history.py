"""`phasegate history`: the journal of what the sync chart did."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from phasegate.cli import options
from phasegate.cli.refusal import one_line, refusals

if TYPE_CHECKING:
    from phasegate.store import JournalRow, Store

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
) -> None:
    """Show the stored transitions. Oldest first; with --json as `sync --json` tells them."""
    with refusals("history"):
        config = options.stored_config(network, datadir, activation, devnet_name)

        from phasegate.store import Store

        store = Store.open(config.datadir, config.network)
        try:
            for row in _rows(store, limit):
                (_say_json if as_json else _say)(row)
        finally:
            store.close()


def _rows(store: Store, limit: int | None) -> Iterator[JournalRow]:
    after = 0 if limit is None else max(0, store.journal_end() - limit)
    while rows := store.journal(after, AT_ONCE):
        yield from rows
        after = rows[-1].row_id


def _say_json(row: JournalRow) -> None:
    from phasegate.cli.output import journal_line, write_line

    write_line("transition", row.time, journal_line(row))


def _say(row: JournalRow) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.time))
    line = f"{when}  {row.source:>10} -> {row.target:<10} {row.event:<8} {one_line(row.reason)}"
    typer.echo(line.rstrip())
