"""Interpreter, libraries and the hash of blocks, seen without importing anything that needs them to be right."""

from __future__ import annotations

import platform
import re
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module, metadata

from phasegate.cli.findings import Finding, fine, wrong

PYTHONS = ((3, 11), (3, 12), (3, 13))
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*\(?([^;)]*)")
_BOUND = re.compile(r"\s*(>=|<|==|<=|>|!=|~=)\s*([0-9.]+)")
_TOLD = ("apsw", "trio", "numba", "numpy", "typer", "rich")


def look_at_installation() -> Iterator[Finding]:
    """Python, and the libraries that phasegate requires."""
    yield look_at_python()
    yield look_at_libraries()


def look_at_python() -> Finding:
    """Whether this Python is one that phasegate runs on."""
    told = f"{platform.python_version()} ({platform.python_implementation()}, {platform.system()})"
    if sys.version_info[:2] in PYTHONS and platform.python_implementation() == "CPython":
        return fine("python", told)
    return wrong("python", f"{told} is not supported", "install phasegate with CPython 3.11, 3.12 or 3.13")


def look_at_libraries() -> Finding:
    """Whether all that is required is there, in a version that will do."""
    try:
        required, own = metadata.requires("phasegate") or [], metadata.version("phasegate")
    except metadata.PackageNotFoundError:
        return wrong("libraries", "phasegate is not installed, only its files are there", "pip install it")
    unmet = {text: complaint for text in required if "extra ==" not in text and (complaint := _unmet(text))}
    if unmet:
        return wrong(
            "libraries", "; ".join(unmet.values()), f"in this environment: {shlex.join(['pip', 'install', *unmet])}"
        )
    told = ", ".join(f"{name} {metadata.version(name)}" for name in _TOLD)
    return fine("libraries", f"phasegate {own}, {told}")


def _unmet(requirement: str) -> str:
    """What is wrong with the installed version of a requirement [PEP 508]; "" when it will do."""
    found = _REQUIREMENT.match(requirement)
    if found is None:
        return ""
    name, bounds = found.group(1), found.group(2)
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return f"{name} is missing"
    kept = all(_keeps(version, operator, bound) for operator, bound in _BOUND.findall(bounds))
    return "" if kept else f"{name} {version} is not {bounds.strip()}"


def _keeps(version: str, operator: str, bound: str) -> bool:
    """Whether a version keeps a bound; of operators that are not used here nothing is said."""
    have, want = _numbers(version), _numbers(bound)
    length = max(len(have), len(want))
    have, want = (numbers + (0,) * (length - len(numbers)) for numbers in (have, want))
    return {">=": have >= want, "<": have < want, "==": have == want, "<=": have <= want, ">": have > want}.get(
        operator, True
    )


def _numbers(version: str) -> tuple[int, ...]:
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    return tuple([int(number) for number in numbers.group().split(".")]) if numbers else ()


def look_at_x11() -> Finding:
    """Whether the hash of the genesis block is what the whole network says it is."""
    repair = "reinstall it: pip install --force-reinstall --no-binary :all: x11-hash (needs a C compiler and Python.h)"
    try:
        kernel = import_module("phasegate.consensus.x11")
        params = import_module("phasegate.consensus.params")
    except (ImportError, OSError, AttributeError) as error:
        return wrong("x11", f"the X11 kernel does not work: {error}", repair)
    if kernel.x11(params.MAINNET.genesis)[::-1].hex() != GENESIS:
        return wrong("x11", "the X11 kernel does not reproduce the hash of the genesis block", repair)
    return fine("x11", "reproduces the hash of the genesis block")


GENESIS = "00000ffd590b1485b3caadc19b22e6379c733355108f107a430458cdf3407ab6"
"""The hash of mainnet's first block, as people write it [Core chainparams.cpp]."""
