"""The embedded LLM server for machines without a GPU: llama.cpp's OpenAI-compatible server, in this process.

    python -m src_models.llama_server --model qwen2.5-coder-0.5b --port 9891 [--lora adapter.gguf]

Behaviour of this server that clients depend on (llama.cpp as bound by xllamacpp 2026.10):

- A field `grammar` (GBNF) and `response_format` of type `json_schema` both constrain a chat reply. vLLM's
  field `structured_outputs` is ignored silently.
- A last message of the assistant is continued, and the reply's content begins with that message's text again.
- A role that the chat template does not know ("observation" with Qwen's) is dropped silently: send
  observations as `user`.
- Text shared with an earlier request is not computed again: `cached_tokens` in `usage.prompt_tokens_details`.
- `stop` strings work and are not part of the reply; `seed` with one request at a time repeats.
- A request longer than a slot is answered 400 with the type `exceed_context_size_error`.
- With a LoRA adapter every request is answered with it, and the model's name includes it (`served_name`).
- /v1/models lists digests of the weights and of the adapter as `tags`, and the type of a merged copy.
- The port answers once the model is loaded. /health and /v1/models need no token.
- SIGTERM and SIGINT end it at once while it loads, and after the replies in flight (2 s) later.
- A `Host` or a page that is not of this machine is refused (`src_models/llama_front.py`).
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from src_core.access_token import check_token
from src_core.errors import UserError, run_main
from src_core.http_server import HttpOptions, require_token
from src_core.served import sampled_digest
from src_core.terminal import CommandLine, say
from src_models.adapters import require_gguf_adapter, served_name
from src_models.machine import default_threads
from src_models.merged import merged_copy
from src_models.model_file import find_model, is_path

PROMPT_CACHE_MIB = 512
"""Memory in MiB for the states of conversations that lost their slot; the default of 8 GiB fills up over
time.
"""

SPIN_COUNT = "1000"
"""How long a thread spins before it sleeps. libgomp's default, milliseconds, takes the cores from whatever
else runs and then waits for it; without any spinning (`OMP_WAIT_POLICY=passive`) an idle machine is slower by
half.
"""


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """The settings of one server. `ctx` is the number of tokens per slot; `lora` is a GGUF adapter; `hosts`
    are further names by which the server may be asked; `tags` go to /v1/models.
    """

    model: Path
    alias: str
    host: str = "127.0.0.1"
    port: int = 9891
    threads: int = 1
    parallel: int = 4
    ctx: int = 4096
    lora: Path | None = None
    api_key: str = ""
    hosts: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()


def serve(settings: ServerSettings) -> None:
    """Load the model and answer requests until SIGTERM or SIGINT. Raises `UserError` when the port is taken
    or the model cannot be loaded.
    """
    from src_models.llama_front import serve_front  # uvicorn, which a machine that only trains may lack

    require_free_port(settings.host, settings.port)
    with _socket_folder() as folder:
        inner = folder / "llama.sock"
        # The binding holds the interpreter while it loads, so that a handler in Python would run only
        # afterwards: until the front listens, signals have their default effect.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        server = start(make_params(replace(settings, host=str(inner))))
        say(
            f"{settings.alias} running on http://{settings.host}:{settings.port} "
            f"({settings.threads} threads, {settings.parallel} slots of {settings.ctx} tokens)"
        )
        options = HttpOptions(hosts=settings.hosts)
        serve_front(inner, host=settings.host, port=settings.port, options=options)
        del server


@contextmanager
def _socket_folder() -> Iterator[Path]:
    """A folder for a socket. A child removes it as soon as this process has ended, however it ended."""
    folder = tempfile.mkdtemp(prefix="llama-")
    remove = ["sh", "-c", 'trap "" HUP INT TERM; read -r _; rm -rf -- "$0"', folder]
    with subprocess.Popen(remove, stdin=subprocess.PIPE):
        yield Path(folder)


def start(params: Any) -> Any:
    """Start the server of the binding: returns when the model is loaded and the port answers."""
    try:
        return load_binding().Server(params)
    except RuntimeError as error:
        raise UserError(f"llama.cpp could not start ({error}); see the lines above") from error


def load_binding() -> Any:
    """llama.cpp's binding, imported on first use, with OpenMP threads that soon sleep while they wait for
    each other (a setting of the environment wins).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
    import xllamacpp

    return xllamacpp


def make_params(settings: ServerSettings) -> Any:
    """The binding's parameters for `settings`; the reasons are beside each line."""
    xllamacpp = load_binding()
    params = xllamacpp.CommonParams()
    params.model.path = str(settings.model)
    params.model_alias = {settings.alias}
    params.model_tags = set(settings.tags)
    params.hostnames = [settings.host]
    params.port = settings.port
    if settings.api_key:
        params.api_keys = [settings.api_key]
    _set_capacity(params, settings)
    _set_surface(params)
    if settings.lora is not None:
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path, adapter.scale = str(settings.lora), 1.0
        params.lora_adapters = [adapter]
    return params


def _set_capacity(params: Any, settings: ServerSettings) -> None:
    params.n_parallel = settings.parallel
    params.n_ctx = settings.ctx * settings.parallel
    # One KV buffer per slot: with a shared one, a reply depends on concurrent requests even at temperature 0
    # or with a seed, and one long request takes the space of the others.
    params.kv_unified = False
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.cpuparams.n_threads = settings.threads
    params.cpuparams_batch.n_threads = settings.threads
    params.n_gpu_layers = 0
    params.fit_params = False


def _set_surface(params: Any) -> None:
    params.endpoint_metrics = True
    params.endpoint_slots = False
    params.endpoint_props = False
    params.ui = False
    # The default lets every web page in a browser on this machine send requests to the server.
    params.cors_origins = ""
    params.cors_credentials = False
    params.verbosity = 1


def require_free_port(host: str, port: int) -> None:
    """Fail before the model is loaded when the address cannot be bound."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UserError(
                f"cannot listen on {host}:{port} ({error.strerror}); "
                "stop what runs there or choose another --port"
            ) from error


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = CommandLine(description="OpenAI-compatible llama.cpp server on the CPU")
    parser.add_argument("--model", required=True, help="name in configs/models.yaml, or a GGUF file")
    parser.add_argument("--alias", default="", help="model name in answers (default: the --model name)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9891)
    parser.add_argument("--threads", type=int, default=0, help="0 = physical cores / --share")
    parser.add_argument("--share", type=int, default=1, help="how many LLM servers share this machine")
    parser.add_argument("--parallel", type=int, default=4, help="requests worked on at once")
    parser.add_argument("--ctx", type=int, default=4096, help="tokens per request (prompt and answer)")
    parser.add_argument("--lora", default="", help="LoRA adapter in GGUF")
    parser.add_argument(
        "--merged", default="", help="serve a copy in this type, e.g. q4_0, with the adapter in its weights"
    )
    parser.add_argument("--api-key-env", default="", help="environment variable that holds the bearer token")
    parser.add_argument("--host-names", default="", help="further names by which it may be asked: a,b")
    parser.add_argument(
        "--allow-without-token", action="store_true", help="open to the network for everybody"
    )
    return parser.parse_args(arguments)


def settings_from(chosen: argparse.Namespace) -> ServerSettings:
    """Check the command line and find the files. Raises `UserError`."""
    token = os.environ.get(chosen.api_key_env, "") if chosen.api_key_env else ""
    if chosen.api_key_env and not token:
        raise UserError(
            f"--api-key-env names {chosen.api_key_env}, which is not set; set it or drop the flag"
        )
    check_token(token, chosen.api_key_env)
    require_token(chosen.host, token, allow=chosen.allow_without_token, setting="--allow-without-token")
    for flag in ("parallel", "ctx", "share"):
        if getattr(chosen, flag) < 1:
            raise UserError(f"--{flag} must be at least 1")
    require_free_port(chosen.host, chosen.port)
    model = find_model(chosen.model)
    alias = chosen.alias or (model.stem if is_path(chosen.model) else chosen.model)
    lora = Path(chosen.lora).expanduser() if chosen.lora else None
    if lora is not None:
        require_gguf_adapter(lora, model)
        alias = chosen.alias or served_name(alias, lora)
    tags = digests(model, lora)
    if chosen.merged:
        model, lora = merged_copy(model, lora, kind=chosen.merged), None
        tags |= {f"merged-{chosen.merged}"}
    return ServerSettings(
        model=model,
        alias=alias,
        host=chosen.host,
        port=chosen.port,
        threads=chosen.threads or default_threads(chosen.share),
        parallel=chosen.parallel,
        ctx=chosen.ctx,
        lora=lora,
        api_key=token,
        hosts=tuple(name.strip() for name in chosen.host_names.split(",") if name.strip()),
        tags=tags,
    )


def digests(model: Path, lora: Path | None) -> frozenset[str]:
    """Digests of the files, so that a run notices other weights behind the same name."""
    found = {f"weights-{sampled_digest(model)}"}
    return frozenset(found | ({f"adapter-{sampled_digest(lora)}"} if lora is not None else set()))


def main() -> None:
    """Command line: serve until SIGTERM or SIGINT."""
    serve(settings_from(_parse(None)))


if __name__ == "__main__":
    run_main(main)
