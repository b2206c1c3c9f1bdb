"""The weights of a BERT encoder as numpy arrays under their usual names, from safetensors or from an ONNX
export.

Names are those of a plain `BertModel` ("encoder.layer.0.attention.self.query.weight", …), matrices are
[out, in]. Nothing here is unpickled.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from src_core.errors import UserError
from src_models.catalog import SourceError
from src_models.safetensors_file import open_safetensors

Weights = Mapping[str, NDArray[np.float32]]

UNPACKED = 8
BLOCK = 1 << 20
WRAPPERS = ("bert.", "roberta.", "model.", "0.auto_model.")


def read_safetensors(path: Path) -> Weights:
    """The float tensors of a safetensors file. Raises `SourceError` for a damaged file or an unknown type."""
    try:
        stored = open_safetensors(path)
        return {_plain(name): tensor.floats() for name, tensor in stored.items() if tensor.kind != "I64"}
    except UserError as error:
        raise SourceError(str(error)) from error


def _plain(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def read_onnx(path: Path) -> Weights:
    """The weights of a `BertModel` exported to ONNX. Biases, norms and embeddings keep their names there; a
    matrix is anonymous (and transposed) and is recognised by the bias that is added to its product."""
    import onnx
    from onnx import numpy_helper

    try:
        model = onnx.load(str(path))
    except Exception as error:  # the package's errors share no base class
        raise SourceError(f"{path.name} is not a usable ONNX model ({str(error)[:200]})") from error
    raw = {tensor.name: tensor for tensor in model.graph.initializer}
    matrix_of = {
        node.output[0]: name
        for node in model.graph.node
        if node.op_type == "MatMul"
        for name in node.input
        if name in raw
    }
    found: dict[str, NDArray[np.float32]] = {}
    for name, tensor in raw.items():
        if tensor.data_type == onnx.TensorProto.FLOAT and "." in name:
            found[_plain(name)] = numpy_helper.to_array(tensor)
    for node in model.graph.node:
        products = [name for name in node.input if name in matrix_of]
        biases = [name for name in node.input if name.endswith(".bias")]
        if node.op_type == "Add" and products and biases:
            matrix = numpy_helper.to_array(raw[matrix_of[products[0]]])
            found[_plain(biases[0]).removesuffix("bias") + "weight"] = np.ascontiguousarray(matrix.T)
    return found


def unpack_onnx(archive: Path, folder: Path) -> Path:
    """Unpack a tar.gz that holds one ONNX file (perhaps with external data) and return that file's path.
    Members that would leave `folder`, links and devices are refused, and so is an archive that unpacks to
    more than `UNPACKED` times its size: weights hardly compress."""
    folder.mkdir(parents=True, exist_ok=True)
    most = max(UNPACKED * archive.stat().st_size, BLOCK)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            size = 0
            for member in tar:  # one header at a time: an archive may announce more than any disk holds
                size += member.size + tarfile.BLOCKSIZE
                if size > most:
                    raise SourceError(f"{archive.name} unpacks to more than {most:,} bytes")
            tar.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{archive.name} could not be unpacked ({error})") from error
    found = sorted(folder.rglob("*.onnx"))
    if len(found) != 1:
        raise SourceError(f"{archive.name} holds {len(found)} ONNX files, expected one")
    return found[0]
