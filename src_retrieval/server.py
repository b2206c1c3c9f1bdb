"""The retriever server: Flask under uvicorn, loopback by default.

    python -m src_retrieval.server configs/retriever.yaml host=127.0.0.1 port=9892

It verifies index, encoder and corpus against the manifest, then listens; `/health` answers only after that.
With REARAG_TOKEN set the server requires that bearer token.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import uvicorn
from a2wsgi import WSGIMiddleware

from src_core.config import config_class, load_config
from src_core.errors import run_main
from src_core.http_server import bind, start_listening
from src_core.terminal import log_to_stderr
from src_retrieval.app import AppOptions, SearchService, make_app
from src_retrieval.engine import EngineConfig, open_engine
from src_retrieval.identity import describe

LOG = logging.getLogger("src_retrieval")
TOKEN_VARIABLE = "REARAG_TOKEN"
GRACE_SECONDS = 10


@config_class
class ServerConfig(EngineConfig):
    """The settings of the engine (see `EngineConfig`) and of the server. `workers` requests can wait at the
    same time.
    """

    host: str = "127.0.0.1"
    port: int = 9892
    workers: int = 64
    serving: AppOptions = AppOptions()


def serve(config: ServerConfig) -> None:
    """Serve until SIGTERM or SIGINT. Raises `UserError` before listening when a check fails."""
    listener = bind(config.host, config.port)
    opened = open_engine(config)
    opened.engine.search(["warm up"], [1])
    index = describe(opened)
    service = SearchService(opened.engine, config.serving, identity=str(index["identity"]))
    token = os.environ.get(TOKEN_VARIABLE) or None
    app = make_app(service, options=config.serving, index=index, token=token)
    wrapped = WSGIMiddleware(app, workers=config.workers)
    settings = uvicorn.Config(
        wrapped,
        host=config.host,
        port=config.port,
        access_log=False,
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    start_listening(listener, config.port)
    LOG.info("serving %d passages on http://%s:%d", len(opened.engine.corpus), config.host, config.port)
    try:
        uvicorn.Server(settings).run(sockets=[listener])
    finally:
        service.close()


def main() -> None:
    """`python -m src_retrieval.server [FILE.yaml] [key=value ...]`."""
    log_to_stderr()
    arguments = sys.argv[1:]
    path = Path(arguments.pop(0)) if arguments and "=" not in arguments[0] else None
    serve(load_config(ServerConfig, path, arguments))


if __name__ == "__main__":
    run_main(main)
