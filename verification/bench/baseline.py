"""The regression guard: the ratios of one run against those of another, never seconds.

A baseline is a JSON file: the size of the chains, and the ratio of each guarded figure. A ratio that is worse than its
baseline by more than the tolerance is told; a better one is for a person to record. Runs on chains of different sizes
are not compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs

from phasegate.verification.bench.figures import Figure

TOLERANCE = 0.35
"""How much worse a ratio may be, as a share of its baseline: about what a busy machine does to one."""


class BadBaseline(ValueError):
    """A file that is no baseline, or one of other sizes."""


@attrs.frozen
class Worse:
    """A figure that is worse than its baseline by more than the tolerance."""

    name: str
    ratio: float
    baseline: float


def record(path: Path, figures: Iterable[Figure], *, quick: bool) -> None:
    """Write the guarded figures as a baseline.

    Raises:
        OSError: the file cannot be written.
    """
    ratios = {figure.name: round(figure.ratio, 4) for figure in figures if figure.guarded}
    path.write_text(json.dumps({"quick": quick, "ratios": ratios}, indent=2) + "\n", encoding="utf-8")


def compared(path: Path, figures: Sequence[Figure], *, quick: bool) -> list[Worse]:
    """The figures that are worse than in the baseline; those it does not have are new, and pass.

    Raises:
        BadBaseline: the file is none, or of runs of another size.
        OSError: it cannot be read.
    """
    ratios = _ratios(path, quick)
    guarded = [figure for figure in figures if figure.guarded and figure.name in ratios]
    return [Worse(f.name, f.ratio, ratios[f.name]) for f in guarded if _is_worse(f, ratios[f.name])]


def _is_worse(figure: Figure, before: float) -> bool:
    if figure.at_most:
        return figure.ratio > before * (1 + TOLERANCE)
    return figure.ratio < before * (1 - TOLERANCE)


def _ratios(path: Path, quick: bool) -> dict[str, float]:
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        was_quick, ratios = bool(told["quick"]), {str(name): float(ratio) for name, ratio in told["ratios"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadBaseline(f"{path} is no baseline") from error
    if was_quick != quick:
        raise BadBaseline(f"{path} is of {'short' if was_quick else 'long'} chains, this run is not")
    return ratios
