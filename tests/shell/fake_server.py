"""A stand-in for `vllm serve MODEL --host H --port P …` and for the embedded servers.

`/health` answers 200 after a delay. Behaviour comes from the environment: FAKE_DELAY (seconds until healthy),
FAKE_DIE_AFTER (seconds until it exits), FAKE_EXIT (with this status), FAKE_LINES (log lines at start),
FAKE_DUMP (file that receives its arguments and environment), FAKE_STUBBORN (ignores TERM).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

READY_AT = time.monotonic() + float(os.environ.get("FAKE_DELAY", "0"))


class Health(BaseHTTPRequestHandler):
    """200 for `/health` once ready, 503 before, 404 for the rest."""

    def do_GET(self) -> None:
        """Answer one request."""
        status = 404 if self.path != "/health" else 200 if time.monotonic() >= READY_AT else 503
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keep the log as the tests expect it."""


def option(name: str) -> str:
    """The value of `--name VALUE` or `name=VALUE` on the command line."""
    for here, following in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
        if here == f"--{name}":
            return following
        if here.startswith(f"{name}="):
            return here.partition("=")[2]
    raise SystemExit(f"no {name} in {sys.argv}")


def main() -> None:
    """Serve until told to end."""
    for number in range(int(os.environ.get("FAKE_LINES", "0"))):
        sys.stdout.write(f"log line {number}\n")
    sys.stdout.flush()
    if dump := os.environ.get("FAKE_DUMP"):
        Path(dump).write_text(json.dumps({"argv": sys.argv[1:], "env": dict(os.environ)}), encoding="utf-8")
    if os.environ.get("FAKE_STUBBORN"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if after := os.environ.get("FAKE_DIE_AFTER"):
        status = int(os.environ.get("FAKE_EXIT", "1"))
        threading.Timer(float(after), os._exit, (status,)).start()
    ThreadingHTTPServer((option("host"), int(option("port"))), Health).serve_forever()


if __name__ == "__main__":
    main()
