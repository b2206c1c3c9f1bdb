"""Encoders over a tiny ONNX model (a table of word vectors): prefixes, pooling, order, lengths, identity."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from src_core.errors import UserError
from src_retrieval.encoders.base import EncoderOptions, Precision
from src_retrieval.encoders.load import load_encoder
from src_retrieval.encoders.onnx import OnnxEncoder

DIM = 8
WORDS = ["[UNK]", "query", "passage", ":", "red", "blue", "apple", "sky"]
OPTIONS = EncoderOptions(precision=Precision.FP32, threads=1, batch_size=2, query_max_length=4)


@pytest.fixture(scope="module")
def table() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(len(WORDS), DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, table: NDArray[np.float32]) -> Path:
    import onnx
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder = tmp_path_factory.mktemp("model")
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    helper, kinds = onnx.helper, onnx.TensorProto
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])],
        "words",
        [
            helper.make_tensor_value_info(name, kinds.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("last_hidden_state", kinds.FLOAT, ["batch", "tokens", DIM])],
        [onnx.numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    write_spec(folder)
    return folder


def write_spec(folder: Path, **changes: object) -> None:
    spec = {
        "family": "e5",
        "dim": DIM,
        "pooling": "mean",
        "normalize": True,
        "query_prefix": "query: ",
        "passage_prefix": "passage: ",
        "max_length": 6,
        **changes,
    }
    (folder / "encoder.json").write_text(json.dumps(spec))


def mean(table: NDArray[np.float32], words: list[str]) -> NDArray[np.float32]:
    vector = table[[WORDS.index(word) for word in words]].mean(axis=0)
    unit: NDArray[np.float32] = vector / np.linalg.norm(vector)
    return unit


def test_texts_get_their_prefix_and_come_back_in_order(folder: Path, table: NDArray[np.float32]) -> None:
    encoder = load_encoder(str(folder), OPTIONS)
    passages = encoder.encode_passages(["red apple sky", "blue", "red sky"])
    for vector, words in zip(passages, (["red", "apple", "sky"], ["blue"], ["red", "sky"]), strict=True):
        assert np.allclose(vector, mean(table, ["passage", ":", *words]), atol=1e-6)
    query = encoder.encode_queries(["blue"])[0]
    assert np.allclose(query, mean(table, ["query", ":", "blue"]), atol=1e-6)
    assert passages.dtype == np.float32


def test_queries_and_passages_are_cut_at_their_own_length(folder: Path, table: NDArray[np.float32]) -> None:
    encoder = load_encoder(str(folder), OPTIONS)
    long = "red apple sky blue red red"
    assert np.allclose(
        encoder.encode_queries([long])[0], mean(table, ["query", ":", "red", "apple"]), atol=1e-6
    )
    words = ["passage", ":", "red", "apple", "sky", "blue"]
    assert np.allclose(encoder.encode_passages([long])[0], mean(table, words), atol=1e-6)


def test_cls_pooling_takes_the_first_token(folder: Path, table: NDArray[np.float32], tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    write_spec(tmp_path, pooling="cls", passage_prefix="", family="bge")
    vector = load_encoder(str(tmp_path), OPTIONS).encode_passages(["sky blue"])[0]
    assert np.allclose(vector, mean(table, ["sky"]), atol=1e-6)


def test_the_identity_follows_the_weights_and_not_the_path(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    first = load_encoder(str(folder), OPTIONS).identity
    assert load_encoder(str(tmp_path), OPTIONS).identity.sha256 == first.sha256
    (tmp_path / "tokenizer.json").write_bytes((tmp_path / "tokenizer.json").read_bytes() + b"\n")
    assert load_encoder(str(tmp_path), OPTIONS).identity.sha256 != first.sha256


def test_a_folder_that_is_no_encoder_is_said_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model\.int8\.onnx"):
        OnnxEncoder("x", folder, EncoderOptions(threads=1))
    with pytest.raises(UserError, match="no encoder folder"):
        load_encoder(str(tmp_path / "absent"), OPTIONS)
    with pytest.raises(UserError, match="of family e5, the setting says bge"):
        load_encoder(str(folder), EncoderOptions(precision=Precision.FP32, family="bge"))
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"torn")
    with pytest.raises(UserError, match="not a usable ONNX model"):
        load_encoder(str(tmp_path), OPTIONS)
