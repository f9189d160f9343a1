"""The seeds of the fuzzing targets, made once a run."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from phasegate.verification.fuzzing.corpus import Seed, seeds
from phasegate.verification.fuzzing.targets import TARGETS
from tests.conftest import PACKED

Seeds = Mapping[str, list[Seed]]


@pytest.fixture(scope="session")
def seeds_of() -> Seeds:
    """All seeds, by target."""
    found: dict[str, list[Seed]] = {name: [] for name in TARGETS}
    for seed in seeds(PACKED):
        found[seed.target].append(seed)
    return found
