"""A simulated Dash node that speaks the real protocol over real TCP, and misbehaves on demand."""

from __future__ import annotations


class CannotServe(ValueError):
    """What was asked of a simulated node cannot be: no such chain, recording or lie. The text is one clear line."""
