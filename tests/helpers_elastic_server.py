"""Servers that speak Elasticsearch's API, for the tests: a real one (the one at ELASTICSEARCH_URL, or one
that is started from the folder ELASTICSEARCH_HOME), and the small one of the package noida-db. Each has its
data in a folder of its own and no more memory than a test needs, and listens on loopback.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from helpers_wait import until

JAVA = "-Xms512m -Xmx512m"


@contextmanager
def real_elastic() -> Iterator[str]:
    """The address of the server, which answers."""
    given = os.environ.get("ELASTICSEARCH_URL")
    if given:
        yield given
        return
    home, port = Path(os.environ["ELASTICSEARCH_HOME"]), _free_port()
    folder = Path(tempfile.mkdtemp(prefix="elastic-test-"))
    try:
        shutil.copytree(home / "config", folder / "config")
        settings = {
            "discovery.type": "single-node",
            "xpack.security.enabled": "false",
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            "http.port": port,
            "path.data": folder / "data",
            "path.logs": folder / "logs",
        }
        command = [home / "bin" / "elasticsearch", *(f"-E{key}={value}" for key, value in settings.items())]
        process = _started(command, folder, port, {"ES_JAVA_OPTS": JAVA, "ES_PATH_CONF": folder / "config"})
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            _stopped(process)
    finally:
        shutil.rmtree(folder)


class SmallElastic:
    """The server of noida-db with Elasticsearch's API alone. It can be stopped and started with its data."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, _free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        # Another user may not see the folder of the package.
        self._program = Path(shutil.copy(str(files("noida_db") / "noida-db"), folder / "noida-db"))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        command = [self._program, "start", "--data-dir", self._folder / "data", "--host", "127.0.0.1"]
        command += ["--only", "elasticsearch", "--elasticsearch-port", str(self._port)]
        self._process = _started(command, self._folder, self._port, {"HOME": self._folder})

    def stop(self) -> None:
        """Its data stay."""
        if self._process is not None:
            _stopped(self._process)
            self._process = None


@contextmanager
def small_elastic() -> Iterator[SmallElastic]:
    """The small server, which answers."""
    folder = Path(tempfile.mkdtemp(prefix="elastic-small-"))
    try:
        server = SmallElastic(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _started(
    command: Sequence[str | Path], folder: Path, port: int, variables: dict[str, str | Path]
) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    with (folder / "output").open("ab") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, **_not_root(folder)
        )
    until(lambda: process.poll() is not None or _answers(port))
    assert process.poll() is None, (folder / "output").read_text(errors="replace")[-2_000:]
    return process


def _stopped(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(60)


def _not_root(folder: Path) -> dict[str, object]:
    """Elasticsearch refuses to run as root: a server is then run as `nobody`, whose folder this becomes."""
    if os.geteuid() != 0:
        return {}
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, "nobody", "nogroup")
    return {"user": "nobody", "group": "nogroup", "extra_groups": []}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5).close()
    except (urllib.error.URLError, OSError):
        return False
    return True
