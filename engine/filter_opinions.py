"""Who said what about filter headers in this run, by address: a peer that comes back is not another witness."""

from __future__ import annotations

import attrs

from phasegate.engine.config import Address


@attrs.define
class FilterOpinions:
    """The memory of all settlements of a run.

    Args:
        heard: at which stored tip (its hash) the peer there was last asked.
        dissenting: those who stated other filter headers than the stored ones, and could not be disproved.
        outdated: those whose filters follow the rules before 23.0.
        examined: pairs of filter headers that end ranges in which every difference has been judged and stored.
    """

    heard: dict[Address, bytes] = attrs.field(factory=dict)
    dissenting: set[Address] = attrs.field(factory=set)
    outdated: set[Address] = attrs.field(factory=set)
    examined: set[tuple[bytes, bytes]] = attrs.field(factory=set)

    def forget_stored(self) -> None:
        """What was stored has been rolled back: everybody is asked again, and every difference judged again."""
        self.heard.clear()
        self.dissenting.clear()
        self.examined.clear()
