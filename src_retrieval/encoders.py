"""Text to vectors: one protocol, three makers (ONNX on CPU, torch on GPU, a toy for tests), chosen by
`load_encoder`.

All vectors are float32 [n, dim]; where the family normalises, inner product equals cosine.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from src_core.config import config_class
from src_core.errors import UserError
from src_retrieval.encoder_spec import EncoderIdentity, EncoderSpec, Pooling

FloatArray = NDArray[np.float32]
TOY = "toy"
TOY_DIM = 64
_WORD = re.compile(r"\w+")


class Precision(StrEnum):
    """Which weights of an ONNX folder to run. The two give slightly different vectors; the manifest
    tells them apart. int8 is quantised dynamically: a passage's vector depends a little on its batch.
    """

    INT8 = "int8"
    FP32 = "fp32"


class Device(StrEnum):
    """Where to encode. `auto`: ONNX on CPU where the folder has it, else torch on the GPU if there is
    one.
    """

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@config_class
class EncoderOptions:
    """How to run an encoder. `threads` 0 means all physical cores; lengths are in tokens. On a CPU
    batches of 8 pad least and stay in cache (measured 10 % faster than 32); on a GPU set `batch_size`
    to some hundreds.
    """

    family: str = ""
    precision: Precision = Precision.INT8
    device: Device = Device.AUTO
    threads: int = 0
    batch_size: int = 8
    query_max_length: int = 128
    trust_remote_code: bool = False


class Encoder(Protocol):
    """Texts to float32 [n, dim]."""

    @property
    def identity(self) -> EncoderIdentity:
        """What an index records about this encoder."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of queries."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of passages."""
        ...


class ToyEncoder:
    """Signed hashed bag of words: no weights, deterministic, shares words -> shares direction. For
    tests.
    """

    def __init__(self, dim: int = TOY_DIM) -> None:
        self._dim = dim
        self.identity = EncoderIdentity(f"{TOY}:{dim}", TOY, dim, Precision.FP32, f"{TOY}-1-{dim}")

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of queries, [n, dim]."""
        out = np.zeros((len(texts), self._dim), dtype=np.float32)
        for at, text in enumerate(texts):
            for word in _WORD.findall(text.lower()):
                digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
                slot = int.from_bytes(digest, "little")
                out[at, slot % self._dim] += 1.0 if slot >> 63 else -1.0
        return normalise(out)

    def encode_passages(self, texts: Sequence[str]) -> FloatArray:
        """The same as for queries."""
        return self.encode_queries(texts)


def load_encoder(name: str, options: EncoderOptions) -> Encoder:
    """The encoder `name`: `toy` or `toy:DIM`, a model folder, a hub name (`owner/name`), or a name of
    the model registry. Raises `UserError` with what to do when it cannot be had.
    """
    kind, _, dim = name.partition(":")
    if kind == TOY:
        if dim and not dim.isdecimal():
            raise UserError(f"cannot read the encoder {name!r}; write toy or toy:64")
        return ToyEncoder(int(dim or TOY_DIM))
    folder = model_folder(name)
    has_onnx = (folder / "model.onnx").is_file() or (folder / "model.int8.onnx").is_file()
    if has_onnx and options.device is not Device.CUDA:
        from src_retrieval.onnx_encoder import OnnxEncoder

        return OnnxEncoder(name, folder, options)
    from src_retrieval.torch_encoder import TorchEncoder

    return TorchEncoder(name, folder, options)


def model_folder(name: str) -> Path:
    """Where the weights of `name` lie, fetched when they must be."""
    if Path(name).is_dir():
        return Path(name)
    if name.startswith((".", "/", "~")):
        raise UserError(f"no encoder folder at {name}; check the path")
    if "/" in name:
        return _from_hub(name)
    try:
        fetch = importlib.import_module("src_models.fetch")
    except ModuleNotFoundError as error:
        raise UserError(f"cannot look up the model {name!r}; give a folder instead") from error
    return Path(fetch.ensure_model(name))


def pool(hidden: FloatArray, mask: NDArray[np.int64], spec: EncoderSpec) -> FloatArray:
    """One vector per text from hidden [n, tokens, dim] and mask [n, tokens]."""
    if spec.pooling is Pooling.CLS:
        pooled = np.ascontiguousarray(hidden[:, 0])
    else:
        weights = mask.astype(np.float32)
        total = np.einsum("nt,ntd->nd", weights, hidden, optimize=True)
        pooled = total / np.maximum(weights.sum(axis=1, keepdims=True), 1.0)
    return normalise(pooled) if spec.normalize else pooled.astype(np.float32, copy=False)


def normalise(vectors: FloatArray) -> FloatArray:
    """Rows of length 1; a zero row stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: FloatArray = np.divide(vectors, np.maximum(lengths, 1e-12), dtype=np.float32)
    return scaled


def in_length_order(
    lengths: Sequence[int], dim: int, batch_size: int, encode: Callable[[list[int]], FloatArray]
) -> FloatArray:
    """Encode by batches of similar length and put the rows back in order. Sorting cuts padding from
    1.30x to 1.06x of the real tokens (reference/performance.md, section 1.6).
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    out = np.empty((len(lengths), dim), dtype=np.float32)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        out[chosen] = encode(chosen)
    return out


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    wanted = ["*.json", "*.txt", "*.safetensors", "*.model", "1_Pooling/*"]
    try:
        return Path(snapshot_download(name, allow_patterns=wanted))
    except RepositoryNotFoundError as error:
        raise UserError(f"the hub knows no model {name!r}; check the name or give a folder") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise UserError(
            f"the hub cannot be reached for {name!r}; download the model and give its folder"
        ) from error
