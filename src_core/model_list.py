"""Which model a server is asked for, from its list of models (`/v1/models`).

With a configured name the list is only advice: servers without a list, with another shape of it, or that list
the name with a tag (`name:latest`) are used as they are. Without one the choice must be clear.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from src_core.errors import UserError
from src_core.text import nearest

_NO_CHAT = re.compile(r"embed|rerank", re.IGNORECASE)


class Listed(NamedTuple):
    """One model of a list. `parent` is the base model of an adapter, "" for a model itself."""

    name: str
    parent: str = ""


class Choice(NamedTuple):
    """The model to ask for, and a line for the user ("" for none)."""

    name: str
    note: str = ""


def read_models(payload: Any) -> list[Listed]:
    """The models of a list: `{"data": […]}`, `{"models": […]}` or a bare list, of objects or names. Anything
    else lists none.
    """
    rows = payload
    if isinstance(payload, dict):
        rows = payload.get("data") or payload.get("models")
    found = {
        model.name: model for model in map(_listed, rows if isinstance(rows, list) else ()) if model.name
    }
    return list(found.values())


def choose_model(listed: Sequence[Listed], *, wanted: str, url: str, keys: Sequence[str]) -> Choice:
    """The model for a configuration that names `wanted` ("": none). `keys` are the settings that name it.
    Raises `UserError` where none is named and the list does not decide.
    """
    names = [model.name for model in listed]
    settings = " and ".join(keys)
    if wanted:
        if not names or wanted in names or f"{wanted}:latest" in names:
            return Choice(wanted)
        near = nearest(wanted, names, cutoff=0.4)  # names of models share prefixes, owners and tags
        hint = f" (did you mean {near}?)" if near else ""
        return Choice(
            wanted, f"{url} does not list the model {wanted} ({settings}); it lists {_some(names)}{hint}"
        )
    if not names:
        raise UserError(
            f"{url} lists no model; load one in that server, or set {settings} to the name of its model"
        )
    if len(names) == 1:
        return Choice(names[0])
    bases = [model for model in listed if not model.parent]
    if len(bases) == 1 and all(model.parent in ("", bases[0].name) for model in listed):
        adapters = [model.name for model in listed if model.parent]
        note = (
            f"{url} is asked for {bases[0].name} without an adapter; {settings} may also be {_some(adapters)}"
        )
        return Choice(bases[0].name, note)
    chatting = [name for name in names if not _NO_CHAT.search(name)]
    if len(chatting) == 1:
        return Choice(
            chatting[0], f"{url} is asked for {chatting[0]}, its only model that is no embedder or reranker"
        )
    raise UserError(
        f"{url} lists {len(names)} models; set {keys[0]} to one of {_some(chatting or names)}"
        + ("" if len(chatting) in (0, len(names)) else " (the others are embedders or rerankers)")
        + "".join(f", and {key} too" for key in keys[1:])
    )


def page_advice(error: Exception, url: str) -> str:
    """`error`, of a server that answers with a page of HTML, and what a person can do about it."""
    return (
        f"{error}; a web page is at {url}, not the API of a model server: correct the address (BASE_URL, or "
        "the url among the settings), which often ends in /v1"
    )


def _listed(row: Any) -> Listed:
    if isinstance(row, str):
        return Listed(row)
    if not isinstance(row, dict):
        return Listed("")
    name = next((row[key] for key in ("id", "name", "model") if isinstance(row.get(key), str)), "")
    parent = row.get("parent")
    return Listed(name, parent if isinstance(parent, str) else "")


def _some(names: Sequence[str]) -> str:
    """The names, the first twenty where there are more."""
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more
