"""The one import name holds every folder, in the source tree and in an installed wheel alike."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import phasegate

PACKAGE = Path(phasegate.__file__).resolve().parent
ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("consensus", "engine", "p2p", "statecharts", "store", "verification")


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_is_imported_from_under_the_one_name(folder: str) -> None:
    """`phasegate.<folder>` lies in the package that `phasegate` itself was imported from."""
    module = importlib.import_module(f"phasegate.{folder}")
    assert module.__file__ is not None
    assert Path(module.__file__).parent == PACKAGE / folder


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_at_the_root_are_linked_into_the_package(folder: str) -> None:
    """In the source tree the package holds a relative link to each folder, so nothing exists twice."""
    if not (ROOT / folder).is_dir():
        pytest.skip("not a source tree: the packages are installed")
    link = ROOT / "phasegate" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..") / folder


def test_no_folder_is_forgotten() -> None:
    """Every folder of the package that holds Python is one that the house plan names."""
    found = {place.parent.name for place in PACKAGE.glob("*/__init__.py")}
    assert found == {*FOLDERS, "cli", "web"}


def test_every_module_can_be_imported() -> None:
    """Each file of the package is a module that imports, wherever it stands."""
    for path in sorted(path for folder in PACKAGE.iterdir() for path in folder.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        if path.name != "__main__.py":
            importlib.import_module(name.removesuffix(".__init__"))


def test_types_are_announced() -> None:
    """The package says that it is typed, for those who use it."""
    assert (PACKAGE / "py.typed").is_file()


def test_the_checkpoints_are_installed() -> None:
    """The lists of both public networks lie beside the module that reads them."""
    for name in ("mainnet", "testnet"):
        lines = (PACKAGE / "consensus" / f"checkpoints_{name}.txt").read_text(encoding="ascii").splitlines()
        assert len(lines) > 100


def test_the_command_is_installed_and_shows_the_version() -> None:
    """`phasegate --help` and `python -m phasegate --help` run from the installed distribution."""
    command = shutil.which("phasegate", path=str(Path(sys.executable).parent))
    assert command is not None
    for words in ([command], [sys.executable, "-m", "phasegate"]):
        done = subprocess.run([*words, "--help"], capture_output=True, text=True, check=True, cwd=PACKAGE.anchor)
        assert "sync" in done.stdout


def test_the_version_is_that_of_the_distribution() -> None:
    """`phasegate.__version__` and the metadata say the same."""
    assert phasegate.__version__ == importlib.metadata.version("phasegate")


def _imported(node: ast.AST) -> Iterator[str]:
    """The packages that are imported in `node`, but for the sake of types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and not child.level:
            yield (child.module or "").partition(".")[0]
        yield from _imported(child)


def _distributions(texts: list[str]) -> set[str]:
    """The names in requirements, as they are compared [PEP 503]."""
    return {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", text)[0]).lower() for text in texts}


def test_tests_import_what_make_test_installs() -> None:
    """What a developer's environment has besides, and be it because something else needs it, others have not."""
    if not (settings := ROOT / "pyproject.toml").is_file():
        pytest.skip("not a source tree: what tests need is not told")
    told = tomllib.loads(settings.read_text(encoding="utf-8"))
    project, groups = told["project"], told["dependency-groups"]
    installed = _distributions([*project["dependencies"], *project["optional-dependencies"]["web"], *groups["test"]])
    known = {*sys.stdlib_module_names, "phasegate", "tests"}
    owners = importlib.metadata.packages_distributions()
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for name in set(_imported(ast.parse(path.read_text(encoding="utf-8")))) - known:
            assert _distributions(owners.get(name, [])) & installed, f"{path.relative_to(ROOT)} imports {name}"
