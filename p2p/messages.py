"""All messages by their wire names, and the one way from bytes to a message."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.p2p.compressed import Headers2
from phasegate.p2p.messages_base import MAX_PAYLOAD, KnownMessage, Message, Unknown
from phasegate.p2p.messages_chain import (
    BlockMessage,
    CmpctBlock,
    GetBlocks,
    GetData,
    GetHeaders,
    GetHeaders2,
    Headers,
    Inv,
    InvItem,
    InvType,
    NotFound,
    TxMessage,
)
from phasegate.p2p.messages_filters import CFCheckpt, CFHeaders, CFilter, GetCFCheckpt, GetCFHeaders, GetCFilters
from phasegate.p2p.messages_masternodes import (
    ClSig,
    GetMnListDiff,
    GetQrInfo,
    IsdLock,
    MnAuth,
    MnListDiff,
    QrInfo,
    Spork,
    SyncStatusCount,
)
from phasegate.p2p.messages_peer import (
    Addr,
    AddressV1,
    AddressV2,
    AddrV2,
    GetAddr,
    GetSporks,
    Mempool,
    Ping,
    Pong,
    SendAddrV2,
    SendCmpct,
    SendDsq,
    SendHeaders,
    SendHeaders2,
    Services,
    Verack,
    Version,
)

__all__ = [
    "KNOWN",
    "MAX_PAYLOAD",
    "Addr",
    "AddrV2",
    "AddressV1",
    "AddressV2",
    "BlockMessage",
    "CFCheckpt",
    "CFHeaders",
    "CFilter",
    "ClSig",
    "CmpctBlock",
    "GetAddr",
    "GetBlocks",
    "GetCFCheckpt",
    "GetCFHeaders",
    "GetCFilters",
    "GetData",
    "GetHeaders",
    "GetHeaders2",
    "GetMnListDiff",
    "GetQrInfo",
    "GetSporks",
    "Headers",
    "Headers2",
    "Inv",
    "InvItem",
    "InvType",
    "IsdLock",
    "KnownMessage",
    "Mempool",
    "Message",
    "MnAuth",
    "MnListDiff",
    "NotFound",
    "Ping",
    "Pong",
    "QrInfo",
    "SendAddrV2",
    "SendCmpct",
    "SendDsq",
    "SendHeaders",
    "SendHeaders2",
    "Services",
    "Spork",
    "SyncStatusCount",
    "TxMessage",
    "Unknown",
    "Verack",
    "Version",
    "decode",
    "max_payload",
]

_KINDS: tuple[type[KnownMessage], ...] = (
    *(Version, Verack, SendAddrV2, SendHeaders, SendHeaders2, SendCmpct, SendDsq, Ping, Pong),
    *(Addr, AddrV2, GetAddr, Mempool, GetSporks, MnAuth, Spork, SyncStatusCount),
    *(GetHeaders, GetHeaders2, GetBlocks, Headers, Headers2),
    *(Inv, GetData, NotFound, TxMessage, BlockMessage, CmpctBlock),
    *(GetCFilters, CFilter, GetCFHeaders, CFHeaders, GetCFCheckpt, CFCheckpt),
    *(GetMnListDiff, MnListDiff, GetQrInfo, QrInfo, ClSig, IsdLock),
)
KNOWN: Mapping[str, type[KnownMessage]] = MappingProxyType({kind.command: kind for kind in _KINDS})
"""Every kind of message this client reads, by its wire name."""


def max_payload(command: str) -> int:
    """The most payload bytes a message of that name may have."""
    return KNOWN[command].max_payload if command in KNOWN else MAX_PAYLOAD


def decode(command: str, payload: bytes, version: int) -> Message:
    """The message in a frame: read to its last byte, or `Unknown` if this client reads no such kind.

    Args:
        command: the wire name.
        payload: the bytes behind the frame's head.
        version: the negotiated protocol version.

    Raises:
        PeerMisbehaved: OVERSIZED_MESSAGE, MALFORMED_MESSAGE, or what else the content breaks.
    """
    if len(payload) > max_payload(command):
        raise PeerMisbehaved(Fault.OVERSIZED_MESSAGE, f"{command} of {len(payload)} bytes")
    if command not in KNOWN:
        return Unknown(command, payload)
    r = Reader(payload, command)
    message = KNOWN[command].parse(r, version)
    r.end()
    return message
