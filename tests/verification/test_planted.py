"""The planted bugs fit the tree and say which law they break, and the script that plants them judges as it should."""

from __future__ import annotations

import ast
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from phasegate.statecharts import policy_check
from phasegate.statecharts.law import Clause
from phasegate.verification import scripted
from phasegate.verification.articles import Article
from phasegate.verification.simulation import checks

ROOT = Path(__file__).resolve().parent.parent.parent
PATCHES = sorted((ROOT / "tests" / "planted").glob("*.patch"))
FLOORS = ("statecharts", "engine", "store")
NAMED = (
    "outstanding-requests-ignored",
    "watermark-before-write",
    "stale-event-accepted",
    "complete-on-timeout",
    "rollback-forgets-filters",
    "peer-switch-keeps-requests",
)

pytestmark = [
    pytest.mark.skipif(not all((ROOT / floor).is_dir() for floor in FLOORS), reason="no source tree to plant bugs in"),
    pytest.mark.skipif(shutil.which("patch") is None, reason="there is no patch(1) here"),
]


@pytest.fixture(scope="module")
def script() -> Any:
    """`tools/prove-the-proof.py` as a module."""
    spec = spec_from_file_location("prove_the_proof", ROOT / "tools" / "prove-the-proof.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def laws() -> set[str]:
    """Every name under which `phasegate verify` tells that a law is broken."""
    named = {"mutation", *Clause, *(f"journal: {article}" for article in Article)}
    for module in (checks, scripted, policy_check):
        named |= {value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}
    return named


# -- the patches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: patch.stem)
def test_a_planted_bug_fits_the_tree(script: Any, patch: Path, tmp_path: Path) -> None:
    """It applies exactly, what comes out is Python, and the laws that it is to break exist."""
    text = patch.read_text(encoding="utf-8")
    names = [line.split("/", 1)[1] for line in text.splitlines() if line.startswith("--- a/")]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    assert script.planted(patch, tmp_path) == ""
    assert all((tmp_path / name).read_bytes() != (ROOT / name).read_bytes() for name in names)
    assert all(ast.parse((tmp_path / name).read_text(encoding="utf-8")) for name in names)
    assert set(script.breaks(text)) <= laws()
    assert script.breaks(text)
    assert text[0].isupper()


def test_the_named_bugs_are_planted() -> None:
    """The mistakes that a sequential client invites are all among them, and some more."""
    names = [patch.stem.partition("-")[2] for patch in PATCHES]
    assert len(names) >= 10
    assert set(NAMED) <= set(names)
    assert [patch.stem[:2] for patch in PATCHES] == [f"{number:02}" for number in range(1, len(PATCHES) + 1)]


# -- the judgement of the script -------------------------------------------------------------------------------------

VERIFY = """
import json, pathlib, sys
bugs = [word for word in pathlib.Path("engine/bugs.txt").read_text().split() if word != "harmless"]
for law in bugs:
    print(json.dumps({"event": "violation", "law": law, "part": "engine", "text": f"{law} is broken"}))
print(json.dumps({"event": "summary", "violations": len(bugs)}))
sys.exit(1 if bugs else 0)
"""
FAKE = (sys.executable, "-c", VERIFY)


def _patch(breaks: str, *bugs: str, before: str = "") -> str:
    added = "".join(f"+{bug}\n" for bug in bugs)
    removed = f"-{before}\n" if before else ""
    size = 2 + bool(before), 2 + len(bugs)
    head = f"Something is wrong.\n\n{breaks}\n\n--- a/engine/bugs.txt\n+++ b/engine/bugs.txt\n"
    return f"{head}@@ -1,{size[0]} +1,{size[1]} @@\n \n{removed}{added} \n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree whose proof is a list of the laws that are broken in it."""
    for folder in ("engine", "phasegate", "tests/planted"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "engine" / "bugs.txt").write_text("\n\n")
    (tmp_path / "phasegate" / "__init__.py").write_text("")
    (tmp_path / "phasegate" / "engine").symlink_to("../engine")
    return tmp_path


def _plant(tree: Path, **patches: str) -> None:
    for name, text in patches.items():
        (tree / "tests" / "planted" / f"{name}.patch").write_text(text)


def test_a_bug_that_is_found_under_its_law_is_as_it_should_be(
    script: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The law and the violation are told; what is found beside it does not matter."""
    _plant(tree, one=_patch("Breaks: order", "other", "order"), two=_patch("Breaks: truth | order", "order"))
    assert script.main([], FAKE, tree) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in said[:3]] == [["ok", "unpatched"], ["ok", "one"], ["ok", "two"]]
    assert "[order] (engine) order is broken" in said[1]
    assert said[3].startswith("2 of 2 planted bugs found")
    assert (tree / "engine" / "bugs.txt").read_text() == "\n\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (_patch("Breaks: order", "harmless"), "exit code 0, named: none"),
        (_patch("Breaks: order", "other"), "order was to be named, and named: other"),
        (_patch("Breaks: order", "order", before="what is not there"), "the patch does not apply"),
        (_patch("It breaks order", "order"), "no line `Breaks:`"),
    ],
    ids=["passes", "another law", "does not apply", "names no law"],
)
def test_a_bug_that_is_not_found_fails(
    script: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str], text: str, why: str
) -> None:
    """A proof that passes, another law than was told, and a patch that does not fit are failures with a name."""
    _plant(tree, good=_patch("Breaks: order", "order"), odd=text)
    assert script.main(["--jobs", "2"], FAKE, tree) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if " odd " in line)
    assert line.startswith("FAILED")
    assert why in line
    assert script.main(["--only", "good"], FAKE, tree) == 0


def test_a_tree_that_fails_unpatched_fails(script: ModuleType, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If the law is broken without any planted bug, finding it proves nothing."""
    (tree / "engine" / "bugs.txt").write_text("\norder\n\n")
    _plant(tree, one=_patch("Breaks: order", "order", before="order"))
    assert script.main([], FAKE, tree) == 1
    assert "the unpatched tree fails" in capsys.readouterr().out


def test_a_crash_of_the_proof_is_no_finding(script: ModuleType, tree: Path) -> None:
    """An exit code that is neither 0 nor 1 fails, whatever was named before."""
    _plant(tree, one=_patch("Breaks: order", "order"))
    assert script.main([], (sys.executable, "-c", VERIFY.replace("1 if bugs", "2 if bugs")), tree) == 1


def test_another_package_is_not_judged(script: ModuleType, tree: Path) -> None:
    """A copy whose package is not what would be imported is refused."""
    shutil.rmtree(tree / "phasegate")
    _plant(tree, one=_patch("Breaks: order", "order"))
    assert script.main([], FAKE, tree) == 1


def test_nothing_meant_is_an_error(script: ModuleType, tree: Path) -> None:
    """A misspelt name does not pass for a proof."""
    _plant(tree, one=_patch("Breaks: order", "order"))
    assert script.main(["--only", "two"], FAKE, tree) == 1


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_every_planted_bug_is_found(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole of `make prove-the-proof`."""
    code = script.main(["--jobs", "1"])
    assert code == 0, capsys.readouterr().out
