"""From an endpoint of the configuration to its model: the scripted fake and HTTP servers, chosen by URL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from src_core.access_token import read_token
from src_core.errors import UserError
from src_core.http_chat import HttpChatModel
from src_core.llm import ChatModel, Endpoint
from src_core.scripted import ScriptedModel
from src_core.server_news import ServerNews

if TYPE_CHECKING:
    from src_core.chat_tokenizer import ChatTokenizer


def make_tokenizer(folder: str) -> ChatTokenizer | None:
    """The chat tokenizer in a folder; None for "". Raises `UserError` for a folder without one."""
    if not folder:
        return None
    from src_core.chat_tokenizer import ChatTokenizer  # numpy, which most runs do not need

    return ChatTokenizer(Path(folder))


def make_model(
    endpoint: Endpoint,
    *,
    connections: int,
    token: str | None,
    keys: Sequence[str] = ("agent",),
    news: ServerNews | None = None,
) -> ChatModel:
    """The model behind an endpoint: `scripted:FILE` or an HTTP URL. `keys` are the settings of the endpoint,
    which messages name; `news` gets what its server says. `token` is sent to servers of ours: an endpoint
    with `key_env` gets the key in that variable, or none.
    """
    if endpoint.url.startswith("scripted:"):
        return ScriptedModel(
            Path(endpoint.url.removeprefix("scripted:")), tokenizer=make_tokenizer(endpoint.tokenizer)
        )
    if not endpoint.url.startswith(("http://", "https://")):
        raise UserError(f"the model url {endpoint.url!r} must start with http://, https:// or scripted:")
    own = read_token(endpoint.key_env) if endpoint.key_env else token
    return HttpChatModel(endpoint, connections=connections, token=own, keys=keys, news=news)
