"""How much is asked for at once, how long anything may take, and how many peers there are: the figures of one client.

All durations are seconds. The mappings have a key for each phase, and `locks` for the errands beside the phases; those
that are not given have their default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

import attrs

from phasegate.engine.errors import ConfigError

MIB = 1 << 20
T = TypeVar("T", int, float)


def _in_flight(given: Mapping[str, int]) -> Mapping[str, int]:
    return _over(
        "in_flight", {"headers": 8, "mnlist": 2, "cfheaders": 8, "filters": 8, "blocks": 32, "locks": 4}, given
    )


def _concurrency(given: Mapping[str, int]) -> Mapping[str, int]:
    return _over(
        "concurrency", {"headers": 32, "mnlist": 32, "cfheaders": 64, "filters": 64, "blocks": 64, "locks": 64}, given
    )


def _rate(given: Mapping[str, float]) -> Mapping[str, float]:
    return _over(
        "rate", {"headers": 200, "mnlist": 200, "cfheaders": 500, "filters": 500, "blocks": 500, "locks": 200}, given
    )


def _batch(given: Mapping[str, int]) -> Mapping[str, int]:
    return _over("batch", {"cfheaders": 2000, "filters": 1000, "blocks": 16}, given)


def _over(name: str, defaults: Mapping[str, T], given: Mapping[str, T]) -> Mapping[str, T]:
    """What is given, and for what is not the default."""
    if not isinstance(given, Mapping):
        raise ConfigError(f"limits: {name} {given!r} is no table of numbers: one for each of {', '.join(defaults)}")
    return MappingProxyType({**defaults, **given})


@attrs.frozen
class Limits:
    """How much is asked for at once, and how long an answer may take.

    Requests. `in_flight` bounds those under way to one peer in a phase, `concurrency` those under way to all peers
    together, `rate` how many may be sent in a second (a token bucket that holds one second's worth, at least one),
    `batch` the items of one request (Core answers at most 2000 filter headers and 1000 filters). `window` caps the
    batches of a download that are under way or wait in memory for their turn to be stored, over all peers together;
    `hold_bytes` what those of all downloads may take in memory; see `memory` for what they come from. A batch that is
    under way for `steal_after`, and for twice as long as others took, is asked of a second peer too, if one is idle;
    the first answer counts. Between known blocks headers come in ranges of about `header_span`, `in_flight` of them
    from one peer; beyond, request after request.

    Patience. `idle_timeout` is how long a request may go without any sign of its answer, doubled up to `idle_cap` where
    silence is not one peer's alone; a connection is lost when a ping, sent each `ping_interval`, has no answer by the
    next. A headers phase waits `gather_time` for the other peers when the first one is ready; guards are asked each
    `tick`. A retry of a phase waits `backoff_first`, doubled up to `backoff_cap`, with jitter. A degraded client with a
    ready peer tries again after `backoff_cap`. `switch_timeout` is how long the recovery by another peer waits for one.

    Peers. `max_peers` connections are kept, at least `filter_peers` of them to nodes that serve compact filters; a lost
    address is tried again after `reconnect_first`, doubled each time up to `reconnect_cap`, with jitter, or up to
    `waiting_cap` while there is no peer at all. Each `feeler_interval` one address is tried only to see whether it is
    alive. When no block came for `stale_after` a further peer is asked (on networks whose blocks come by themselves).
    A wall clock that runs ahead of Trio's by `sleep_gap` tells that the machine slept: every peer has to prove that
    it is still there. A ban lasts `ban_time`; half of a bad reputation is forgiven each `forgive_time`.

    Floods. What a peer says without having been asked may come at `chatter_rate` messages and `chatter_bytes` bytes a
    second, in bursts of `chatter_burst` and `chatter_burst_bytes`; beyond that its socket is read no faster, and who
    goes on for `chatter_patience` is dropped. As much is fetched of what it announces, and of more nothing.
    """

    connect_timeout: float = 10.0
    handshake_timeout: float = 10.0
    idle_timeout: float = 10.0
    idle_cap: float = 80.0
    ping_interval: float = 120.0
    gather_time: float = 0.5
    tick: float = 0.5
    backoff_first: float = 0.5
    backoff_cap: float = 30.0
    switch_timeout: float = 15.0

    max_peers: int = 8
    filter_peers: int = 3
    reconnect_first: float = 0.5
    reconnect_cap: float = 60.0
    waiting_cap: float = 5.0
    feeler_interval: float = 120.0
    stale_after: float = 1800.0
    sleep_gap: float = 30.0
    ban_time: float = 86_400.0
    forgive_time: float = 3600.0

    chatter_rate: float = 200.0
    chatter_burst: int = 4000
    chatter_bytes: float = MIB / 16
    chatter_burst_bytes: int = 8 * MIB
    chatter_patience: float = 60.0

    in_flight: Mapping[str, int] = attrs.field(factory=dict, converter=_in_flight)
    concurrency: Mapping[str, int] = attrs.field(factory=dict, converter=_concurrency)
    rate: Mapping[str, float] = attrs.field(factory=dict, converter=_rate)
    batch: Mapping[str, int] = attrs.field(factory=dict, converter=_batch)
    window: int = 32
    hold_bytes: int = 32 * MIB
    header_span: int = 24_000
    steal_after: float = 5.0

    def __attrs_post_init__(self) -> None:
        """Refuse figures with which nothing could go on, or that a node would punish.

        Raises:
            ConfigError: naming the figure, and what it may be.
        """
        for field in attrs.fields(type(self)):
            value = getattr(self, field.name)
            figures = value if isinstance(value, Mapping) else {"": value}
            for key, figure in figures.items():
                if field.name in _KEYS and key not in _KEYS[field.name]:
                    raise ConfigError(f"limits: {field.name} has no {key!r}, but {', '.join(_KEYS[field.name])}")
                _check(f"{field.name}[{key}]" if key else field.name, figure, whole="int" in str(field.type))
        if self.idle_cap < self.idle_timeout:
            raise ConfigError(f"limits: idle_cap {self.idle_cap} is less than idle_timeout {self.idle_timeout}")


PHASES_ASKED = ("headers", "mnlist", "cfheaders", "filters", "blocks", "locks")
"""Who asks peers for anything."""
MOST_OF_A_BATCH: Mapping[str, int] = MappingProxyType({"cfheaders": 2000, "filters": 1000, "blocks": 50_000})
"""What one request may ask for: beyond it a node hangs up [BIP157], or punishes [Core protocol.h MAX_INV_SZ]."""
_KEYS = {**dict.fromkeys(("in_flight", "concurrency", "rate"), PHASES_ASKED), "batch": tuple(MOST_OF_A_BATCH)}
_MAY_BE_ZERO = ("gather_time", "filter_peers", "steal_after")
_MAY_BE_ENDLESS = ("steal_after", "ping_interval", "stale_after", "feeler_interval", "sleep_gap", "rate")


def _check(name: str, figure: object, *, whole: bool) -> None:
    if isinstance(figure, bool) or not isinstance(figure, int if whole else (int, float)):
        raise ConfigError(f"limits: {name} {figure!r} is no {'whole ' * whole}number")
    if isinstance(figure, int) and figure.bit_length() > 63:
        raise ConfigError(f"limits: {name} has too many digits")
    most = MOST_OF_A_BATCH.get(name.removeprefix("batch[").rstrip("]"), math.inf)
    if math.isnan(figure) or figure < 0 or (figure == 0 and name not in _MAY_BE_ZERO):
        raise ConfigError(f"limits: {name} {figure} is not more than 0")
    if figure > most and name.startswith("batch"):
        raise ConfigError(f"limits: {name} {figure} is more than {most}")
    if math.isinf(figure) and name.partition("[")[0] not in _MAY_BE_ENDLESS:
        raise ConfigError(f"limits: {name} has to be a number")
