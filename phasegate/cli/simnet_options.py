"""What `phasegate simnet` is told, and what of it cannot be: all that can be said before a long chain is generated."""

from __future__ import annotations

from pathlib import Path

import attrs

from phasegate.engine.errors import ConfigError

MAX_BLOCKS = 10_000_000
DEFAULT_HOST, DEFAULT_PORT, DEFAULT_BLOCKS, DEFAULT_SEED = "127.0.0.1", 29899, 5000, 1
_FOREVER = float("inf")


@attrs.frozen(kw_only=True)
class Options:
    """What the user asked for."""

    port: int
    host: str
    recording: Path | None
    blocks: int | None
    seed: int | None
    fork_at: int | None
    fork_seed: int | None
    no_locks: bool
    mine_every: float | None
    log: Path | None
    internet: bool
    part: str | None
    known: list[str] | None
    share: int | None
    refuse_getaddr: bool
    announce_by: str | None
    delay: float
    trickle: float | None
    stall_after: int | None
    hang_up_after: float | None
    silent: bool
    refuse_txs: bool
    lie: str | None
    flood: str | None

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            ConfigError, CannotServe: naming it.
        """
        _check_chain(self)
        _check_manner(self)
        _check_numbers(self)
        _check_internet(self)

    @property
    def parts(self) -> tuple[int, int]:
        """The K and N of `--part K/N`, 1 and 1 if not given.

        Raises:
            ConfigError: it has another form.
        """
        index, slash, of = (self.part or "1/1").partition("/")
        if not slash or not (index.isdecimal() and of.isdecimal() and 1 <= int(index) <= int(of)):
            raise ConfigError(f"--part {self.part} is not K/N with K from 1 to N")
        return int(index), int(of)


MANNERS = (
    "refuse_getaddr",
    "announce_by",
    "delay",
    "trickle",
    "stall_after",
    "hang_up_after",
    "silent",
    "refuse_txs",
)
"""Options that are fields of a `Node` of the same name."""
_OF_ONE_NODE = ("mine_every", "known", *MANNERS, "no_locks", "lie", "flood")
"""Options that say what a single node is like; on an internet chance decides that."""


def _check_chain(options: Options) -> None:
    generated = (options.blocks, options.seed, options.fork_at, options.fork_seed, options.mine_every)
    if options.recording is not None and any(value is not None for value in generated):
        raise ConfigError(
            "--recording cannot be combined with --blocks, --seed, --fork-at, --fork-seed or --mine-every"
        )
    if options.fork_seed is not None and options.fork_at is None:
        raise ConfigError("--fork-seed needs --fork-at")
    if (options.blocks or 0) > MAX_BLOCKS:
        raise ConfigError(f"a chain of {options.blocks} blocks is too long: at most {MAX_BLOCKS}")


def _check_manner(options: Options) -> None:
    from phasegate.p2p.simnet.announcing import FORMS
    from phasegate.p2p.simnet.flood import Flood
    from phasegate.p2p.simnet.lies import kind_of

    if options.lie is not None:
        kind_of(options.lie)
    if options.flood is not None:
        Flood.parse(options.flood)
    if options.announce_by not in (None, *FORMS):
        raise ConfigError(f"--announce-by {options.announce_by}: choose one of {', '.join(FORMS)}")


def _check_numbers(options: Options) -> None:
    if not 0 <= options.port <= 65535:
        raise ConfigError(f"{options.port} is no port")
    if options.share is not None and not 0 <= options.share <= 100:
        raise ConfigError(f"a share of {options.share} percent is impossible")
    if not 0 <= options.delay < _FOREVER:
        raise ConfigError(f"a delay of {options.delay} seconds is impossible")
    if options.stall_after is not None and options.stall_after < 0:
        raise ConfigError(f"--stall-after {options.stall_after} is impossible")
    for name in ("mine_every", "trickle", "hang_up_after"):
        value = getattr(options, name)
        if value is not None and not 0 < value < _FOREVER:
            raise ConfigError(f"{_flag(name)} {value} is impossible")


def _check_internet(options: Options) -> None:
    if not options.internet:
        if options.part is not None:
            raise ConfigError("--part needs --internet")
        return
    if given := [name for name in _OF_ONE_NODE if _is_given(name, getattr(options, name))]:
        raise ConfigError(f"--internet cannot be combined with {_flag(given[0])}")
    if options.host != DEFAULT_HOST:
        raise ConfigError("--internet cannot be combined with --host: every node has an address of its own")
    if options.port == 0:
        raise ConfigError("the nodes of an internet tell each other's port: it cannot be 0")
    _ = options.parts


def _is_given(name: str, value: object) -> bool:
    return value is not None if name == "stall_after" else bool(value)  # 0 answers are some


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
