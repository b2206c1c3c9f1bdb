"""A model server of the user's (`engine: openai`): it is tried before anything is fetched, built or asked, so
that a wrong address, model or key is one sentence at once, and request fields that it refuses are left out or
renamed.
"""

from __future__ import annotations

from dataclasses import replace

from src_core.access_token import read_token
from src_core.endpoints import make_model
from src_core.errors import ModelError, UserError
from src_core.http_chat import HttpChatModel
from src_core.llm import ChatModel, Endpoint, Sampling
from src_core.model_list import page_advice
from src_core.protocols.records import Message
from src_core.server_news import ServerNews
from src_core.wire_json import NoJsonError
from src_infer.config import RuntimeConfig

BUSY = (408, 429, 503)
"""HTTP statuses of a server that may answer later; another failure of the server is one of every question."""
NO_MODEL = (400, 404, 422)
"""HTTP statuses of a server that does not have the model."""
TRIES = 3
"""How often the first question is asked: a server that fails is known in seconds."""
_ASKED: list[Message] = [{"role": "user", "content": "Say hello."}]


async def check_own_servers(config: RuntimeConfig) -> None:
    """Raises `UserError` where a model server that is not ours cannot be used. Others are not asked: the
    scripts start them later.
    """
    for endpoint in dict.fromkeys((config.agent, config.reader)):
        if endpoint.engine == "openai":
            model = make_model(endpoint, connections=1, token=read_token())
            try:
                await reach(model, endpoint, sampling=config.sampling("agent"))
            finally:
                await model.close()


async def reach(
    model: ChatModel, endpoint: Endpoint, *, sampling: Sampling, news: ServerNews | None = None
) -> None:
    """`model.ready()`, and for a server that is not ours, or that does not list the model that is named, one
    short question with the fields of a run. `news` gets the fields that it refuses. Raises `ModelError`, and
    `UserError` for a server that is not ours and for a model that is neither listed nor answers.
    """
    if not isinstance(model, HttpChatModel):
        return await model.ready()
    own = endpoint.engine == "openai"
    try:
        await model.ready()
        if own or model.unlisted:
            await _try_fields(model, replace(sampling, max_tokens=16), adapts=own)
    except ModelError as error:
        if error.retryable and error.status in BUSY:  # the questions wait for it
            return None
        if not own and not model.unlisted:
            raise
        raise UserError(_what_to_do(error, model, endpoint)) from error
    if model.unlisted and _other(model.replied_as, model.name):
        raise UserError(
            f"{model.unlisted}, and answered with {model.replied_as} in its place; set the name to a listed "
            "one"
        )
    if news is not None and (found := _refused(endpoint, model.endpoint)):
        news.note(f"{endpoint.url} {found}")
    return None


def _what_to_do(error: ModelError, model: HttpChatModel, endpoint: Endpoint) -> str:
    """The failure of the first question, and what a person can do about it."""
    who = "READER_" if endpoint.key_env.startswith("READER_") else ""
    cause = error.__cause__
    if model.lists_page or (isinstance(cause, NoJsonError) and cause.is_page):
        return page_advice(error, endpoint.url)
    if model.unlisted and error.status in NO_MODEL:
        return f"{error}; {model.unlisted}"
    return (
        f"{error}; check the address ({who}BASE_URL), the model ({who}MODEL_NAME) and the key "
        f"({who}API_KEY) of that server, and whether it runs"
    )


def _other(replied: str, wanted: str) -> bool:
    """Whether a reply names another model than the one that was asked for: neither is the other with a tag,
    a date or an owner.
    """
    first, second = sorted((replied.lower(), wanted.lower()), key=len)
    return bool(first) and first not in second


async def _try_fields(model: HttpChatModel, sampling: Sampling, *, adapts: bool) -> None:
    try:
        with model.probing(attempts=TRIES, adapts=adapts):
            await model.chat(_ASKED, sampling=sampling, stop=("\nObservation",))
    except ModelError as error:
        if error.status == 200 and not isinstance(error.__cause__, NoJsonError):
            return  # an empty reply: 16 tokens are few for a model that thinks
        raise


def _refused(before: Endpoint, after: Endpoint) -> str:
    """What is sent in another way than the settings say, "" for nothing."""
    renamed = [f"{new} in place of {old}" for old, new in after.rename if (old, new) not in before.rename]
    left = [name for name in after.omit if name not in before.omit]
    parts = [f"is sent {', '.join(renamed)}"] if renamed else []
    return " and ".join([*parts, *([f"refuses {', '.join(left)}, which is left out"] if left else [])])
