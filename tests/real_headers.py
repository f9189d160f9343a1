"""Stretches of real headers, served as chains, and the configurations of clients that follow them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from phasegate.consensus.headers import work_of
from phasegate.consensus.params import network
from phasegate.engine.config import Config
from phasegate.p2p.simnet.header_range import HeaderRange
from tests.simulated_world import Run, World

BARE: Mapping[str, Any] = MappingProxyType({"masternodes": False, "filters": False, "min_chainwork": 0})
"""Settings for nodes that have nothing but headers, and for stretches with less work than their network."""
CONTEXT = 35
"""Headers below its first block that a client fetches."""


@cache
def headers_of(shared: Path, name: str, min_difficulty_blocks: int = 0) -> HeaderRange:
    """The real headers of a file, as a chain to serve."""
    words = name.split("_")
    chain = network(words[0], min_difficulty_blocks=min_difficulty_blocks)
    return HeaderRange(chain, int(words[1]), (shared / "vectors" / "headers" / f"{name}.bin").read_bytes())


@cache
def chainwork(shared: Path, name: str, height: int) -> int:
    """The chainwork up to `height` of a file whose index tells that of its first header."""
    index = json.loads((shared / "vectors" / "headers" / "index.json").read_text())
    told = next(row for row in index if row["file"] == f"headers/{name}.bin")
    raw = headers_of(shared, name).headers(told["start_height"] + 1, height - told["start_height"])
    return int(told["chainwork_first"], 16) + sum(
        work_of(int.from_bytes(raw[at + 72 : at + 76], "little")) for at in range(0, len(raw), 80)
    )


def trusted(shared: Path, name: str, height: int) -> str:
    """A header of a file, as a user writes it."""
    return f"{height}:{headers_of(shared, name).header(height).hex()}:{chainwork(shared, name, height):x}"


def config(world: World, name: str, ports: tuple[int, ...] = (1,), **settings: Any) -> Config:
    """What a user of this world writes, checked at every event."""
    made = Config.create(
        name, peers=tuple(f"node:{port}" for port in ports), datadir=world.directory, **{**BARE, **settings}
    )
    return attrs.evolve(made, check_facts=True)


async def ended(run: Run, state: str) -> tuple[str, int, str]:
    """Wait for `state`, and tell it with the height and the reason."""
    await run.until(state)
    return state, run.client.status.marks.tip, run.client.status.reason
