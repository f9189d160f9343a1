"""What a program may hand to the methods of a client: anything else is refused at the call, as a `ConfigError`.

The rule is one for all of them, whether a type is wrong or a value: the line names the argument, and nothing was done.
"""

from __future__ import annotations

from phasegate.engine.errors import ConfigError

LARGEST = (1 << 63) - 1
"""The largest number that a store can be asked for."""


def whole(name: str, value: object, least: int | None = None) -> int:
    """`value`, a whole number from `least` on, if that is said.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > LARGEST:
        raise ConfigError(f"{name} {_shown(value)} is no whole number")
    if least is not None and value < least:
        raise ConfigError(f"{name} {value} is below {least}")
    return value


def seconds(name: str, value: object) -> float:
    """`value`, a number of seconds; without end if it is infinite.

    Raises:
        ConfigError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ConfigError(f"{name} {_shown(value)} is no number of seconds")
    return min(value, LARGEST) if isinstance(value, int) else value


def _shown(value: object) -> str:
    if isinstance(value, int) and value.bit_length() > 256:
        return "a number of so many digits"
    told = repr(value)
    return told if len(told) <= 60 else f"{told[:57]}..."
