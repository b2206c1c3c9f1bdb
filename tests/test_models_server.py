"""The embedded LLM server: everything that can be checked without weights."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_wait import until

from src_core.errors import UserError
from src_models import llama_server as server
from src_models.catalog import REPO_ROOT
from src_models.model_file import find_model


def parsed(*arguments: str) -> server.ServerSettings:
    return server.settings_from(server._parse(list(arguments)))


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    file = tmp_path / "my-model.v1.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(80))
    return file


def test_settings_from_the_command_line(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "default_threads", lambda share: 8 // share)
    monkeypatch.setenv("TOKEN_HERE", "abc")
    found = parsed("--model", str(gguf), "--port", free_port(), "--share", "2", "--api-key-env", "TOKEN_HERE")
    assert (found.alias, found.threads, found.api_key, found.host) == ("my-model.v1", 4, "abc", "127.0.0.1")
    assert parsed("--model", str(gguf), "--port", free_port(), "--threads", "3").threads == 3


def test_a_server_lists_digests_of_its_files(gguf: Path) -> None:
    found = parsed("--model", str(gguf), "--port", free_port())
    (tag,) = server.make_params(found).model_tags
    assert tag.startswith("weights-")
    gguf.write_bytes(gguf.read_bytes() + b"x")
    assert server.digests(gguf, gguf) != server.digests(gguf, None) != found.tags


def test_params_of_the_binding(gguf: Path) -> None:
    params = server.make_params(
        server.ServerSettings(
            model=gguf, alias="m", threads=3, parallel=2, ctx=1000, api_key="abc", lora=gguf
        )
    )
    assert params.n_ctx == 2000
    assert not params.kv_unified
    assert params.cors_origins == ""
    assert params.n_parallel == 2
    assert params.api_keys == ["abc"]
    assert (params.cpuparams.n_threads, params.cpuparams_batch.n_threads) == (3, 3)
    assert [adapter.path for adapter in params.lora_adapters] == [str(gguf)]
    assert params.hostnames == ["127.0.0.1"]
    assert not (params.ui or params.endpoint_slots or params.endpoint_props)


def test_an_adapter_is_checked_and_named(gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[tuple[Path, Path]] = []
    monkeypatch.setattr(server, "require_gguf_adapter", lambda *files: checked.append(files))
    lora = gguf.parent / "run" / "adapter.gguf"
    lora.parent.mkdir()
    lora.write_bytes(b"GGUF")
    found = parsed("--model", str(gguf), "--port", free_port(), "--lora", str(lora))
    assert (checked, found.lora) == ([(lora, gguf)], lora)
    assert found.alias == "my-model.v1+run/adapter"


def test_port_in_use_is_found_before_the_model_is_looked_at() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match=r"cannot listen on .* choose another --port"):
            parsed("--model", "no-such-model", "--port", str(taken.getsockname()[1]))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--lora", "absent.gguf"], "no such LoRA file"),
        (["--api-key-env", "UNSET_VARIABLE"], "UNSET_VARIABLE, which is not set"),
        (["--parallel", "0"], "--parallel must be at least 1"),
    ],
)
def test_wrong_flags_are_one_sentence(gguf: Path, extra: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parsed("--model", str(gguf), "--port", free_port(), *extra)


def test_wrong_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such model file"):
        find_model(str(tmp_path / "absent.gguf"))
    (tmp_path / "a.gguf").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match="not a GGUF file"):
        find_model(str(tmp_path / "a.gguf"))
    with pytest.raises(UserError, match="no model is called"):
        find_model("nonesuch")
    with pytest.raises(UserError, match=r"is a folder, .*src_models\.convert\.to_gguf .* OUT\.gguf"):
        find_model(str(tmp_path))


def test_command_line_error_ends_with_status_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "src_models.llama_server", "--model", "absent.gguf", "--port", free_port()],
        cwd=REPO_ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: no such model file: absent.gguf")


BINDING = """
import ctypes
from types import SimpleNamespace

class CommonParams(SimpleNamespace):
    def __init__(self):
        parts = {name: SimpleNamespace() for name in ("model", "cpuparams", "cpuparams_batch")}
        super().__init__(**parts)

class Server:
    def __init__(self, params):
        open("loading", "w").write(params.hostnames[0])
        if SECONDS:
            ctypes.PyDLL(None).sleep(SECONDS)  # as the binding does, without letting go of the interpreter
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("seconds", "loads"), [(3600, True), (0, False)])
def test_a_signal_ends_a_server_that_loads_or_serves(
    gguf: Path, tmp_path: Path, number: signal.Signals, seconds: int, loads: bool
) -> None:
    (tmp_path / "xllamacpp.py").write_text(BINDING.replace("SECONDS", str(seconds)))
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "src_models.llama_server", "--model", str(gguf), "--port", port],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{REPO_ROOT}", "TMPDIR": str(tmp_path)},
    )
    try:
        until(lambda: (tmp_path / "loading").is_file() and (loads or _answers(int(port))))
        assert len(list(tmp_path.glob("llama-*"))) == 1
        process.send_signal(number)
        assert process.wait(timeout=60) == (-number if loads else 0)
    finally:
        process.kill()
    assert not _answers(int(port))
    until(lambda: not list(tmp_path.glob("llama-*")))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, server.SPIN_COUNT),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "passive"}, "None"),
    ],
)
def test_threads_soon_sleep_unless_the_environment_says_otherwise(
    tmp_path: Path, given: dict[str, str], found: str
) -> None:
    # libgomp reads the setting when it is loaded, so it must be there before the binding is imported.
    (tmp_path / "xllamacpp.py").write_text('import os\nSPINS = os.environ.get("GOMP_SPINCOUNT")\n')
    plain = {k: v for k, v in os.environ.items() if k not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    code = "from src_models.llama_server import load_binding; print(load_binding().SPINS)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**plain, **given, "PYTHONPATH": f"{tmp_path}:{REPO_ROOT}"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == found


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
