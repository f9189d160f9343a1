"""What nothing commits to: the fields of the messages about masternodes that a peer can change without being caught.

Everything else in them is covered: by a merkle root, by the proof of the coinbase, by a signature, by the headers, or
by what was asked for. Each row says what is done about its field, so that a false value does no harm; the tests flip
bits of real messages and hold this table to be complete.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Uncommitted:
    """One field: of which message, which one, and why a false value does no harm."""

    message: str
    field: str
    answer: str


UNCOMMITTED = (
    Uncommitted(
        "mnlistdiff",
        "proof total",
        "The number of transactions decides how many levels the proof has, which the root covers; within these it is "
        "used for nothing.",
    ),
    Uncommitted(
        "mnlistdiff",
        "ChainLock signature",
        "Not used and not kept. Members are drawn by the ChainLock in the coinbase of the work block, which is proven; "
        "only that each new quorum is named by exactly one signature is checked.",
    ),
    Uncommitted("mnlistdiff", "order of the lists", "None has a meaning: roots are over sorted hashes."),
    Uncommitted("qrinfo", "proof total", "As in mnlistdiff."),
    Uncommitted(
        "qrinfo",
        "ChainLock signature",
        "As in mnlistdiff; where the work block's own coinbase is in the message, as for the rotated quorums of its "
        "cycles, the two are compared.",
    ),
    Uncommitted(
        "qrinfo",
        "snapshot bit",
        "A bit that changes none of the quarters dealt. The quarters are proven by the signatures of their members and "
        "kept; the snapshot itself is not, and one that follows from quarters at hand is made again and compared.",
    ),
)
"""All of them; `clsig` and `isdlock` have none."""
