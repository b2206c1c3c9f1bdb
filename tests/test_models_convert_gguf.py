"""Hub folder -> GGUF: transformers and llama.cpp compute from the file what the trained model computes.

The logits are the proof of the row order: with q and k in the wrong one they are off by more than 0.1.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from helpers_gguf import (
    ARCHITECTURES,
    PROMPT,
    TEMPLATE,
    VOCAB,
    hub_logits,
    hub_model,
    llama_log_probs,
    load_gguf,
    log_softmax,
    write_base,
    write_lora,
    write_stored,
)

from src_core.errors import UserError
from src_models.convert import gguf_names, gguf_write
from src_models.convert.gguf_model import _kind, write_model
from src_models.convert.to_gguf import find_base, to_gguf
from src_models.gguf_header import GgufHeader, TensorInfo, read_gguf_header
from src_models.safetensors_file import open_folder

ROUNDING = {"f32": 1e-5, "f16": 0.02, "q8_0": 0.3}
"""Largest difference of a logit; the logits' standard deviation is 1.2."""


class Trained:
    """A tiny trained model with its folder and the base file that it came from."""

    def __init__(self, folder: Path, architecture: str, *, tied: bool, output: bool) -> None:
        self.model = hub_model(architecture, tied=tied)
        self.folder, self.base = folder / "trained", folder / "base.gguf"
        self.model.save_pretrained(self.folder)
        write_base(self.base, architecture, output=output)
        self.out = folder / "out.gguf"

    def to(self, kind: str) -> Path:
        write_model(self.folder, self.base, self.out, kind=kind)
        return self.out


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny hub folders made without torch, one per architecture, for tests that look at files only."""
    root = tmp_path_factory.mktemp("folders")
    return {name: write_stored(root / name, name) for name in ARCHITECTURES}


@pytest.mark.training
@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0"])
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_transformers_computes_the_same_from_the_file(tmp_path: Path, architecture: str, kind: str) -> None:
    trained = Trained(tmp_path, architecture, tied=True, output=False)
    found = hub_logits(load_gguf(trained.to(kind)), PROMPT)
    assert np.abs(found - hub_logits(trained.model, PROMPT)).max() < ROUNDING[kind]


@pytest.mark.training
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_llama_cpp_computes_the_same_from_the_file(tmp_path: Path, architecture: str) -> None:
    trained = Trained(tmp_path, architecture, tied=True, output=False)
    found = llama_log_probs(trained.to("f16"), PROMPT)
    wanted = log_softmax(hub_logits(trained.model, PROMPT)[-1])
    assert len(found) == VOCAB
    assert max(abs(found[word] - wanted[word]) for word in found) < ROUNDING["f16"]


@pytest.mark.training
def test_the_wrong_row_order_would_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = Trained(tmp_path, "llama", tied=True, output=False)
    plain = gguf_names.ARCHITECTURES["llama"]._replace(interleaved=False)
    monkeypatch.setitem(gguf_names.ARCHITECTURES, "llama", plain)
    found = hub_logits(load_gguf(trained.to("f32")), PROMPT)
    assert np.abs(found - hub_logits(trained.model, PROMPT)).max() > 0.1


@pytest.mark.training
@pytest.mark.parametrize(("tied", "output"), [(True, True), (False, True), (False, False)])
def test_output_matrix(tmp_path: Path, tied: bool, output: bool) -> None:
    trained = Trained(tmp_path, "qwen2", tied=tied, output=output)
    file = trained.to("f32")
    assert "output.weight" in read_gguf_header(file).tensors
    assert np.abs(hub_logits(load_gguf(file), PROMPT) - hub_logits(trained.model, PROMPT)).max() < 1e-5


def values(file: Path) -> dict[str, Any]:
    """The tensors of a GGUF file in float32."""
    found = gguf.GGUFReader(file).tensors
    return {tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type) for tensor in found}


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "base"])
def test_metadata_and_types(tmp_path: Path, folders: dict[str, Path], kind: str) -> None:
    base = write_base(tmp_path / "base.gguf", "llama")
    write_model(folders["llama"], base, tmp_path / "out.gguf", kind=kind)
    before, after = read_gguf_header(base), read_gguf_header(tmp_path / "out.gguf")
    assert list(after.tensors) == list(before.tensors)
    changed = {key for key in after.facts if after.facts[key] != before.facts.get(key)}
    assert changed <= {"general.file_type", "general.quantization_version"}
    old, new = gguf.GGUFReader(base).fields, gguf.GGUFReader(tmp_path / "out.gguf").fields
    for key in ("tokenizer.ggml.tokens", "tokenizer.ggml.merges", "tokenizer.ggml.token_type"):
        assert old[key].contents() == new[key].contents()
    kinds = {name: gguf.GGMLQuantizationType(info.kind).name for name, info in after.tensors.items()}
    assert kinds["output_norm.weight"] == kinds["blk.0.attn_norm.weight"] == "F32"
    assert kinds["blk.1.ffn_up.weight"] == {"base": "F32"}.get(kind, kind.upper())
    assert kinds["token_embd.weight"] == {"base": "F32", "q4_0": "Q8_0", "q4_1": "Q8_0"}.get(
        kind, kind.upper()
    )
    stored = open_folder(folders["llama"])["model.layers.1.mlp.up_proj.weight"].floats()
    error = np.abs(values(tmp_path / "out.gguf")["blk.1.ffn_up.weight"] - stored).max()
    assert error <= {"f32": 0, "base": 0, "f16": 1e-3, "bf16": 4e-3, "q8_0": 5e-3}.get(kind, 0.08)


@pytest.mark.parametrize(
    ("theirs", "row", "kind", "ours"),
    [
        ("Q4_K", 256, "base", "Q8_0"),  # the gguf package cannot write it
        ("Q4_1", 256, "base", "Q4_1"),
        ("Q4_1", 40, "q8_0", "F16"),  # no whole number of blocks
        ("F32", 256, "q8_0", "Q8_0"),
    ],
)
def test_type_of_a_matrix(theirs: str, row: int, kind: str, ours: str) -> None:
    found = TensorInfo(int(gguf.GGMLQuantizationType[theirs]), (64, row), 0)
    base = GgufHeader(Path("base.gguf"), {}, {"x.weight": found, "token_embd.weight": found})
    assert _kind("x.weight", base, kind=kind) == ours


def test_tensors_that_follow_from_the_configuration_are_kept(
    tmp_path: Path, folders: dict[str, Path]
) -> None:
    base = write_base(tmp_path / "base.gguf", "llama", extra={"rope_freqs.weight": (8,)})
    write_model(folders["llama"], base, tmp_path / "out.gguf", kind="q8_0")
    assert np.array_equal(
        values(tmp_path / "out.gguf")["rope_freqs.weight"], values(base)["rope_freqs.weight"]
    )


def test_the_chat_template_is_the_trained_one(tmp_path: Path, folders: dict[str, Path]) -> None:
    base = write_base(tmp_path / "base.gguf", "qwen2")
    for number, (name, text) in enumerate(
        [
            ("chat_template.jinja", "of the file"),
            ("tokenizer_config.json", json.dumps({"chat_template": "of the configuration"})),
            ("tokenizer_config.json", json.dumps({"model_max_length": 5})),
        ]
    ):
        folder = shutil.copytree(folders["qwen2"], tmp_path / f"{number}")
        (folder / name).write_text(text, encoding="utf-8")
        write_model(folder, base, tmp_path / f"{number}.gguf", kind="f16")
    found = [read_gguf_header(tmp_path / f"{n}.gguf").facts["tokenizer.chat_template"] for n in range(3)]
    assert found == ["of the file", "of the configuration", TEMPLATE]


def test_shards_are_one_model(tmp_path: Path, folders: dict[str, Path]) -> None:
    whole, parts = folders["llama"], write_stored(tmp_path / "parts", "llama", shards=3)
    assert not (parts / "model.safetensors").exists()
    base = write_base(tmp_path / "base.gguf", "llama")
    for name, folder in (("a", whole), ("b", parts)):
        write_model(folder, base, tmp_path / f"{name}.gguf", kind="f16")
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    next(parts.glob("*-00002-of-*")).unlink()
    with pytest.raises(UserError, match="no such file"):
        write_model(parts, base, tmp_path / "c.gguf", kind="f16")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"drop": "model.layers.1.mlp.up_proj.weight"}, r"lacks blk\.1\.ffn_up\.weight; name the file"),
        ({"drop": "model.embed_tokens.weight"}, r"lacks token_embd\.weight"),
        ({"add": "model.layers.0.mlp.new.weight"}, r"has, unlike the base, model\.layers\.0\.mlp\.new"),
        ({"add": "model.layers.7.mlp.up_proj.weight"}, r"has, unlike the base, .*layers\.7"),
        ({"vocab": VOCAB + 5}, r"token_embd\.weight is \(266, 64\).*\(261, 64\) in the base; the tokenizer"),
        ({"config": {"model_type": "gemma"}}, r"of the type gemma, .* of the architecture llama"),
        ({"config": {"num_attention_heads": 8}}, r"num_attention_heads 8, .* has 4"),
        ({"config": {"rope_parameters": {"rope_theta": 5e5}}}, r"rope_theta 500000.0, .* has 10000"),
    ],
    ids=str,
)
def test_a_folder_that_is_not_the_bases_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    base = write_base(tmp_path / "base.gguf", "llama")
    folder = write_stored(tmp_path / "wrong", "llama", **change)
    with pytest.raises(UserError, match=message):
        write_model(folder, base, tmp_path / "out.gguf", kind="f16")
    assert not list(tmp_path.glob("out*"))


def test_mistakes_are_one_sentence(
    tmp_path: Path, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, out = write_base(tmp_path / "base.gguf", "llama"), tmp_path / "out.gguf"
    with pytest.raises(UserError, match=r"of the type qwen2, .*; name the file of the model"):
        write_model(folders["qwen2"], base, out, kind="f16")
    with pytest.raises(UserError, match=r"has no config\.json"):
        write_model(tmp_path, base, out, kind="f16")
    with pytest.raises(UserError, match="no such folder"):
        to_gguf(tmp_path / "absent", base, out)
    with pytest.raises(UserError, match="is damaged or truncated"):
        write_model(folders["llama"], cut(base, tmp_path / "cut.gguf", 3000), out, kind="f16")
    other = write_base(tmp_path / "other.gguf", "gemma")
    with pytest.raises(UserError, match=r"architecture 'gemma'; supported are: llama, qwen2, qwen3"):
        write_model(folders["llama"], other, out, kind="f16")
    broken = shutil.copytree(folders["llama"], tmp_path / "broken")
    cut(folders["llama"] / "model.safetensors", broken / "model.safetensors", 5000)
    with pytest.raises(UserError, match="is not a safetensors file, or is cut off"):
        write_model(broken, base, out, kind="f16")
    monkeypatch.setattr(gguf_write, "METADATA_ROOM", 1 << 60)
    with pytest.raises(UserError, match=r"writing out\.gguf needs .* MB of disk"):
        write_model(folders["llama"], base, out, kind="f16")
    assert not list(tmp_path.glob("out*"))
    out.touch()
    with pytest.raises(UserError, match="exists; remove it"):
        write_model(folders["llama"], base, out, kind="f16")


def cut(source: Path, target: Path, size: int) -> Path:
    """The beginning of a file."""
    target.write_bytes(source.read_bytes()[:size])
    return target


def test_the_base_is_found_by_its_sizes(tmp_path: Path, folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"0 of 0 fetched models .* with --like"):
        find_base(folders["llama"], cache=tmp_path)
    wanted = write_base(tmp_path / "smollm2-135m.gguf", "llama")
    assert find_base(write_lora(tmp_path / "adapter", "llama"), cache=tmp_path) == wanted
    write_base(tmp_path / "qwen2.5-coder-0.5b.gguf", "qwen2")
    assert find_base(folders["llama"], cache=tmp_path) == wanted
    with pytest.raises(UserError, match="2 of 2 fetched models"):  # an adapter does not name its architecture
        find_base(tmp_path / "adapter", cache=tmp_path)
    with pytest.raises(UserError, match="0 of 2 fetched models"):
        find_base(write_lora(tmp_path / "wide", "llama", hidden=128), cache=tmp_path)
    write_base(tmp_path / "qwen2.5-coder-1.5b.gguf", "llama")
    with pytest.raises(UserError, match="2 of 3 fetched models"):
        find_base(folders["llama"], cache=tmp_path)
    with pytest.raises(UserError, match=r"has neither model\.safetensors nor"):
        find_base(tmp_path, cache=tmp_path)


def test_the_one_line_about_it(tmp_path: Path, folders: dict[str, Path]) -> None:
    base = write_base(tmp_path / "base.gguf", "llama")
    assert to_gguf(folders["llama"], base, tmp_path / "m.gguf").startswith(
        f"{tmp_path}/m.gguf: model, q8_0, 0.1 MB"
    )
