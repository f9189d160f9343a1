"""What a target checks of a value that was decoded; what breaks one of these is a finding."""

from __future__ import annotations


class LawBroken(Exception):
    """A decoder took its input and broke a promise."""


def same(found: object, expected: object, what: str) -> None:
    """Require that `what` was found as expected.

    Raises:
        LawBroken: it was not.
    """
    if found != expected:
        raise LawBroken(f"{what}: {_short(found)} is not {_short(expected)}")


def held(law: bool, what: str) -> None:
    """Require a law.

    Raises:
        LawBroken: it is broken.
    """
    if not law:
        raise LawBroken(what)


def _short(value: object) -> str:
    text = value.hex() if isinstance(value, bytes) else repr(value)
    return text if len(text) <= 400 else f"{text[:400]} and {len(text) - 400} characters more"
