"""JSON lines as the documents show them, shortened, and whether they are pictures of real ones."""

from __future__ import annotations

import json
import re
from typing import Any

LEFT_OUT = "…"
NAME = re.compile(r"[a-z]+(_[a-z]+)*")


def lines_of(text: str) -> list[dict[str, Any]]:
    """The JSON objects of a sample, which may be broken over lines."""
    found, rest = [], text.strip()
    while rest:
        one, end = json.JSONDecoder().raw_decode(rest)
        found.append(one)
        rest = rest[end:].strip()
    return found


def unlike(sample: Any, real: Any) -> str:
    """Where a sample is no picture of what is real, "" if it is one.

    `…` stands for any text, as a key for any further keys, as an item for any further items. What is null in one of the
    two may be anything in the other. Keys that are no names, as scripts and addresses, differ from run to run.
    """
    if isinstance(sample, dict) and isinstance(real, dict):
        return _unlike_keys(sample, real) or _first(sample, real)
    if isinstance(sample, list) and isinstance(real, list):
        pairs = [unlike(one, real[0]) for one in sample if real and one != LEFT_OUT]
        return next(filter(None, pairs), "")
    number = isinstance(sample, int | float) and isinstance(real, int | float)
    same = number or None in (sample, real) or type(sample) is type(real)
    return "" if same else f"{sample!r} in the place of {real!r}"


def _unlike_keys(sample: dict[str, Any], real: dict[str, Any]) -> str:
    shown = {key for key in sample if NAME.fullmatch(key)}
    there = {key for key in real if NAME.fullmatch(key)}
    if shown - there:
        return f"{sorted(shown - there)} are no keys any more"
    return "" if LEFT_OUT in sample or shown == there else f"{sorted(there - shown)} are not shown"


def _first(sample: dict[str, Any], real: dict[str, Any]) -> str:
    other = next((value for key, value in real.items() if not NAME.fullmatch(key)), None)
    pairs = ((key, unlike(value, real.get(key, other))) for key, value in sample.items() if key != LEFT_OUT)
    return next((f"{key}: {told}" for key, told in pairs if told), "")
