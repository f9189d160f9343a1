"""Runs the tests of the scenarios and tells of each how it went.

pytest does it, in a process of its own, and its JUnit report is the one source of the results. Which tests there are is
read from the files beforehand: a test that has a name and no result (its file does not import, its process died) counts
as failed, so nothing is passed by not having been run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import attrs

from phasegate.verification.scenario_table import SCENARIOS, Scenario

__all__ = ["SCENARIOS", "Outcome", "Scenario", "ScenarioResult", "ScenariosMissing", "default_tests", "run_scenarios"]

FOLDER = Path("tests") / "field_bugs"
_DEFINED = re.compile(r"^ *(?:async +)?def +(test_a?\d\d_\w+) *\(", re.MULTILINE)
_TOLD = re.compile(r"(test_a?\d\d_\w+\S*)")
_WORDS = ("PASSED", "FAILED", "ERROR", "SKIPPED", "XFAIL", "XPASS")
_LAST_LINES = 15


class Outcome(StrEnum):
    """How a scenario went."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    MISSING = "missing"
    PENDING = "pending"


class ScenariosMissing(Exception):
    """The tests are not there, or cannot be run here; the text says what to do."""


@attrs.frozen
class ScenarioResult:
    """How one scenario went.

    Args:
        scenario: which one.
        outcome: passed if a test ran and none failed; skipped if there are tests and none ran.
        tests: the names of its test functions.
        cases: how many cases of these ran, skipped ones not counted.
        seconds: how long these took.
        reason: why it failed, or was skipped, in a line.
    """

    scenario: Scenario
    outcome: Outcome
    tests: tuple[str, ...] = ()
    cases: int = 0
    seconds: float = 0.0
    reason: str = ""


@attrs.frozen
class Case:
    """One case of one test, as reported."""

    function: str
    outcome: Outcome
    seconds: float
    reason: str = ""


def default_tests() -> Path:
    """The folder of the tests: in the source tree that the package is linked from, else under the current directory.

    Raises:
        ScenariosMissing: neither has it.
    """
    for root in (Path(__file__).resolve().parent.parent, Path.cwd()):
        if (root / FOLDER).is_dir():
            return root / FOLDER
    raise ScenariosMissing(f"the scenarios are tests of the source tree, and no {FOLDER} is here: {_HINT}")


_HINT = "give the folder with --tests DIR"


def run_scenarios(
    tests: Path,
    progress: Callable[[str], None] | None = None,
    *,
    scenarios: Sequence[Scenario] = SCENARIOS,
    jobs: int | None = None,
) -> tuple[ScenarioResult, ...]:
    """Run the tests of all scenarios that stand in the folder `tests`.

    Args:
        tests: a folder of test files.
        progress: called with the name of each case that is finished, and how it went.
        scenarios: which ones.
        jobs: processes to use if pytest-xdist is installed; None: one for each processor.

    Raises:
        ScenariosMissing: there is no such test, or pytest cannot run them.
    """
    names = _names_in(tests)
    wanted = {scenario: tuple(filter(_begins_with(scenario), names)) for scenario in scenarios}
    if not any(wanted.values()):
        raise ScenariosMissing(f"{tests} holds no test of a scenario: {_HINT}")
    if find_spec("pytest") is None:
        raise ScenariosMissing("the scenarios are run by pytest, which is not installed: pip install --group test")
    prefixes = [scenario.prefix for scenario, found in wanted.items() if found]
    cases = _run(tests.resolve(), prefixes, progress, jobs)
    return tuple(_judge(scenario, found, cases) for scenario, found in wanted.items())


def _begins_with(scenario: Scenario) -> Callable[[str], bool]:
    return lambda name: name.startswith(scenario.prefix)


def _names_in(tests: Path) -> tuple[str, ...]:
    """The names of all test functions that could belong to a scenario, each once."""
    try:
        texts = [path.read_text(encoding="utf-8") for path in sorted(tests.rglob("test_*.py"))]
    except (OSError, UnicodeDecodeError) as error:
        raise ScenariosMissing(f"{tests} cannot be read: {error}") from error
    return tuple(dict.fromkeys(name for text in texts for name in _DEFINED.findall(text)))


def _run(
    tests: Path, prefixes: Sequence[str], progress: Callable[[str], None] | None, jobs: int | None
) -> dict[str, list[Case]]:
    """The reported cases by test function."""
    with tempfile.TemporaryDirectory(prefix="phasegate-scenarios-") as place:
        report = Path(place) / "report.xml"
        said = _call_pytest([str(tests), *_options(report, prefixes, jobs)], _root_of(tests), progress)
        try:
            root = ElementTree.parse(report).getroot()  # noqa: S314 - pytest wrote it a moment ago
        except (OSError, ElementTree.ParseError) as error:
            end = " | ".join(said[-_LAST_LINES:])
            raise ScenariosMissing(f"pytest did not run the tests in {tests}; it said: {end}") from error
    return _by_function(map(_case, root.iter("testcase")))


def _options(report: Path, prefixes: Sequence[str], jobs: int | None) -> list[str]:
    options = ["-v", "-p", "no:cacheprovider", "--continue-on-collection-errors", f"--junit-xml={report}"]
    options += ["-o", "junit_family=xunit2", "-k", " or ".join(prefixes)]
    if find_spec("xdist") is not None:
        options += ["-n", str(jobs or _processors()), "--dist", "loadfile"]
    return options


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _root_of(tests: Path) -> Path:
    """The folder from which the tests import each other: where the project file stands, else their own."""
    return next((folder for folder in tests.parents if (folder / "pyproject.toml").is_file()), tests)


def _call_pytest(arguments: Sequence[str], root: Path, progress: Callable[[str], None] | None) -> list[str]:
    """Run pytest; what it said, line by line."""
    said: list[str] = []
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    with subprocess.Popen(  # noqa: S603 - this interpreter, on files that were named to us
        [sys.executable, "-m", "pytest", *arguments],
        cwd=root,
        env=own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stdout or ():
                said.append(line.rstrip())
                if progress is not None and (told := _told(line)):
                    progress(told)
        except BaseException:
            process.kill()
            raise
    return [line for line in said if line]


def _told(line: str) -> str:
    """The name and the outcome of a case that a line of `pytest -v` tells of, "" if it tells of none."""
    word = next((word for word in _WORDS if f" {word}" in line), "")
    found = _TOLD.search(line.partition("::")[2])
    return f"{found[1]} {word.lower()}" if word and found else ""


def _case(element: ElementTree.Element) -> Case:
    function = element.get("name", "").partition("[")[0]
    parts = {part.tag: part for part in element}
    seconds = _number(element.get("time", ""))
    for tag in ("failure", "error"):
        if tag in parts:
            return Case(function, Outcome.FAILED, seconds, f"{element.get('name')}: {_first_line(parts[tag])}")
    if "skipped" in parts:
        return Case(function, Outcome.SKIPPED, seconds, _first_line(parts["skipped"]))
    return Case(function, Outcome.PASSED, seconds)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _first_line(part: ElementTree.Element) -> str:
    text = part.get("message") or part.text or ""
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason is told")


def _by_function(cases: Iterable[Case]) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(case.function, []).append(case)
    return found


def _judge(scenario: Scenario, names: tuple[str, ...], cases: Mapping[str, list[Case]]) -> ScenarioResult:
    if not names:
        return ScenarioResult(scenario, Outcome.PENDING if scenario.pending else Outcome.MISSING)
    mine = [case for name in names for case in cases.get(name, ())]
    failed = [f"{name}: it did not run" for name in names if name not in cases]
    failed += [case.reason for case in mine if case.outcome is Outcome.FAILED]
    skipped = [case.reason for case in mine if case.outcome is Outcome.SKIPPED]
    ran = len(mine) - len(skipped)
    outcome = Outcome.FAILED if failed else Outcome.PASSED if ran else Outcome.SKIPPED
    reason = "" if outcome is Outcome.PASSED else [*failed, *skipped][0]
    return ScenarioResult(scenario, outcome, names, ran, sum(case.seconds for case in mine), reason)
