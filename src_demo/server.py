"""The server of the live page: plain ASGI under uvicorn, loopback by default.

    python -m src_demo.server configs/infer/cpu.yaml host=127.0.0.1 port=9895

A mistake in the settings is reported before the server listens; `--check` does only that. The page names a
model server or a retriever that does not answer. With REARAG_TOKEN set, visitors must give it, as clients of
the servers behind the page must.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from src_core.access_token import read_token
from src_core.endpoints import make_model
from src_core.errors import UserError, run_main
from src_core.http_server import bind, require_token, start_listening
from src_core.http_serving import serve_app
from src_core.terminal import log_to_stderr
from src_demo.app import guarded_app
from src_demo.config import DemoConfig
from src_infer.as_trained import load_as_trained, method_of
from src_infer.connect import make_retriever
from src_infer.runtime import make_protocol

LOG = logging.getLogger("src_demo")
CHECK = "--check"
GRACE_SECONDS = 2


def serve(config: DemoConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises `UserError` before listening when the port is not free."""
    listener = bind(config.host, config.port)
    app = guarded_app(config, token=read_token())
    start_listening(listener, config.port)
    LOG.info("the page is at http://%s:%d", config.host, config.port)
    serve_app(app, listener, config.serving, grace_seconds=GRACE_SECONDS).run()


def check(config: DemoConfig) -> None:
    """All that can be refused without a server. Raises `UserError`."""
    require_token(
        config.host,
        read_token(),
        allow=config.serving.allow_without_token,
        setting="serving.allow_without_token=true",
    )
    method_of(config)
    make_protocol(config)
    for endpoint in (config.agent, config.reader):
        make_model(endpoint, connections=1, token=None)
    if not config.retriever.startswith(("http://", "https://", "toy:")):
        raise UserError(f"the retriever {config.retriever!r} must start with http://, https:// or toy:")
    make_retriever(config.retriever, connections=1, token=None)


def main() -> None:
    """`python -m src_demo.server [FILE.yaml] [--check] [key=value ...]`."""
    log_to_stderr()
    arguments = [argument for argument in sys.argv[1:] if argument != CHECK]
    path = Path(arguments.pop(0)) if arguments and "=" not in arguments[0] else None
    config = load_as_trained(DemoConfig, path, arguments)
    check(config)
    if CHECK not in sys.argv:
        serve(config)


if __name__ == "__main__":
    run_main(main)
