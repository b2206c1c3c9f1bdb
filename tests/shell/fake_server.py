"""A stand-in for `vllm serve MODEL --host H --port P …` and for the embedded servers. On bare sockets: it is
started a hundred times, and `http.server` takes longer to import than all the rest.

`/health` answers 200 when it is ready, 503 before; anything else is a 404. Behaviour comes from the
environment: FAKE_READY (ready when this file exists), FAKE_DELAY (seconds until ready), FAKE_DIE_AFTER
(seconds until it exits), FAKE_EXIT (with this status), FAKE_LINES (log lines at start), FAKE_DUMP (file that
receives its arguments and environment), FAKE_STUBBORN (ignores TERM).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

READY_AT = time.monotonic() + float(os.environ.get("FAKE_DELAY", "0"))
READY_FILE = Path(os.environ.get("FAKE_READY", "/"))


def answer(client: socket.socket) -> None:
    """Answer one request; a client that says nothing gets no answer."""
    with client:
        client.settimeout(2)
        request = ""
        # Bash writes line by line. Closing with a line unread resets the connection, and the answer is lost.
        while not request.endswith("\r\n\r\n") and (more := client.recv(4096).decode("latin-1")):
            request += more
        if request:
            ready = "200 OK" if time.monotonic() >= READY_AT and READY_FILE.exists() else "503 Starting"
            status = ready if request.split(" ", 2)[1] == "/health" else "404 Not Found"
            client.sendall(f"HTTP/1.0 {status}\r\nContent-Length: 0\r\n\r\n".encode())


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
    with socket.create_server((option("host"), int(option("port")))) as listener:
        while True:
            with contextlib.suppress(OSError):
                answer(listener.accept()[0])


if __name__ == "__main__":
    main()
