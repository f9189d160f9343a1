"""Whole clients and their parts run under a scheduler that draws from a fixed seed."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def one_seed_one_run(seeded_scheduler: None, signatures_judged_once: None) -> None:
    """Every test of this folder runs the same way each time."""
