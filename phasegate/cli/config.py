"""`phasegate config`: the settings as they are in the end, and where each comes from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from phasegate.cli import options
from phasegate.cli.configured import ConfigFile, Set, chosen
from phasegate.cli.refusal import refusals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from phasegate.engine.settings import Choice

COLUMN = 56
"""Where the place of a value stands, if the value leaves room."""


def config(
    config_file: ConfigFile = None,
    words: Set = None,
    example: Annotated[
        bool, typer.Option("--example", help="A file with every setting and its default, explained, instead.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show all settings and where each comes from: the file, the environment, or the default."""
    with refusals("config"):
        if example:
            from phasegate.engine.setting_example import example_file

            typer.echo(example_file(), nl=False)
        elif as_json:
            _say_json(chosen(config_file, words))
        else:
            for line in _lines(chosen(config_file, words)):
                typer.echo(line)


def _lines(choice: Choice) -> Iterator[str]:
    """As TOML, the places as comments: what is printed can be read again."""
    from phasegate.engine.setting_kinds import written
    from phasegate.engine.settings import effective

    for key, one in effective(choice):
        told = f"# {key} is not set" if one.value is None else f"{key} = {written(one.value)}"
        yield f"{told:<{COLUMN}}  # {one.place}"


def _say_json(choice: Choice) -> None:
    from phasegate.cli.output import write_line
    from phasegate.engine.settings import effective

    for key, one in effective(choice):
        write_line("configured", None, {"key": key, "value": _plain(one.value), "place": one.place})


def _plain(value: object) -> object:
    """`value` as JSON has it, which knows no number without end."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return None if isinstance(value, float) and math.isinf(value) else value
