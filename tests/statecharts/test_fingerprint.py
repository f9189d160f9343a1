"""The fingerprint of a chart: the same wherever it is taken, another as soon as the chart says anything else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import islice
from typing import Any

import attrs
import pytest
from statemachine import State

from phasegate.statecharts import mutate
from phasegate.statecharts.anatomy import Anatomy, build, read
from phasegate.statecharts.catalogue import Ruled
from phasegate.statecharts.chart import Chart
from phasegate.statecharts.fingerprint import canonical, fingerprint
from phasegate.statecharts.mutate import Mutant
from phasegate.statecharts.sync import SyncChart


class Kettle(Chart[Any]):
    """A chart with one of everything."""

    cold = State("Cold", initial=True, exit="plug_in")

    class on(State.Compound, name="On"):
        heating = State("Heating", initial=True, enter="heat")
        hot = State("Hot")

    off = State("Off", final=True)

    start = cold.to(on)
    tick = on.heating.to(on.hot, cond=["boiling", "!leaking"], on="whistle") | on.to(off, cond="leaking")


TEXT = """\
state /cold initial exit=plug_in
state /on
state /on/heating initial entry=heat
state /on/hot
state /off final
move cold start on
move on tick off if=leaking
move heating tick hot if=boiling,!leaking do=whistle
"""


def test_the_text_is_a_line_a_fact() -> None:
    """Nesting, first and final states, actions, guards and order are in it; the number is its SHA-256."""
    assert canonical(read(Kettle)) == TEXT
    assert fingerprint(Kettle) == sha256(TEXT.encode("ascii")).hexdigest()


@pytest.mark.parametrize("seed", ["0", "1", "4711"])
def test_it_is_the_same_in_every_process(seed: str) -> None:
    """Whatever the hash seed is."""
    code = (
        "from phasegate.statecharts.fingerprint import fingerprint\n"
        "from phasegate.statecharts.sync import SyncChart\n"
        "print(fingerprint(SyncChart))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == fingerprint(SyncChart)


KINDS = (
    mutate.without_guard,
    mutate.with_guard_negated,
    mutate.without_arrow,
    mutate.with_other_target,
    mutate.with_priority_swapped,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_mutant_has_another(anatomy: Anatomy, kind: Callable[[Anatomy], Iterator[Mutant]]) -> None:
    """No guard, target or priority can change and the fingerprint stay."""
    texts = [canonical(mutant.anatomy) for mutant in islice(kind(anatomy), 300)]
    assert canonical(anatomy) not in texts
    assert len(set(texts)) == len(texts)


def test_a_chart_built_from_the_tables_has_the_same(ruled: Ruled, anatomy: Anatomy) -> None:
    """It is taken of the tables, not of the class."""
    assert fingerprint(build(anatomy)) == fingerprint(ruled.chart)


def test_what_is_only_shown_does_not_count(anatomy: Anatomy) -> None:
    """Another class name and other names for the states leave it as it is; another action does not."""
    first, *others = anatomy.boxes
    renamed = attrs.evolve(anatomy, name="Other", boxes=(attrs.evolve(first, name="Beginning"), *others))
    assert canonical(renamed) == canonical(anatomy)
    acting = attrs.evolve(anatomy, boxes=(attrs.evolve(first, entry=("sing",)), *others))
    assert canonical(acting) != canonical(anatomy)
