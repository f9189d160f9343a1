"""What special transactions add to the filter of their block [Core evo/specialtx_filter.cpp, from 23.0 on].

Only the fields that a filter holds are read; what follows them (signatures, hashes) is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from phasegate.consensus.codec import Reader
from phasegate.consensus.faults import Malformed
from phasegate.consensus.netinfo import take_netinfo
from phasegate.consensus.primitives import MAX_EXTRA_PAYLOAD, Transaction, TxOut

PRO_REG, PRO_UP_SERV, PRO_UP_REG, PRO_UP_REV, ASSET_LOCK = 1, 2, 3, 4, 8
_SPECIAL_VERSION = 3


def filter_data(tx: Transaction) -> Iterator[bytes]:
    """The extra filter elements of `tx`: keys, scripts, proTxHash, the collateral outpoint as in the payload.

    Raises:
        Malformed: the payload does not parse.
    """
    read = _READERS.get(tx.type)
    if tx.version >= _SPECIAL_VERSION and read is not None:
        yield from read(Reader(tx.payload, f"payload of type {tx.type}"))


def mentioned(tx: Transaction) -> frozenset[bytes]:
    """What the payload of `tx` adds to the filter of its block; nothing of one that does not parse."""
    try:
        return frozenset(filter_data(tx)) - {b""}
    except Malformed:
        return frozenset()


def _registration(r: Reader) -> Iterator[bytes]:
    version, _kind, _mode, collateral = r.u16(), r.u16(), r.u16(), r.take(36)
    take_netinfo(r, version)
    owner, _operator_key, voting, _reward = r.take(20), r.take(48), r.take(20), r.u16()
    yield from (collateral, owner, voting, _script(r))


def _service_update(r: Reader) -> Iterator[bytes]:
    version = r.u16()
    if version >= 2:
        r.u16()
    pro_tx_hash = r.hash32()
    take_netinfo(r, version)
    yield from (pro_tx_hash, _script(r))


def _registrar_update(r: Reader) -> Iterator[bytes]:
    _version, pro_tx_hash, _mode, _operator_key, voting = r.u16(), r.hash32(), r.u16(), r.take(48), r.take(20)
    yield from (pro_tx_hash, voting, _script(r))


def _revocation(r: Reader) -> Iterator[bytes]:
    r.u16()
    yield r.hash32()


def _asset_lock(r: Reader) -> Iterator[bytes]:
    r.u8()
    for credit in r.many(MAX_EXTRA_PAYLOAD // 9, TxOut.parse, at_least=9, what="credit count"):
        if credit.script[:1] != b"\x6a":
            yield credit.script


def _script(r: Reader) -> bytes:
    return r.var_bytes(MAX_EXTRA_PAYLOAD, "script")


_READERS = {
    PRO_REG: _registration,
    PRO_UP_SERV: _service_update,
    PRO_UP_REG: _registrar_update,
    PRO_UP_REV: _revocation,
    ASSET_LOCK: _asset_lock,
}
