"""What can go wrong, named by who is at fault: the caller, ourselves, a peer, or the world.

What a peer does wrong is `phasegate.consensus.faults.PeerMisbehaved`, what the disk does is
`phasegate.store.errors.StoreError`. A `Failure` is what an activity raises when it cannot go on: the chart, not the
activity, decides what follows.
"""

from __future__ import annotations

from phasegate.statecharts.policy import Reason


class ConfigError(ValueError):
    """The caller's configuration cannot be used; the message names the setting and what is wrong with it."""


class ClientFailed(Exception):
    """The client crashed; the cause is kept. What was committed is stored, unless the store itself was damaged."""


class ClientEnded(ClientFailed):
    """What a client was asked for it cannot do any more, since it has ended: stopped, cancelled, crashed or closed."""


class LocalProtocolError(RuntimeError):
    """phasegate broke its own rules, for instance by asking for data that does not belong to the active phase."""


FailureKind = Reason
"""Why an activity could not go on; the recovery policy has rows for each."""


class Failure(Exception):
    """An activity cannot go on.

    Args:
        kind: the enumerated reason, looked up in the recovery policy.
        detail: one line for the person who reads the log.
    """

    def __init__(self, kind: FailureKind, detail: str) -> None:
        super().__init__(f"{kind.value}: {detail}")
        self.kind = kind
        self.detail = detail


class RolledBack(Exception):
    """An activity rolled back what an earlier phase stored; the walk begins again. The text says why."""


class PeerGone(Exception):
    """A request will not be answered by the peer it was sent to; the world's fault, not an offence.

    Args:
        peer: the peer's `host:port`.
        kind: `PEER_SILENT` or `PEER_LOST`.
        dragged: it began its answer and took too long for it, or hung up in the middle.
    """

    def __init__(self, peer: str, kind: FailureKind, detail: str, *, dragged: bool = False) -> None:
        super().__init__(f"{peer}: {detail}")
        self.peer = peer
        self.kind = kind
        self.detail = detail
        self.dragged = dragged


class Unfit(Exception):
    """A peer does not have what it is asked for, and need not: no offence, no reason to part; the text says what."""


def leaves(error: BaseException) -> list[BaseException]:
    """The single exceptions inside `error`, exception groups taken apart."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]
