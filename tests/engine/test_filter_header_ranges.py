"""How the filter headers that are missing are cut into requests."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from phasegate.engine.phases.filter_claims import INTERVAL
from phasegate.engine.phases.filter_headers import _ranges
from phasegate.engine.phases.filter_spans import Span
from phasegate.store.segments import SPAN

MOST = 2000
"""What one request may ask for [BIP157]."""


@example(start=0, thousands=2, size=1000)
@example(start=2000, thousands=6, size=2000)
@given(start=st.integers(0, 20_000), thousands=st.integers(0, 30), size=st.integers(INTERVAL, MOST))
def test_ranges_are_all_heights_once_and_end_where_the_header_is_settled(start: int, thousands: int, size: int) -> None:
    end = thousands * INTERVAL
    ranges = _ranges(start, end, size)
    heights = [height for span in ranges for height in range(span.start, span.end + 1)]
    assert heights == list(range(start, end + 1))
    assert all(span.end % INTERVAL == 0 and span.end > 0 for span in ranges if span.end != end)
    assert all(span.count <= MOST for span in ranges)


@given(start=st.integers(0, 20_000))
def test_ranges_of_the_usual_size_soon_end_where_segments_do(start: int) -> None:
    """But for one: a range that ends elsewhere leaves rows that the next one has to read again."""
    ranges = _ranges(start, 40_000, MOST)
    assert all(span.end % SPAN == 0 for span in ranges[2:])
    assert ranges[2:] == [Span(at + 1, at + MOST) for at in range(ranges[1].end, 40_000, MOST)]
