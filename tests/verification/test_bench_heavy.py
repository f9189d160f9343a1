"""The data of the heavy checks: made from a seed, true, and refused when anything of them is changed."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from phasegate.consensus.faults import PeerMisbehaved
from phasegate.verification.bench import heavy
from phasegate.verification.bench.heavy_data import BenchData
from phasegate.verification.bench.stage import Stage


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


def test_every_check_has_its_figure(data: BenchData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In multiples of its unit, with the bound it has to keep."""
    monkeypatch.setattr(heavy, "data", lambda: data)
    stage = Stage(tmp_path, tmp_path, rounds=1)
    figures = [*heavy.chainlock(stage), *heavy.rotation(stage), *heavy.masternode_list(stage)]
    assert {figure.name: figure.bound for figure in figures} == {
        "chainlock": 3,
        "rotation": 150,
        "rotation-new-keys": None,
        "masternode-list": 8,
    }
    assert all(figure.ratio > 0 and figure.at_most and figure.guarded for figure in figures)
    assert "32 commitments x 60 members" in figures[1].measured
