"""A cross-encoder folder in hub layout with random weights, made without torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from src_models.cross_encoders import build_cross_encoder

DIM, WIDE, HEADS, LAYERS, LENGTH = 32, 64, 4, 2, 40
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = [*SPECIAL, *(f"{kind}{at}" for kind in ("thing", "kind", "word") for at in range(60)), "about", "and"]


def cross_encoder_folder(folder: Path, *, seed: int = 0, labels: int = 1, head: bool = True) -> Path:
    """`model.safetensors`, `config.json`, `tokenizer.json` of a small `BertForSequenceClassification`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", WORDS.index("[CLS]")), ("[SEP]", WORDS.index("[SEP]"))],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "vocab_size": len(WORDS),
        "hidden_size": DIM,
        "intermediate_size": WIDE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "max_position_embeddings": LENGTH,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "pad_token_id": 0,
        "id2label": {str(at): f"LABEL_{at}" for at in range(labels)},
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", _weights(seed, labels, head=head))
    return folder


def onnx_folder(folder: Path, *, seed: int = 0) -> Path:
    """The same as ONNX files, which need no torch either to run; replaces what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    with TemporaryDirectory() as made:
        build_cross_encoder(cross_encoder_folder(Path(made) / "hub", seed=seed), folder)
    return folder


def _weights(seed: int, labels: int, *, head: bool) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> NDArray[np.float32]:
        return rng.normal(0, 0.25, shape).astype(np.float32)

    shapes = {
        "embeddings.word_embeddings.weight": (len(WORDS), DIM),
        "embeddings.position_embeddings.weight": (LENGTH, DIM),
        "embeddings.token_type_embeddings.weight": (2, DIM),
    }
    norms = ["embeddings.LayerNorm"]
    for index in range(LAYERS):
        base = f"encoder.layer.{index}"
        square = (
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
        )
        dense = {name: (DIM, DIM) for name in square}
        dense |= {"intermediate.dense": (WIDE, DIM), "output.dense": (DIM, WIDE)}
        for name, shape in dense.items():
            shapes |= {f"{base}.{name}.weight": shape, f"{base}.{name}.bias": shape[:1]}
        norms += [f"{base}.attention.output.LayerNorm", f"{base}.output.LayerNorm"]
    shapes |= {"pooler.dense.weight": (DIM, DIM), "pooler.dense.bias": (DIM,)}
    made = {f"bert.{name}": draw(*shape) for name, shape in shapes.items()}
    for name in norms:
        made[f"bert.{name}.weight"], made[f"bert.{name}.bias"] = 1 + draw(DIM), draw(DIM)
    if head:
        made |= {"classifier.weight": draw(labels, DIM) * 4, "classifier.bias": draw(labels)}
    return made


def write_safetensors(path: Path, tensors: dict[str, NDArray[np.float32]]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, value in tensors.items():
        data = value.tobytes()
        place = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": place}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
