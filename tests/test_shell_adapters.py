"""A LoRA adapter from the knob to the server's flags, in both engines, with fake servers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers_gguf import write_base, write_lora, write_stored
from test_shell_infer import Infer
from test_shell_servers import Result


class Adapted(Infer):
    """A tiny model in both forms and an adapter for it; what the server was started with lies in `dump`."""

    def __init__(self, tmp: Path) -> None:
        super().__init__(tmp)
        self.models = {"rearag": "tiny"}
        self.base, self.hub = write_base(tmp / "tiny.gguf", "llama"), write_stored(tmp / "hub", "llama")
        self.peft = write_lora(tmp / "run/adapter", "llama")
        self.wrong = write_lora(tmp / "other/adapter", "llama", hidden=128)
        self.dump = tmp / "dump.json"
        self.env["FAKE_DUMP"] = str(self.dump)

    def deploy(self, model: Path, adapter: Path, *, engine: str) -> Result:
        self.models = {"rearag": model.name.removesuffix(".gguf")}
        return self.run(
            "deploy/deploy.sh", ENGINE=engine, REARAG_MODEL_DIR=str(model), REARAG_ADAPTER=str(adapter)
        )

    def flags(self) -> list[str]:
        found: list[str] = json.loads(self.dump.read_text())["argv"]
        return found


@pytest.fixture
def adapted(tmp_path: Path) -> Iterator[Adapted]:
    made = Adapted(tmp_path)
    yield made
    made.run("deploy/stop.sh")


def test_llama_cpp_gets_the_folder_as_a_file_made_once(adapted: Adapted) -> None:
    done = adapted.deploy(adapted.base, adapted.peft, engine="llama.cpp")
    assert (done.returncode, done.stdout) == (0, adapted.line()), done.stderr
    file = adapted.peft.with_suffix(".gguf")
    assert adapted.flags()[-2:] == ["--lora", str(file)]
    made = file.stat().st_mtime_ns
    again = adapted.deploy(adapted.base, Path(f"{adapted.peft}/"), engine="llama.cpp")
    assert (again.stdout, again.stderr) == (adapted.line(), "")
    assert file.stat().st_mtime_ns == made
    refused = adapted.deploy(adapted.base, file.with_name("none.gguf"), engine="llama.cpp")
    assert "already runs with other settings" in refused.stderr
    adapted.run("deploy/stop.sh")
    (adapted.peft / "adapter_model.safetensors").touch()  # trained on
    assert adapted.deploy(adapted.base, adapted.peft, engine="llama.cpp").returncode == 0
    assert file.stat().st_mtime_ns > made


def test_llama_cpp_gets_a_file_as_it_is(adapted: Adapted, tmp_path: Path) -> None:
    assert adapted.deploy(adapted.base, tmp_path / "a.gguf", engine="llama.cpp").returncode == 0
    assert adapted.flags()[-2:] == ["--lora", str(tmp_path / "a.gguf")]


def test_a_trained_folder_as_the_model(adapted: Adapted, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    adapted.base.rename(cache / "smollm2-135m.gguf")
    adapted.env["REARAG_CACHE"] = str(cache)
    done = adapted.run("infer.sh", "METHOD=closed_book", f"MODEL={adapted.hub}/", f"ADAPTER={adapted.peft}")
    adapted.models = {"rearag": "hub"}
    assert (done.returncode, done.stdout) == (0, adapted.line()), done.stderr
    flags = adapted.flags()
    assert flags[flags.index("--model") + 1] == f"{adapted.hub}.gguf"
    assert flags[-2:] == ["--lora", f"{adapted.peft}.gguf"]
    (cache / "smollm2-135m.gguf").unlink()
    Path(f"{adapted.hub}.gguf").unlink()
    failed = adapted.run("infer.sh", "METHOD=closed_book", f"MODEL={adapted.hub}")
    assert failed.returncode == 2
    assert "0 of 0 fetched models have the sizes" in failed.stderr


def test_vllm_gets_the_folder(adapted: Adapted) -> None:
    done = adapted.deploy(adapted.hub, adapted.peft, engine="vllm")
    assert (done.returncode, done.stdout) == (0, adapted.line()), done.stderr
    named = f"hub+run/adapter={adapted.peft}"
    assert adapted.flags()[-5:] == ["--enable-lora", "--max-lora-rank", "8", "--lora-modules", named]


@pytest.mark.parametrize("engine", ["vllm", "llama.cpp"])
def test_a_wrong_adapter_ends_it_before_a_server_starts(adapted: Adapted, engine: str) -> None:
    model = adapted.hub if engine == "vllm" else adapted.base
    failed = adapted.deploy(model, adapted.wrong, engine=engine)
    assert failed.returncode == 2
    assert failed.stdout == ""
    assert failed.stderr.startswith("error: ")
    assert "down_proj of 128 x 96" in failed.stderr
    assert not adapted.state.exists()
    assert not adapted.wrong.with_suffix(".gguf").exists()


def test_infer_takes_an_adapter(adapted: Adapted) -> None:
    done = adapted.run("infer.sh", "METHOD=closed_book", f"MODEL={adapted.base}", f"ADAPTER={adapted.peft}")
    assert (done.returncode, done.stdout) == (0, adapted.line()), done.stderr
    assert adapted.flags()[-2:] == ["--lora", f"{adapted.peft}.gguf"]
    assert "agent.model" not in adapted.settings()  # the server has one model only
    absent = adapted.run("infer.sh", "ADAPTER=no/such/adapter")
    assert absent.returncode == 2
    assert absent.stderr.startswith("error: there is no adapter no/such/adapter")


def test_on_a_gpu_node_infer_asks_for_the_deployed_adapter(adapted: Adapted) -> None:
    gpu = {"PROFILE": "gpu"}
    refused = adapted.run("infer.sh", f"ADAPTER={adapted.peft}", **gpu)
    assert refused.returncode == 2
    assert f"was not deployed with {adapted.peft}; do: bash deploy/stop.sh rearag" in refused.stderr
    adapted.deploy(adapted.hub, adapted.peft, engine="vllm")
    for knobs in ([], [f"ADAPTER={adapted.peft}"]):
        assert adapted.run("infer.sh", *knobs, **gpu).returncode == 0
        assert adapted.settings()["agent.model"] == "hub+run/adapter"
    assert adapted.run("infer.sh", "agent.model=hub", **gpu).returncode == 0
    assert adapted.settings()["agent.model"] == "hub"
    assert adapted.run("infer.sh", f"ADAPTER={adapted.wrong}", **gpu).returncode == 2
