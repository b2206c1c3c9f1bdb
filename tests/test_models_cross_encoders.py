"""ONNX files of cross-encoders against torch, and encoders of the catalogue as hub folders."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from src_core.errors import UserError
from src_models.bert_onnx import write_bert
from src_models.bert_read import read_bert
from src_models.catalog import SourceError
from src_models.convert.encoder_to_hf import encoder_to_hf, hub_copy
from src_models.cross_encoders import build_cross_encoder, is_supported
from src_models.weights import read_safetensors
from src_retrieval.rerankers import load_reranker
from src_retrieval.rerankers.agreement import agreement_with_torch
from src_retrieval.rerankers.base import Pair, RerankOptions
from tests.helpers_rerank import DIM, HEADS, LENGTH, WORDS, cross_encoder_folder

_DRAW = random.Random(4)
PAIRS = [
    Pair(f"about thing{query}", " ".join(f"word{_DRAW.randrange(60)}" for _ in range(_DRAW.randrange(1, 40))))
    for query in range(4)
    for _ in range(8)
]


def xlm_roberta(folder: Path) -> Path:
    """A small `XLMRobertaForSequenceClassification` with the tokenizer of the BERT helper, shifted so that
    the ids of padding and text are RoBERTa's.
    """
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    cross_encoder_folder(folder)
    torch.manual_seed(3)
    config = XLMRobertaConfig(
        vocab_size=len(WORDS),
        hidden_size=DIM,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        max_position_embeddings=LENGTH + 2,
        type_vocab_size=1,
        pad_token_id=1,  # [UNK], which no text of these tests holds
        layer_norm_eps=1e-5,
        num_labels=1,
        initializer_range=0.25,
    )
    (folder / "model.safetensors").unlink()
    XLMRobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.mark.training
@pytest.mark.parametrize("family", ["bert", "xlm-roberta"])
def test_onnx_follows_torch(family: str, tmp_path: Path) -> None:
    make = cross_encoder_folder if family == "bert" else xlm_roberta
    folder = make(tmp_path / "hub")
    build_cross_encoder(folder, tmp_path / "onnx")
    (tmp_path / "onnx/model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    options = RerankOptions(model=str(tmp_path / "onnx"), threads=1, batch_tokens=64)
    assert load_reranker(options).identity.precision == "onnx int8"
    found = agreement_with_torch(options, PAIRS)
    assert found["fp32"]["max_difference"] < 1e-4
    assert found["fp32"]["rank_correlation"] > 0.999
    assert found["int8"]["rank_correlation"] > 0.95


def test_other_models_are_refused(tmp_path: Path) -> None:
    folder = cross_encoder_folder(tmp_path / "hub")
    for changed in (
        {"model_type": "deberta-v2"},
        {"hidden_act": "relu"},
        {"position_embedding_type": "relative_key"},
    ):
        config = json.loads((folder / "config.json").read_text())
        other = tmp_path / "other"
        other.mkdir(exist_ok=True)
        for path in folder.iterdir():
            (other / path.name).write_bytes(path.read_bytes())
        (other / "config.json").write_text(json.dumps({**config, **changed}))
        assert not is_supported(other)
        with pytest.raises(UserError, match="neither a BERT nor an XLM-RoBERTa model"):
            build_cross_encoder(other, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_model_that_no_onnx_file_holds_is_left_to_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = cross_encoder_folder(tmp_path / "hub")
    assert is_supported(folder)
    monkeypatch.setattr("src_models.cross_encoders.MAX_BYTES", 1000)
    assert not is_supported(folder)
    with pytest.raises(UserError, match=r"of less than 2 GiB; .* rerank\.precision=torch"):
        build_cross_encoder(folder, tmp_path / "out")


def test_the_weights_of_an_encoder_file_come_back(tmp_path: Path) -> None:
    weights = read_safetensors(cross_encoder_folder(tmp_path / "hub") / "model.safetensors")
    write_bert(weights, tmp_path / "model.onnx", heads=HEADS, int8=False)
    found = read_bert(tmp_path / "model.onnx", heads=HEADS)
    expected = {name for name in weights if not name.startswith(("pooler", "classifier"))}
    assert set(found) == expected
    for name in expected:
        assert np.allclose(found[name], weights[name], atol=1e-6), name
    write_bert(weights, tmp_path / "int8.onnx", heads=HEADS, int8=True)
    with pytest.raises(SourceError, match="8-bit weights"):
        read_bert(tmp_path / "int8.onnx", heads=HEADS)
    (tmp_path / "torn.onnx").write_bytes((tmp_path / "model.onnx").read_bytes()[:500])
    with pytest.raises(SourceError):
        read_bert(tmp_path / "torn.onnx", heads=HEADS)


@pytest.mark.training
def test_an_encoder_of_the_catalogue_becomes_a_hub_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the files of a small encoder in the place of the downloaded ones; MiniLM has 12 heads."""
    from src_models.convert import encoder_to_hf as module

    hub = cross_encoder_folder(tmp_path / "hub", head=False)
    weights = read_safetensors(hub / "model.safetensors")
    heads = 12
    width = 24  # a multiple of the heads: cut the first dimensions out of the helper's matrices
    cut = {
        name: np.ascontiguousarray(
            value[tuple(slice(0, width) if size == DIM else slice(None) for size in value.shape)]
        )
        for name, value in weights.items()
    }
    fetched = tmp_path / "fetched"
    fetched.mkdir()
    write_bert(cut, fetched / "model.onnx", heads=heads, int8=False)
    (fetched / "tokenizer.json").write_bytes((hub / "tokenizer.json").read_bytes())
    monkeypatch.setattr(module, "ensure_model", lambda _: fetched)
    monkeypatch.setenv("REARAG_CACHE", str(tmp_path / "cache"))
    folder = hub_copy("minilm")
    assert hub_copy("minilm") == folder
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    import onnxruntime

    ids = np.array([[2, 5, 9, 3]], dtype=np.int64)
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    (expected,) = onnxruntime.InferenceSession(str(fetched / "model.onnx")).run(None, feed)
    with torch.no_grad():
        found = model(**{name: torch.from_numpy(value) for name, value in feed.items()}).last_hidden_state
    assert np.allclose(found.numpy(), expected, atol=1e-4)
    with pytest.raises(UserError, match="exists; remove it"):
        encoder_to_hf("minilm", folder)
    with pytest.raises(UserError, match="is no encoder"):
        encoder_to_hf("smollm2-135m", tmp_path / "no")
