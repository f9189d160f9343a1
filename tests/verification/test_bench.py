"""The benchmarks: figures and baselines, and a whole client that is measured on a bulk chain."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from phasegate.consensus import filter_kernel
from phasegate.engine.interpreter import Interpreter
from phasegate.p2p.simnet.bulk_chain import BulkChain
from phasegate.p2p.simnet.bulk_files import made
from phasegate.p2p.simnet.bulk_node import AT_ONCE, serve
from phasegate.p2p.simnet.bulk_plan import BulkPlan
from phasegate.verification.bench import BENCHMARKS, ChildFailed, Stage
from phasegate.verification.bench.baseline import TOLERANCE, BadBaseline, compared, record
from phasegate.verification.bench.figures import alternately, at_least, at_most, per_item
from phasegate.verification.bench.filters import Bare, filter_headers
from phasegate.verification.bench.headers import stretch
from phasegate.verification.bench.measured import Task, measured
from phasegate.verification.bench.peer import (
    Peer,
    asks_blocks,
    asks_filter_headers,
    asks_filters,
    asks_headers,
    drained,
)
from phasegate.verification.bench.stage import Sizes

PLAN = BulkPlan(1_200, filters=300, matched=25, elements=20, transactions=3, known_every=300)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the chains of these tests are kept."""
    return tmp_path_factory.mktemp("bulk")


@pytest.fixture(scope="module")
def chain(cache: Path) -> BulkChain:
    """One small chain."""
    return BulkChain.open(PLAN, made(PLAN, cache))


@pytest.fixture(scope="module")
def node(chain: BulkChain) -> Iterator[Peer]:
    """A bulk node in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(chain, AT_ONCE, listener), daemon=True).start()
        yield Peer("127.0.0.1", listener.getsockname()[1], (None, None))  # type: ignore[arg-type]  # nobody asks it
        listener.shutdown(socket.SHUT_RDWR)


def test_every_benchmark_says_what_it_measures() -> None:
    assert all(benchmark.__doc__ for benchmark in BENCHMARKS.values())


@pytest.mark.parametrize(("ratio", "least", "most"), [(0.9, True, True), (1.0, True, True), (1.1, True, False)])
def test_bounds_hold_at_the_bound(ratio: float, least: bool, most: bool) -> None:
    """At least 0.9, and at most 1.0; without a bound everything is kept."""
    assert at_least("a", ratio, 0.9, "", "").kept is least
    assert at_most("a", ratio, 1.0, "", "").kept is most
    assert at_least("a", 0.0, None, "", "").kept


def test_figures_are_told_in_fitting_units() -> None:
    """Seconds an item, and items a second."""
    assert per_item(0.012, 1000, "header") == "12.00 µs a header (83,333/s)"
    assert per_item(1, 100, "block") == "10.00 ms a block (100/s)"
    assert per_item(10, 5, "list") == "2.00 s a list (0/s)"


def test_tasks_take_turns() -> None:
    """And the median of each counts."""
    order, ticks = list[str](), iter([0, 1, 1, 3, 3, 8, 8, 9, 9, 12, 12, 30])
    times = alternately(3, lambda: order.append("a"), lambda: order.append("b"), clock=lambda: float(next(ticks)))
    assert order == ["a", "b"] * 3
    assert times == [3.0, 2.0]


def test_a_baseline_holds_ratios_only(tmp_path: Path) -> None:
    """Within the tolerance a figure passes; seconds are not recorded, and new figures pass."""
    file = tmp_path / "baseline.json"
    figures = [at_least("fast", 0.9, None, "", ""), at_most("small", 2.0, None, "", "")]
    record(file, [*figures, at_most("seconds", 1.0, None, "", "", guarded=False)], quick=True)
    assert json.loads(file.read_text()) == {"quick": True, "ratios": {"fast": 0.9, "small": 2.0}}
    assert compared(file, [*figures, at_least("new", 0.1, None, "", "")], quick=True) == []
    at_limit = [attrs.evolve(figures[0], ratio=0.9 * (1 - TOLERANCE) + 1e-9), attrs.evolve(figures[1], ratio=0.1)]
    assert compared(file, at_limit, quick=True) == []
    worse = [attrs.evolve(figures[0], ratio=0.9 * (1 - TOLERANCE) - 1e-9), attrs.evolve(figures[1], ratio=2.8)]
    assert [(one.name, one.baseline) for one in compared(file, worse, quick=True)] == [("fast", 0.9), ("small", 2.0)]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"quick": true}', '{"quick": true, "ratios": {"a": "b"}}'])
def test_other_files_are_no_baseline(tmp_path: Path, text: str) -> None:
    """Nor is one of longer chains for a run of short ones."""
    file = tmp_path / "baseline.json"
    file.write_text(text)
    with pytest.raises(BadBaseline, match="is no baseline"):
        compared(file, [], quick=True)
    record(file, [], quick=False)
    with pytest.raises(BadBaseline, match="of long chains"):
        compared(file, [], quick=True)


def test_a_client_syncs_a_bulk_chain_through_all_its_phases(cache: Path, tmp_path: Path, node: Peer) -> None:
    """It finds the plan's balances, its phases and charts are measured, and the interpreter is as it was before."""
    before = vars(Interpreter)["_dispatch"]
    task = Task(attrs.asdict(PLAN), str(cache), (node.port,), str(tmp_path), filters=True, config={"check_facts": True})
    result = measured(task)
    assert (result.tip, result.found) == (PLAN.headers, True)
    assert result.items["headers"] == PLAN.headers
    assert result.items["filters"] == PLAN.filters
    assert result.items["blocks"] >= PLAN.matched
    assert 0 < result.charts < result.cpu
    assert result.peak >= result.at_start > 0
    assert vars(Interpreter)["_dispatch"] is before
    again = measured(attrs.evolve(task, rescans=(1, 3), profile=True))
    assert again.found
    assert len(again.rescans) == 2
    assert all(seconds > 0 for seconds in again.rescans)
    assert "function calls" in again.profile
    assert measured(attrs.evolve(task, datadir=str(tmp_path / "other"), until="headers")).found is None


def test_clients_and_peers_have_processes_of_their_own(cache: Path, tmp_path: Path) -> None:
    """What they took is told; one that fails is told by the last line that it said."""
    stage = Stage(cache, tmp_path, warm=True)
    with stage.peers(PLAN) as peers:
        result = stage.client(PLAN, peers)
        assert (result.tip, list(result.phases)) == (PLAN.headers, ["headers"])
        assert peers[0].cpu() > 0
    with pytest.raises(ChildFailed, match="nonsense"):
        stage.client(PLAN, [], config={"nonsense": 1})


def test_a_peer_can_be_drained(chain: BulkChain, node: Peer) -> None:
    """Of everything that it has, to the last byte."""
    asked = [*asks_headers(chain), *asks_filter_headers(chain), *asks_filters(chain), *asks_blocks(chain)]
    assert drained(node, chain, asked) > 0


def test_the_kernel_alone_does_the_work_of_matching(cache: Path) -> None:
    """It is called with what `match_filters` makes of filters and scripts, and is in its place again afterwards."""
    kernel, plan = filter_kernel.match_all, BulkPlan(1_100, filters=1_000, elements=20)
    bare = Bare.of(BulkChain.open(plan, made(plan, cache)), plan.scripts("strangers", 2), 5_000)
    bare.run(2)
    assert (len(bare.calls), bare.filters) == (1, 1000)
    assert filter_kernel.match_all is kernel


def test_short_benchmarks_run_on_short_chains(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that need no process of their own."""
    monkeypatch.setattr("phasegate.verification.bench.stage.QUICK", Sizes(PLAN, PLAN, PLAN, PLAN))
    monkeypatch.setenv("PHASEGATE_VECTORS", str(tmp_path))
    stage = Stage(cache, tmp_path, quick=True, rounds=1)
    part = stretch(stage)
    assert (part.count, part.source) == (PLAN.headers, "headers of a bulk chain")
    part.judge()
    (figure,) = filter_headers(stage)
    assert figure.ratio > 0
    assert stage.x11_seconds() > 0
    assert stage.x11_seconds(2) > 0
    assert stage.bound(0.5) is None


def test_real_headers_are_judged_where_they_are(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under all rules of mainnet, the first ones being the context of the others."""
    monkeypatch.setenv("PHASEGATE_VECTORS", str(shared))
    part = stretch(Stage(tmp_path, tmp_path, quick=True))
    assert (part.count, part.tip.height) == (4975, 1737108)
    part.judge()
