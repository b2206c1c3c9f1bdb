"""New weights reach the servers: the embedded one as a new process per version, vLLM by its routes."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from helpers_gguf import MERGES, SPECIAL, byte_tokens, hub_model, write_base

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.training

from src_core.errors import UserError  # noqa: E402
from src_core.types import Trajectory  # noqa: E402
from src_models.convert.gguf_model import write_model  # noqa: E402
from src_tasks.reward_rules import RewardConfig, Scored, is_malformed  # noqa: E402
from src_tasks.rewards import Ending  # noqa: E402
from src_train.rl import loop  # noqa: E402
from src_train.rl import serving as serving_module  # noqa: E402
from src_train.rl.__main__ import main  # noqa: E402


def byte_folder(folder: Path) -> Path:
    """The tiny Llama of the conversion tests in the hub's layout, with its tokenizer and ChatML."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    model = hub_model("llama")
    for parameter in model.parameters():  # nearly uniform: random replies, of which all lengths occur
        torch.nn.init.normal_(parameter, mean=1.0 if parameter.ndim == 1 else 0.0, std=0.02)
    model.save_pretrained(folder)
    pairs = [tuple(pair.split(" ")) for pair in MERGES]
    names = {name: number for number, name in enumerate(byte_tokens())}
    tokenizer = Tokenizer(models.BPE(vocab=names, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": SPECIAL[2], "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(Path("configs/chat_templates/chatml.jinja").read_text())
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settings(tmp_path: Path, folder: Path, **serving: Any) -> Path:
    values = {
        "run_name": "rl",
        "runs_dir": str(tmp_path / "runs"),
        "learner": {
            "model": str(folder),
            "lora": {"rank": 4, "alpha": 8},
            "precision": "fp32",
            "learning_rate": 0.05,
            "old_logprobs": "learner",
            "policy": {"kl_coef": 0.01},
        },
        "serving": serving,
        "runtime": {
            "agent": {"engine": "llama.cpp", "retry": {"attempts": 1}},
            "retriever": "toy:data/sample_world/corpus.jsonl",
            "protocol": "tests/data/rl_protocol.py",
            "prompt": {"system": ""},
            "limits": {"step_tries": 1, "t_max": 3},
            "top_k": 1,
        },
        "rollout": {"max_reply_tokens": 3, "max_tokens": 400},
        "questions": [{"path": "data/sample_world/questions.jsonl"}],
        "questions_per_step": 2,
        "group_size": 4,
        "steps": 3,
        "threads": 1,
        "reward": {"rule": "outcome", "format": {"failure": 0.5}},
        "advantage": {"name": "grpo", "drop_equal_groups": False},
        "guards": {"max_failed": 1.0},  # llama.cpp cannot score half a character, and these are random bytes
    }
    path = tmp_path / "rl.yaml"
    path.write_text(json.dumps(values))
    return path


def by_chance(done: Trajectory, _config: RewardConfig, _verdicts: object = None) -> Scored:
    """A reward to learn from, where every reply is malformed."""
    steps = len(done.steps) + is_malformed(done)
    chance = done.usage.completion_tokens + hash(done.seconds) % 7
    return Scored((chance,) * steps, 0.0, None, Ending.MALFORMED)


@pytest.mark.parametrize("merged", ["", "q8_0"])
def test_the_embedded_server_samples_with_each_version_of_the_adapter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merged: str
) -> None:
    monkeypatch.setattr(loop, "score", by_chance)
    folder = byte_folder(tmp_path / "model")
    base, gguf = write_base(tmp_path / "base.gguf", "llama"), tmp_path / "model.gguf"
    write_model(folder, base, gguf, kind="f32")
    own = {"kind": "embedded", "gguf": str(gguf), "merged": merged, "port": free_port()}
    path = settings(tmp_path, folder, **own, slots=2, context=400, threads=1)
    assert main([str(path)]) == 0
    run = tmp_path / "runs/rl"
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [list(line["versions"]) for line in lines] == [["0"], ["1"], ["2"]]
    for line in lines:  # the server computes what the learner computes, with the weights of that version
        assert line["mismatch"] < 0.02, line
    assert lines[-1]["kl"] > 10 * lines[0]["kl"], "the weights did not change"
    assert [entry.name for entry in sorted((run / "versions").iterdir())] == ["version-2", "version-2.gguf"]
    assert (run / "adapter/training.json").is_file()


def test_a_port_in_use_is_refused_before_another_server_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "_GRACE", 0.1)
    folder, base = byte_folder(tmp_path / "model"), write_base(tmp_path / "base.gguf", "llama")
    gguf = tmp_path / "model.gguf"
    write_model(folder, base, gguf, kind="f32")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path = settings(tmp_path, folder, kind="embedded", gguf=str(gguf), context=400, port=port)
        with pytest.raises(UserError, match=f"port {port} is in use.*set serving.port"):
            main([str(path)])


class FakeVllm:
    """The routes of vLLM that a run uses: adapters come and go by their names; every reply is one token."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.asked: list[str] = []

    async def start(self) -> str:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/load_lora_adapter", self._load)
        app.router.add_post("/v1/unload_lora_adapter", self._unload)
        app.router.add_post("/v1/completions", self._complete)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/v1"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        names = [name for call, name in self.calls if call == "load"]
        return web.json_response({"data": [{"id": name} for name in ("base", *names)]})

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not (Path(body["lora_path"]) / "adapter_model.safetensors").is_file():
            return web.json_response({"error": "no adapter"}, status=400)
        self.calls.append(("load", body["lora_name"]))
        return web.Response(text="Success")  # plain text, as vLLM answers

    async def _unload(self, request: web.Request) -> web.Response:
        body = await request.json()
        if ("load", body["lora_name"]) not in self.calls:
            return web.json_response({"error": "not found"}, status=404)
        self.calls.append(("unload", body["lora_name"]))
        return web.Response(text="Success")

    async def _complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body["model"])
        if len(self.asked) % 6 == 0:
            return web.json_response({"error": "out of memory"}, status=400)
        token = 68 + len(self.asked) % 2  # e or d
        choice = {"token_ids": [token], "logprobs": {"token_logprobs": [-5.5]}, "finish_reason": "length"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})


def test_vllm_gets_each_version_under_a_name_and_a_failed_call_costs_one_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "score", by_chance)
    server, loops = FakeVllm(), asyncio.new_event_loop()
    threading.Thread(target=loops.run_forever, daemon=True).start()
    url = asyncio.run_coroutine_threadsafe(server.start(), loops).result()
    path = settings(tmp_path, byte_folder(tmp_path / "model"), kind="vllm")
    agent = f"runtime.agent={{url: '{url}', engine: vllm, retry: {{attempts: 1}}}}"
    assert main([str(path), agent, "guards.max_mismatch=0"]) == 0
    asyncio.run_coroutine_threadsafe(server.stop(), loops).result()
    assert server.calls == [
        ("load", "rl-0"),
        ("load", "rl-1"),
        ("unload", "rl-0"),
        ("load", "rl-2"),
        ("unload", "rl-1"),
    ]
    assert sorted(set(server.asked)) == ["rl-0", "rl-1", "rl-2"]
    lines = [json.loads(line) for line in (tmp_path / "runs/rl/log.jsonl").read_text().splitlines()]
    assert [list(line["versions"]) for line in lines] == [["0"], ["1"], ["2"]]
    assert sum(line["failed"] for line in lines) >= 3
    assert all(line["updates"] == 1.0 for line in lines)
    assert "out of memory" in lines[0]["first_error"]
