"""A real Elasticsearch for the tests: the one at ELASTICSEARCH_URL, or one that is started from the folder
ELASTICSEARCH_HOME, with its data in a folder of its own and no more memory than a test needs.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
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
        environment = {**os.environ, "ES_JAVA_OPTS": JAVA, "ES_PATH_CONF": str(folder / "config")}
        with (folder / "output").open("wb") as output:
            process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=output, **_not_root(folder)
            )
        try:
            until(lambda: process.poll() is not None or _answers(port))
            assert process.poll() is None, (folder / "output").read_text(errors="replace")[-2_000:]
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)
    finally:
        shutil.rmtree(folder)


def _not_root(folder: Path) -> dict[str, object]:
    """Elasticsearch refuses to run as root: it is then run as `nobody`, whose folder this becomes."""
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
