"""Where rollouts are sampled, and how new weights get there (`ServingConfig`).

Rollouts are played between two updates, so when new weights are published no request of the old version is
left; each rollout carries the version that sampled it, and a row of another version is not trained on.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path

import aiohttp

from src_core.access_token import read_token
from src_core.chat_tokenizer import ChatTokenizer
from src_core.endpoints import make_model
from src_core.errors import ModelError, UserError
from src_core.http_server import bind
from src_core.lifetime import owned_environment
from src_core.llm import ChatModel, Endpoint
from src_core.llm_tokens import TokenModel
from src_core.server_url import addresses
from src_models.convert.gguf_adapter import write_adapter
from src_models.convert.gguf_merge import merge_gguf
from src_models.model_file import find_model
from src_train.rl.checkpoint import export
from src_train.rl.config import RlConfig
from src_train.rl.learner import Learner
from src_train.rl.local_model import LocalModel

_TAIL = 1500
_GRACE = 20.0


class Serving(ABC):
    """One way of sampling. `model` is valid after the first `publish`."""

    @property
    @abstractmethod
    def model(self) -> TokenModel:
        """The model that samples."""

    @abstractmethod
    async def publish(self, version: int) -> None:
        """Sample with the learner's present weights from now on. Raises `ModelError`, `UserError`."""

    @abstractmethod
    async def close(self) -> None:
        """Release what was started or connected."""


class LocalServing(Serving):
    """The learner's own model, which has the new weights at once."""

    def __init__(self, learner: Learner, tokenizer: ChatTokenizer, *, slots: int) -> None:
        self._model = LocalModel(learner.model, tokenizer, slots=slots, precision=learner.config.precision)

    @property
    def model(self) -> TokenModel:
        """See `Serving.model`."""
        return self._model

    async def publish(self, version: int) -> None:
        """There is nothing to send."""

    async def close(self) -> None:
        """There is nothing to release."""


class _Connected(Serving):
    """A model behind HTTP."""

    def __init__(self) -> None:
        self._client: ChatModel | None = None

    @property
    def model(self) -> TokenModel:
        """See `Serving.model`."""
        model: object = self._client
        if not isinstance(model, TokenModel):
            raise UserError("runtime.agent has no token routes; use vLLM or the embedded server for rollouts")
        return model

    async def _connect(self, endpoint: Endpoint, connections: int) -> None:
        await self._disconnect()
        self._client = make_model(endpoint, connections=connections, token=read_token())
        await self._client.ready()

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def close(self) -> None:
        """See `Serving.close`."""
        await self._disconnect()


class FixedServing(_Connected):
    """A model that never gets new weights."""

    def __init__(self, config: RlConfig) -> None:
        super().__init__()
        self._config = config

    async def publish(self, version: int) -> None:  # noqa: ARG002
        """Connect at the first call."""
        if self._client is None:
            await self._connect(self._config.runtime.agent, self._config.runtime.in_flight)


class VllmServing(_Connected):
    """A running vLLM that loads each version of the adapter under its own name, and forgets the one before.

    `POST /v1/load_lora_adapter {lora_name, lora_path}` (vLLM's dynamic adapters; the server needs
    `--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, and has to see the run directory).
    """

    def __init__(self, config: RlConfig, learner: Learner, folder: Path) -> None:
        super().__init__()
        self._config, self._learner, self._folder = config, learner, folder
        self._served = ""

    async def publish(self, version: int) -> None:
        """See `Serving.publish`."""
        agent, before = self._config.runtime.agent, self._served
        name = f"{self._config.run_name}-{version}"
        path = export(self._learner, self._folder / f"version-{version}")
        with contextlib.suppress(ModelError):  # of an interrupted run
            await _post(agent.url, "/unload_lora_adapter", {"lora_name": name})
        try:
            await _post(
                agent.url, "/load_lora_adapter", {"lora_name": name, "lora_path": str(path.absolute())}
            )
        except ModelError as error:
            raise UserError(
                f"{error}; start vLLM with --enable-lora --max-lora-rank of at least learner.lora.rank and "
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True, on a machine that sees the run directory"
            ) from error
        await self._connect(replace(agent, model=name), self._config.runtime.in_flight)
        if before and before != name:
            with contextlib.suppress(ModelError):  # it only takes memory there
                await _post(agent.url, "/unload_lora_adapter", {"lora_name": before})
        self._served = name
        _keep_only(self._folder, path.name)


class EmbeddedServing(_Connected):
    """The embedded server as a process of this run, one per version."""

    def __init__(self, config: RlConfig, learner: Learner, folder: Path, *, log: Path) -> None:
        super().__init__()
        self._config, self._learner, self._folder, self._log = config, learner, folder, log
        self._gguf = find_model(config.serving.gguf or config.learner.model)
        self._process: subprocess.Popen[bytes] | None = None

    async def publish(self, version: int) -> None:
        """See `Serving.publish`."""
        adapter = export(self._learner, self._folder / f"version-{version}")
        await self._disconnect()
        self._stop()
        weights = self._written(adapter)
        await self._free_port()
        self._start(weights)
        await self._wait()
        agent = self._config.runtime.agent
        url = f"http://127.0.0.1:{self._config.serving.port}/v1"
        await self._connect(
            replace(agent, url=url, engine="llama.cpp", model=""), self._config.runtime.in_flight
        )
        _keep_only(self._folder, adapter.name)

    def _written(self, adapter: Path) -> list[str]:
        """Write what is served as GGUF. Returns the flags of the server that name it."""
        file, kind = adapter.with_suffix(".gguf"), self._config.serving.merged
        lora = file.with_suffix(".lora") if kind else file
        for old in (file, lora):  # of an interrupted run
            old.unlink(missing_ok=True)
        write_adapter(adapter, self._gguf, lora, kind="f16")
        if not kind:
            return ["--model", str(self._gguf), "--lora", str(lora)]
        merge_gguf(self._gguf, lora, file, kind=kind)
        lora.unlink()
        return ["--model", str(file)]

    def _start(self, weights: list[str]) -> None:
        serving = self._config.serving
        command = [sys.executable, "-m", "src_models.llama_server", *weights]
        command += ["--port", str(serving.port), "--parallel", str(serving.slots)]
        command += ["--ctx", str(serving.context), "--threads", str(serving.threads)]
        if read_token():
            command += ["--api-key-env", "REARAG_TOKEN"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=owned_environment()
            )

    async def _free_port(self) -> None:
        """Wait for the server of a run that was killed; another program there would be taken for this one."""
        deadline = time.monotonic() + _GRACE
        while True:
            try:
                bind("127.0.0.1", self._config.serving.port).close()
            except UserError as error:
                if time.monotonic() > deadline:
                    raise UserError(
                        f"port {self._config.serving.port} is in use, and the embedded server of this run "
                        "needs it; set serving.port to another"
                    ) from error
                await asyncio.sleep(0.2)
            else:
                return

    async def _wait(self) -> None:
        """Until /health answers."""
        deadline = time.monotonic() + self._config.serving.start_seconds
        url = f"http://127.0.0.1:{self._config.serving.port}/health"
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5.0)) as session:
            while True:
                if self._process is None or self._process.poll() is not None:
                    tail = self._log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
                    raise UserError(
                        f"the embedded server ended at its start; see {self._log}, which ends with: {tail}"
                    )
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(url) as reply:
                        if reply.status == 200:
                            return
                if time.monotonic() > deadline:
                    raise UserError(
                        f"the embedded server was not ready in {self._config.serving.start_seconds:.0f} s; "
                        f"see {self._log}, or raise serving.start_seconds"
                    )
                await asyncio.sleep(0.1)

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    async def close(self) -> None:
        """See `Serving.close`."""
        await super().close()
        self._stop()


def make_serving(config: RlConfig, learner: Learner, tokenizer: ChatTokenizer, *, folder: Path) -> Serving:
    """The way of sampling that is configured; `folder` is the run's. Raises `UserError` for one that does not
    fit the learner.
    """
    kind = config.serving.kind
    if kind in ("embedded", "vllm") and config.learner.lora is None:
        raise UserError(
            f"serving.kind={kind} gets new weights as an adapter; set learner.lora, or train all weights "
            "with serving.kind=local, or on several GPUs with scripts/rl_verl.sh"
        )
    versions = folder / "versions"
    if kind == "local":
        return LocalServing(learner, tokenizer, slots=config.serving.slots)
    if kind == "vllm":
        return VllmServing(config, learner, versions)
    if kind == "embedded":
        return EmbeddedServing(config, learner, versions, log=folder / "logs" / "server.log")
    return FixedServing(config)


async def _post(urls: str, path: str, body: dict[str, str]) -> None:
    """One request to each server, whose reply is plain text. Raises `ModelError`."""
    headers = {"Authorization": f"Bearer {read_token()}"} if read_token() else {}
    async with aiohttp.ClientSession(headers=headers) as session:
        for url in [each + path for each in addresses(urls)]:
            try:
                async with session.post(url, json=body) as reply:
                    text = (await reply.text())[:200]
                    if reply.status >= 400:
                        raise ModelError(f"{url}: HTTP {reply.status}: {text}", status=reply.status)
            except aiohttp.ClientError as error:
                raise ModelError(f"{url} did not answer ({error})") from error


def _keep_only(folder: Path, name: str) -> None:
    """Remove the versions before."""
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != name:
            shutil.rmtree(entry)
        elif entry.is_file() and entry.stem != name:
            entry.unlink()
