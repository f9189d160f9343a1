"""The systemd unit and the container file are what they are said to be, and start the program that there is."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from phasegate.cli.app import app
from phasegate.cli.refusal import Code
from phasegate.engine.setting_places import OTHERS, PREFIX, in_environment, settings

ROOT = Path(__file__).resolve().parent.parent
UNIT = ROOT / "deploy" / "phasegate.service"
CONTAINER = ROOT / "deploy" / "Containerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")
HARDENED = {
    "DynamicUser": "yes",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "LockPersonality": "yes",
    "SystemCallArchitectures": "native",
}


def _unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys of units have capitals
    parser.read_string(UNIT.read_text(encoding="utf-8"))
    return parser


def _refuse_unknown(words: list[str]) -> None:
    """Each command and option of a command line exists."""
    command = get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words[1:] if word.startswith("--")} <= known


def test_the_unit_starts_what_there_is() -> None:
    """A sync with options that exist; a clean stop counts as success, and a wrong option is not tried again."""
    service = _unit()["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert Path(program).name == "phasegate"
    _refuse_unknown([word for word in words if not word.startswith("$")])
    assert service["Type"] == "exec"
    assert int(service["SuccessExitStatus"]) == Code.INTERRUPTED
    assert int(service["RestartPreventExitStatus"]) == Code.USAGE
    assert words[words.index("--datadir") + 1] == f"/var/lib/{service['StateDirectory']}"
    assert _unit()["Install"]["WantedBy"] == "multi-user.target"


@pytest.mark.parametrize("file", [UNIT, CONTAINER], ids=lambda file: file.name)
def test_the_variables_of_a_service_are_no_mistakes(file: Path) -> None:
    """What it has in its environment under our prefix is a setting, or known to be none: the program starts with it."""
    named = set(re.findall(PREFIX + "[A-Z_]+", file.read_text(encoding="utf-8")))
    known = settings()
    assert named <= OTHERS | {setting.variable for setting in known.values()}
    assert list(in_environment(known, dict.fromkeys(named & OTHERS, "--network mainnet"))) == []


def test_the_unit_has_its_options_from_a_variable() -> None:
    """It is the one that the line above looked for, and the page of settings tells of it."""
    assert set(re.findall(r"\$(\w+)", UNIT.read_text(encoding="utf-8"))) == {"PHASEGATE_OPTIONS"}
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert {name for name in OTHERS if f"`{name}`" not in page} == set()


def test_the_unit_is_hardened() -> None:
    """It may write its own directories only, and gain nothing; but it may run what numba compiles."""
    service = _unit()["Service"]
    assert {key: service.get(key) for key in HARDENED} == HARDENED
    assert "MemoryDenyWriteExecute" not in service


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze on this machine")
def test_systemd_has_nothing_to_say_against_the_unit(tmp_path: Path) -> None:
    """The unit with a program that is there in its place."""
    text = UNIT.read_text(encoding="utf-8").replace("/opt/phasegate/bin/phasegate", "/bin/true")
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace("EnvironmentFile=/", "EnvironmentFile=-/"), encoding="utf-8")
    words = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(copy)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    told = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert told == []


def _stages() -> list[list[tuple[str, str]]]:
    """The instructions of the container file, stage by stage."""
    text = re.sub(r"\\\n\s*", " ", CONTAINER.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    stages: list[list[tuple[str, str]]] = []
    for line in lines:
        word, _, rest = line.partition(" ")
        assert word in {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "STOPSIGNAL", "ENTRYPOINT", "CMD"}
        if word == "FROM":
            stages.append([])
        stages[-1].append((word, rest.strip()))
    return stages


def test_the_container_is_built_in_two_stages() -> None:
    """From named images; the second has no compiler, and takes from the first what was installed."""
    build, run = _stages()
    for stage in (build, run):
        assert re.fullmatch(r"docker\.io/library/python:3\.1[123]-\S+( AS build)?", stage[0][1])
    assert any("gcc" in rest for _, rest in build)
    assert not any("gcc" in rest or "apt-get" in rest for _, rest in run)
    assert ("COPY", "--from=build /opt/phasegate /opt/phasegate") in run


def test_the_container_runs_as_nobody_in_its_volume() -> None:
    """A number as user, which a cluster can see is not root; data in a volume that belongs to it; SIGTERM stops it."""
    said = dict(_stages()[1])
    assert said["USER"] == "10001:10001"
    assert said["VOLUME"] == "/data"
    assert said["STOPSIGNAL"] == "SIGTERM"
    assert said["ENTRYPOINT"] == '["phasegate"]'
    assert "XDG_DATA_HOME=/data" in said["ENV"]
    _refuse_unknown(re.findall(r'"([^"]+)"', said["CMD"]))
    last = [word for word, _ in _stages()[1]]
    assert last.index("USER") > max(index for index, word in enumerate(last) if word in ("RUN", "COPY"))


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint is not installed: `make setup` does where it has a wheel")
def test_hadolint_has_nothing_to_say_against_the_container() -> None:
    """Nor does it pass over whatever it is given: without its user, the file is complained of."""
    words = [str(HADOLINT), "--no-color", "--failure-threshold", "style", "-"]
    text = CONTAINER.read_text(encoding="utf-8")
    done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("", 0)
    worse = text.replace("\nUSER 10001:10001", "\nUSER root")
    done = subprocess.run(words, input=worse, capture_output=True, text=True, timeout=60, check=False)
    assert "DL3002" in done.stdout
    assert done.returncode


@pytest.mark.soak
def test_the_container_can_be_built(tmp_path: Path) -> None:
    """Where an engine runs: an image, in which the command says its version as the user of the file."""
    engine = next((name for name in ("podman", "docker") if _runs(name)), None)
    if engine is None:
        pytest.skip("no container engine runs on this machine")
    told = tmp_path / "image"
    subprocess.run([engine, "build", "--iidfile", str(told), "-f", str(CONTAINER), str(ROOT)], timeout=1800, check=True)
    words = [engine, "run", "--rm", "--network", "none", told.read_text(encoding="ascii"), "--version"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.startswith("phasegate ")


def _runs(engine: str) -> bool:
    if shutil.which(engine) is None:
        return False
    return not subprocess.run([engine, "info"], capture_output=True, timeout=60, check=False).returncode


def test_every_exit_code_is_told() -> None:
    """The page has a row for each, and for the 1 of commands that judge."""
    page = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)] == sorted([1, *Code])
