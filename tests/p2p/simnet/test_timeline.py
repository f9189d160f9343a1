"""A mapping with a past."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from phasegate.p2p.simnet.timeline import KEYFRAME, Timeline

steps = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.none() | st.integers(0, 9)), max_size=3 * KEYFRAME)


@given(steps, st.data())
def test_any_past_is_remembered(changes: list[tuple[int, int, int | None]], data: st.DataObject) -> None:
    """The content at each height is what a plain dict held after the last change at or below it."""
    timeline: Timeline[int, int] = Timeline()
    now: dict[int, int] = {}
    past = {0: now}
    height = 0
    for step, key, value in changes:
        if value is None and key not in now:
            continue
        height += step
        now = {k: v for k, v in now.items() if k != key} | ({} if value is None else {key: value})
        timeline.put(height, key, value)
        past[height] = now
    wanted = data.draw(st.integers(0, height + 2))
    assert timeline.at(wanted) == past[max(h for h in past if h <= wanted)]
    assert timeline.now == now
