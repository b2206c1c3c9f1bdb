"""One engine that stays loaded, for `engines.py`: one line of JSON in, one line out.

It runs in the interpreter that has the engine, so nothing of this project is imported but what the engine
itself needs.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def serve(engine: dict[str, Any]) -> None:
    """Load, then answer each line of standard input."""
    begun = time.monotonic()
    answer = openvino(engine) if engine["kind"] == "openvino" else llama(engine)
    loaded = {"seconds": time.monotonic() - begun, "cpu": _cpu(), "mib": _resident()}
    print(json.dumps(loaded), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        wall, cpu = time.monotonic(), _cpu()
        answer(job["prompts"], job["tokens"])
        print(json.dumps({"cpu": _cpu() - cpu, "wall": time.monotonic() - wall}), flush=True)


def llama(engine: dict[str, Any]) -> Any:
    """The embedded server's own settings, over its socket."""
    import aiohttp

    from src_models.llama_server import ServerSettings, make_params, start
    from src_models.model_file import find_model

    folder = tempfile.TemporaryDirectory(prefix="engines-")
    socket = f"{folder.name}/llama.sock"
    lora = Path(engine["lora"]) if engine["lora"] else None
    model = find_model(engine["model"])
    settings = ServerSettings(model=model, alias="m", host=socket, threads=engine["threads"], lora=lora)
    held = (folder, start(make_params(settings)))

    async def ask(prompts: Sequence[Sequence[int]], tokens: int) -> None:
        connector = aiohttp.UnixConnector(path=socket)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def one(prompt: Sequence[int]) -> None:
                body = {"prompt": prompt, "n_predict": tokens, "ignore_eos": True, "temperature": 0.0}
                async with session.post("http://localhost/completion", json=body) as reply:
                    reply.raise_for_status()
                    await reply.read()

            await asyncio.gather(*map(one, prompts))

    def answer(prompts: Sequence[Sequence[int]], tokens: int) -> None:
        assert held
        asyncio.run(ask(prompts, tokens))

    return answer


def openvino(engine: dict[str, Any]) -> Any:
    """OpenVINO GenAI's continuous batching with prefix caching; an adapter must be merged into the file."""
    import numpy
    import openvino
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = 1
    scheduler.enable_prefix_caching = True
    scheduler.max_num_batched_tokens = 1024
    properties = {"INFERENCE_NUM_THREADS": engine["threads"]}
    pipeline = openvino_genai.ContinuousBatchingPipeline(engine["model"], scheduler, "CPU", properties)
    numbers = iter(range(1 << 60))

    def answer(prompts: Sequence[Sequence[int]], tokens: int) -> None:
        for prompt in prompts:
            config = openvino_genai.GenerationConfig()
            config.max_new_tokens = tokens
            config.ignore_eos = True
            ids = openvino.Tensor(numpy.array([prompt], dtype=numpy.int64))
            handles.append(pipeline.add_request(next(numbers), ids, config))
        while pipeline.has_non_finished_requests():
            pipeline.step()
        handles.clear()

    handles: list[Any] = []
    return answer


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _resident() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
