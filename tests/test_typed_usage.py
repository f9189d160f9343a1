"""The user's program that mypy reads leaves nothing out of what is public."""

from __future__ import annotations

import ast
from pathlib import Path

import phasegate

USAGE = ast.parse((Path(__file__).parent / "typed_usage.py").read_text(encoding="utf-8"))


def test_every_public_name_is_used() -> None:
    """Beyond its import."""
    used = {node.id for node in ast.walk(USAGE) if isinstance(node, ast.Name)}
    used |= {node.attr for node in ast.walk(USAGE) if isinstance(node, ast.Attribute)}
    assert set(phasegate.__all__) <= used


def test_every_method_of_a_client_is_used() -> None:
    """And each of its public attributes, those of instances too."""
    used = {node.attr for node in ast.walk(USAGE) if isinstance(node, ast.Attribute)}
    public = {name for name in dir(phasegate.Client) if not name.startswith("_")}
    assert public | {"config", "broadcasting", "last_progress"} <= used
