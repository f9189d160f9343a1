"""Facts to ask guards about: those of a finished sync, and any at all."""

from __future__ import annotations

from hypothesis import strategies as st

from phasegate.engine.facts import Facts
from phasegate.engine.recovery import Strategy
from phasegate.store import Watermarks

TIP_HASH = bytes(range(32))
STORED = Watermarks(
    base=0,
    tip=100,
    tip_hash=TIP_HASH,
    work=1000,
    masternodes=100,
    masternodes_hash=TIP_HASH,
    filter_headers=100,
    filter_header=bytes(32),
    filters=100,
    matched=100,
    watch_items=3,
    pending_blocks=0,
    matched_blocks=7,
)
DONE = Facts(STORED, mn_enabled=True, filters_enabled=True, mn_floor=2, min_work=1000, ready_peers=2, agreed=True)

_heights = st.integers(-1, 3)
_hashes = st.sampled_from([bytes(32), TIP_HASH])
any_facts = st.builds(
    Facts,
    marks=st.builds(
        Watermarks,
        base=st.just(0),
        tip=st.integers(0, 3),
        tip_hash=_hashes,
        work=st.integers(0, 2),
        masternodes=st.none() | _heights,
        masternodes_hash=_hashes,
        filter_headers=_heights,
        filter_header=st.just(bytes(32)),
        filters=_heights,
        matched=_heights,
        watch_items=st.integers(0, 1),
        pending_blocks=st.integers(0, 1),
        matched_blocks=st.integers(0, 1),
        disputed=st.none() | st.just(1),
        quorums_unjudged=st.integers(0, 1),
    ),
    mn_enabled=st.booleans(),
    filters_enabled=st.booleans(),
    mn_floor=st.integers(0, 3),
    min_work=st.integers(0, 2),
    max_tip_age=st.none() | st.just(1.0),
    tip_age=st.sampled_from([0.0, 2.0]),
    ready_peers=st.integers(0, 2),
    agreed=st.booleans(),
    outstanding=st.integers(0, 1),
    lists_open=st.booleans(),
    claims_open=st.booleans(),
    tip_hint=st.booleans(),
    advice=st.none() | st.sampled_from(Strategy),
)
