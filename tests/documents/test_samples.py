"""The lines that the pages show are lines that the program prints: the same keys, of the same kinds of values."""

from __future__ import annotations

import json
import re
from pathlib import Path

from phasegate.verification.scenario_table import SCENARIOS
from tests.documents.printed import ROOT, Block, printed, some
from tests.documents.sample_lines import lines_of, unlike
from tests.documents.shells import running, stopped

SIMNET, VERIFICATION = "docs/simnet.md", "docs/verification.md"


@printed(some(SIMNET, "sh", "phasegate simnet --port 0") + some(SIMNET, "json", '{"event": "listening", "host"'))
def test_a_node_says_that_it_listens(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """In one line; nothing follows it when it is ended."""
    command, sample = blocks
    with running(f"exec {command.text}", tmp_path) as shell:
        assert shell.stdout is not None
        real = json.loads(shell.stdout.readline())
        code, rest = stopped(shell)
    assert (unlike(lines_of(sample.text)[0], real), code, rest) == ("", 0, "")
    assert real["height"] == lines_of(sample.text)[0]["height"]


@printed(some(SIMNET, "json", '{"event": "listening", "…"'))
def test_an_internet_says_so_and_tells_of_its_lies(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """In its first line and its last one."""
    first, last = lines_of(blocks[0].text)
    with running("exec phasegate simnet --internet --blocks 60 --seed 3 --port 29877", tmp_path) as shell:
        assert shell.stdout is not None
        real = json.loads(shell.stdout.readline())
        rest = stopped(shell)[1]
    assert unlike(first, real) == ""
    assert unlike(last, json.loads(rest)) == ""


@printed(some(VERIFICATION, "text", "$ phasegate verify --scenarios"))
def test_the_listed_scenarios_are_those_of_the_table(blocks: tuple[Block, ...]) -> None:
    """By their ids and titles, and as many."""
    told = re.findall(r"^(\w+) +passed +\d+ tests +[\d.]+ s  (.+)$", blocks[0].text, re.MULTILINE)
    assert len(told) == 3
    assert set(told) <= {(scenario.id, scenario.title) for scenario in SCENARIOS}
    assert f"\n{len(SCENARIOS)} scenarios: {len(SCENARIOS)} passed; ..." in blocks[0].text


@printed(some(VERIFICATION, "text", "$ make prove-the-proof"))
def test_the_listed_mistakes_are_planted(blocks: tuple[Block, ...]) -> None:
    """By their names, and as many; to plant them all takes `make prove-the-proof` twenty minutes."""
    planted = sorted(patch.stem for patch in (ROOT / "tests" / "planted").glob("*.patch"))
    told = re.findall(r"^ok +(\d\S+) ", blocks[0].text, re.MULTILINE)
    assert told == [*planted[:2], planted[-1]]
    assert f"\n{len(planted)} of {len(planted)} planted bugs found" in blocks[0].text


def test_a_sample_that_is_none_is_told() -> None:
    """A key too many, one too few, another kind of value."""
    real = {"a": 1, "b": {"yAddress": [{"c": "x"}]}}
    assert unlike({"a": 2.5, "b": {"yOther": [{"c": "…"}]}}, real) == ""
    assert unlike({"a": 2, "…": "…"}, real) == ""
    assert unlike({"a": None, "b": None}, real) == ""
    for wrong in ({"a": 1}, {"a": 1, "b": {}, "d": 1}, {"a": "1", "b": {}}, {"a": 1, "b": {"yOther": [{"d": "x"}]}}):
        assert unlike(wrong, real) != ""
