"""The ONNX graph builder against a BERT written out in numpy, and the readers of weights."""

from __future__ import annotations

import io
import json
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from src_models.bert_onnx import layer_count, write_bert
from src_models.catalog import SourceError
from src_models.machine import ONNX_SUMS
from src_models.weights import read_onnx, read_safetensors, unpack_onnx

DIM, WIDE, HEADS, LAYERS, VOCAB, LENGTH = 16, 32, 4, 2, 50, 24
Arrays = dict[str, NDArray[np.float32]]


def tiny_weights(seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> NDArray[np.float32]:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    made = {
        "embeddings.word_embeddings.weight": draw(VOCAB, DIM),
        "embeddings.position_embeddings.weight": draw(LENGTH, DIM),
        "embeddings.token_type_embeddings.weight": draw(2, DIM),
    }
    norms = ["embeddings.LayerNorm"]
    for index in range(LAYERS):
        base = f"encoder.layer.{index}"
        shapes = {f"attention.self.{kind}": (DIM, DIM) for kind in ("query", "key", "value")}
        shapes |= {"attention.output.dense": (DIM, DIM), "intermediate.dense": (WIDE, DIM)}
        shapes |= {"output.dense": (DIM, WIDE)}
        for name, shape in shapes.items():
            made[f"{base}.{name}.weight"] = draw(*shape)
            made[f"{base}.{name}.bias"] = draw(shape[0])
        norms += [f"{base}.attention.output.LayerNorm", f"{base}.output.LayerNorm"]
    for name in norms:
        made[f"{name}.weight"], made[f"{name}.bias"] = 1 + draw(DIM), draw(DIM)
    return made


def numpy_bert(w: Arrays, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float64]:
    """Forward pass, written straight from the definition."""

    def norm(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        centred = x - x.mean(-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
        scale, bias = w[f"{name}.weight"].astype(np.float64), w[f"{name}.bias"].astype(np.float64)
        result: NDArray[np.float64] = centred / spread * scale + bias
        return result

    def dense(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        result: NDArray[np.float64] = x @ w[f"{name}.weight"].T.astype(np.float64) + w[f"{name}.bias"]
        return result

    def heads(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x.reshape(*x.shape[:2], HEADS, DIM // HEADS).transpose(0, 2, 1, 3)

    erf = np.vectorize(math.erf)
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
    x = norm(
        x.astype(np.float64) + w["embeddings.position_embeddings.weight"][: ids.shape[1]],
        "embeddings.LayerNorm",
    )
    for index in range(LAYERS):
        base = f"encoder.layer.{index}"
        query, key, value = (heads(dense(x, f"{base}.attention.self.{k}")) for k in ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(DIM / HEADS)
        scores = np.where(mask[:, None, None, :] == 1, scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = (shares @ value).transpose(0, 2, 1, 3).reshape(x.shape)
        x = norm(x + dense(mixed, f"{base}.attention.output.dense"), f"{base}.attention.output.LayerNorm")
        wide = dense(x, f"{base}.intermediate.dense")
        wide = wide * (1 + erf(wide / math.sqrt(2))) / 2
        x = norm(x + dense(wide, f"{base}.output.dense"), f"{base}.output.LayerNorm")
    return x


def run(model: Path, ids: NDArray[np.int64], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*ONNX_SUMS)
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    found: NDArray[np.float32] = session.run(["last_hidden_state"], feed)[0]
    return found


def sample() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(1)
    ids = rng.integers(1, VOCAB, (3, 11))
    mask = np.ones_like(ids)
    mask[1, 7:] = mask[2, 3:] = 0
    return ids, mask


def test_fp32_graph_is_the_definition(tmp_path: Path) -> None:
    write_bert(tiny_weights(), tmp_path / "model.onnx", heads=HEADS, int8=False)
    ids, mask = sample()
    found = run(tmp_path / "model.onnx", ids, mask)
    expected = numpy_bert(tiny_weights(), ids, mask)
    assert found.shape == (3, 11, DIM)
    assert found.dtype == np.float32
    assert np.abs(found - expected)[mask == 1].max() < 1e-4
    alone = run(tmp_path / "model.onnx", ids[2:, :3], mask[2:, :3])
    assert np.abs(alone[0] - found[2, :3]).max() < 1e-5, "padding changed the result"


def test_int8_graph_stays_close(tmp_path: Path) -> None:
    write_bert(tiny_weights(), tmp_path / "model.int8.onnx", heads=HEADS, int8=True)
    ids, mask = sample()
    found = run(tmp_path / "model.int8.onnx", ids, mask)[mask == 1]
    expected = numpy_bert(tiny_weights(), ids, mask)[mask == 1]
    cosines = (found * expected).sum(-1) / np.linalg.norm(found, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert np.median(cosines) > 0.99
    assert cosines.min() > 0.97


def test_missing_weight_is_named(tmp_path: Path) -> None:
    weights = tiny_weights()
    del weights["encoder.layer.1.output.dense.bias"]
    with pytest.raises(SourceError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        write_bert(weights, tmp_path / "model.onnx", heads=HEADS, int8=False)


def test_safetensors_round_trip(tmp_path: Path) -> None:
    weights = {"bert." + name: value for name, value in tiny_weights().items()}
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, value in weights.items():
        data = value.tobytes()
        header[name] = {
            "dtype": "F32",
            "shape": list(value.shape),
            "data_offsets": [len(body), len(body) + len(data)],
        }
        body += data
    text = json.dumps(header).encode()
    (tmp_path / "a.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + body)
    found = read_safetensors(tmp_path / "a.safetensors")
    assert layer_count(found) == LAYERS
    for name, value in tiny_weights().items():
        assert np.array_equal(found[name], value)
    (tmp_path / "b.safetensors").write_bytes(b"\x10" + bytes(7) + b"not json at all!")
    with pytest.raises(SourceError, match="not a safetensors file"):
        read_safetensors(tmp_path / "b.safetensors")


def test_anonymous_matrices_of_an_export_are_named_by_their_bias(tmp_path: Path) -> None:
    import onnx

    matrix, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(3, dtype=np.float32)
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "val_7"], ["y"]),
            helper.make_node("Add", ["y", "encoder.layer.0.output.dense.bias"], ["z"]),
        ],
        "export",
        [helper.make_tensor_value_info("x", floats, ["n", 2])],
        [helper.make_tensor_value_info("z", floats, ["n", 3])],
        [
            onnx.numpy_helper.from_array(matrix, "val_7"),
            onnx.numpy_helper.from_array(bias, "encoder.layer.0.output.dense.bias"),
        ],
    )
    onnx.save(helper.make_model(graph), str(tmp_path / "export.onnx"))
    found = read_onnx(tmp_path / "export.onnx")
    assert np.array_equal(found["encoder.layer.0.output.dense.weight"], matrix.T)
    assert np.array_equal(found["encoder.layer.0.output.dense.bias"], bias)


@pytest.mark.parametrize("member", ["../outside.onnx", "/etc/outside.onnx"])
def test_archive_members_stay_inside(tmp_path: Path, member: str) -> None:
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo(member)
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    target = tmp_path / "deep" / "out"
    if member.startswith("/"):  # the slash is stripped: it lands inside
        assert unpack_onnx(archive, target).is_relative_to(target)
    else:
        with pytest.raises(SourceError, match="could not be unpacked"):
            unpack_onnx(archive, target)
        assert not (tmp_path / "deep" / "outside.onnx").exists()
