"""The retriever server: Flask under uvicorn, loopback by default.

    python -m src_retrieval.server configs/retriever.yaml host=127.0.0.1 port=9892

It verifies index, encoder and corpus against the manifest, then listens; `/health` answers only after that.
With REARAG_TOKEN set the server requires that bearer token.
"""

from __future__ import annotations

import faulthandler
import logging
import sys
from pathlib import Path
from typing import Any

import orjson
from a2wsgi import WSGIMiddleware

from src_core.access_token import read_token
from src_core.config import InFlight, Port, config_class, load_config
from src_core.errors import run_main
from src_core.http_app import App, GuardedApp
from src_core.http_guard import Guard
from src_core.http_server import RequestError, bind, require_token, start_listening
from src_core.http_serving import serve_app
from src_core.served import INDEX_HEADER
from src_core.terminal import log_to_stderr
from src_retrieval.app import AppOptions, SearchService, make_app
from src_retrieval.engine import EngineConfig, open_engine
from src_retrieval.identity import describe
from src_retrieval.watch_files import FilesChangedError

LOG = logging.getLogger("src_retrieval")
GRACE_SECONDS = 8
HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}


@config_class
class ServerConfig(EngineConfig):
    """The settings of the engine (see `EngineConfig`) and of the server. `workers` requests are searched at
    the same time; further ones wait.
    """

    host: str = "127.0.0.1"
    port: Port = 9892
    workers: InFlight = 64
    serving: AppOptions = AppOptions()


def serve(config: ServerConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises `UserError` before listening when a check fails."""
    token = read_token()
    require_token(
        config.host,
        token,
        allow=config.serving.allow_without_token,
        setting="serving.allow_without_token=true",
    )
    listener = bind(config.host, config.port)
    opened = open_engine(config)
    opened.engine.warm_up()
    index = describe(opened)
    service = SearchService(opened.engine, config.serving, identity=str(index["identity"]))
    app = guarded_app(service, config, index=index, token=token)
    start_listening(listener, config.port)
    LOG.info("serving %d passages on http://%s:%d", len(opened.engine.corpus), config.host, config.port)
    try:
        serve_app(app, listener, config.serving, grace_seconds=GRACE_SECONDS).run()
    finally:
        service.close()


def guarded_app(
    service: SearchService, config: ServerConfig, *, index: dict[str, Any], token: str | None
) -> GuardedApp:
    """The app behind the rules of all our servers. `index` is the description of the index in `/health`; with
    a `token`, all other routes require it.
    """
    wsgi: App = WSGIMiddleware(make_app(service, options=config.serving), workers=config.workers)
    healthy = orjson.dumps(
        {"status": "healthy", "retrievers": {"total": 1, "available": 1}, "index": index},
    )

    def health() -> bytes:
        try:
            service.files.look()
        except FilesChangedError as error:
            raise RequestError(503, "files changed", str(error)) from error
        return healthy

    guard = Guard(
        config.host,
        config.serving.hosts,
        token=token,
        needs_token=lambda path: path != "/health",
        only_json=False,
    )
    return GuardedApp(
        wsgi,
        guard=guard,
        options=config.serving,
        max_body_bytes=config.serving.max_body_bytes,
        health=health,
        headers={**HEADERS, INDEX_HEADER: service.identity},
        whole=True,
    )


def main() -> None:
    """`python -m src_retrieval.server [FILE.yaml] [key=value ...]`."""
    log_to_stderr()
    # The kernel ends a process whose mapped files are cut (SIGBUS); the log then says where.
    faulthandler.enable()
    arguments = sys.argv[1:]
    path = Path(arguments.pop(0)) if arguments and "=" not in arguments[0] else None
    serve(load_config(ServerConfig, path, arguments))


if __name__ == "__main__":
    run_main(main)
