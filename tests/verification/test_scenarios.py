"""The runner of the scenarios, with tests that are written for it: it tells apart what pytest tells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer

from phasegate.cli.scenarios import show_scenarios
from phasegate.verification import scenarios
from phasegate.verification.scenarios import (
    Outcome,
    Scenario,
    ScenarioResult,
    ScenariosMissing,
    default_tests,
    run_scenarios,
)

FILES = {
    "test_good.py": """
def test_01_holds():
    pass


class TestMore:
    def test_01_holds_in_a_class_too(self):
        pass
""",
    "test_mixed.py": """
import pytest


@pytest.mark.parametrize("number", [1, 2, 3])
def test_02_fails_for_one(number):
    assert number != 2, "two is\\nwrong"


def test_02_holds():
    pass


@pytest.mark.parametrize("there", [True, False])
def test_03_is_skipped_in_part(there):
    if not there:
        pytest.skip("no data")


def test_04_is_skipped():
    pytest.skip("no data at all")


@pytest.fixture
def broken():
    raise RuntimeError("the fixture breaks")


def test_05_cannot_begin(broken):
    pass


def test_a01_a_finding():
    pass


def test_012_is_no_scenario():
    assert False


def test_without_a_number():
    assert False
""",
    "test_not_importable.py": """
import nothing_of_this_name


def test_06_never_runs():
    pass
""",
}

TABLE = (
    *[Scenario(number, f"What {number} holds") for number in ("A1", "1", "2", "3", "4", "5", "6", "8", "12")],
    Scenario("9", "What comes later", pending="6/6"),
)


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What the runner said meanwhile."""
    return []


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> dict[str, ScenarioResult]:
    """One run over all the files."""
    place = tmp_path_factory.mktemp("tests")
    for name, text in FILES.items():
        (place / name).write_text(text)
    found = run_scenarios(place, told.append, scenarios=TABLE, jobs=1)
    assert [result.scenario for result in found] == list(TABLE)
    return {result.scenario.id: result for result in found}


@pytest.mark.parametrize(
    ("number", "outcome", "cases", "reason"),
    [
        ("A1", Outcome.PASSED, 1, ""),
        ("1", Outcome.PASSED, 2, ""),
        ("2", Outcome.FAILED, 4, "test_02_fails_for_one[2]: AssertionError: two is"),
        ("3", Outcome.PASSED, 1, ""),
        ("4", Outcome.SKIPPED, 0, "no data at all"),
        ("5", Outcome.FAILED, 1, "the fixture breaks"),
        ("6", Outcome.FAILED, 0, "test_06_never_runs: it did not run"),
        ("8", Outcome.MISSING, 0, ""),
        ("9", Outcome.PENDING, 0, ""),
        ("12", Outcome.MISSING, 0, ""),
    ],
)
def test_each_outcome_is_told_apart(
    results: dict[str, ScenarioResult], number: str, outcome: Outcome, cases: int, reason: str
) -> None:
    """Passed, failed, skipped, missing and pending; what did not run at all has failed."""
    result = results[number]
    assert (result.outcome, result.cases) == (outcome, cases)
    assert reason in result.reason
    assert bool(reason) == bool(result.reason)
    assert "\n" not in result.reason


def test_names_and_times_are_told(results: dict[str, ScenarioResult]) -> None:
    """Of each scenario its tests by name, and how long they took."""
    assert results["1"].tests == ("test_01_holds", "test_01_holds_in_a_class_too")
    assert results["2"].tests == ("test_02_fails_for_one", "test_02_holds")
    assert results["8"].tests == ()
    assert all(0.0 <= result.seconds < 10.0 for result in results.values())


def test_progress_is_told(results: dict[str, ScenarioResult], told: list[str]) -> None:
    """Each finished case, with how it went."""
    assert results
    assert "test_02_fails_for_one[2] failed" in told
    assert "test_03_is_skipped_in_part[True] passed" in told
    assert sum(name.startswith("test_02_fails") for name in told) == 3
    assert not [name for name in told if "012" in name or "without" in name]


@pytest.mark.parametrize("file", [None, "test_other.py"])
def test_without_any_test_it_is_said_what_to_do(tmp_path: Path, file: str | None) -> None:
    """An empty folder, one without such tests, one that is not there."""
    if file:
        (tmp_path / file).write_text("def test_something():\n    pass\n")
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ScenariosMissing, match="give the folder with --tests DIR"):
            run_scenarios(place, scenarios=TABLE)


def test_a_pytest_that_does_not_begin_is_an_error_with_its_words(tmp_path: Path) -> None:
    """Not a table of failures that nobody had."""
    (tmp_path / "test_some.py").write_text("def test_01_holds():\n    pass\n")
    (tmp_path / "conftest.py").write_text("raise RuntimeError('this tree is broken')\n")
    with pytest.raises(ScenariosMissing, match="this tree is broken"):
        run_scenarios(tmp_path, scenarios=TABLE, jobs=1)


def test_without_pytest_it_is_said_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no dependency of the client."""
    (tmp_path / "test_some.py").write_text("def test_01_holds():\n    pass\n")
    monkeypatch.setattr(scenarios, "find_spec", lambda _: None)
    with pytest.raises(ScenariosMissing, match="pytest, which is not installed"):
        run_scenarios(tmp_path, scenarios=TABLE)


def test_the_tests_are_found_from_the_source_tree_or_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package has none beside it: then it is the current directory, and then the words for it."""
    module = tmp_path / "site-packages" / "phasegate" / "verification" / "scenarios.py"
    monkeypatch.setattr(scenarios, "__file__", str(module))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ScenariosMissing, match="give the folder with --tests DIR"):
        default_tests()
    (tmp_path / "tests" / "field_bugs").mkdir(parents=True)
    assert default_tests() == tmp_path / "tests" / "field_bugs"
    (tmp_path / "site-packages" / "tests" / "field_bugs").mkdir(parents=True)
    assert default_tests() != tmp_path / "site-packages" / "tests" / "field_bugs"


# -- what is shown --------------------------------------------------------------------------------------------------

SHOWN = (
    ScenarioResult(Scenario("A1", "One holds"), Outcome.PASSED, ("test_a01_one",), 3, 0.44),
    ScenarioResult(Scenario("2", "Two [holds]"), Outcome.PASSED, ("test_02_two",), 1, 1.26),
    ScenarioResult(Scenario("33", "Three holds", pending="6/6"), Outcome.PENDING),
)
WRONG = (
    ScenarioResult(Scenario("4", "Four holds"), Outcome.FAILED, ("test_04_x",), 1, 0.0, "test_04_x: [no]"),
    ScenarioResult(Scenario("5", "Five holds"), Outcome.MISSING),
)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[ScenarioResult]:
    """What the runner finds."""
    found = list(SHOWN)

    def run(tests: Path, progress: object) -> Sequence[ScenarioResult]:
        return tuple(found)

    monkeypatch.setattr(scenarios, "run_scenarios", run)
    return found


def test_the_table_has_a_line_for_each(given: list[ScenarioResult], capsys: pytest.CaptureFixture[str]) -> None:
    """Number, outcome, how many tests, how long, and what has to hold; all is well."""
    assert show_scenarios(Path(), as_json=False)
    first, second, third, last = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert first == "A1 passed 3 tests 0.4 s One holds"
    assert second == "2 passed 1 test 1.3 s Two [holds]"
    assert third == "33 pending: 6/6 Three holds"
    assert last == "3 scenarios: 2 passed, 1 pending; 4 tests, 1.7 s"


@pytest.mark.parametrize("wrong", WRONG)
def test_one_that_failed_or_is_missing_is_not_well(
    given: list[ScenarioResult], capsys: pytest.CaptureFixture[str], wrong: ScenarioResult
) -> None:
    """The reason stands below its title."""
    given.append(wrong)
    assert not show_scenarios(Path(), as_json=False)
    assert wrong.reason in capsys.readouterr().out


def test_json_lines_are_of_the_schema(given: list[ScenarioResult], capsys: pytest.CaptureFixture[str]) -> None:
    """One for each scenario, then the sum; `violations` counts what failed or is missing."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(__file__).parent.parent.parent / "docs" / "cli-events.schema.json").read_text())
    given.extend(WRONG)
    assert not show_scenarios(Path(), as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for line in lines:
        jsonschema.validate(line, schema)
    assert [line.get("id") for line in lines] == ["A1", "2", "33", "4", "5", None]
    assert [line.get("outcome") for line in lines[:5]] == ["passed", "passed", "pending", "failed", "missing"]
    assert (lines[0]["tests"], lines[0]["cases"], lines[0]["seconds"]) == (["test_a01_one"], 3, 0.44)
    assert (lines[-1]["passed"], lines[-1]["violations"], lines[-1]["part"]) == (2, 2, "scenarios")


def test_without_tests_the_command_ends_with_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, as for any wrong argument, and what to do."""
    with pytest.raises(typer.Exit) as ended:
        show_scenarios(tmp_path, as_json=False)
    assert ended.value.exit_code == 2
    assert "--tests DIR" in capsys.readouterr().err
