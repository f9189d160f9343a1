"""`phasegate simnet`: one line says where it listens, one line says what is wrong."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from phasegate.consensus.params import REGTEST, SIMNET
from phasegate.p2p.framing import Frame, FrameDecoder, encode_frame
from phasegate.p2p.handshake import our_version
from phasegate.p2p.messages import AddrV2, CmpctBlock, decode
from phasegate.p2p.simnet.generated import generate

COMMAND = (sys.executable, "-m", "phasegate", "simnet")


@contextmanager
def node(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A running node and its first line."""
    with subprocess.Popen([*COMMAND, "--port", "0", *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_first_line_tells_everything(end: signal.Signals) -> None:
    """It listens when it says so, describes its chain, and ends cleanly and quietly on a signal."""
    with node("--blocks", "60", "--seed", "4") as (process, line):
        chain = generate(60, 4)
        port = line.pop("port")
        assert line == {
            "event": "listening",
            "host": "127.0.0.1",
            "network": "simnet",
            "height": 60,
            "tip": chain.tip_hash[::-1].hex(),
            "watch": list(chain.watch),
            "expected": chain.expected,
        }
        assert greeted(port, SIMNET.magic) == "version"
        process.send_signal(end)
        assert process.stdout is not None
        assert process.stdout.read() == ""
        assert process.wait() == 0


def greeted(port: int, magic: bytes, host: str = "127.0.0.1") -> str:
    """The command of the first frame that a node answers to a version."""
    with socket.create_connection((host, port)) as peer:
        peer.sendall(encode_frame(magic, "version", our_version(nonce=1, time=0).to_payload(70240)))
        decoder = FrameDecoder(magic)
        while (frame := decoder.next_frame()) is None:
            decoder.receive_data(peer.recv(4096))
        return frame.command


def test_a_fork_differs_above_its_height() -> None:
    """--fork-at serves the fork of the same seed."""
    with node("--blocks", "30", "--seed", "4", "--fork-at", "20") as (_, line):
        assert line["tip"] == generate(30, 4, fork_at=20).tip_hash[::-1].hex()


def test_the_other_branch_can_be_chosen() -> None:
    """--fork-seed decides what follows --fork-at; --no-locks leaves the chain as it is."""
    with node("--blocks", "30", "--seed", "4", "--fork-at", "20", "--fork-seed", "9", "--no-locks") as (_, line):
        assert line["tip"] == generate(30, 4, fork_at=20, fork_seed=9).tip_hash[::-1].hex()


def test_a_recording_is_served(capture: Path) -> None:
    """--recording serves regtest at the recorded height."""
    with node("--recording", str(capture)) as (_, line):
        assert (line["network"], line["height"], len(line["watch"])) == ("regtest", 356, 12)
        assert len(line["expected"]["transactions"]) == 17
        assert greeted(line["port"], REGTEST.magic) == "version"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--port", "99999"), "99999 is no port"),
        (("--port", "x"), "valid integer"),
        (("--blocks", "-1"), "-1 blocks"),
        (("--blocks", "5", "--fork-at", "6"), "cannot fork at 6"),
        (("--blocks", "5", "--fork-seed", "6"), "--fork-seed needs --fork-at"),
        (("--recording", "/nowhere", "--fork-seed", "5"), "cannot be combined"),
        (("--blocks", "5", "--lie", "nonsense"), "wrong-pow, broken-link"),
        (("--blocks", "5", "--lie", "wrong-pow@6"), "'6' is no height"),
        (("--recording", "/nowhere", "--blocks", "5"), "cannot be combined"),
        (("--recording", "/nowhere"), "no recording in /nowhere"),
        (("--blocks", "5", "--log", "/nowhere/log"), "/nowhere/log: No such file"),
        (("--blocks", "5", "--delay", "-1"), "delay of -1.0"),
        (("--blocks", "5", "--host", "256.256.256.256"), "256.256.256.256:"),
        (("--blocks", "5", "--flood", "mud"), "inv, addr, ping, unknown, big, or all"),
        (("--blocks", "5", "--announce-by", "pigeon"), "inv, headers, headers2, cmpctblock"),
        (("--blocks", "5", "--known", "seed.example"), "--known seed.example: "),
        (("--blocks", "5", "--share", "101"), "share of 101 percent"),
        (("--blocks", "5", "--stall-after", "-1"), "--stall-after -1"),
        (("--blocks", "5", "--trickle", "0"), "--trickle 0.0"),
        (("--blocks", "5", "--hang-up-after", "nan"), "--hang-up-after nan"),
        (("--recording", "/nowhere", "--mine-every", "5"), "cannot be combined"),
        (("--part", "1/2"), "--part needs --internet"),
        (("--internet", "--part", "3/2"), "--part 3/2 is not K/N"),
        (("--internet", "--lie", "wrong-pow"), "--internet cannot be combined with --lie"),
        (("--internet", "--stall-after", "0"), "--internet cannot be combined with --stall-after"),
        (("--internet", "--host", "127.0.0.2"), "--internet cannot be combined with --host"),
        (("--internet", "--port", "0"), "it cannot be 0"),
    ],
)
def test_what_cannot_be_gets_one_line(arguments: tuple[str, ...], said: str) -> None:
    """A wrong argument ends with exit code 2 and one line that names it, never a traceback."""
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stdout == ""
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_port_in_use_gets_one_line() -> None:
    """Two nodes cannot listen on one port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = run("--blocks", "5", "--port", port)
    assert result.returncode == 2
    assert f"127.0.0.1:{port}" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_log_has_a_line_for_each_request(tmp_path: Path) -> None:
    """A getheaders over TCP is logged at once."""
    log = tmp_path / "requests.jsonl"
    with node("--blocks", "20", "--log", str(log)) as (_, line):
        with socket.create_connection(("127.0.0.1", line["port"])) as peer:
            version = our_version(nonce=1, time=0).to_payload(70240)
            locator = (70240).to_bytes(4, "little") + b"\x01" + bytes(64)
            for command, payload in (("version", version), ("verack", b""), ("getheaders", locator)):
                peer.sendall(encode_frame(SIMNET.magic, command, payload))
            decoder = FrameDecoder(SIMNET.magic)
            while (frame := decoder.next_frame()) is None or frame.command != "headers":
                decoder.receive_data(peer.recv(4096) if frame is None else b"")
            port = peer.getsockname()[1]
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(4096) == b""
        (entry,) = [json.loads(text) for text in log.read_text().splitlines()]
    del entry["time"]
    assert entry == {"peer": f"127.0.0.1:{port}", "command": "getheaders", "from": 1, "to": 20, "served": 20}


def asked(port: int, command: str, payload: bytes, answer: str) -> bytes:
    """The first payload named `answer` that comes after a handshake and a request."""
    with socket.create_connection(("127.0.0.1", port), timeout=30.0) as peer:
        version = our_version(nonce=1, time=0).to_payload(70240)
        for name, data in (("version", version), ("sendaddrv2", b""), ("verack", b""), (command, payload)):
            peer.sendall(encode_frame(SIMNET.magic, name, data))
        decoder = FrameDecoder(SIMNET.magic)
        while (frame := decoder.next_frame()) is None or frame.command != answer:
            if frame is None:
                decoder.receive_data(peer.recv(65536))
        return frame.payload


def heard(port: int, command: str, payload: bytes) -> Iterator[Frame]:
    """All frames that come after a handshake and a request, until the node hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=30.0) as peer:
        version = our_version(nonce=1, time=0).to_payload(70240)
        for name, data in (("version", version), ("sendaddrv2", b""), ("verack", b""), (command, payload)):
            peer.sendall(encode_frame(SIMNET.magic, name, data))
        decoder = FrameDecoder(SIMNET.magic)
        while data := peer.recv(65536):
            decoder.receive_data(data)
            while (frame := decoder.next_frame()) is not None:
                yield frame


def test_a_node_tells_what_it_was_told_to() -> None:
    """--known and --share: addresses come back in an addrv2, the port of the network where none was given."""
    with node("--blocks", "5", "--known", "10.1.2.3", "--known", "[2001:db8::7]:99", "--share", "100") as (_, line):
        told = decode("addrv2", asked(line["port"], "getaddr", b"", "addrv2"), 70240)
        assert isinstance(told, AddrV2)
        places = {(address.address.hex(), address.port) for address in told.addresses}
        assert places == {("0a010203", 29899), ("20010db8" + "00" * 11 + "07", 99)}


def test_a_node_of_many_vices_still_answers_among_them() -> None:
    """--flood, --trickle, --delay and --hang-up-after together: an answer comes, between junk, before the end."""
    vices = ("--flood", "ping,unknown", "--trickle", "20000", "--delay", "0.5", "--hang-up-after", "5")
    with node("--blocks", "20", "--refuse-getaddr", "--refuse-txs", *vices) as (_, line):
        locator = (70240).to_bytes(4, "little") + b"\x01" + bytes(64)
        begun, junk = time.monotonic(), list[str]()
        frames = heard(line["port"], "getheaders", locator)
        while (frame := next(frames)).command != "headers":
            junk.append(frame.command)
        assert len(frame.payload) == 1 + 81 * 20
        assert time.monotonic() - begun >= 0.5
        more = list(takewhile(lambda _: time.monotonic() - begun < 20, frames))
        taken = time.monotonic() - begun
        junk += [frame.command for frame in more]
        assert junk.count("ping") > 10  # every node sends one
        assert len([command for command in junk if command.startswith("x")]) > 10
        assert 5 <= taken < 20
        assert sum(len(frame.payload) for frame in more) <= 20_000 * taken


def test_a_growing_node_mines_and_tells() -> None:
    """--mine-every and --announce-by: a block that was not there before is announced in the form asked for."""
    with node("--blocks", "20", "--mine-every", "0.3", "--announce-by", "cmpctblock") as (_, line):
        message = decode("cmpctblock", asked(line["port"], "ping", bytes(8), "cmpctblock"), 70240)
        assert isinstance(message, CmpctBlock)
        chain = generate(20, 1)
        assert line["tip"] == chain.tip_hash[::-1].hex()
        while message.header.prev != chain.tip_hash:
            assert chain.height < 200, "it follows no tip of this chain"
            chain.extend(1)
        chain.extend(1)
        assert message.header.hash == chain.tip_hash


def test_an_internet_is_served_in_parts() -> None:
    """Every process tells of all 50 members, serves its own part of the live ones, and ends with the lies it told."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    arguments = ("--internet", "--blocks", "60", "--seed", "5", "--port", str(port))
    ended: dict[str, int] = {}
    with node(*arguments, "--part", "1/2") as (one, line), node(*arguments, "--part", "2/2") as (two, same):
        for member in line["members"]:
            host, _, at = member["address"].rpartition(":")
            if member["role"] == "dead":
                with pytest.raises(ConnectionRefusedError):
                    greeted(int(at), SIMNET.magic, host)
            else:
                assert greeted(int(at), SIMNET.magic, host) == "version"
        for process in (one, two):
            process.send_signal(signal.SIGTERM)
            assert process.stdout is not None
            last = json.loads(process.stdout.read())
            assert last.pop("event") == "ended"
            ended |= last.pop("told_lies")
            assert (last, process.wait()) == ({}, 0)
    assert line == same
    roles = {member["address"]: member["role"] for member in line["members"]}
    assert len(roles) == 50
    assert [roles[address] for address in line["seeds"]] == ["honest", "honest"]
    assert ended == {address: 0 for address, role in roles.items() if role == "lying"}
