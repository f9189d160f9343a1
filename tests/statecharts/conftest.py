"""What the tests of the charts share."""

from __future__ import annotations

import pytest

from phasegate.statecharts.anatomy import Anatomy, read
from phasegate.statecharts.catalogue import CHARTS, Ruled


@pytest.fixture(params=sorted(CHARTS))
def ruled(request: pytest.FixtureRequest) -> Ruled:
    """Each chart of the house with its law."""
    return CHARTS[request.param]


@pytest.fixture
def anatomy(ruled: Ruled) -> Anatomy:
    """The tables of each chart of the house."""
    return read(ruled.chart)
