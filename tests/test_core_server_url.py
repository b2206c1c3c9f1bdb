"""Addresses of servers are checked before the first request."""

from __future__ import annotations

import pytest

from src_core.errors import UserError
from src_core.server_url import server_url


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("http://127.0.0.1:9892", "http://127.0.0.1:9892"),
        (" http://127.0.0.1:9892/v1/ ", "http://127.0.0.1:9892/v1"),
        ("https://[::1]:9892", "https://[::1]:9892"),
        ("http://node-7.example", "http://node-7.example"),
    ],
)
def test_an_address_is_used(given: str, used: str) -> None:
    assert server_url(given) == used


@pytest.mark.parametrize(
    "given",
    [
        *("", "127.0.0.1:9892", "http://", "http:///v1", "http://h:99999", "http://h:x", "http://[::1"),
        *("http://a b", "file:///etc/passwd"),
    ],
)
def test_what_is_no_address_is_one_sentence(given: str) -> None:
    with pytest.raises(UserError, match=r"is no address of a server; write it like http://127\.0\.0\.1"):
        server_url(given)


@pytest.mark.parametrize("given", ["http://user:secret@h:1/v1", "http://secret@h"])
def test_an_address_with_a_password_is_refused_without_repeating_it(given: str) -> None:
    with pytest.raises(UserError, match="REARAG_TOKEN") as refused:
        server_url(given)
    assert "secret" not in str(refused.value)
