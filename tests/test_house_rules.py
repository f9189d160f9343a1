"""Rules of the house that no linter knows, read from the source as it is installed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import phasegate

PACKAGE = Path(phasegate.__file__).parent
SOURCES = sorted([*PACKAGE.glob("*.py"), *[path for folder in PACKAGE.iterdir() for path in folder.rglob("*.py")]])
NAMES = [str(path.relative_to(PACKAGE)) for path in SOURCES]
LONGEST_FILE = 350
LONGEST_FUNCTION = 25

Function = ast.FunctionDef | ast.AsyncFunctionDef


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _functions(path: Path) -> Iterator[Function]:
    return (node for node in ast.walk(_tree(path)) if isinstance(node, Function))


def _handlers() -> Iterator[tuple[str, ast.ExceptHandler]]:
    for path, name in zip(SOURCES, NAMES, strict=True):
        yield from ((name, node) for node in ast.walk(_tree(path)) if isinstance(node, ast.ExceptHandler))


def _catches(handler: ast.ExceptHandler) -> set[str]:
    """The names of the exceptions that a handler catches; a bare `except` is a BaseException."""
    if handler.type is None:
        return {"BaseException"}
    return {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}


def test_the_sources_are_found() -> None:
    """The rules below look at the whole package, links followed."""
    assert {"statecharts/sync.py", "engine/interpreter.py", "p2p/simnet/node.py", "store/database.py"} <= set(NAMES)


def test_only_two_doors_catch_every_exception() -> None:
    """`except Exception` stands in the interpreter, where an activity's error becomes an event or flies, and where a
    visitor of the live view may make a library fail, which is no business of the sync.
    """
    doors = [name for name, handler in _handlers() if "Exception" in _catches(handler)]
    assert doors == ["engine/interpreter.py", "web/server.py"]


def test_who_catches_everything_lets_it_fly_on() -> None:
    """A handler of BaseException has a bare `raise` in it: it cleans up, it does not swallow."""
    for name, handler in _handlers():
        if "BaseException" in _catches(handler):
            raises = [node for node in ast.walk(handler) if isinstance(node, ast.Raise) and node.exc is None]
            assert raises, f"{name}:{handler.lineno}"


def test_no_error_is_swallowed_by_a_bare_pass() -> None:
    """An `except` with nothing but `pass` in it does not occur; `contextlib.suppress` names what is expected."""
    for name, handler in _handlers():
        assert not all(isinstance(line, ast.Pass) for line in handler.body), f"{name}:{handler.lineno}"


def test_sqlite_is_touched_in_one_file_only() -> None:
    """Only `store/database.py` talks SQL; the disk that fails on demand lies below SQLite, and sqlite3 is not used."""
    users = {"apsw": set[str](), "sqlite3": set[str]()}
    for path, name in zip(SOURCES, NAMES, strict=True):
        for module in _imported(path):
            if module in users:
                users[module].add(name)
    assert users["apsw"] - {"verification/disk.py"} == {"store/database.py"}
    assert users["sqlite3"] == set()


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def test_the_charts_do_no_input_or_output() -> None:
    """No file of `statecharts` has an `async def` or imports a transport, a store or a clock to sleep on."""
    for path, name in zip(SOURCES, NAMES, strict=True):
        if name.startswith("statecharts/"):
            assert not [node.name for node in _functions(path) if isinstance(node, ast.AsyncFunctionDef)], name
            assert not {"trio", "apsw", "socket", "asyncio"} & set(_imported(path)), name


def test_nothing_below_the_command_line_uses_asyncio() -> None:
    """Trio is the one async library."""
    assert not [name for path, name in zip(SOURCES, NAMES, strict=True) if "asyncio" in _imported(path)]


def test_nothing_is_left_to_be_done() -> None:
    """No file keeps a note of unfinished work."""
    note = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    assert not [name for path, name in zip(SOURCES, NAMES, strict=True) if note.search(path.read_text("utf-8"))]


def test_no_file_is_named_by_what_it_is_not() -> None:
    """Files carry the field's own terms."""
    vague = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "base"}
    assert not [name for name in NAMES if Path(name).stem in vague]


@pytest.mark.parametrize("name", NAMES)
def test_files_stay_readable(name: str) -> None:
    """A file holds one idea and can be read in one sitting."""
    assert len((PACKAGE / name).read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_nine_functions_of_ten_are_short() -> None:
    """Of all functions of the package at least nine in ten have fewer than 25 lines."""
    lengths = [(node.end_lineno or 0) - node.lineno + 1 for path in SOURCES for node in _functions(path)]
    short = sum(length < LONGEST_FUNCTION for length in lengths)
    assert short >= 0.9 * len(lengths)


def test_what_is_public_is_explained() -> None:
    """Every module, and every public class and function of a module, has a docstring."""
    bare = []
    for path, name in zip(SOURCES, NAMES, strict=True):
        tree = _tree(path)
        if tree.body and not ast.get_docstring(tree):
            bare.append(name)
        for node in tree.body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                bare += [] if ast.get_docstring(node) else [f"{name}: {node.name}"]
    assert not bare
