"""What a client that is fully synced has not looked for all the same, because it was told not to: said in a warning."""

from __future__ import annotations

from phasegate.engine.config import Config
from phasegate.store import Watermarks


def unmatched(config: Config, marks: Watermarks) -> tuple[str, str] | None:
    """The code and the text of what is to be said; None if everything watched is matched up to the tip."""
    if not config.filters and marks.watch_items:
        reach = f"blocks up to {marks.matched}" if marks.matched >= marks.filters_base else "no block"
        told = f"{marks.watch_items} items are watched, but without filters nothing is matched"
        return "nothing-matched", f"{told}: what is told of them is true of {reach}"
    if config.filters and marks.birthday > marks.tip:
        told = f"the birthday is {marks.birthday}, above the newest block {marks.tip}"
        return "birthday-ahead", f"{told}: none is searched"
    return None
