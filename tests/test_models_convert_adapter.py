"""LoRA adapters of peft: merged into the base, and as GGUF beside it, they compute the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from helpers_gguf import (
    ARCHITECTURES,
    HIDDEN,
    PROMPT,
    hub_logits,
    hub_model,
    llama_log_probs,
    log_softmax,
    lora_model,
    write_base,
    write_lora,
    write_stored,
)

from src_core.errors import UserError
from src_models.adapters import MARK_KEY, require_gguf_adapter, served_name, vllm_flags
from src_models.convert.gguf_adapter import write_adapter
from src_models.convert.gguf_model import write_model
from src_models.convert.merge import merge
from src_models.convert.packages import require_packages
from src_models.convert.to_gguf import to_gguf
from src_models.gguf_header import model_mark, read_gguf_header
from src_models.peft_folder import read_peft

CLOSE = 0.02
"""Largest difference of a log-probability; llama.cpp keeps keys and values in f16. The adapters move the
logits by 1 to 3."""
SCALES = {
    "plain": {"r": 4, "lora_alpha": 8},
    "rank-stabilised": {"r": 32, "lora_alpha": 8, "use_rslora": True},
    "patterns": {"r": 8, "lora_alpha": 8, "alpha_pattern": {"q_proj": 40}, "rank_pattern": {"k_proj": 3}},
}


@pytest.mark.training
@pytest.mark.parametrize(
    ("architecture", "scale"), [*((name, "plain") for name in ARCHITECTURES), *(("llama", x) for x in SCALES)]
)
def test_three_ways_to_serve_an_adapter_compute_the_same(
    tmp_path: Path, architecture: str, scale: str
) -> None:
    from transformers import AutoModelForCausalLM

    hub_model(architecture).save_pretrained(tmp_path / "base")
    plain = hub_logits(hub_model(architecture), PROMPT)
    trained = lora_model(hub_model(architecture), **SCALES[scale])
    trained.save_pretrained(tmp_path / "adapter")
    wanted = hub_logits(trained, PROMPT)
    assert np.abs(wanted - plain).max() > 0.5

    merge(tmp_path / "adapter", tmp_path / "base", tmp_path / "merged")
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", dtype="float32")
    assert merged.get_output_embeddings().weight is merged.get_input_embeddings().weight
    assert np.abs(hub_logits(merged, PROMPT) - wanted).max() < 1e-4

    template = write_base(tmp_path / "template.gguf", architecture)
    write_model(tmp_path / "base", template, tmp_path / "base.gguf", kind="f32")
    write_model(tmp_path / "merged", template, tmp_path / "merged.gguf", kind="f32")
    write_adapter(tmp_path / "adapter", tmp_path / "base.gguf", tmp_path / "adapter.gguf", kind="f16")
    beside = llama_log_probs(tmp_path / "base.gguf", PROMPT, lora=tmp_path / "adapter.gguf")
    whole = llama_log_probs(tmp_path / "merged.gguf", PROMPT)
    for found in (beside, whole):
        target = log_softmax(wanted[-1])
        assert max(abs(found[word] - target[word]) for word in found) < CLOSE


class Made:
    """A base file, a hub folder and a peft folder of one tiny model, all without torch."""

    def __init__(self, folder: Path) -> None:
        self.tmp = folder
        self.base = write_base(folder / "base.gguf", "llama")
        self.hub = write_stored(folder / "hub", "llama")
        self.peft = write_lora(folder / "run/adapter", "llama")
        self.gguf = folder / "run/adapter.gguf"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_metadata_and_tensors_of_an_adapter(made: Made) -> None:
    facts = write_adapter(made.peft, made.base, made.gguf, kind="f16")
    header = read_gguf_header(made.gguf)
    assert (facts.rank, facts.tensors, facts.size) == (4, 28, made.gguf.stat().st_size)
    assert (header.is_adapter, header.architecture) == (True, "llama")
    assert header.facts["adapter.type"] == "lora"
    assert header.facts["adapter.lora.alpha"] == 8.0
    assert header.facts["general.base_model.0.name"] == "tiny llama"
    assert header.facts[MARK_KEY] == model_mark(read_gguf_header(made.base))
    assert header.tensors["blk.1.attn_k.weight.lora_a"].shape == (4, HIDDEN)
    assert header.tensors["blk.1.attn_k.weight.lora_b"].shape == (32, 4)
    require_gguf_adapter(made.gguf, made.base)


def test_types_of_an_adapter(made: Made) -> None:
    wide = write_lora(made.tmp / "wide", "llama", rank=32)
    sizes = {
        kind: write_adapter(wide, made.base, made.tmp / f"{kind}.gguf", kind=kind).size
        for kind in ("f32", "f16", "q8_0")
    }
    assert sizes["f32"] > 1.8 * sizes["f16"] > 3 * sizes["q8_0"]
    write_adapter(made.peft, made.base, made.gguf, kind="q8_0")
    tensors = read_gguf_header(made.gguf).tensors
    assert tensors["blk.0.ffn_down.weight.lora_a"].kind == gguf.GGMLQuantizationType.Q8_0
    assert tensors["blk.0.ffn_down.weight.lora_b"].kind == gguf.GGMLQuantizationType.F16  # rows of 4
    with pytest.raises(UserError, match="cannot be stored as q4_0; choose one of f16, f32, q8_0"):
        to_gguf(made.peft, made.base, made.tmp / "x.gguf", kind="q4_0")


def test_the_one_line_about_it(made: Made) -> None:
    line = to_gguf(made.peft, made.base, made.gguf)
    assert line.startswith(f"{made.gguf}: adapter of rank 4, 28 tensors, f16, 0.0 MB")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"use_dora": True}}, "is more than plain LoRA .use_dora in"),
        ({"config": {"bias": "all", "modules_to_save": ["lm_head"]}}, "modules_to_save, bias in"),
        ({"config": {"init_lora_weights": "pissa"}}, "init_lora_weights in"),
        ({"config": {"peft_type": "IA3"}}, "does not describe a LoRA adapter"),
        (
            {"add": "base_model.model.model.embed_tokens.lora_embedding_A"},
            "only lora_A and lora_B are supported",
        ),
        ({"drop": "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight"}, "do not belong together"),
    ],
    ids=str,
)
def test_what_is_not_plain_lora_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_peft(write_lora(tmp_path / "adapter", "llama", **change))


def test_pefts_copy_of_an_adapted_matrix_is_passed_over(tmp_path: Path) -> None:
    copy = "base_model.model.model.layers.0.mlp.up_proj.base_layer.weight"
    assert len(read_peft(write_lora(tmp_path / "adapter", "llama", add=copy)).pairs) == 14


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no adapter_config\.json"):
        read_peft(tmp_path)
    folder = write_lora(tmp_path / "adapter", "llama")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match="no such file"):
        read_peft(folder)
    (folder / "adapter_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="not valid JSON"):
        read_peft(folder)


def test_scales_follow_pefts_rules(tmp_path: Path) -> None:
    config = {"use_rslora": True, "alpha_pattern": {r"layers\.1\.self_attn\.q_proj": 3}}
    adapter = read_peft(write_lora(tmp_path / "adapter", "llama", config=config))
    assert adapter.pairs["model.layers.0.self_attn.q_proj"].scale == 8 / 2
    assert adapter.pairs["model.layers.1.self_attn.q_proj"].scale == 3 / 2


def test_an_adapter_of_another_model_is_refused_by_the_conversion(made: Made) -> None:
    for other, message in (
        (
            write_lora(made.tmp / "wide", "llama", hidden=128),
            "changes model.layers.0.mlp.down_proj of 128 x 96, ",
        ),
        (
            write_lora(made.tmp / "deep", "llama", layers=3),
            r"changes model\.layers\.2\.mlp\..*, which llama.cpp",
        ),
    ):
        with pytest.raises(UserError, match=message):
            write_adapter(other, made.base, made.gguf, kind="f16")
        with pytest.raises(UserError, match="does not fit"):
            vllm_flags(str(made.hub), other)
    write_adapter(made.peft, made.base, made.gguf, kind="f16")
    with pytest.raises(UserError, match="is an adapter; name the model"):
        write_adapter(made.peft, made.gguf, made.tmp / "x.gguf", kind="f16")


def test_an_adapter_of_another_model_is_refused_by_the_server(made: Made) -> None:
    write_adapter(made.peft, made.base, made.gguf, kind="f16")
    qwen, same_size = made.tmp / "qwen.gguf", made.tmp / "same.gguf"
    write_base(qwen, "qwen2")
    write_base(same_size, "llama", seed=6)
    deep = made.tmp / "deep.gguf"
    write_adapter(
        write_lora(made.tmp / "deep", "llama", layers=3),
        write_base(made.tmp / "d.gguf", "llama", layers=3),
        deep,
        kind="f16",
    )
    for adapter, base, message in (
        (made.gguf, qwen, r"does not fit .*qwen\.gguf \(tiny qwen2\): it is for the architecture llama"),
        (made.gguf, same_size, r"another model of the same shape \(it was made for tiny llama\)"),
        (deep, made.base, r"it changes blk\.2\..*, which the model lacks"),
        (made.base, made.base, "is a whole model, not a LoRA adapter"),
        (
            made.peft,
            made.base,
            r"takes an adapter in GGUF; make it: \.venv/bin/python -m src_models\.convert",
        ),
        (made.tmp / "absent.gguf", made.base, "no such LoRA file"),
    ):
        with pytest.raises(UserError, match=message):
            require_gguf_adapter(adapter, base)


def test_flags_for_vllm(made: Made) -> None:
    found = vllm_flags(str(made.hub), made.peft)
    named = f"hub+run/adapter={made.peft}"
    assert found == ["--enable-lora", "--max-lora-rank", "8", "--lora-modules", named]
    assert vllm_flags("some/hub-name", made.peft)[-1] == f"hub-name+run/adapter={made.peft}"
    assert served_name("m", made.gguf) == "m+run/adapter"
    with pytest.raises(UserError, match="is a file; give the folder"):
        vllm_flags("some/hub-name", made.base)
    with pytest.raises(UserError, match=r"rank of .* is 600; train one of at most 512"):
        vllm_flags("some/hub-name", write_lora(made.tmp / "wide", "llama", rank=600, layers=1))


def test_a_conversion_names_the_packages_and_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "peft" else object())
    with pytest.raises(
        UserError, match=r"^peft must be installed: .*python -m src_models\.convert\.merge a b"
    ):
        require_packages(["torch", "peft"], command="src_models.convert.merge a b")


@pytest.mark.training
def test_merging_refuses_before_anything_is_loaded(made: Made) -> None:
    with pytest.raises(UserError, match=r"does not fit .*hub: it changes .* of 128 x 96"):
        merge(write_lora(made.tmp / "wide", "llama", hidden=128), made.hub, made.tmp / "out")
    made.gguf.touch()
    with pytest.raises(UserError, match="exists; remove it"):
        merge(made.peft, made.hub, made.gguf)


@pytest.mark.training
def test_merging_keeps_type_and_tokenizer_and_refuses_tied_embeddings(tmp_path: Path) -> None:
    model = hub_model("llama").bfloat16()
    model.save_pretrained(tmp_path / "base")
    (tmp_path / "base/tokenizer_config.json").write_text('{"of": "base"}', encoding="utf-8")
    lora_model(model, r=2).save_pretrained(tmp_path / "adapter")
    merge(tmp_path / "adapter", tmp_path / "base", tmp_path / "one")
    assert json.loads((tmp_path / "one/config.json").read_text())["dtype"] == "bfloat16"
    assert json.loads((tmp_path / "one/tokenizer_config.json").read_text()) == {"of": "base"}
    (tmp_path / "adapter/tokenizer_config.json").write_text('{"of": "adapter"}', encoding="utf-8")
    merge(tmp_path / "adapter", tmp_path / "base", tmp_path / "two")
    assert json.loads((tmp_path / "two/tokenizer_config.json").read_text()) == {"of": "adapter"}
    lora_model(hub_model("llama"), r=2, target_modules=["lm_head"]).save_pretrained(tmp_path / "head")
    with pytest.raises(UserError, match="which are one matrix in"):
        merge(tmp_path / "head", tmp_path / "base", tmp_path / "three")
    assert not list(tmp_path.glob("three*"))
