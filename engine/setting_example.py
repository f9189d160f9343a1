"""The example of a configuration file: every setting with its default, explained by what the code says of it.

It is made of the arguments of `Config.create` and the fields of `Limits` and `Devnet`, so that none can be missing; the
file in the documents is compared with it.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator

from phasegate.engine.config import Config, Devnet
from phasegate.engine.limits import Limits
from phasegate.engine.setting_kinds import written
from phasegate.engine.setting_places import Setting, settings

WIDTH = 110
HEAD = """\
phasegate.toml: every setting that there is, with its default; all but the network may be left out. Take the # away
from those that you change. Each can be said by a variable instead, as PHASEGATE_LIMITS_MAX_PEERS=4, where a list is
divided by commas and a table is NAME=VALUE divided by commas. Variables are stronger than this file, and what is said
on the command line, as --set limits.max_peers=4, is stronger than both.
"""


def example_file() -> str:
    """The text of the example."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from _comment(HEAD)
    told = _told(Config.create) | {f"devnet.{name}": text for name, text in _told(Devnet).items()}
    group = ""
    for key, setting in settings().items():
        before, group = group, key.partition(".")[0] if "." in key else ""
        if group == "limits" != before:
            yield ""
            yield from _comment(_described(told["limits"]))
            for paragraph in inspect.cleandoc(Limits.__doc__ or "").split("\n\n")[1:]:
                yield "#"
                yield from _comment(paragraph)
        if group != "limits":
            yield ""
            yield from _comment(_described(told["network_name" if key == "network" else key]))
        yield _shown(setting)


def _shown(setting: Setting) -> str:
    """The line of a setting, which is a comment, as it says what is so anyway; only a network must be chosen."""
    if setting.key == "network":
        return 'network = "mainnet"'
    return f"# {setting.key} = {written(setting.kind.blank if setting.default is None else setting.default)}"


def _told(of: object) -> dict[str, str]:
    """What the docstring of `of` says about each argument."""
    listed = inspect.cleandoc(getattr(of, "__doc__", None) or "").partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", listed, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _described(text: str) -> str:
    return text[:1].upper() + text[1:].replace("`", "").replace("None:", "not set:")


def _comment(text: str) -> Iterator[str]:
    for line in textwrap.wrap(" ".join(text.replace("`", "").split()), WIDTH, break_long_words=False):
        yield f"# {line}"
