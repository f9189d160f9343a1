"""The handshake: its order, what it ignores, whom it refuses."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import attrs
import pytest

from phasegate.consensus.faults import Fault, PeerMisbehaved
from phasegate.consensus.params import Network, network
from phasegate.p2p.handshake import (
    MAX_IGNORED,
    MIN_PROTOCOL,
    PROTOCOL_VERSION,
    USER_AGENT,
    Handshake,
    HandshakeRefused,
    agent_on,
    devnet_name,
    our_version,
)
from phasegate.p2p.messages import Ping, SendAddrV2, SendHeaders, Services, Verack, Version, decode

Recorded = tuple[str, str, bytes]
Conversations = Callable[[int], list[Recorded]]
OURS = our_version(nonce=7, time=1_700_000_000)
THEIRS = Version(70240, 0x1C45, 1_700_000_001, nonce=8, user_agent="/Dash Core:23.1.2/", start_height=356)


@pytest.mark.parametrize("version", [70240, 70235, 70230, 70228, 70227])
def test_our_version_has_the_form_of_the_recorded_ones(conversation: Conversations, version: int) -> None:
    """Given the same time, nonce and name our greeting is the recorded one, byte for byte."""
    direction, command, payload = conversation(version)[0]
    assert (direction, command) == (">", "version")
    theirs = decode("version", payload, version)
    assert isinstance(theirs, Version)
    ours = our_version(
        nonce=theirs.nonce, time=theirs.time, user_agent="/capture:1/", relay=theirs.relay, protocol=version
    )
    assert ours.to_payload(version) == payload


def test_by_default_we_ask_for_no_transactions_and_offer_nothing() -> None:
    """A light client of protocol 70240, relay off, no services."""
    assert (OURS.version, OURS.services, OURS.relay, OURS.user_agent) == (PROTOCOL_VERSION, 0, False, USER_AGENT)


def test_the_name_we_give_carries_the_installed_version() -> None:
    """A node's operator reads which release talks to it."""
    assert f"/phasegate:{importlib.metadata.version('phasegate')}/" == USER_AGENT


def test_a_recorded_node_is_greeted_in_the_recorded_order(conversation: Conversations) -> None:
    """Against what Dash Core sent: version, then sendaddrv2 and verack, and complete with its verack."""
    shake = Handshake(OURS, want_addrv2=True)
    sent = list(shake.start())
    for direction, command, payload in conversation(70240)[:6]:
        if direction == "<":
            assert not shake.complete
            sent += shake.receive(decode(command, payload, 70240))
    assert sent == [OURS, SendAddrV2(), Verack()]
    assert shake.complete
    assert (shake.peer.user_agent, shake.peer.start_height) == ("/Dash Core:23.1.2/", 356)
    assert (shake.peer.version, shake.peer.negotiated, shake.peer.addrv2) == (70240, 70240, True)
    assert shake.peer.services & Services.COMPACT_FILTERS


def test_addrv2_is_not_mentioned_unless_wanted() -> None:
    """The answer to a version is verack alone."""
    assert Handshake(OURS).receive(THEIRS) == [Verack()]


def test_what_comes_before_version_or_twice_is_ignored() -> None:
    """A verack before the version does not count, a second version changes nothing."""
    shake = Handshake(OURS)
    assert [shake.receive(early) for early in (Verack(), SendAddrV2(), Ping(1), SendHeaders())] == [[]] * 4
    assert shake.receive(THEIRS) == [Verack()]
    assert shake.receive(attrs.evolve(THEIRS, start_height=1)) == []
    assert not shake.complete
    assert shake.receive(Verack()) == []
    assert shake.complete
    assert shake.peer.start_height == 356
    assert not shake.peer.addrv2


def test_after_the_handshake_nothing_is_its_business() -> None:
    """No answer and no change once complete."""
    shake = Handshake(OURS)
    shake.receive(THEIRS)
    shake.receive(Verack())
    peer = shake.peer
    assert shake.receive(SendAddrV2()) == shake.receive(THEIRS) == []
    assert shake.peer == peer


@pytest.mark.parametrize(("theirs", "negotiated"), [(70230, 70230), (70240, 70240), (80000, 70240)])
def test_the_older_of_both_protocols_is_spoken(theirs: int, negotiated: int) -> None:
    """Form follows the minimum."""
    shake = Handshake(OURS)
    shake.receive(attrs.evolve(THEIRS, version=theirs))
    assert (shake.peer.version, shake.peer.negotiated) == (theirs, negotiated)


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [
        (attrs.evolve(THEIRS, version=MIN_PROTOCOL - 1), "peer speaks protocol 70229, we need 70230 or newer"),
        (attrs.evolve(THEIRS, version=-1), "peer speaks protocol -1"),
        (attrs.evolve(THEIRS, nonce=7), "ourselves"),
        (attrs.evolve(THEIRS, services=1024), "peer does not offer NETWORK"),
    ],
)
def test_a_peer_we_cannot_use_is_refused_with_the_reason_and_without_blame(theirs: Version, reason: str) -> None:
    """Too old, ourselves, or no block chain: nobody's fault, and the handshake stays where it was."""
    shake = Handshake(OURS)
    with pytest.raises(HandshakeRefused, match=reason):
        shake.receive(theirs)
    assert not shake.complete
    with pytest.raises(RuntimeError):
        _ = shake.peer


def test_the_services_we_need_are_ours_to_name() -> None:
    """More can be required, or nothing."""
    plain = attrs.evolve(THEIRS, services=0)
    assert Handshake(OURS, required_services=0).receive(plain) == [Verack()]
    with pytest.raises(HandshakeRefused, match="COMPACT_FILTERS"):
        Handshake(OURS, required_services=Services.NETWORK | Services.COMPACT_FILTERS).receive(
            attrs.evolve(THEIRS, services=1)
        )


def test_a_null_nonce_is_not_ours() -> None:
    """A peer that leaves its nonce out is not taken for ourselves, whatever ours is."""
    shake = Handshake(attrs.evolve(OURS, nonce=0))
    assert shake.receive(attrs.evolve(THEIRS, nonce=0)) == [Verack()]


def test_talk_without_end_breaks_the_handshake() -> None:
    """A hundred stray messages are borne, not one more."""
    shake = Handshake(OURS)
    for number in range(MAX_IGNORED):
        assert shake.receive(Ping(number)) == []
    with pytest.raises(PeerMisbehaved) as caught:
        shake.receive(Ping(0))
    assert caught.value.fault is Fault.HANDSHAKE_BROKEN


def test_a_name_that_would_paint_the_terminal_is_made_harmless() -> None:
    """Only printable ASCII of a user agent gets through."""
    shake = Handshake(OURS)
    shake.receive(attrs.evolve(THEIRS, user_agent="/\x1b[31mé\n/"))
    assert shake.peer.user_agent == "/?[31m??/"


@pytest.mark.parametrize(
    ("chain", "agent"),
    [
        (network("mainnet"), USER_AGENT),
        (network("devnet"), f"{USER_AGENT[:-1]}(devnet.devnet)/"),
        (network("devnet", devnet_name="foo"), f"{USER_AGENT[:-1]}(devnet.devnet-foo)/"),
    ],
)
def test_a_devnet_is_named_by_both_sides(chain: Network, agent: str) -> None:
    """dashd hangs up on whoever does not say which devnet it is of; so do we."""
    assert agent_on(chain) == agent
    wanted = devnet_name(chain)
    named = attrs.evolve(THEIRS, user_agent=f"/Dash Core:23.1.2({wanted})/")
    assert Handshake(OURS, devnet=wanted).receive(named) == [Verack()]
    if wanted:
        with pytest.raises(HandshakeRefused, match=f"peer is not of {wanted}: it calls itself /Dash Core:23.1.2/"):
            Handshake(OURS, devnet=wanted).receive(THEIRS)
