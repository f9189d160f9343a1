"""The clock: headers from the future are refused, and an old tip looks fresh to a clock that is late."""

from __future__ import annotations

import time

from phasegate.cli.findings import Finding, fine, wrong
from phasegate.cli.patient import Patient
from phasegate.consensus.checkpoints import checkpoints
from phasegate.consensus.headers import MAX_AHEAD
from phasegate.consensus.params import MAINNET

LAST_YEAR = 2105
"""Times of headers end in 2106, where 32 bits do."""
SET_IT = "set the clock, best by NTP (timedatectl set-ntp true)"


def look_at_clock(patient: Patient) -> Finding:
    """Whether the time can be right, as far as this machine alone can know, and whether it runs forwards."""
    now, year = patient.seams.now(), time.gmtime(max(0.0, min(patient.seams.now(), 1e11))).tm_year
    told = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(max(0.0, min(now, 1e11))))
    known = max(checkpoint.time or 0 for checkpoint in checkpoints(MAINNET).values())
    if now < known:
        return wrong("clock", f"{told} is before blocks that phasegate was made after", SET_IT)
    if year > LAST_YEAR:
        return wrong("clock", f"{told} is beyond what block headers can state", SET_IT)
    seen = patient.seen
    if seen is not None and seen.tip_time is not None and seen.tip_time > now + MAX_AHEAD:
        late = (seen.tip_time - now) / 3600
        return wrong("clock", f"{told} is {late:.1f} hours before the newest stored block", SET_IT)
    if patient.seams.now() < now:
        return wrong("clock", "it runs backwards", SET_IT)
    return fine("clock", told)
