"""What the documentation does not say by hand: the help of commands, the policy, links out of the documentation.

Two directives put in what the program itself says, so that no page can tell an older one:

    ```{phasegate} sync --help
    ```

    ```{transitions} sync
    ```

The pages are also read where they stand in the repository, where they link to the sources beside them. In the built
documentation there are no such files, so a link that leads out of it becomes its text.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

HERE = Path(__file__).parent
_LINK = re.compile(r"(?<!!)\[([^\]\n]+)\]\((?![a-z]+:|#)([^)#\s]+)(#[^)\s]*)?\)")
WIDTH = "100"


def said(words: list[str]) -> str:
    """What `phasegate` prints when it is given `words`."""
    from typer.testing import CliRunner

    from phasegate.cli.app import app

    done = CliRunner().invoke(
        app, words, env={"COLUMNS": WIDTH, "NO_COLOR": "1", "TERM": "dumb"}, prog_name="phasegate"
    )
    if done.exit_code:
        raise ValueError(f"phasegate {shlex.join(words)} ended with {done.exit_code}: {done.output}")
    return done.output.strip("\n")


class Said(Directive):
    """The output of a command, as it stands."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = False
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        """Run it."""
        text = said(shlex.split(self.arguments[0]))
        return [nodes.literal_block(text, text, language="text")]


class Commands(Directive):
    """A section for each command of the program, with its help."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Ask the program which there are."""
        from typer.main import get_command

        from phasegate.cli.app import app

        sections: list[nodes.Node] = []
        for name, command in sorted(get_command(app).commands.items()):
            sections.append(self._section(name))
            sections += [self._section(f"{name} {inner}") for inner in sorted(getattr(command, "commands", {}))]
        return sections

    def _section(self, words: str) -> nodes.section:
        title = f"phasegate {words}"
        section = nodes.section(ids=[nodes.make_id(title)])
        text = said([*words.split(), "--help"])
        section += [nodes.title(title, title), nodes.literal_block(text, text, language="text")]
        return section


def within(_app: Sphinx, docname: str, content: list[str]) -> None:
    """Make links that lead out of the documentation plain text."""
    folder = (HERE / docname).parent

    def kept(found: re.Match[str]) -> str:
        text, target, _place = found.groups()
        path = Path(os.path.normpath(folder / target))
        inside = path.is_relative_to(HERE) and path.suffix in {".md", ".json", ".py", ".svg", ".mmd"}
        return found.group() if inside else text

    content[0] = _LINK.sub(kept, content[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.add_directive("phasegate", Said)
    app.add_directive("commands", Commands)
    app.connect("source-read", within)
    return {"parallel_read_safe": True}
