"""What becomes of the masternodes of a generated chain: each event gives transactions and enters its effect at once.

Registration (with the collateral inside its transaction or before it), announcements of the service, new keys,
revocations, bans without any transaction, removals by spending the collateral. Some masternodes were registered with a
key of the encoding before V19, and keep it until they announce their service.
"""

from __future__ import annotations

from collections.abc import Callable

from phasegate.consensus.codec import u16be
from phasegate.consensus.masternodes import MasternodeEntry
from phasegate.consensus.primitives import OutPoint, TxOut
from phasegate.p2p.simnet import protx
from phasegate.p2p.simnet.bls_keys import legacy_form, operator_key
from phasegate.p2p.simnet.economy import DASH, FEE, Economy, Inputs, Spending
from phasegate.p2p.simnet.protx import Keys, Platform
from phasegate.p2p.simnet.registry import Member, Registry

Event = Callable[[Registry, int], list[Spending]]
COLLATERAL = {protx.REGULAR: 1000 * DASH, protx.EVO: 4000 * DASH}
_PORT = 29899
_PERIOD = 40
_LEAST, _MOST = 16, 60
"""Fewer valid masternodes call for new ones, more registered ones for none."""


def transactions(registry: Registry, height: int) -> list[Spending]:
    """The masternode transactions of block `height`: rarely any, after a busy beginning."""
    event = _FIRSTS.get(height) or _chosen(registry, height)
    return event(registry, height) if event else []


def _chosen(registry: Registry, height: int) -> Event | None:
    rng = registry.economy.rng
    if height < max(_FIRSTS) or rng.random() * _PERIOD >= 1:
        return None
    if registry.valid_count < _LEAST:
        return _register
    return rng.choice(_EVENTS if len(registry.members) < _MOST else _EVENTS_WHEN_FULL)


def _register(registry: Registry, height: int) -> list[Spending]:
    economy, rng = registry.economy, registry.economy.rng
    platform = _platform(economy) if registry.registered % 3 == 2 else None
    version = protx.LEGACY if registry.registered % 5 == 1 and platform is None else protx.BASIC
    operator = registry.operator()
    told = legacy_form(operator) if version == protx.LEGACY else operator
    keys = Keys(rng.randbytes(20), told, rng.randbytes(20))
    deposit = TxOut(COLLATERAL[protx.EVO if platform else protx.REGULAR], economy.stranger())
    before = [economy.pay([deposit])] if registry.registered % 2 else []
    outpoint = before[0].held(0).outpoint if before else OutPoint(bytes(32), 0)
    address, payout, signature = _address(economy), _payout(registry), rng.randbytes(65) if before else b""

    def payload(inputs: Inputs) -> bytes:
        return protx.register(outpoint, address, keys, payout, inputs, platform, signature, version)

    registering = economy.pay([] if before else [deposit], protx.PROVIDER_REGISTER, payload)
    collateral = (before or [registering])[0].held(0)
    entry = _entry(version, registering.tx.txid, address, keys, platform)
    registry.enter(height, entry, Member(payout, collateral, platform))
    return [*before, registering]


def _entry(version: int, pro_tx_hash: bytes, address: bytes, keys: Keys, platform: Platform | None) -> MasternodeEntry:
    known = (pro_tx_hash, bytes(32), address, keys.operator, keys.voting, True)
    if platform is None:
        return MasternodeEntry(version, *known, protx.REGULAR)
    return MasternodeEntry(version, *known, protx.EVO, platform.http_port, platform.node_id)


def _payout(registry: Registry) -> bytes:
    economy = registry.economy
    return economy.watched_script() if registry.registered % 16 == 2 else economy.stranger()


def _address(economy: Economy) -> bytes:
    return bytes(10) + b"\xff\xff" + economy.rng.randbytes(4) + u16be(_PORT)


def _platform(economy: Economy) -> Platform:
    return Platform(economy.rng.randbytes(20), economy.rng.randrange(1024, 65536), economy.rng.randrange(1024, 65536))


def _announce_service(registry: Registry, height: int) -> list[Spending]:
    key = registry.pick(valid=False, keyed=True) or registry.pick(keyed=True)
    if key is None:
        return []
    economy, before = registry.economy, registry.entries.now[key]
    address, signature = _address(economy), economy.rng.randbytes(96)
    platform = _platform(economy) if registry.members[key].platform else None
    fields = {"http_port": platform.http_port, "node_id": platform.node_id} if platform else {}
    operator = operator_key(before.operator_key, before.version)
    registry.change(height, key, version=protx.BASIC, operator_key=operator, address=address, valid=True, **fields)

    def payload(inputs: Inputs) -> bytes:
        return protx.update_service(key, address, inputs, platform, signature)

    return [economy.pay([], protx.PROVIDER_SERVICE, payload)]


def _change_keys(registry: Registry, height: int) -> list[Spending]:
    key = registry.pick(keyed=False) or registry.pick()
    if key is None:
        return []
    rng, payout = registry.economy.rng, registry.members[key].payout
    operator, voting, signature = registry.operator(), rng.randbytes(20), rng.randbytes(65)
    registry.rekey(height, key, operator, voting)

    def payload(inputs: Inputs) -> bytes:
        return protx.update_registrar(key, operator, voting, payout, inputs, signature)

    return [registry.economy.pay([], protx.PROVIDER_REGISTRAR, payload)]


def _revoke(registry: Registry, height: int) -> list[Spending]:
    key = registry.pick(valid=True)
    if key is None:
        return []
    reason, signature = registry.economy.rng.randrange(4), registry.economy.rng.randbytes(96)
    registry.revoke(height, key)

    def payload(inputs: Inputs) -> bytes:
        return protx.revoke(key, reason, inputs, signature)

    return [registry.economy.pay([], protx.PROVIDER_REVOKE, payload)]


def _ban(registry: Registry, height: int) -> list[Spending]:
    key = registry.pick(valid=True)
    if key is not None:
        registry.change(height, key, valid=False)
    return []


def _remove(registry: Registry, height: int) -> list[Spending]:
    key = registry.pick()
    if key is None:
        return []
    economy, collateral = registry.economy, registry.remove(height, key).collateral
    spending = economy.spend([collateral], [TxOut(collateral.output.value - FEE, economy.stranger())])
    economy.treasury.append(spending.held(0))
    return [spending]


_FIRSTS: dict[int, Event] = {
    **dict.fromkeys(range(6, 20), _register),
    20: _change_keys,
    26: _announce_service,
    32: _revoke,
    38: _ban,
    44: _remove,
    46: _register,
}
"""So that even a chain of 50 blocks shows each kind of change."""

_EVENTS_WHEN_FULL: tuple[Event, ...] = (
    *[_announce_service] * 6,
    *[_change_keys] * 3,
    *[_revoke] * 2,
    *[_ban] * 3,
    *[_remove] * 4,
)
_EVENTS: tuple[Event, ...] = (*_EVENTS_WHEN_FULL, *[_register] * 8)
