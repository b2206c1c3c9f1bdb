"""The HTTP client of OpenAI-compatible LLM servers.

Engines are interchangeable by URL (vLLM, llama.cpp, any OpenAI-compatible server). One session with a bounded
connection pool serves all questions in flight; `http_json` retries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from src_core.chat_template import ChatTemplate
from src_core.completions import completed
from src_core.errors import BoundaryError, ModelError, UserError
from src_core.http_json import JsonHttp
from src_core.llm import Completion, Endpoint, Engine, Sampling
from src_core.llm_tokens import LlamaCppTokens, TokenCompletion, TokenSampling, VllmTokens
from src_core.model_list import choose_model, page_advice, read_models
from src_core.protocols.records import Constraint, Message
from src_core.replicas import Replica
from src_core.replies import Reply, read_reply
from src_core.request_fields import advice, constraint_fields, refused, shaped
from src_core.served import Facts, differing, model_facts
from src_core.server_news import ServerNews
from src_core.special_text import Defuser
from src_core.wire_json import NoJsonError

GO_ON = "The answer so far is below. Go on exactly where it ends, in the same form, and do not repeat it."
_REFUSED = (401, 403, 407)
_MODEL_KNOBS = {"API_KEY": "MODEL_NAME", "READER_API_KEY": "READER_MODEL_NAME"}
"""The knob that names the model of a server whose key is in a variable (deploy/profile.sh)."""


class HttpChatModel:
    """OpenAI-compatible `/v1/chat/completions` or `/v1/completions` over one shared session."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        connections: int = 64,
        token: str | None = None,
        keys: Sequence[str] = ("agent",),
        news: ServerNews | None = None,
    ) -> None:
        """`keys` are the settings of this endpoint, for messages."""
        self.endpoint = endpoint
        self.unlisted = ""  # what to say of a configured name that the server does not list
        self.lists_page = False  # whether the server has a page of HTML in place of its list
        self.replied_as = ""  # the model that the last reply named
        self.engine: Engine = endpoint.engine
        self._model = endpoint.model
        self._keys = keys
        self._news = news or ServerNews()
        self._template = _template(endpoint)
        self._defuse = Defuser(endpoint.tokenizer)
        self._http = JsonHttp(
            endpoint.url,
            error=ModelError,
            token=token,
            connections=connections,
            timeout=endpoint.timeout,
            retry=endpoint.retry,
            news=self._news,
        )
        self._facts: Facts = {}
        self._adapts = False
        self._attempts: int | None = None
        self._was_listed = False
        self._on_reply: Callable[[str], None] | None = None
        self._on_facts: Callable[[Facts], None] | None = None
        self._http.on_recovery = self._check_again
        self._tokens = VllmTokens(self._http) if self.engine == "vllm" else LlamaCppTokens(self._http)

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        stop: Sequence[str] = (),
        constraint: Constraint | None = None,
        logprobs: int = 0,
    ) -> Completion:
        """See `ChatModel.chat`. If the last message is the assistant's, the model continues it; the reply is
        the continuation. An `openai` server cannot do so in general: there the message is the end of the
        user's turn, with the request to go on. Special tokens inside the messages are sent as text
        (`special_text`).
        """
        sent = [{**message, "content": self._defuse(message["content"])} for message in messages]
        body: dict[str, Any] = {
            "model": self._model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if stop:
            body["stop"] = list(stop)
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        body.update(constraint_fields(constraint, self.engine))
        begun = sent[-1]["content"] if sent[-1]["role"] == "assistant" else ""
        template = self._template or (self._continuing if begun else None)
        if logprobs:
            chat = template is None
            body.update({"logprobs": True, "top_logprobs": logprobs} if chat else {"logprobs": logprobs})
        if template is None:
            can_continue = self.engine != "openai"
            route, body["messages"] = "/chat/completions", sent if can_continue else _asked_to_go_on(sent)
            if begun and self.engine == "vllm":
                body.update({"continue_final_message": True, "add_generation_prompt": False})
        else:
            route = "/completions"
            body["prompt"] = template.render_begun(sent) if begun else template.render(sent)
            if self.engine == "vllm":  # the template writes the token that begins a text
                body["add_special_tokens"] = False
        return completed(await self._ask(route, body), begun=begun, stop=stop)

    @cached_property
    def _continuing(self) -> ChatTemplate | None:
        """The template for messages that are to be continued, where the client has to render them: vLLM uses
        the chat template, and many templates cut the last line break of a message off.
        """
        has_folder = self.engine == "vllm" and self.endpoint.tokenizer
        return ChatTemplate(Path(self.endpoint.tokenizer)) if has_folder else None

    async def _ask(self, route: str, body: dict[str, Any]) -> Reply:
        """The reply to a body, whose fields are written as the server wants them. Raises `ModelError`."""
        endpoint = self.endpoint
        fields = shaped(body, omit=endpoint.omit, rename=endpoint.rename)
        try:
            reply: Reply = await self._http.request(
                "POST", route, fields, expect=object, read=read_reply, attempts=self._attempts
            )
        except ModelError as error:
            found = None
            if error.status in (400, 422):
                found = refused(str(error), body, omit=endpoint.omit, rename=endpoint.rename)
            if found is None:
                raise
            if self._adapts:  # ends: each time one field more is left out, or has its other name
                omit, rename = (*endpoint.omit, *found.left_out), (*endpoint.rename, *found.renamed)
                self.endpoint = replace(endpoint, omit=omit, rename=rename)
                return await self._ask(route, body)
            hint = advice(found, keys=self._keys, omit=endpoint.omit)
            raise ModelError(f"{error}; {hint}", status=error.status) from error
        self.replied_as = reply.model
        if self._on_reply is not None and reply.model:
            self._on_reply(reply.model)
        return reply

    @contextmanager
    def probing(self, *, attempts: int, adapts: bool = False) -> Iterator[None]:
        """Calls inside are tried `attempts` times, whatever the endpoint says. With `adapts`, fields that the
        server refuses are left out or renamed, from then on.
        """
        self._attempts, self._adapts = attempts, adapts
        try:
            yield
        finally:
            self._attempts, self._adapts = None, False

    async def generate_tokens(self, prompt: Sequence[int], *, sampling: TokenSampling) -> TokenCompletion:
        """See `llm_tokens.TokenModel`."""
        return await self._tokens.generate(self._model, prompt, sampling)

    async def score_tokens(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:
        """See `llm_tokens.TokenModel`."""
        return await self._tokens.score(self._model, prompt, continuation)

    @property
    def name(self) -> str:
        """The configured model name, or the one that the server listed."""
        return self._model

    @property
    def facts(self) -> Facts:
        """See `ChatModel.facts`."""
        return self._facts

    def watch(self, on_reply: Callable[[str], None], on_facts: Callable[[Facts], None]) -> None:
        """See `ChatModel.watch`."""
        self._on_reply, self._on_facts = on_reply, on_facts

    async def _check_again(self, replica: Replica) -> None:
        """Compare what a server that had failed serves now with the start."""
        with suppress(BoundaryError):  # nothing is known then, and the next failure asks again
            listed = await self._listed(replica)
            names = [model.name for model in read_models(listed)]
            gone = self._was_listed and names and self._model not in names
            facts = model_facts(listed, ", ".join(names) if gone else self._model)
            self._require_same(replica, facts)
            if self._on_facts is not None:
                self._on_facts(facts)

    async def ready(self) -> None:
        """Choose the model by the server's list; of several servers all must serve the same. A configured
        name needs no list. Raises `UserError` where none is configured and the list does not decide.
        """
        (first, listed), *others = await self._http.at_each(self._listed)
        wanted = self._model
        choice = choose_model(read_models(listed), wanted=wanted, url=first.url, keys=self._model_keys)
        self._model = choice.name
        self._facts = model_facts(listed, choice.name)
        self._was_listed = choice.name in (model.name for model in read_models(listed))
        self.unlisted = choice.note if wanted else ""  # it may answer for the name all the same
        if choice.note:
            self._news.note(choice.note)
        for replica, its in others:
            model = choose_model(read_models(its), wanted=wanted, url=replica.url, keys=self._model_keys).name
            self._require_same(replica, model_facts(its, model))

    def _require_same(self, replica: Replica, facts: Facts) -> None:
        """Raises `UserError` where one of several servers serves another model than the others."""
        if len(self._http.replicas.all) == 1:
            return
        for key in differing(self._facts, facts)[:1]:
            raise UserError(
                f"{replica.url} serves another model than the other servers of {self._keys[0]}.url: {key} is "
                f"{facts[key]} there and {self._facts[key]} elsewhere; start the same model at each, or take "
                "that address out"
            )

    @property
    def _model_keys(self) -> list[str]:
        """The settings that name the model, or the knob of the scripts, where these called."""
        knob = _MODEL_KNOBS.get(self.endpoint.key_env)
        roles = {key.rpartition(".")[2] for key in self._keys}
        return [knob] if knob and roles <= {"agent", "reader"} else [f"{key}.model" for key in self._keys]

    async def _listed(self, replica: Replica) -> Any:
        """A server's list of models, None where it has none."""
        try:
            return await self._http.request("GET", "/models", expect=object, attempts=1, at=replica)
        except ModelError as error:
            has_no_list = error.status == 200 or (400 <= error.status < 500 and not error.retryable)
            # With a name the list is only advice, also where it fails: `transformers serve` answers 500.
            has_no_list = has_no_list or (bool(self._model) and error.status == 500)
            if error.status in _REFUSED or not has_no_list:
                raise
            self.lists_page = isinstance(error.__cause__, NoJsonError) and error.__cause__.is_page
            if not self._model and self.lists_page:
                raise UserError(page_advice(error, replica.url)) from error
            if not self._model:
                names = " and ".join(self._model_keys)
                raise UserError(
                    f"{error}, since that server does not list its models; set {names} to the name "
                    "of its model"
                ) from error
            return None

    async def close(self) -> None:
        """Close the session."""
        await self._http.close()


def _template(endpoint: Endpoint) -> ChatTemplate | None:
    """The chat template of a completion endpoint; None for a chat endpoint."""
    if endpoint.api == "chat":
        return None
    if not endpoint.tokenizer:
        raise UserError(
            "api=completions has no chat template; set `tokenizer` to the model's tokenizer folder"
        )
    return ChatTemplate(Path(endpoint.tokenizer))


def _asked_to_go_on(messages: list[Message]) -> list[Message]:
    """The messages, with a last message of the assistant as a part of the user's turn."""
    *before, last = messages
    if last["role"] != "assistant":
        return messages
    asked = f"{GO_ON}\n\n{last['content']}"
    if before and before[-1]["role"] == "user":
        asked = f"{before.pop()['content']}\n\n{asked}"
    return [*before, {"role": "user", "content": asked}]
