"""What breaks a law, told so that a person can follow it: which clause, what happened, and a shortest way there."""

from __future__ import annotations

import attrs

from phasegate.statecharts.relation import Step


@attrs.frozen
class Violation:
    """One thing that is forbidden and happens.

    Attributes:
        law: the name of what is broken, a `Clause` or that of another promise.
        text: what happens, in one line.
        story: a shortest way there from the start, a step a line; empty if no story shows it.
        way: the steps of that story, for `phasegate.statecharts.diagram.draw_way`.
        reproduce: how it is met again, where that takes a seed or a command; empty if verifying again will do.
    """

    law: str
    text: str
    story: str = ""
    way: tuple[Step, ...] = attrs.field(default=(), repr=False)
    reproduce: str = ""
