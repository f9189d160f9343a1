"""The one import name holds every folder, in the source tree and in an installed wheel alike."""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
import subprocess
import sys
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
