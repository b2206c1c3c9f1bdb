"""A GGUF adapter in the weights of its GGUF model: the same sums, in types that the engine reads fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from helpers_gguf import write_base, write_lora

from src_core.errors import UserError
from src_models.convert.gguf_adapter import write_adapter
from src_models.convert.gguf_merge import _kind, merge_gguf
from src_models.convert.iq4_nl import quantise_iq4_nl
from src_models.gguf_header import read_gguf_header

TARGET = "blk.1.ffn_up.weight"


def values(file: Path) -> dict[str, Any]:
    """The tensors of a GGUF file in float32."""
    found = gguf.GGUFReader(file).tensors
    return {tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type) for tensor in found}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A base and its adapter in GGUF, without torch."""
    base, lora = write_base(tmp_path / "base.gguf", "llama"), tmp_path / "lora.gguf"
    write_adapter(write_lora(tmp_path / "adapter", "llama"), base, lora, kind="f32")
    return base, lora


@pytest.mark.parametrize(
    ("kind", "error"),
    [("f32", 1e-6), ("f16", 1e-3), ("bf16", 4e-3), ("q8_0", 0.01), ("q4_0", 0.12), ("iq4_nl", 0.11)],
)
def test_the_update_is_in_the_weights(
    files: tuple[Path, Path], tmp_path: Path, kind: str, error: float
) -> None:
    base, lora = files
    merge_gguf(base, lora, tmp_path / "out.gguf", kind=kind)
    before, update, after = values(base), values(lora), values(tmp_path / "out.gguf")
    alpha = float(gguf.GGUFReader(lora).fields["adapter.lora.alpha"].contents())
    changed = 0
    for name, weights in before.items():
        wanted = weights
        if f"{name}.lora_a" in update:
            a, b = update[f"{name}.lora_a"], update[f"{name}.lora_b"]
            wanted = weights + alpha / a.shape[0] * (b @ a)
            changed += float(np.linalg.norm(wanted - weights)) > 2 * error * np.linalg.norm(wanted)
        assert np.linalg.norm(after[name] - wanted) <= error * np.linalg.norm(wanted), name
    assert changed > 5


def test_metadata_stays_and_small_tensors_stay_exact(files: tuple[Path, Path], tmp_path: Path) -> None:
    base, _ = files
    merge_gguf(base, None, tmp_path / "out.gguf", kind="q4_0")
    before, after = read_gguf_header(base), read_gguf_header(tmp_path / "out.gguf")
    assert list(after.tensors) == list(before.tensors)
    changed = {key for key in after.facts if after.facts[key] != before.facts.get(key)}
    assert changed <= {"general.file_type", "general.quantization_version"}
    kinds = {name: gguf.GGMLQuantizationType(info.kind).name for name, info in after.tensors.items()}
    assert (kinds[TARGET], kinds["token_embd.weight"], kinds["output_norm.weight"]) == ("Q4_0", "F32", "F32")
    assert np.array_equal(
        values(tmp_path / "out.gguf")["token_embd.weight"], values(base)["token_embd.weight"]
    )


def test_embeddings_of_eight_bits_are_copied_byte_for_byte(files: tuple[Path, Path], tmp_path: Path) -> None:
    base, lora = files
    merge_gguf(base, None, tmp_path / "eight.gguf", kind="q8_0")
    merge_gguf(tmp_path / "eight.gguf", lora, tmp_path / "four.gguf", kind="q4_0")
    stored = {
        name: next(t for t in gguf.GGUFReader(tmp_path / name).tensors if t.name == "token_embd.weight")
        for name in ("eight.gguf", "four.gguf")
    }
    assert {tensor.tensor_type.name for tensor in stored.values()} == {"Q8_0"}
    assert np.array_equal(stored["eight.gguf"].data, stored["four.gguf"].data)


@pytest.mark.parametrize(
    ("name", "theirs", "kind", "ours"),
    [
        ("token_embd.weight", "Q5_0", "q4_0", "Q5_0"),
        ("output.weight", "Q6_K", "iq4_nl", "Q8_0"),  # the gguf package cannot write it
        ("output.weight", "Q6_K", "q8_0", "Q8_0"),
        (TARGET, "Q6_K", "iq4_nl", "IQ4_NL"),
    ],
)
def test_type_of_a_matrix(name: str, theirs: str, kind: str, ours: str) -> None:
    assert _kind(name, (64, 256), theirs, kind=kind) == ours
    assert _kind(name, (256,), theirs, kind=kind) == "F32"


def test_iq4_nl_is_closer_than_q4_0_and_as_large() -> None:
    weights = np.random.default_rng(0).standard_normal((32, 256)).astype(np.float32) * 0.02
    weights[3] = 0
    weights[4, :32] *= 1e-30
    weights[5, 7] = 50.0
    even = gguf.GGMLQuantizationType.Q4_0
    uneven = quantise_iq4_nl(weights)
    found = gguf.dequantize(uneven, gguf.GGMLQuantizationType.IQ4_NL)
    other = gguf.dequantize(gguf.quantize(weights, even), even)
    assert uneven.shape == gguf.quantize(weights, even).shape
    assert np.linalg.norm(found[6:] - weights[6:]) < 0.93 * np.linalg.norm(other[6:] - weights[6:])
    assert not found[3].any()
    assert np.abs(found[4, :32]).max() < 1e-6
    assert abs(found[5, 7] - 50) < 1


def test_what_does_not_belong_together_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    base, lora = files
    out = tmp_path / "out.gguf"
    other = write_base(tmp_path / "other.gguf", "qwen2")
    with pytest.raises(UserError, match="is an adapter; name the model"):
        merge_gguf(lora, None, out)
    with pytest.raises(UserError, match="does not fit"):
        merge_gguf(other, lora, out)
    with pytest.raises(UserError, match="cannot be stored as q2_k; choose one of"):
        merge_gguf(base, lora, out, kind="q2_k")
    assert not out.exists()
    out.touch()
    with pytest.raises(UserError, match="exists; remove it"):
        merge_gguf(base, lora, out)
