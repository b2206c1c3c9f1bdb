"""Which of the servers behind the page answer, and for each that does not: what a person does about it."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from src_core.endpoints import make_model
from src_core.errors import BoundaryError, UserError
from src_core.http_json import RetryPolicy
from src_core.llm import Endpoint
from src_core.server_url import addresses
from src_core.text import without_login
from src_demo.config import DemoConfig
from src_infer.connect import make_retriever, retriever_identity

LLM_SCRIPT = "bash deploy/deploy.sh"
RAG_SCRIPT = "bash deploy/deploy_rag_engine.sh"
FRESH_SECONDS = 1.0
_ONCE = RetryPolicy(attempts=1, longest_server_wait=0)
_STATUS = re.compile(r": HTTP (\d{3}):")


@dataclass(frozen=True, slots=True)
class ServerState:
    """One server: `serves` is what it serves ("" while it does not answer), `problem` a sentence, empty when
    all is well, and `start` the command that starts it.
    """

    name: str
    address: str
    serves: str
    problem: str
    start: str


class ServerWatch:
    """Asks the servers of a configuration, at most once a second however many visitors want to know."""

    def __init__(self, config: DemoConfig, *, token: str | None) -> None:
        self._config = config
        self._token = token
        self._lock = asyncio.Lock()
        self._asked = -FRESH_SECONDS
        self._states: tuple[ServerState, ...] = ()

    async def states(self, *, needs_search: bool = True) -> tuple[ServerState, ...]:
        """The state of each server; without the retriever unless a run needs it."""
        async with self._lock:
            if time.monotonic() - self._asked >= FRESH_SECONDS:
                self._states = await self._ask()
                self._asked = time.monotonic()
            states = self._states
        return states if needs_search else states[:-1]

    async def problems(self, *, needs_search: bool) -> str:
        """The sentences about all servers that a run needs and that are not well, "" when all are."""
        states = await self.states(needs_search=needs_search)
        return " ".join(
            f"{state.problem[0].upper()}{state.problem[1:]}." for state in states if state.problem
        )

    async def _ask(self) -> tuple[ServerState, ...]:
        config = self._config
        if config.agent == config.reader:
            models = [("model server", config.agent, LLM_SCRIPT)]
        else:
            models = [
                ("reasoning model", config.agent, LLM_SCRIPT),
                ("answer model", config.reader, RAG_SCRIPT),
            ]
        asked = [self._model(name, endpoint, script) for name, endpoint, script in models]
        return tuple(await asyncio.gather(*asked, self._retriever()))

    async def _model(self, name: str, endpoint: Endpoint, script: str) -> ServerState:
        patient = replace(endpoint, timeout=self._config.serving.probe_seconds, retry=_ONCE)
        keys = [role for role in ("agent", "reader") if getattr(self._config, role) == endpoint]
        model = make_model(patient, connections=1, token=self._token, keys=keys)
        try:
            await model.ready()
        except UserError as error:  # a sentence for the person who configures the page
            return self._state(
                name, endpoint.url, script, problem=without_secrets(f"the {name}: {error}", self._token)
            )
        except BoundaryError as error:
            return self._state(name, endpoint.url, script, error=error, ours=endpoint.engine != "openai")
        finally:
            await model.close()
        return self._state(name, endpoint.url, script, serves=model.name)

    async def _retriever(self) -> ServerState:
        where = self._config.retriever
        retriever = make_retriever(where, connections=1, token=self._token, retry=_ONCE)
        try:
            async with asyncio.timeout(self._config.serving.probe_seconds):
                found = await retriever_identity(retriever, where)
        except (BoundaryError, TimeoutError) as error:
            return self._state("retriever", where, RAG_SCRIPT, error=error)
        finally:
            await retriever.close()
        rows = found.get("rows")
        serves = f"{rows:,} passages" if isinstance(rows, int) else "passages"
        return self._state("retriever", where, RAG_SCRIPT, serves=serves)

    def _state(
        self,
        name: str,
        url: str,
        script: str,
        *,
        serves: str = "",
        problem: str = "",
        error: Exception | None = None,
        ours: bool = True,
    ) -> ServerState:
        start = self._config.serving.start_with or script
        if error:
            problem = _problem(f"the {name}{_on_port(url)}", str(error), start=start if ours else "")
        return ServerState(name, address_of(url), serves, problem, start)


def _problem(who: str, error: str, *, start: str) -> str:
    """What a failed question to a server means, and what to do."""
    status = found.group(1) if (found := _STATUS.search(error)) else ""
    if status in ("401", "403"):
        return f"{who} refuses our token; start it and this page with the same REARAG_TOKEN"
    if status == "503":
        return f"{who} is not ready yet; wait until its model is loaded ('bash deploy/status.sh' shows it)"
    if status:
        return f"{who} answers with HTTP {status}; look into its log under logs/"
    if not start:
        return f"{who}, which is yours, does not answer; start it, or give the right address with BASE_URL"
    return f"{who} does not answer; '{start}' starts it"


def address_of(url: str) -> str:
    """Host and port of a URL (or of several), without a login in it; the name of a fake as it stands."""
    if "://" not in url:
        return url
    return ", ".join(urlsplit(each).netloc.rpartition("@")[2] for each in addresses(url))


def without_secrets(text: str, token: str | None) -> str:
    """An error's text as it may be shown: no token, no login inside a URL."""
    return without_login(text.replace(token, "(token)") if token else text)


def _on_port(url: str) -> str:
    port = address_of(url).rpartition(":")[2]
    return f" on port {port}" if "://" in url and port.isdigit() else ""
