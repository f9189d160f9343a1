"""The network: do the seeds answer, can a peer be reached (through the proxy, if there is one), and do clocks agree?

Seeds and a few peers are asked at once, each within its own time. One peer that greets us as a node of this network
proves that there is a way; given peers are all looked at, since it is them that the user wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import attrs
import trio

from phasegate.cli.doctor_clock import SET_IT
from phasegate.cli.findings import Finding, fine, odd, wrong
from phasegate.cli.patient import Patient
from phasegate.consensus.faults import PeerMisbehaved
from phasegate.engine.peers import why_lost
from phasegate.p2p.addresses import Address, BadAddress
from phasegate.p2p.connection import Connection, ConnectionLost
from phasegate.p2p.discovery import Seeded, resolve_all
from phasegate.p2p.handshake import Handshake, HandshakeRefused, agent_on, devnet_name, our_version
from phasegate.p2p.messages import Version
from phasegate.p2p.proxy import ProxyFailed
from phasegate.p2p.seeds import built_in

SEED_TIMEOUT, PEER_TIMEOUT = 10.0, 15.0
"""Seconds that a seed, and a peer with its greeting, may take."""
TRIED = 8
"""Peers that are tried when none is given."""
FAR_OFF, OFF = 3600.0, 120.0
"""Seconds between our clock and the peers' from which blocks may be refused, and from which a word is due."""


@attrs.frozen
class Met:
    """What came of trying one peer: its height and how far its clock is ahead, or why it was not met."""

    place: Address
    height: int = 0
    ahead: float = 0.0
    error: str = ""
    proxy_failed: bool = False


def look_at_network(patient: Patient) -> list[Finding]:
    """Seeds, peers and the peers' clocks."""
    return trio.run(examine_network, patient)


async def examine_network(patient: Patient) -> list[Finding]:
    """As `look_at_network`, within Trio."""
    seeds = await _ask_seeds(patient)
    found = [_of_seeds(patient, seeds)]
    places = _places(patient, seeds)
    if not places:
        remedy = "give one with --peer HOST:PORT, or seeds with --dns-seed"
        return [*found, odd("peers", f"there is nobody on {patient.config.network.file_name} to connect to", remedy)]
    met = await _meet(patient, places)
    found.append(_of_peers(patient, met))
    if reached := [one for one in met if not one.error]:
        found.append(_of_clocks(reached))
    return found


# -- seeds -------------------------------------------------------------------------------------------------------


def _names(patient: Patient) -> Sequence[str]:
    config = patient.config
    if config.connect_only:
        return ()
    return config.network.dns_seeds if config.dns_seeds is None else config.dns_seeds


async def _ask_seeds(patient: Patient) -> list[Seeded]:
    if patient.config.proxy is not None:
        return []
    seeds: list[Seeded] = []
    names, port = _names(patient), patient.config.network.port
    await resolve_all(patient.seams.resolve, names, port, timeout=SEED_TIMEOUT, found=seeds.append)
    return sorted(seeds, key=lambda seed: list(names).index(seed.name))


def _of_seeds(patient: Patient, seeds: list[Seeded]) -> Finding:
    if patient.config.connect_only:
        return fine("dns", "nobody is looked for: connect_only is set")
    if not _names(patient):
        return fine("dns", f"{patient.config.network.file_name} has no seeds")
    if patient.config.proxy is not None:
        return fine("dns", "nothing is looked up here: the proxy does that")
    silent = [seed for seed in seeds if seed.error]
    total = sum(len(seed.addresses) for seed in seeds)
    told = ", ".join(f"{seed.name}: {seed.error}" for seed in silent)
    remedy = "look at this machine's name server (resolv.conf), or name peers with --peer"
    if len(silent) == len(seeds):
        return wrong("dns", f"no seed resolves ({told})", remedy)
    return fine("dns", f"{len(seeds) - len(silent)} of {len(seeds)} seeds answer, {total} addresses")


# -- peers -------------------------------------------------------------------------------------------------------


def _places(patient: Patient, seeds: list[Seeded]) -> list[Address]:
    """The given peers; without any some of those that are remembered, that seeds name, and that are built in."""
    config = patient.config
    if config.peers:
        return list(config.peers)
    remembered = [Address(host, port) for host, port in (patient.seen.addresses if patient.seen else ())[: TRIED // 2]]
    named = [address for seed in seeds for address in seed.addresses]
    if config.proxy is not None:
        named = [place for name in _names(patient) if (place := _seed_place(name, config.network.port)) is not None]
    last = built_in(config.network) if config.dns_seeds is None else ()
    rest = [*named, *last]
    patient.seams.random.shuffle(rest)
    return list(dict.fromkeys([*remembered, *rest]))[:TRIED]


def _seed_place(name: str, port: int) -> Address | None:
    try:
        return Address.parse(name, port)
    except BadAddress:
        return None


async def _meet(patient: Patient, places: Sequence[Address]) -> list[Met]:
    met: list[Met] = []

    async def try_one(place: Address) -> None:
        met.append(await _try_peer(patient, place))

    async with trio.open_nursery() as nursery:
        for place in places:
            nursery.start_soon(try_one, place)
    return sorted(met, key=lambda one: places.index(one.place))


async def _try_peer(patient: Patient, place: Address) -> Met:
    try:
        with trio.fail_after(PEER_TIMEOUT):
            stream = await patient.seams.open_stream(place.host, place.port)
            try:
                return await _greet(patient, place, stream)
            finally:
                await trio.aclose_forcefully(stream)
    except trio.TooSlowError:
        return Met(place, error=f"no answer within {PEER_TIMEOUT:g} s")
    except ProxyFailed as error:
        return Met(place, error=str(error), proxy_failed=True)
    except OSError as error:
        return Met(place, error=why_lost("connecting", error))
    except ConnectionLost as error:
        return Met(place, error=why_lost("handshaking", error))
    except (HandshakeRefused, PeerMisbehaved) as error:
        return Met(place, error=str(error))


async def _greet(patient: Patient, place: Address, stream: trio.abc.Stream) -> Met:
    network, now = patient.config.network, patient.seams.now
    connection = Connection(stream, network.magic, compute=patient.seams.compute)
    nonce = patient.seams.random.getrandbits(64)
    ours = our_version(nonce=nonce, time=int(now()), user_agent=agent_on(network))
    handshake, ahead = Handshake(ours, devnet=devnet_name(network)), 0.0
    for message in handshake.start():
        await connection.send(message)
    while not handshake.complete:
        told = await connection.receive()
        if isinstance(told, Version):
            ahead = told.time - now()
        for message in handshake.receive(told):
            await connection.send(message)
    return Met(place, handshake.peer.start_height, ahead)


def _of_peers(patient: Patient, met: list[Met]) -> Finding:
    given, lost = bool(patient.config.peers), [one for one in met if one.error]
    if proxies := [one for one in lost if one.proxy_failed]:
        return wrong("peers", proxies[0].error, "see that the proxy runs and that --proxy names it")
    if lost and (given or len(lost) == len(met)):
        told = "; ".join(f"{one.place}: {one.error}" for one in lost[:3])
        reached = f"{len(met) - len(lost)} of {len(met)} peers were reached ({told})"
        return wrong("peers", reached, "see that the node runs and that nothing blocks outgoing TCP connections")
    best = max(one.height for one in met if not one.error)
    return fine("peers", f"{len(met) - len(lost)} of {len(met)} peers were reached, the highest at {best}")


def _of_clocks(reached: list[Met]) -> Finding:
    ahead = median([one.ahead for one in reached])
    told = f"this clock is {abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} that of {len(reached)} peers"
    if abs(ahead) > FAR_OFF:
        return wrong("peer clock", told, SET_IT)
    if abs(ahead) > OFF:
        return odd("peer clock", told, SET_IT)
    return fine("peer clock", told)
