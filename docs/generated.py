"""What the documentation does not say by hand: the help of commands, the policy, links out of the documentation.

Directives put in what the program itself says, so that no page can tell an older one:

    ```{phasegate} policy
    ```
    what a command prints

    ```{commands}
    ```
    the help of all commands

    ```{errors}
    ConfigError: what its reader should do
    ```
    a table of the exceptions that users can meet, with their docstrings; one without a line, or too much, is a warning

    ```{faults}
    ```
    a table of what peers can do wrong

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
from docutils.statemachine import StringList
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


def public_errors() -> dict[str, str]:
    """The exceptions that `phasegate` names, and what their docstrings begin with."""
    import phasegate

    named = {name: getattr(phasegate, name) for name in phasegate.__all__}
    errors = {name: one for name, one in named.items() if isinstance(one, type) and issubclass(one, Exception)}
    return {name: (one.__doc__ or "").partition("\n")[0] for name, one in errors.items()}


class Table(Directive):
    """A table that is written as Markdown, so that it looks as the others do."""

    def table(self, heads: list[str], rows: list[list[str]]) -> list[nodes.Node]:
        """Its nodes."""
        lines = [heads, ["---"] * len(heads), *rows]
        text = StringList([f"| {' | '.join(cells)} |" for cells in lines], source="generated")
        container = nodes.container()
        self.state.nested_parse(text, self.content_offset, container)
        return container.children


class Errors(Table):
    """The exceptions of the public face: what each means, by its docstring, and what to do, by the lines inside."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Hold the lines against the exceptions that there are."""
        advice = dict(line.split(": ", 1) for line in self.content)
        errors = public_errors()
        if set(advice) != set(errors):
            raise self.error(f"errors told of and errors that there are differ by {set(advice) ^ set(errors)}")
        rows = [[f"`{name}`", errors[name], text] for name, text in advice.items()]
        return self.table(["error", "what it means", "what to do"], rows)


class Faults(Table):
    """What peers can do wrong."""

    def run(self) -> list[nodes.Node]:
        """Ask the program which faults there are."""
        from phasegate.consensus.faults import Fault

        return self.table(["reason", "penalty"], [[f"`{fault.code}`", str(fault.penalty)] for fault in Fault])


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
    app.add_directive("errors", Errors)
    app.add_directive("faults", Faults)
    app.connect("source-read", within)
    return {"parallel_read_safe": True}
