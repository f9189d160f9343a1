"""`phasegate check headers`: judge a file of raw headers."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from phasegate.cli import options
from phasegate.cli.refusal import Code, refusals, refuse
from phasegate.engine.errors import ConfigError

if TYPE_CHECKING:
    from phasegate.consensus.header_files import HeaderReport
    from phasegate.consensus.params import Network

COMMAND = "check headers"
LARGEST = 512 << 20
"""More than six million headers."""
_HASH = re.compile("[0-9a-fA-F]{64}")


def headers(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="80-byte headers, one after another, ascending.")],
    network: options.NetworkName,
    start_height: Annotated[
        int, typer.Option(metavar="H", min=0, max=options.HIGHEST, help="The height of the first header.")
    ],
    end_hash: Annotated[
        str | None,
        typer.Option(metavar="HASH", help="The hash of the last header, which nothing in the file commits to."),
    ] = None,
    activation: options.Activations = None,
    devnet_name: options.DevnetName = "",
    min_difficulty_blocks: Annotated[
        int | None,
        typer.Option(metavar="N", min=0, help="Of a devnet; default: as long as the file itself shows the limit."),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Judge raw headers by every rule. Ends with 0 if all are kept, else names the first that is broken and where."""
    from phasegate.consensus.faults import PeerMisbehaved
    from phasegate.consensus.header_files import check_headers

    with refusals(COMMAND):
        raw, end = read_file(file, LARGEST), _end(end_hash)
        chain = _chain(network, activation, devnet_name, min_difficulty_blocks, start_height, raw)
        try:
            with _progress(len(raw) // 80, hidden=as_json) as progress:
                report = check_headers(chain, start_height, raw, end, progress, now=int(time.time()))
        except PeerMisbehaved as error:
            refuse(COMMAND, f"{file}: {error}", Code.FAILED)
    (_say_json if as_json else _say)(report, chain)


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a file, `most` at most.

    Raises:
        ConfigError: it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > most:
        raise ConfigError(f"{path} is larger than {most} bytes")
    return raw


def _end(text: str | None) -> bytes | None:
    if text is not None and not _HASH.fullmatch(text):
        raise ConfigError(f"end-hash {text!r} is not a hash of 64 hex digits")
    return None if text is None else bytes.fromhex(text)[::-1]


def _chain(
    name: str,
    activation: Sequence[str] | None,
    devnet_name: str,
    min_difficulty_blocks: int | None,
    start_height: int,
    raw: bytes,
) -> Network:
    from phasegate.consensus.header_files import shown_min_difficulty
    from phasegate.engine.config import Config, Devnet

    def chosen(blocks: int) -> Network:
        heights = options.activation_heights(activation)
        return Config.create(name, activations=heights, devnet=Devnet(devnet_name, blocks)).network

    if min_difficulty_blocks is not None:
        return chosen(min_difficulty_blocks)
    return chosen(shown_min_difficulty(chosen(0), start_height, raw))


@contextmanager
def _progress(count: int, *, hidden: bool) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=hidden or not sys.stderr.isatty()) as bar:
        task = bar.add_task("headers", total=count)
        yield lambda done: bar.update(task, completed=done)


def _say(report: HeaderReport, chain: Network) -> None:
    heights = f"{report.first_height} to {report.last_height}"
    typer.echo(f"{report.count} headers of {chain.file_name}, {heights}, keep all rules")
    typer.echo(f"last hash      {report.last_hash[::-1].hex()}")
    typer.echo(f"chainwork      {report.work:x}" + (", of these headers alone" if report.first_height else ""))
    judged = "" if report.difficulty_from is None else f", from height {report.difficulty_from}"
    typer.echo(f"difficulty     {report.difficulty_checked} judged, none wrong{judged}")
    if chain.min_difficulty_until:
        typer.echo(f"at the limit   to height {chain.min_difficulty_until}")
    typer.echo(f"checkpoints    {len(report.checkpoints)} met")


def _say_json(report: HeaderReport, chain: Network) -> None:
    from phasegate.cli.output import write_line

    fields: dict[str, Any] = {
        "checked": "headers",
        "network": chain.file_name,
        "count": report.count,
        "start_height": report.first_height,
        "end_height": report.last_height,
        "first_hash": report.first_hash[::-1].hex(),
        "last_hash": report.last_hash[::-1].hex(),
        "chainwork": f"{report.work:x}",
        "difficulty_from": report.difficulty_from,
        "difficulty_checked": report.difficulty_checked,
        "min_difficulty_blocks": chain.min_difficulty_until,
        "checkpoints": list(report.checkpoints),
    }
    write_line("summary", None, fields)
