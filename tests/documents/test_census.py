"""Every code block of the documents is run by a test, or stands here with the reason why it cannot be.

The reasons are held, too: an exception that fits no block any more, or whose reason is gone, fails.
"""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
from collections.abc import Callable
from importlib import import_module

import attrs
import pytest
from typer.main import get_command

from phasegate.cli.app import app
from phasegate.verification.bench import BENCHMARKS
from phasegate.verification.fuzzing.targets import TARGETS
from tests.documents.printed import ROOT, RUN, Block, blocks_in, every_block, some

CI = ROOT / ".ci" / "run"
DIRECTIVES = {
    "{toctree}",
    "{eval-rst}",
    "{commands}",
    "{phasegate} policy",
    "{phasegate} config --example",
    "{errors}",
    "{faults}",
}


def commands(text: str) -> list[str]:
    """The command lines of a block, without comments."""
    return [line for line in re.sub(r"\\\n\s*", "", text).splitlines() if line.partition("#")[0].strip()]


def understood(line: str) -> None:
    """The program takes the words behind the last `phasegate` of a command line; it is not run.

    Raises:
        Exception: it does not; typer's own, which is not the same in all of its versions.
    """
    words = shlex.split(line, comments=True)
    name, *others = words[len(words) - words[::-1].index("phasegate") :]
    get_command(app).commands[name].make_context(name, others)  # type: ignore[attr-defined]  # typer's group has them


def makeable(line: str) -> None:
    """What a line begins with is a target of the Makefile, or a file that is there."""
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True, timeout=60)
        return
    script = words[1] if words[0] == ".venv/bin/python" else words[0]
    assert (ROOT / script).is_file(), line


def is_ci(block: Block) -> None:
    """CI runs each line, by itself and not by this test: it would run itself."""
    steps = CI.read_text(encoding="utf-8")
    for line in commands(block.text):
        assert f"\nstep {line.partition('#')[0].strip()}\n" in steps, line


def is_makeable(block: Block) -> None:
    """Hours, or a repair of this very tree: each line is a target, or a script that is there."""
    for line in commands(block.text):
        makeable(line)


def is_long(block: Block) -> None:
    """Minutes of measuring: each line is understood, and names benchmarks that there are."""
    for line in commands(block.text):
        understood(line)
        assert set(",".join(re.findall(r"--only (\S+)", line)).split(",")) - {""} <= set(BENCHMARKS), line


def is_fuzzing(block: Block) -> None:
    """Without end, and with a fuzzer that not every Python has: CI fuzzes, the module and the target are there."""
    make, *modules = commands(block.text)
    makeable(make)
    for line in modules:
        assert " -m phasegate.verification.fuzzing --" in line
        assert set(re.findall(r"--target (\S+)", line)) <= set(TARGETS)


def is_for_root(block: Block) -> None:
    """It installs a service of the system: the files are there, and lead to the same places."""
    unit = (ROOT / "deploy" / "phasegate.service").read_text(encoding="utf-8")
    program, settings = "/opt/phasegate/bin/", "/etc/phasegate/sync.conf"
    assert "systemctl" in block.text
    assert program in block.text
    assert f"ExecStart={program}phasegate sync" in unit
    assert f"> {settings}" in block.text
    assert f"EnvironmentFile={settings}" in unit
    (line,) = re.findall(r"PHASEGATE_OPTIONS=\"(.+)\"", block.text)
    understood(f"phasegate sync {line}")


def is_for_podman(block: Block) -> None:
    """It builds an image: the file is there, and what is run in it is understood."""
    build, *others = commands(block.text)
    assert (ROOT / shlex.split(build)[3]).is_file()
    for line in others:
        assert line.startswith("podman ")
        understood(line)


def is_walked(block: Block) -> None:
    """A minute, and the package registry: a long test types it, by a tool that types all of the path."""
    assert "test_nothing_is_missing_on_the_newcomers_path" in (ROOT / "tests/soak/test_newcomers_path.py").read_text()
    tool = runpy.run_path(str(ROOT / "tools" / "newcomers-path.py"))
    typed = [text for _, text in tool["steps"]((ROOT / "README.md").read_text(encoding="utf-8"), "repository")]
    assert [line for line in block.text.splitlines() if line not in typed] == []


def is_drawn(block: Block) -> None:
    """A drawing, with nothing to type in it."""
    assert "→" in block.text
    assert not re.search(r"^\$|phasegate|make", block.text, re.MULTILINE)


def is_directive(block: Block) -> None:
    """Sphinx puts something in its place: CI builds the pages, and a warning is an error."""
    assert block.language in DIRECTIVES
    assert "\nstep make docs\n" in CI.read_text(encoding="utf-8")
    assert "sphinx-build -W" in (ROOT / "Makefile").read_text(encoding="utf-8")


@attrs.frozen
class Unrun:
    """Blocks that no test runs, and why: the docstring of what holds of each of them."""

    why: Callable[[Block], None]
    page: str
    language: str
    begins: str = ""

    def __str__(self) -> str:
        return f"{self.page}-{self.why.__name__}"


EXCEPTIONS = (
    Unrun(is_ci, "README.md", "sh", "make demo"),
    Unrun(is_walked, "README.md", "sh", "python3 -m venv env"),
    Unrun(is_makeable, "CONTRIBUTING.md", "sh", "make test"),
    Unrun(is_long, "docs/benchmarks.md", "sh", "phasegate bench"),
    Unrun(is_fuzzing, "docs/verification.md", "sh", "make fuzz"),
    Unrun(is_for_root, "docs/operations.md", "sh", "python3 -m venv /opt"),
    Unrun(is_for_podman, "docs/operations.md", "sh", "podman build"),
    Unrun(is_drawn, "docs/architecture.md", "text", "bytes →"),
    Unrun(is_directive, "docs/index.md", "{toctree}"),
    Unrun(is_directive, "docs/configuration.md", "{phasegate} config --example"),
    Unrun(is_directive, "docs/reference/api.md", "{eval-rst}"),
    Unrun(is_directive, "docs/reference/cli.md", "{commands}"),
    Unrun(is_directive, "docs/reference/errors.md", "{errors}"),
    Unrun(is_directive, "docs/reference/errors.md", "{faults}"),
    Unrun(is_directive, "docs/reference/policy.md", "{phasegate} policy"),
)


def runners() -> list[str]:
    """The modules with tests that take printed blocks."""
    found = [file for file in sorted((ROOT / "tests").rglob("test_*.py")) if "@printed(" in file.read_text("utf-8")]
    return [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in found if file.stem != "test_census"]


@pytest.fixture(scope="module")
def run() -> dict[Block, str]:
    """Which test runs which block."""
    for name in runners():
        import_module(name)
    return RUN


def test_every_block_is_run_or_has_its_reason(run: dict[Block, str]) -> None:
    """Whoever writes a block has it run: by a runner of its page, or a new one."""
    excepted = {block for one in EXCEPTIONS for block in some(one.page, one.language, one.begins)}
    assert [str(block) for block in every_block() if block not in run and block not in excepted] == []
    assert [str(block) for block in excepted if block in run] == [], "an exception that is none any more"


def test_no_two_runners_want_one_port(run: dict[Block, str]) -> None:
    """They run beside each other, in processes of their own; those of one module run one after the other."""
    users: dict[str, set[str]] = {}
    for block, test in run.items():
        for port in re.findall(r"--port ([1-9]\d*)", block.text):
            users.setdefault(port, set()).add(test.rpartition(".")[0])
    assert len(users) > 5
    assert {port: modules for port, modules in users.items() if len(modules) > 1} == {}


def test_what_runs_a_block_is_run_itself(run: dict[Block, str]) -> None:
    """By `make test`: no runner is left out, or kept for the long runs."""
    for name in set(run.values()):
        module, _, function = name.rpartition(".")
        test = getattr(import_module(module), function)
        marks = {mark.name for mark in test.pytestmark}
        assert marks <= {"parametrize", "trio", "usefixtures"}, name


@pytest.mark.parametrize("one", EXCEPTIONS, ids=str)
def test_each_reason_holds(one: Unrun) -> None:
    """Of each block that it is given for."""
    for block in some(one.page, one.language, one.begins):
        one.why(block)


def test_every_fence_is_a_block() -> None:
    """With tildes, indented, without a language, or longer than three; and what is no fence is none."""
    text = "```sh\na\n```\n\n~~~\nb\n~~~\n  ```text\n  c\n  ```\n````md\n```sh\n```\n````\nnot ```this```\n"
    found = [(block.line, block.language, block.text) for block in blocks_in(text, "page")]
    assert found == [(1, "sh", "a\n"), (5, "", "b\n"), (8, "text", "  c\n"), (11, "md", "```sh\n```\n")]


def test_no_block_is_written_by_indentation_alone() -> None:
    """Markdown has another form of code, four spaces, which the census would not see."""
    for block_page in {block.page for block in every_block()}:
        text = (ROOT / block_page).read_text(encoding="utf-8")
        for block in some(block_page):
            text = text.replace(block.text, "")
        assert not re.search(r"^\n {4}\S", text, re.MULTILINE), block_page
