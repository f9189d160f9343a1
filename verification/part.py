"""The parts of a verification run; apart from what they do, so that who only names one loads none of it."""

from __future__ import annotations

from enum import StrEnum


class Part(StrEnum):
    """What can be verified."""

    CHART = "chart"
    MUTATION = "mutation"
    ENGINE = "engine"
    SIMULATION = "simulation"
