"""A chart's fingerprint: one number for all that it says, so that a journal tells which chart wrote it.

It is the SHA-256 of a canonical text, a line a fact, in document order: each state with those around it, whether it is
initial, final or parallel, and its entry and exit actions; each transition with source, event, guards, target and
actions. Order counts, since among equal sources it is priority. What is only shown does not count: the names that
people see, the name of the class, docstrings. Nothing in the text depends on a process, a hash seed or a version of
Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from phasegate.statecharts.anatomy import Anatomy, Arrow, Box, read
from phasegate.statecharts.chart import Chart


def fingerprint(chart: type[Chart[Any]]) -> str:
    """The fingerprint of a chart class, 64 hex digits.

    Raises:
        ValueError: if the chart uses what no chart here uses (see `anatomy`).
    """
    return sha256(canonical(read(chart)).encode()).hexdigest()


def canonical(anatomy: Anatomy) -> str:
    """The text that the fingerprint is taken of."""
    states = [line for box in anatomy.boxes for line in _states(box, "")]
    return "".join(f"{line}\n" for line in [*states, *map(_move, anatomy.arrows)])


def _states(box: Box, around: str) -> Iterator[str]:
    path = f"{around}/{box.id}"
    marks = [mark for mark in ("initial", "final", "parallel") if getattr(box, mark)]
    yield " ".join(["state", path, *marks, *_list("entry", box.entry), *_list("exit", box.exit)])
    for inner in box.inside:
        yield from _states(inner, path)


def _move(arrow: Arrow) -> str:
    parts = [*_list("if", arrow.guards), *_list("do", arrow.actions)]
    return " ".join(["move", arrow.source, arrow.event, arrow.target, *parts])


def _list(word: str, names: Iterable[object]) -> list[str]:
    """`word=a,b`, or nothing at all; names are identifiers, so neither blank nor comma can be part of one."""
    joined = ",".join(map(str, names))
    return [f"{word}={joined}"] if joined else []
