"""The lines of the commands that need no peer hold against the published schema."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

Run = Callable[..., Any]


SMALL = "verify --only engine --only simulation --examples 2 --seeds 2 --jobs 1"
"""A real run of the parts that have seeds; the lines of all four parts are held against the schema with its command."""


@pytest.mark.parametrize(("command", "kinds"), [("policy", {"rule", "remedy"}), (SMALL, {"verified", "summary"})])
def test_each_line_is_of_one_kind(run: Run, check_line: Run, command: str, kinds: set[str]) -> None:
    """Every line of the policy, and of its proof, is described; one without its reason or number is none."""
    outcome = run(*command.split(), "--json")
    assert outcome.code == 0
    assert {line["event"] for line in outcome.lines} == kinds
    for line in outcome.lines:
        check_line(line)
        for key in {"reason", "violations"} & set(line):
            lacking = copy.copy(line)
            del lacking[key]
            with pytest.raises(jsonschema.ValidationError):
                check_line(lacking)
