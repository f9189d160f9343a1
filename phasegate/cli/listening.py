"""The first line of a simulated node, read back."""

from __future__ import annotations

import json
from typing import Any

import attrs


@attrs.frozen
class Listening:
    """What the node said when it began to listen: where, what to watch, and what will be found."""

    address: str
    height: int
    watch: tuple[str, ...]
    transactions: tuple[str, ...]
    balances: dict[str, int]

    @classmethod
    def parse(cls, line: str) -> Listening:
        """From the JSON line of `phasegate simnet`."""
        said: dict[str, Any] = json.loads(line)
        expected = said["expected"]
        return cls(
            f"{said['host']}:{said['port']}",
            said["height"],
            tuple(said["watch"]),
            tuple(expected["transactions"]),
            expected["balances"],
        )
