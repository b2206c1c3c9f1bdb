"""Weight files, and the files beside them, that are cut, mutated or made to do harm."""

from __future__ import annotations

import json
import random
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers_gguf import write_base, write_lora, write_safetensors, write_stored

from src_core.chat_template import ChatTemplate
from src_core.errors import UserError
from src_core.json_file import read_object, whole_number
from src_core.tokenizer_file import open_tokenizer
from src_core.trained_prompt import TRAINING, _read
from src_models.adapters import require_gguf_adapter, vllm_flags
from src_models.catalog import SourceError
from src_models.gguf_header import model_mark, read_gguf_header
from src_models.model_file import find_model
from src_models.peft_folder import read_peft
from src_models.safetensors_file import open_folder, open_safetensors
from src_models.weights import read_onnx
from src_retrieval.encoders.spec import read_spec
from src_retrieval.onnx_session import open_session
from src_retrieval.rerankers.pair_tokens import model_config, positions

MUTATED = 500
MOST_MEMORY = 64 << 20


@contextmanager
def bounded() -> Iterator[None]:
    """At most 64 MiB of Python memory and 10 seconds."""
    tracemalloc.start()
    begun = time.monotonic()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
        assert time.monotonic() - begun < 10
    finally:
        tracemalloc.stop()


def refused(read: Callable[[], object], *names: str) -> None:
    """`read` ends with one sentence that holds `names`."""
    with bounded(), pytest.raises((UserError, SourceError)) as error:
        read()
    for name in names:
        assert name in str(error.value)
    assert "\n" not in str(error.value)


def head(tensors: int, facts: int) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, facts)


def text(value: bytes) -> bytes:
    return struct.pack("<Q", len(value)) + value


NORM = text(b"output_norm.weight")
GGUF = {
    "alignment 0": head(0, 1) + text(b"general.alignment") + struct.pack("<II", 4, 0),
    "alignment is a text": head(0, 1) + text(b"general.alignment") + struct.pack("<I", 8) + text(b"32"),
    "alignment is nan": head(0, 1) + text(b"general.alignment") + struct.pack("<If", 6, float("nan")),
    "arrays 5000 deep": head(0, 1) + text(b"k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5000,
    "huge norm": head(1, 0) + NORM + struct.pack("<IQIQ", 1, 2**61, 0, 0) + b"\0" * 64,
    "offset beyond the file": head(1, 0) + NORM + struct.pack("<IQIQ", 1, 4, 0, 2**63) + b"\0" * 64,
    "huge quantised": head(1, 0) + text(b"w") + struct.pack("<IQQIQ", 2, 2**40, 2**40, 2, 0) + b"\0" * 64,
    "2**32 dimensions": head(1, 0) + NORM + struct.pack("<I", 2**32 - 1) + b"\1" * 80,
    "2**64 facts": head(0, 2**64 - 1),
    "2**64 tensors": head(2**64 - 1, 0),
    "text of 2**63 bytes": head(0, 1) + struct.pack("<Q", 2**63),
    "array of 2**63 texts": head(0, 1) + text(b"k") + struct.pack("<IIQ", 9, 8, 2**63),
    "unknown type": head(0, 1) + text(b"k") + struct.pack("<I", 99) + bytes(64),
    "version 1": b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
    "only the magic": b"GGUF",
}


@pytest.mark.parametrize("case", GGUF)
def test_a_gguf_header_that_cannot_be_true_is_refused(tmp_path: Path, case: str) -> None:
    file = tmp_path / "made.gguf"
    file.write_bytes(GGUF[case])
    refused(lambda: read_gguf_header(file), "made.gguf", "damaged", "again")
    refused(lambda: find_model(str(file)), "made.gguf")


def test_a_sparse_gguf_of_a_tebibyte_is_refused_in_flat_memory(tmp_path: Path) -> None:
    for number, start in enumerate((GGUF["array of 2**63 texts"], head(0, 1) + struct.pack("<Q", 2**39))):
        file = tmp_path / f"{number}.gguf"
        file.write_bytes(start)
        with file.open("r+b") as handle:
            handle.truncate(1 << 40)
        with pytest.raises(UserError, match="damaged"):
            read_gguf_header(file)


def test_a_norm_without_dimensions_has_a_mark(tmp_path: Path) -> None:
    file = tmp_path / "scalar.gguf"
    file.write_bytes(head(1, 0) + NORM + struct.pack("<IIQ", 0, 0, 0) + b"\0" * 64)
    assert len(model_mark(read_gguf_header(file))) == 16


def test_mutated_gguf_files_are_a_header_or_one_sentence(tmp_path: Path) -> None:
    whole = write_base(tmp_path / "base.gguf", "llama").read_bytes()
    begin = whole.index(b"token_embd.weight") + 2000
    file, outcomes = tmp_path / "mutated.gguf", set()
    with bounded():
        for mutated in mutations(whole, begin):
            file.write_bytes(mutated)
            outcomes.add(outcome(lambda: model_mark(read_gguf_header(file))))
    assert outcomes == {"read", "refused"}


def test_mutated_safetensors_are_tensors_or_one_sentence(tmp_path: Path) -> None:
    import numpy as np

    write_safetensors(
        tmp_path / "w.safetensors", {f"t{n}": np.ones((3, n + 1), np.float32) for n in range(9)}
    )
    whole = (tmp_path / "w.safetensors").read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")
    file, outcomes = tmp_path / "mutated.safetensors", set()
    with bounded():
        for mutated in mutations(whole, begin):
            file.write_bytes(mutated)
            outcomes.add(outcome(lambda: [each.floats() for each in open_safetensors(file).values()]))
    assert outcomes == {"read", "refused"}


def mutations(whole: bytes, begin: int) -> Iterator[bytes]:
    """Cut files, changed bytes, repeated and removed stretches, all in the first `begin` bytes."""
    draw = random.Random(3)
    for number in range(MUTATED):
        at, length = draw.randrange(begin), draw.randrange(1, 16)
        match number % 5:
            case 0:
                yield whole[: draw.randrange(len(whole))]
            case 1:
                yield whole[:at] + draw.randbytes(length) + whole[at + length :]
            case 2:
                yield whole[:at] + whole[at + length :]
            case 3:
                yield whole[:at] + whole[at : at + length] * draw.randrange(2, 50) + whole[at + length :]
            case _:
                yield whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :]


def outcome(read: Callable[[], object]) -> str:
    try:
        read()
    except UserError:
        return "refused"
    return "read"


def stored(header: Any, body: bytes = b"\0" * 64) -> bytes:
    written = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + body


def entry(**changes: Any) -> bytes:
    return stored({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}})


SAFETENSORS = {
    "nested": stored(b"[" * 200_000),
    "nested object": stored(b'{"a":' * 100_000),
    "header beyond the file": (1 << 40).to_bytes(8, "little") + b"{}",
    "header of 2**64": b"\xff" * 8 + b"{}",
    "empty": b"",
    "seven bytes": b"1234567",
    "a list": stored([]),
    "an entry is text": stored({"w": "x"}),
    "no shape": stored({"w": {"dtype": "F32", "data_offsets": [0, 4]}}),
    "too few bytes": entry(data_offsets=[0, 8]),
    "too many bytes": entry(data_offsets=[0, 32]),
    "beyond the file": entry(shape=[100], data_offsets=[0, 400]),
    "backwards": entry(data_offsets=[16, 0]),
    "negative": entry(shape=[-2, -2]),
    "floats": entry(shape=[2.0, 2.0]),
    "true": entry(shape=[True, 4], data_offsets=[0, 16]),
    "10**300 values": entry(shape=[10**100, 10**100, 10**100]),
    "a thousand dimensions": entry(shape=[1] * 1000, data_offsets=[0, 4]),
    "three offsets": entry(data_offsets=[0, 8, 16]),
    "the type is a list": entry(dtype=["F32"]),
    "empty shape of many bytes": entry(dtype="X9", shape=[0]),
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_a_safetensors_header_that_cannot_be_true_is_refused(tmp_path: Path, case: str) -> None:
    file = tmp_path / "made.safetensors"
    file.write_bytes(SAFETENSORS[case])
    refused(lambda: open_safetensors(file), "made.safetensors", "again")


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "a\\b.safetensors", "x"]
)
def test_an_index_names_only_files_of_its_folder(tmp_path: Path, name: str) -> None:
    write_safetensors(tmp_path / "x.safetensors", {})
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": name}}))
    refused(lambda: open_folder(folder), "no file of the folder")


JSON_FILES = {
    "cut": b'{"a": ',
    "nested": b'{"a":' + b"[" * 200_000,
    "list": b"[]",
    "null": b"null",
    "not utf-8": b'{"a": "\xff"}',
    "empty": b"",
    "digits": b'{"a": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.parametrize("case", JSON_FILES)
def test_the_files_beside_the_weights_are_read_or_refused_by_name(tmp_path: Path, case: str) -> None:
    hub = write_stored(tmp_path / "hub", "llama")
    adapter = write_lora(tmp_path / "adapter", "llama")
    readers: dict[Path, Callable[[], object]] = {
        adapter / "adapter_config.json": lambda: read_peft(adapter),
        hub / "model.safetensors.index.json": lambda: open_folder(hub),
        hub / "tokenizer_config.json": lambda: ChatTemplate(hub),
        hub / "tokenizer.json": lambda: open_tokenizer(hub / "tokenizer.json"),
        hub / "config.json": lambda: read_spec(hub, family="e5"),
        hub / "encoder.json": lambda: read_spec(hub, family="e5"),
        hub / TRAINING: lambda: _read(hub),
    }
    for file, read in readers.items():
        kept = file.read_bytes() if file.is_file() else None
        file.write_bytes(JSON_FILES[case])
        refused(read, file.name, "again")
        if kept is None:
            file.unlink()
        else:
            file.write_bytes(kept)
    (hub / "config.json").write_bytes(JSON_FILES[case])
    refused(lambda: model_config(hub), "config.json", "reranker")


def test_a_configuration_of_100_mib_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    with file.open("wb") as handle:
        handle.truncate(100 << 20)
    with pytest.raises(UserError, match=r"larger than 64 MiB.*; copy it again"):
        read_object(file, advice="copy it again")


@pytest.mark.parametrize("value", ["8", 8.5, True, 0, -1, 2**31, [], {}, 10**400])
def test_a_number_of_another_kind_is_refused_by_its_key(tmp_path: Path, value: Any) -> None:
    file = tmp_path / "config.json"
    refused(lambda: whole_number({"hidden_size": value}, "hidden_size", path=file, advice="x"), "hidden_size")
    config = {"max_position_embeddings": value}
    refused(lambda: positions(config, file), "max_position_embeddings")


ADAPTERS: dict[str, dict[str, Any]] = {
    "alpha is text": {"lora_alpha": "sixteen"},
    "alpha is infinite": {"lora_alpha": float("inf")},
    "pattern alpha is a list": {"alpha_pattern": {"q_proj": []}},
    "pattern is broken": {"alpha_pattern": {"(": 3}},
    "pattern without end": {"alpha_pattern": {"(.*)*.*=.*": 3}},
}


@pytest.mark.parametrize("case", ADAPTERS)
def test_an_adapter_with_impossible_settings_is_refused(tmp_path: Path, case: str) -> None:
    folder = write_lora(tmp_path / "adapter", "llama", config=ADAPTERS[case])
    refused(lambda: read_peft(folder), "adapter_config.json", "alpha")
    refused(lambda: vllm_flags("model", folder), "adapter_config.json")


def test_an_adapter_of_rank_0_is_refused(tmp_path: Path) -> None:
    folder = write_lora(tmp_path / "adapter", "llama", rank=0)
    refused(lambda: read_peft(folder), "rank 0")


def test_a_cut_gguf_adapter_or_model_is_named_before_a_server_starts(tmp_path: Path) -> None:
    model = write_base(tmp_path / "base.gguf", "llama")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    refused(lambda: require_gguf_adapter(cut, model), "cut.gguf", "outside the file")
    refused(lambda: require_gguf_adapter(model, cut), "cut.gguf")


def test_a_cut_onnx_file_is_one_sentence(tmp_path: Path) -> None:
    import onnx

    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [
        onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    ])  # fmt: skip
    onnx.save(onnx.helper.make_model(graph, ir_version=8), str(tmp_path / "m.onnx"))
    whole = (tmp_path / "m.onnx").read_bytes()
    file, outcomes = tmp_path / "cut.onnx", set()
    for mutated in [*mutations(whole, len(whole))][:100]:
        file.write_bytes(mutated)
        outcomes.add(outcome(lambda: open_session(file, 1)))
    assert "refused" in outcomes
    file.write_bytes(whole[: len(whole) // 2])
    refused(lambda: read_onnx(file), "cut.onnx")
    refused(lambda: open_session(file, 1), "cut.onnx", "fetch")


def test_mutated_tokenizers_are_usable_or_refused(tmp_path: Path) -> None:
    import tokenizers

    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel()
    made.add_special_tokens(["<|end|>"])
    whole, file = made.to_str().encode(), tmp_path / "tokenizer.json"
    for mutated in mutations(whole, len(whole)):
        file.write_bytes(mutated)
        outcome(lambda: open_tokenizer(file))
