"""Failures that other light clients had in the field, each a test named after its number."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def one_seed_one_run(seeded_scheduler: None, signatures_judged_once: None) -> None:
    """Every test of this folder runs the same way each time."""
