"""`phasegate bench`: what it measures really holds, and a broken bound is exit 1."""

from __future__ import annotations

import json

import attrs
import pytest
import typer
from typer.testing import CliRunner

from phasegate.cli import bench as command
from phasegate.cli.bench import CHAINLOCK, CYCLE, LIST, NEW_CYCLE, VERIFICATION, measure
from phasegate.cli.bench_data import BenchData
from phasegate.consensus.faults import PeerMisbehaved


@pytest.fixture(scope="module")
def data() -> BenchData:
    """A smaller network, with quorums of the real size."""
    return BenchData.make(300)


def test_the_data_are_the_same_every_time_and_hold(data: BenchData) -> None:
    """Every task runs without complaint."""
    assert BenchData.make(300) == data
    for task in (data.verify_bare, data.verify_chainlock, data.check_cycle, data.hash_list, data.check_list):
        task()


def test_the_tasks_check_what_they_say(data: BenchData) -> None:
    """With anything wrong in the data they fail."""
    key, message, signature = data.bare
    with pytest.raises(ValueError, match="do not hold"):
        attrs.evolve(data, bare=(key, message[::-1], signature)).verify_bare()
    with pytest.raises(PeerMisbehaved):
        attrs.evolve(data, lock=attrs.evolve(data.lock, height=1)).verify_chainlock()
    with pytest.raises(PeerMisbehaved):
        attrs.evolve(data, rotated=data.rotated[::-1]).check_cycle()
    with pytest.raises(PeerMisbehaved):
        attrs.evolve(data, header=data.header[:79] + b"\1").check_list()


def test_every_check_has_its_cost(data: BenchData) -> None:
    costs = {cost.check: cost for cost in measure(data, 1)}
    assert list(costs) == [CHAINLOCK, CYCLE, NEW_CYCLE, LIST]
    assert all(cost.seconds > 0 and cost.multiple > 0 for cost in costs.values())
    assert {name: cost.bound for name, cost in costs.items()} == {CHAINLOCK: 3, CYCLE: 150, NEW_CYCLE: None, LIST: 8}
    assert "32 commitments x 60 members" in costs[CYCLE].size


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch, data: BenchData) -> dict[str, tuple[str, float | None]]:
    """The bounds that the command holds itself to, to be changed."""
    changed: dict[str, tuple[str, float | None]] = {name: (unit, None) for name, (unit, _) in command.BOUNDS.items()}
    monkeypatch.setattr(command, "BOUNDS", changed)
    monkeypatch.setattr("phasegate.cli.bench_data.BenchData.make", lambda: data)
    return changed


@pytest.mark.parametrize(("bound", "code"), [(1e9, 0), (1e-9, 1)])
def test_a_broken_bound_is_exit_1(bounds: dict[str, tuple[str, float | None]], bound: float, code: int) -> None:
    """As a table and as lines."""
    bounds[CHAINLOCK] = (VERIFICATION, bound)
    app = typer.Typer()
    app.command()(command.bench)
    for words in (["--rounds", "1"], ["--rounds", "1", "--json"]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == code
    last = json.loads(result.stdout.splitlines()[-1])
    assert (last["event"], last["kept"]) == ("summary", code == 0)
