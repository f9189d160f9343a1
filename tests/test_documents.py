"""What the documents say can be done, can be done."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import phasegate
from phasegate import Client, Config
from phasegate.cli.app import app
from phasegate.engine.events import TransactionDropped
from phasegate.engine.mempool import MOST, MOST_BYTES
from phasegate.engine.unconfirmed import KEPT
from phasegate.p2p.simnet.lies import KINDS
from tests.documents.printed import Block, printed, some
from tests.documents.shells import bash, first_unsaid, script

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(phasegate.__file__).resolve().parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _commands() -> set[str]:
    return set(get_command(app).commands)  # type: ignore[attr-defined]  # typer's group has them, its type does not


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    """Every link of a page that is no web address leads to a file, in the tree or in the installed package."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        place = (page.parent / target).resolve()
        installed = PACKAGE / place.relative_to(ROOT)
        assert place.exists() or installed.exists() or place == ROOT / "phasegate", f"{page.name}: {target}"


def test_the_readme_names_every_command_and_no_other() -> None:
    """The table of commands in the README is the list of commands that the program has."""
    told = set(re.findall(r"^\| `phasegate (\w+)`", README, re.MULTILINE))
    assert told == _commands()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_a_page_shows_exist(page: Path) -> None:
    """Each `phasegate COMMAND` and each `make TARGET` in a page is one that exists."""
    text = page.read_text(encoding="utf-8")
    shown = "\n".join([*re.findall(r"`([^`\n]+)`", text), *_blocks(text, "(?:sh|text)")])
    assert set(re.findall(r"\bphasegate ([a-z]+)\b", shown)) <= _commands()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"(?:^|[`\s])make ([a-z][a-z-]*)", shown)) <= targets


def test_options_that_a_page_shows_exist() -> None:
    """Each `--option` in the documents is one that some command has."""
    known = {"--help"}
    for command in get_command(app).commands.values():  # type: ignore[attr-defined]
        for one in (get_command(app), command, *getattr(command, "commands", {}).values()):
            known |= {option for parameter in one.params for option in (*parameter.opts, *parameter.secondary_opts)}
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "CONTRIBUTING.md")
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", " ".join(re.findall(r"`([^`\n]+)`", text))))
    assert shown - {"--strict"} <= known


def test_every_kind_of_line_is_described() -> None:
    """The page about events speaks of each kind of line that the schema has."""
    schema = json.loads((ROOT / "docs" / "cli-events.schema.json").read_text(encoding="utf-8"))
    kinds = [line["$ref"].rpartition("/")[2] for line in schema["oneOf"]]
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert [kind for kind in kinds if f"`{kind}`" not in page] == []


def test_the_bounds_of_what_is_in_no_block_are_described() -> None:
    """In the guide, and by the event that tells of what exceeds them."""
    told = TransactionDropped.__doc__ or ""
    for page in ((ROOT / "docs/wallet.md").read_text(encoding="utf-8"), " ".join(told.split())):
        assert f"more than {MOST}, or what takes more than {MOST_BYTES >> 20} MiB of memory, were seen" in page
        assert f"no block had it for {KEPT / 86_400:.0f} days" in page


def test_every_warning_is_described() -> None:
    """The page about events has each code that the engine warns with."""
    sources = [path.read_text(encoding="utf-8") for path in (PACKAGE / "engine").rglob("*.py")]
    codes = {code for source in sources for code in re.findall(r"""warn\("([a-z0-9-]+)"|"(peer-[a-z]+)\"""", source)}
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    missing = [code for pair in codes for code in pair if code and f"`{code}`" not in page]
    assert len(codes) > 10
    assert missing == []


def test_every_lie_is_described() -> None:
    """The table of lies in the documents is the list of lies that the simulated node can tell."""
    page = (ROOT / "docs" / "simnet.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", page.partition("## Lies")[2], re.MULTILINE) == list(KINDS)


@contextmanager
def _simnet(blocks: int) -> Iterator[dict[str, Any]]:
    words = [sys.executable, "-m", "phasegate", "simnet", "--port", "0", "--blocks", str(blocks), "--seed", "7"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        try:
            yield json.loads(node.stdout.readline())
        finally:
            node.terminate()


@printed(some("README.md", "python") + some("README.md", "sh", "phasegate simnet") + some("README.md", "text"))
def test_the_readme_does_what_it_prints(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """From the node to the payment that the embedding example finds."""
    code, output = bash(script(blocks), tmp_path)
    assert (code, first_unsaid(blocks[-1].text.splitlines(), output)) == (0, None), output


@printed(some("README.md", "python"))
def test_the_example_of_the_readme_runs(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """The embedding example, as it stands there, syncs with a simulated node and prints the true balances."""
    (example,) = (block.text for block in blocks)
    assert len([line for line in example.splitlines() if line.strip() and not line.startswith("#")]) <= 10
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    with _simnet(60) as node:
        words = [sys.executable, "example.py", f"{node['host']}:{node['port']}", *node["watch"]]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    found = re.findall(r"height 60: +(\d+) duffs in ([0-9a-f]+)", done.stdout)
    assert {script: int(duffs) for duffs, script in found} == node["expected"]["balances"]


def test_every_public_error_has_its_advice() -> None:
    """The page about errors has a line for each exception that `phasegate` names, and for no other."""
    named = [getattr(phasegate, name) for name in phasegate.__all__]
    errors = {one.__name__ for one in named if isinstance(one, type) and issubclass(one, Exception)}
    (block,) = some("docs/reference/errors.md", "{errors}")
    assert {line.partition(": ")[0] for line in block.text.splitlines()} == errors


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_says_of_a_client_is_there(page: Path) -> None:
    """Each `client.NAME` is a public attribute of a client."""
    sources = "".join(inspect.getsource(part) for part in Client.__mro__ if part.__module__.startswith("phasegate"))
    known = {name for name in dir(Client) if not name.startswith("_")}
    known |= set(re.findall(r"self\.([a-z]\w*) = ", sources))
    told = set(re.findall(r"(?<![/\w])client\.([a-z]\w*)", page.read_text(encoding="utf-8")))
    assert told - known == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_calls_a_setting_is_one(page: Path) -> None:
    """Each argument of `Config.create(...)` and `Config(...)`."""
    calls = re.findall(r"Config(?:\.create)?\(([^)\n]*)", page.read_text(encoding="utf-8"))
    named = {name for call in calls for name in re.findall(r"\b([a-z_]+)=", call)}
    assert named - set(inspect.signature(Config.create).parameters) - set(inspect.signature(Config).parameters) == set()
