"""`phasegate diagram` as a command."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from phasegate.cli.diagram import diagram
from phasegate.statecharts.diagram import draw
from phasegate.statecharts.form import Form
from phasegate.statecharts.peer import PeerChart
from phasegate.statecharts.sync import SyncChart


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(diagram)
    return CliRunner().invoke(app, arguments)


def test_mermaid_of_the_sync_chart_is_the_default() -> None:
    """Without options the sync chart is written to standard out as Mermaid."""
    result = run()
    assert result.exit_code == 0
    assert result.stdout_bytes == draw(SyncChart, Form.MERMAID)


def test_options_choose_chart_form_state_and_file(tmp_path: Path) -> None:
    """Chart, format, active state and file are what the options say."""
    target = tmp_path / "peer.md"
    result = run("--chart", "peer", "--format", "md", "--active", "ready", "-o", str(target))
    assert (result.exit_code, result.stdout) == (0, "")
    assert target.read_bytes() == draw(PeerChart, Form.MD, "ready")


def test_an_unknown_state_is_one_line_and_exit_2() -> None:
    """A wrong state is told in one line, without a traceback."""
    result = run("--active", "nowhere")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "no state 'nowhere'" in result.stderr


def test_missing_graphviz_is_one_line_and_exit_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without graphviz an SVG is refused in one line."""
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run("--format", "svg")
    assert result.exit_code == 2
    assert "graphviz" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_cannot_be_written_is_one_line_and_exit_2(tmp_path: Path) -> None:
    """The file and the reason are named."""
    result = run("-o", str(tmp_path / "nowhere" / "x.mmd"))
    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr
    assert len(result.stderr.splitlines()) == 1
