"""A plain BERT encoder as an ONNX graph with dynamic batch and sequence length, built from its weights.

Inputs `input_ids`, `attention_mask`, `token_type_ids` (int64 [batch, seq]; the last only where the weights
tell segments apart); see `Output` for the output.
Query, key and value are one matrix product. With `int8` the matrices become 8-bit with one scale per output
column, and activations are quantised on the fly; embeddings, norms and softmax stay fp32.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from src_models.catalog import SourceError
from src_models.weights import Weights

OPSET = 17
IR_VERSION = 8
NORM_EPSILON = 1e-12
MASKED = -10000.0
_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
INT8_LIMIT = 127
"""Largest magnitude of a weight code."""


class _Graph:
    """Collects nodes and constants; every method returns the name of its result."""

    def __init__(self, *, int8: bool, epsilon: float) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._int8, self._epsilon = int8, epsilon
        self._quantised: dict[str, tuple[str, str, str]] = {}

    def constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants[name] = value
        return name

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        return self.op_many(kind, *inputs, outputs=1, name=name, **attributes)[0]

    def op_many(self, kind: str, *inputs: str, outputs: int, name: str = "", **attributes: Any) -> list[str]:
        from onnx import helper

        stem = name or f"{kind.lower()}_{len(self.nodes)}"
        names = [stem] if outputs == 1 else [f"{stem}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"node_{stem}", **attributes))
        return names

    def linear(self, x: str, *, name: str, matrix: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        """x @ matrix.T + bias, with `matrix` as [out, in]."""
        columns = np.ascontiguousarray(matrix.T)
        product = self._int8_product(x, name, columns) if self._int8 else self._product(x, name, columns)
        return self.op("Add", product, self.constant(f"{name}.bias", bias))

    def _product(self, x: str, name: str, columns: NDArray[np.float32]) -> str:
        return self.op("MatMul", x, self.constant(f"{name}.weight", columns))

    def _int8_product(self, x: str, name: str, columns: NDArray[np.float32]) -> str:
        """Dynamic quantisation: one uint8 scale per activation tensor, one int8 scale per output column."""
        if x not in self._quantised:
            made = self.op_many("DynamicQuantizeLinear", x, outputs=3)
            self._quantised[x] = (made[0], made[1], made[2])
        codes, scale, zero = self._quantised[x]
        steps = np.maximum(np.abs(columns).max(axis=0), 1e-12).astype(np.float32) / INT8_LIMIT
        rounded = np.clip(np.rint(columns / steps), -INT8_LIMIT, INT8_LIMIT).astype(np.int8)
        weight = self.constant(f"{name}.weight", rounded)
        whole = self.op("MatMulInteger", codes, weight, zero)
        scales = self.op("Mul", scale, self.constant(f"{name}.steps", steps))
        return self.op("Mul", self.op("Cast", whole, to=1), scales)

    def norm(self, x: str, weights: Weights, name: str, *, result: str = "") -> str:
        scale = self.constant(f"{name}.weight", weights[f"{name}.weight"])
        bias = self.constant(f"{name}.bias", weights[f"{name}.bias"])
        return self.op("LayerNormalization", x, scale, bias, name=result, axis=-1, epsilon=self._epsilon)


class Output(StrEnum):
    """The output of a graph: hidden states [batch, seq, dim], or the logits [batch, labels] of the
    classification head that cross-encoders have (`BertForSequenceClassification`).
    """

    HIDDEN = "last_hidden_state"
    LOGITS = "logits"


def write_bert(
    weights: Weights,
    path: Path,
    *,
    heads: int,
    int8: bool,
    output: Output = Output.HIDDEN,
    epsilon: float = NORM_EPSILON,
) -> None:
    """Write the graph of a BERT encoder with `weights` to `path`; `epsilon` is that of its norms. Raises
    `SourceError` when a weight is missing."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = _Graph(int8=int8, epsilon=epsilon)
    try:
        width = _assemble(graph, weights, heads=heads, output=output)
    except KeyError as error:
        raise SourceError(f"the weights lack {error}, so this is not a plain BERT encoder") from error
    used = {name for node in graph.nodes for name in node.input}
    names = [name for name in _INPUTS if name in used]
    shape = ["batch", "seq", width] if output is Output.HIDDEN else ["batch", width]
    made = helper.make_graph(
        graph.nodes,
        "bert",
        [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "seq"]) for name in names],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in graph.constants.items()],
    )
    imports = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=imports, ir_version=IR_VERSION, producer_name="rearag-lab")
    onnx.save(model, str(path))


def layer_count(weights: Weights) -> int:
    """Number of encoder layers in `weights`."""
    return len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})


def _assemble(graph: _Graph, weights: Weights, *, heads: int, output: Output) -> int:
    """Add all nodes. Returns the width of the output."""
    hidden = _embed(graph, weights)
    mask = graph.op(
        "Cast", graph.op("Unsqueeze", "attention_mask", graph.constant("mask_axes", _ints(1, 2))), to=1
    )
    one = graph.constant("one", _floats(1.0))
    away = graph.op("Mul", graph.op("Sub", one, mask), graph.constant("masked", _floats(MASKED)))
    layers = layer_count(weights)
    for index in range(layers):
        last = index == layers - 1 and output is Output.HIDDEN
        hidden = _layer(graph, weights, hidden, away, index=index, heads=heads, last=last)
    if output is Output.HIDDEN:
        return int(weights["embeddings.LayerNorm.weight"].shape[0])
    return _classify(graph, weights, hidden)


def _classify(graph: _Graph, weights: Weights, hidden: str) -> int:
    """BERT's pooler over the first token, then the classifier; both stay fp32, they are two small
    matrices.
    """
    first = graph.op("Gather", hidden, graph.constant("first_token", _index(0)), axis=1)
    pooled = graph.op("Tanh", _small(graph, weights, first, "pooler.dense"))
    _small(graph, weights, pooled, "classifier", result=Output.LOGITS)
    return int(weights["classifier.weight"].shape[0])


def _small(graph: _Graph, weights: Weights, x: str, name: str, *, result: str = "") -> str:
    matrix = graph.constant(f"{name}.weight", np.ascontiguousarray(weights[f"{name}.weight"].T))
    bias = graph.constant(f"{name}.bias", weights[f"{name}.bias"])
    return graph.op("Add", graph.op("MatMul", x, matrix), bias, name=result)


def _embed(graph: _Graph, weights: Weights) -> str:
    tables = {
        kind: graph.constant(f"embeddings.{kind}", weights[f"embeddings.{kind}_embeddings.weight"])
        for kind in ("word", "position", "token_type")
    }
    shape = graph.op("Shape", "input_ids")
    seq = graph.op("Gather", shape, graph.constant("index_1", _index(1)))
    zero, step = graph.constant("index_0", _index(0)), "index_1"
    positions = graph.op("Gather", tables["position"], graph.op("Range", zero, seq, step))
    words = graph.op("Gather", tables["word"], "input_ids")
    segments = len(weights["embeddings.token_type_embeddings.weight"]) > 1
    kinds = graph.op("Gather", tables["token_type"], "token_type_ids") if segments else tables["token_type"]
    total = graph.op("Add", graph.op("Add", words, kinds), positions)
    return graph.norm(total, weights, "embeddings.LayerNorm")


def _layer(
    graph: _Graph, weights: Weights, hidden: str, away: str, *, index: int, heads: int, last: bool
) -> str:
    base = f"encoder.layer.{index}"
    mixed = _attention(graph, weights, hidden, away, base=f"{base}.attention", heads=heads)
    hidden = graph.norm(graph.op("Add", mixed, hidden), weights, f"{base}.attention.output.LayerNorm")
    wide = _gelu(graph, _dense(graph, weights, hidden, f"{base}.intermediate.dense"))
    narrow = _dense(graph, weights, wide, f"{base}.output.dense")
    result = "last_hidden_state" if last else ""
    return graph.norm(graph.op("Add", narrow, hidden), weights, f"{base}.output.LayerNorm", result=result)


def _attention(graph: _Graph, weights: Weights, hidden: str, away: str, *, base: str, heads: int) -> str:
    parts = [f"{base}.self.{kind}" for kind in ("query", "key", "value")]
    matrix = np.concatenate([weights[f"{part}.weight"] for part in parts])
    bias = np.concatenate([weights[f"{part}.bias"] for part in parts])
    dim = bias.shape[0] // 3
    # The scale 1/sqrt(width of a head) goes into the query rows: one product less at run time.
    scale = np.ones((3 * dim, 1), dtype=np.float32)
    scale[:dim] = (dim // heads) ** -0.5
    joint = graph.linear(hidden, name=f"{base}.self.joint", matrix=matrix * scale, bias=bias * scale[:, 0])
    shape = graph.constant("heads_shape", _ints(0, 0, 3, heads, dim // heads))
    split = graph.op("Transpose", graph.op("Reshape", joint, shape), perm=[2, 0, 3, 1, 4])
    query, key, value = (
        graph.op("Gather", split, graph.constant(f"index_{i}", _index(i)), axis=0) for i in range(3)
    )
    scores = graph.op("MatMul", query, graph.op("Transpose", key, perm=[0, 1, 3, 2]))
    shares = graph.op("Softmax", graph.op("Add", scores, away), axis=-1)
    context = graph.op("Transpose", graph.op("MatMul", shares, value), perm=[0, 2, 1, 3])
    flat = graph.op("Reshape", context, graph.constant("flat_shape", _ints(0, 0, dim)))
    return _dense(graph, weights, flat, f"{base}.output.dense")


def _dense(graph: _Graph, weights: Weights, x: str, name: str) -> str:
    return graph.linear(x, name=name, matrix=weights[f"{name}.weight"], bias=weights[f"{name}.bias"])


def _gelu(graph: _Graph, x: str) -> str:
    """Exact GELU: x * (1 + erf(x / sqrt 2)) / 2, in the order that onnxruntime fuses into one kernel."""
    bent = graph.op("Erf", graph.op("Div", x, graph.constant("sqrt_2", _floats(2**0.5))))
    grown = graph.op("Mul", x, graph.op("Add", bent, graph.constant("plus_1", _floats(1.0))))
    return graph.op("Mul", grown, graph.constant("half", _floats(0.5)))


def _ints(*values: int) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def _index(value: int) -> NDArray[np.int64]:
    return np.array(value, dtype=np.int64)


def _floats(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)
