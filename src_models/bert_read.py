"""The weights of an encoder that this project wrote as ONNX: the inverse of `bert_onnx.write_bert` in fp32.

The catalogue keeps encoders as ONNX files only; training starts from their weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src_models.catalog import SourceError
from src_models.weights import Weights

_TABLES = ("word", "position", "token_type")
_JOINT = ".joint."
_PARTS = ("query", "key", "value")


def read_bert(path: Path, *, heads: int) -> Weights:
    """The weights under the names of a `BertModel`, matrices as [out, in]. Raises `SourceError` for a file
    that `write_bert` did not write in fp32.
    """
    import onnx
    from onnx import numpy_helper

    try:
        model = onnx.load(str(path))
    except Exception as error:  # the package's errors share no base class
        raise SourceError(f"{path.name} is not a usable ONNX model ({str(error)[:200]})") from error
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    if any(tensor.dtype == np.int8 for tensor in stored.values()):
        raise SourceError(f"{path.name} holds 8-bit weights, which cannot be trained")
    try:
        found = {f"embeddings.{table}_embeddings.weight": stored[f"embeddings.{table}"] for table in _TABLES}
    except KeyError as error:
        raise SourceError(f"{path.name} lacks {error}: this project did not write it") from error
    for name, value in stored.items():
        if _JOINT in name:
            found |= _split(name, value, heads=heads)
        elif name.endswith(".bias") or "LayerNorm" in name:
            found[name] = value
        elif name.endswith(".weight"):
            found[name] = np.ascontiguousarray(value.T)
    return found


def _split(name: str, joint: NDArray[np.float32], *, heads: int) -> dict[str, NDArray[np.float32]]:
    """Query, key and value of one joint product; the writer put the scale 1/sqrt(width of a head) into the
    query.
    """
    base, kind = name.split(_JOINT)
    parts = dict(zip(_PARTS, np.split(joint.T, len(_PARTS)), strict=True))
    parts["query"] = parts["query"] * np.float32((parts["query"].shape[0] // heads) ** 0.5)
    return {f"{base}.{part}.{kind}": np.ascontiguousarray(value) for part, value in parts.items()}
