"""What an examination finds: one line a check, and where something is wrong what to do about it."""

from __future__ import annotations

from enum import StrEnum

import attrs


class Verdict(StrEnum):
    """How a check ended; only `FAIL` keeps phasegate from working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@attrs.frozen
class Finding:
    """One check.

    Args:
        check: its name, stable.
        verdict: how it ended.
        detail: what was found.
        remedy: what to do; empty when nothing has to be done.
    """

    check: str
    verdict: Verdict
    detail: str
    remedy: str = ""

    def line(self) -> str:
        """For people."""
        advice = f"; {self.remedy}" if self.remedy else ""
        return f"{self.verdict:<4}  {self.check:<10} {self.detail}{advice}"


def fine(check: str, detail: str) -> Finding:
    """Nothing is wrong."""
    return Finding(check, Verdict.OK, detail)


def odd(check: str, detail: str, remedy: str) -> Finding:
    """Something should be known or mended, and phasegate works all the same."""
    return Finding(check, Verdict.WARN, detail, remedy)


def wrong(check: str, detail: str, remedy: str) -> Finding:
    """Phasegate does not work, or not for long."""
    return Finding(check, Verdict.FAIL, detail, remedy)
