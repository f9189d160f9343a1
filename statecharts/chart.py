"""The strict base of every chart in the house.

python-statemachine is lenient by default: it swallows an exception raised by a guard or an action, and it ignores an
event that no state takes. Here both are errors. A chart says *what may follow what* and nothing else:

- guards are names, answered by the model (`Chart[Facts]`), each a pure predicate over a snapshot;
- activities are names (`enter="download_headers"`), answered by a listener given as `listeners=[...]`;
- callbacks are synchronous: a coroutine would start an asyncio loop inside Trio;
- `delay`, `invoke`, history and eventless transitions are not used.

Three habits of the library to know: while a chart is constructed each guard is read once, to see whether it can be
called; the model gets the configuration written into its attribute `state`, so it cannot be frozen; names are found by
`dir`, so `__getattr__` provides none.

With both flags strict, a declined guard and an event that does not belong here raise the same `TransitionNotAllowed`.
"""

from __future__ import annotations

from typing import TypeVar

from statemachine import StateChart

Facts = TypeVar("Facts")


class Chart(StateChart[Facts]):
    """A statechart whose errors fly and whose refused events are seen: `TransitionNotAllowed`, never silence."""

    catch_errors_as_events = False
    allow_event_without_transition = False
