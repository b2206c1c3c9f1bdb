"""Servers of a run that answer at another address than before: what they serve tells them apart, not the
port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from src_core.served import Record, identity_of
from src_core.server_url import addresses

_ROLES = {"agent.url": "agent", "reader.url": "reader", "retriever": "retriever"}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def moved(before: Mapping[str, Any], now: Mapping[str, Any], records: Sequence[Record]) -> set[str]:
    """The settings (`build_conv.runtime.reader.url`) whose servers on this machine only have another address.

    `records` are those of the run (`read_servers`): each must hold an identity of the server, with which the
    one that answers now is compared when the run directory is opened (`Servers.bind`). A server without a
    record was not asked, or is the one of another role; therefore roles that shared a server still have to.
    """
    old, new = dict(_address_settings(before, "")), dict(_address_settings(now, ""))
    if not records or old.keys() != new.keys() or _shared(old) != _shared(new):
        return set()
    return {
        name
        for name in old
        if _here(old[name])
        and _here(new[name])
        and all(identity_of(facts) for record in records if (facts := record.get(_role(name))) is not None)
    }


def _address_settings(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key in sorted(section):
        value, name = section[key], f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _address_settings(value, f"{name}.")
        elif isinstance(value, str) and _role(name):
            yield name, value


def _role(name: str) -> str:
    """The role of the server whose address this setting is, "" for other settings."""
    return next((role for end, role in _ROLES.items() if f".{name}".endswith(f".{end}")), "")


def _shared(addresses: Mapping[str, str]) -> list[int]:
    """For each setting the first one with the same address."""
    found = list(addresses.values())
    return [found.index(address) for address in found]


def _here(address: str) -> bool:
    """Whether this is the address of a server on this machine, or of several."""
    try:
        parts = [urlsplit(each) for each in addresses(address)]
    except ValueError:  # brackets that are not closed
        return False
    return all(part.scheme in ("http", "https") and part.hostname in _LOOPBACK for part in parts)
