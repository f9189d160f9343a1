"""What one request may ask for at most [Core net_processing.cpp, BIP157]."""

from __future__ import annotations

from phasegate.p2p.messages import GetCFHeaders, GetCFilters, GetData
from phasegate.p2p.messages_chain import LocatorRequest
from tests.simulated_world import Tapped

LOCATOR, FILTER_HEADERS, FILTERS, INVENTORY = 101, 2000, 1000, 50_000
MOST = {"cfheaders": FILTER_HEADERS, "filters": FILTERS, "blocks": INVENTORY}
"""The same by the phase that asks."""


def kept_the_limits(tapped: Tapped) -> None:
    """Nothing that the client sent asks for more than Core answers, and filters were asked for."""
    chain, taken = tapped.chain, tapped.taken
    for request in taken:
        if isinstance(request, LocatorRequest):
            assert len(request.locator) <= LOCATOR
        elif isinstance(request, GetCFHeaders | GetCFilters):
            stop = chain.height_of(request.stop_hash)
            assert stop is not None
            most = FILTER_HEADERS if isinstance(request, GetCFHeaders) else FILTERS
            assert 1 <= stop - request.start_height + 1 <= most
        elif isinstance(request, GetData):
            assert 1 <= len(request.items) <= INVENTORY
    assert {GetCFHeaders, GetCFilters} <= {type(request) for request in taken}
