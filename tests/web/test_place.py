"""Where the view listens: told in one word, bound at once, guarded where strangers may come."""

from __future__ import annotations

import socket

import pytest

from phasegate.cli.web import ALONE, spelt_out
from phasegate.engine.errors import ConfigError
from phasegate.web.place import DEFAULT, TOKEN, listen


def test_the_loopback_needs_no_token() -> None:
    """Port 0 takes a free one, which the address to open names."""
    at = listen("127.0.0.1:0")
    with at.socket:
        assert at.port > 0
        assert (at.token, at.generated) == ("", False)
        assert at.url == f"http://127.0.0.1:{at.port}/"


def test_elsewhere_a_token_is_made_up() -> None:
    """It is good enough to be given, is part of the address to open, and is another each time."""
    first, second = listen("0.0.0.0:0"), listen("0.0.0.0:0")
    with first.socket, second.socket:
        assert TOKEN.fullmatch(first.token)
        assert first.token != second.token
        assert first.url == f"http://127.0.0.1:{first.port}/?token={first.token}"


def test_a_given_token_is_not_printed() -> None:
    """Who gave it knows it, also on the loopback."""
    at = listen("localhost:0", "x" * 16)
    with at.socket:
        assert at.token == "x" * 16
        assert "x" * 16 not in at.url


@pytest.mark.parametrize(
    "token", ["short", "x" * 15, "x" * 201, "with a space in it", "semi;colon-semi;colon", "x" * 20 + "\n"]
)
def test_a_token_that_will_not_do(token: str) -> None:
    """It has to be long enough, and to fit a header, a cookie and an address."""
    with pytest.raises(ConfigError, match="16 to 200"):
        listen("127.0.0.1:0", token)


@pytest.mark.parametrize(
    "where", ["", "8777", "127.0.0.1", "127.0.0.1:", ":8777", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:٣", "a:b:c"]
)
def test_no_place(where: str) -> None:
    """What is not HOST:PORT is named as it was given."""
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        listen(where)


def test_a_name_that_nobody_has() -> None:
    """It is named as it was given."""
    with pytest.raises(ConfigError, match=r"cannot listen on x+\.example:80: "):
        listen(f"{'x' * 64}.example:80")


def test_a_port_in_use() -> None:
    """The place is named, and why."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"{where}: Address already in use"):
            listen(where)


def test_web_may_stand_alone() -> None:
    """Without a value it means the default, wherever it stands; with one it means that."""
    assert ALONE == DEFAULT
    assert list(spelt_out(["--once", "--web"])) == ["--once", "--web", ALONE]
    assert list(spelt_out(["--web", "--once"])) == ["--web", ALONE, "--once"]
    assert list(spelt_out(["--web", "localhost:1", "--once"])) == ["--web", "localhost:1", "--once"]
    assert list(spelt_out(["--web=localhost:1"])) == ["--web=localhost:1"]


def test_the_token_is_not_shown_with_the_place() -> None:
    """What is printed or logged of it tells nobody."""
    at = listen("127.0.0.1:0", "a-token-that-nobody-guesses")
    at.socket.close()
    assert "127.0.0.1" in repr(at)
    assert "nobody" not in repr(at)
