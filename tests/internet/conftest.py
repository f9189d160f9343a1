"""One seed gives one run: Trio's scheduler draws from a fixed seed."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def deterministic(seeded_scheduler: None, signatures_judged_once: None) -> None:
    """For every test of this folder."""
