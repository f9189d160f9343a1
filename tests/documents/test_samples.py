"""The lines that the pages show are lines that the program prints: the same keys, of the same kinds of values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from phasegate.verification.scenario_table import SCENARIOS
from tests.documents.conftest import Reader
from tests.documents.printed import ROOT, Block, printed, some
from tests.documents.shells import bash, running, stopped

LEFT_OUT = "…"
NAME = re.compile(r"[a-z]+(_[a-z]+)*")
VERIFICATION = "docs/verification.md"


def lines_of(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a sample, which may be broken over lines."""
    found, rest = [], text.strip()
    while rest:
        one, end = json.JSONDecoder().raw_decode(rest)
        found.append(one)
        rest = rest[end:].strip()
    return found


def unlike(sample: Any, real: Any) -> str:
    """Where a sample is no picture of what is real, "" if it is one.

    `…` stands for any text, as a key for any further keys, as an item for any further items. What is null in one of the
    two may be anything in the other. Keys that are no names, as scripts and addresses, differ from run to run.
    """
    if isinstance(sample, dict) and isinstance(real, dict):
        return _unlike_keys(sample, real) or _first(sample, real)
    if isinstance(sample, list) and isinstance(real, list):
        pairs = [unlike(one, real[0]) for one in sample if real and one != LEFT_OUT]
        return next(filter(None, pairs), "")
    number = isinstance(sample, int | float) and isinstance(real, int | float)
    same = number or None in (sample, real) or type(sample) is type(real)
    return "" if same else f"{sample!r} in the place of {real!r}"


def _unlike_keys(sample: dict[str, Any], real: dict[str, Any]) -> str:
    shown = {key for key in sample if NAME.fullmatch(key)}
    there = {key for key in real if NAME.fullmatch(key)}
    if shown - there:
        return f"{sorted(shown - there)} are no keys any more"
    return "" if LEFT_OUT in sample or shown == there else f"{sorted(there - shown)} are not shown"


def _first(sample: dict[str, Any], real: dict[str, Any]) -> str:
    other = next((value for key, value in real.items() if not NAME.fullmatch(key)), None)
    pairs = ((key, unlike(value, real.get(key, other))) for key, value in sample.items() if key != LEFT_OUT)
    return next((f"{key}: {told}" for key, told in pairs if told), "")


@printed(some("docs/events.md", "json", '{"event": "summary"'))
def test_the_summary_is_what_a_sync_prints(settled: Reader, blocks: tuple[Block, ...]) -> None:
    """The last line of one with filters, masternodes and found transactions."""
    (sample,) = lines_of(blocks[0].text)
    real = json.loads((settled.home / "sync.jsonl").read_text("utf-8").splitlines()[-1])
    assert unlike(sample, real) == ""


@printed(some("docs/operations.md", "json"))
def test_the_line_of_a_log_is_one(settled: Reader, blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """Of an event; what is in `data` is that event's business."""
    (sample,) = lines_of(blocks[0].text)
    told = {**settled.settings, "PHASEGATE_DATADIR": str(tmp_path)}
    output = bash("phasegate sync --once --log-format json 2>&1 >/dev/null", tmp_path, **told)[1]
    real = [line for line in lines_of(output) if line.get("event") == "transition"]
    assert unlike({**sample, "data": {LEFT_OUT: LEFT_OUT}}, real[0]) == ""
    assert set(sample["data"]) == {"code", "message"}  # as of the warning in docs/cli-events.schema.json


@printed(
    some("docs/simnet.md", "sh", "phasegate simnet --port 0")
    + some("docs/simnet.md", "json", '{"event": "listening", "host"')
)
def test_a_node_says_that_it_listens(blocks: tuple[Block, ...], tmp_path: Path) -> None:
    """In one line; nothing follows it when it is ended."""
    command, sample = blocks
    with running(f"exec {command.text}", tmp_path) as shell:
        assert shell.stdout is not None
        real = json.loads(shell.stdout.readline())
        code, rest = stopped(shell)
    assert (unlike(lines_of(sample.text)[0], real), code, rest) == ("", 0, "")
    assert real["height"] == lines_of(sample.text)[0]["height"]


@printed(some("docs/simnet.md", "json", '{"event": "listening", "…"'))
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
