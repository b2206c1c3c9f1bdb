"""The tokenizer of a GGUF model as a folder in the hub's layout, without torch, for token-exact rollouts,
scoring and the loss mask (`agent.tokenizer`).

    python -m src_models.convert.tokenizer smollm2-135m .cache/models/smollm2-135m-tokenizer

Only byte-level BPE is supported (SmolLM2, Qwen2, Llama-3). The pre-tokenizers are those that llama.cpp names
in `tokenizer.ggml.pre`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from src_core.errors import UserError, run_main
from src_core.jsonl import write_atomic
from src_core.terminal import CommandLine, answer
from src_models.gguf_header import read_gguf_header
from src_models.model_file import find_model

_CONTROL, _USER_DEFINED = 3, 4  # llama.cpp's kinds of tokens
_LETTERS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {"qwen2": rf"{_LETTERS}|\p{{N}}{_REST}", "llama-bpe": rf"{_LETTERS}|\p{{N}}{{1,3}}{_REST}"}


class _Facts(NamedTuple):
    """The tokenizer data of a GGUF file."""

    pre: str
    tokens: list[str]
    kinds: list[int]
    merges: list[str]
    template: str
    special: dict[str, int]


def write_tokenizer(gguf: Path, folder: Path) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja`. Raises `UserError` for a
    file without a byte-level BPE tokenizer.
    """
    facts = _read(gguf)
    tokenizer = _tokenizer(gguf, facts)
    names = {key: facts.tokens[number] for key, number in facts.special.items()}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    write_atomic(folder / "tokenizer.json", tokenizer.to_str().encode())
    write_atomic(folder / "tokenizer_config.json", json.dumps(config, indent=2).encode() + b"\n")
    write_atomic(folder / "chat_template.jinja", facts.template.encode())


def _read(path: Path) -> _Facts:
    from gguf import GGUFReader  # reads the offsets of all tensors: 0.5 s

    read_gguf_header(path)  # bounds what the package reads
    try:
        fields = GGUFReader(str(path)).fields
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise UserError(f"{path} cannot be read ({error}); download or convert it again") from error

    def value(key: str, default: Any = None) -> Any:
        return fields[key].contents() if key in fields else default

    def array(key: str, kind: type) -> list[Any]:
        found = value(f"tokenizer.ggml.{key}")
        if not isinstance(found, list) or not all(isinstance(each, kind) for each in found):
            raise UserError(
                f"{path} has no usable tokenizer.ggml.{key}; give the folder of its own tokenizer"
            )
        return found

    if value("tokenizer.ggml.model") != "gpt2":
        raise UserError(f"{path} has no byte-level BPE tokenizer; give the folder of its own tokenizer")
    ids = {
        f"{name}_token": value(f"tokenizer.ggml.{key}_token_id")
        for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown"))
    }
    tokens, kinds = array("tokens", str), array("token_type", int)
    known = [number for number in ids.values() if number is not None]
    if len(kinds) != len(tokens) or not all(isinstance(n, int) and 0 <= n < len(tokens) for n in known):
        raise UserError(f"the tokenizer in {path} contradicts itself; give the folder of its own tokenizer")
    return _Facts(
        pre=str(value("tokenizer.ggml.pre", "")),
        tokens=tokens,
        kinds=kinds,
        merges=array("merges", str),
        template=str(value("tokenizer.chat_template", "")),
        special={name: int(number) for name, number in ids.items() if number is not None},
    )


def _tokenizer(path: Path, facts: _Facts) -> Tokenizer:
    merges = [(left, right) for left, _, right in (merge.partition(" ") for merge in facts.merges)]
    vocabulary = {token: number for number, token in enumerate(facts.tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = _pre_tokenizer(path, facts.pre)
    tokenizer.decoder = decoders.ByteLevel()
    if facts.pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    kinds = zip(facts.tokens, facts.kinds, strict=True)
    added = [(token, kind) for token, kind in kinds if kind in (_CONTROL, _USER_DEFINED)]
    tokenizer.add_tokens(
        [AddedToken(token, normalized=False, special=kind == _CONTROL) for token, kind in added]
    )
    return tokenizer


def _pre_tokenizer(path: Path, pre: str) -> Any:
    if pre == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    if pre not in _SPLITS:
        known = ", ".join(sorted(["smollm", *_SPLITS]))
        raise UserError(
            f"{path} splits text as {pre!r}; known are {known}: give the folder of its own tokenizer"
        )
    split = pre_tokenizers.Split(Regex(_SPLITS[pre]), behavior="isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def main() -> None:
    """Read the command line, write the folder."""
    parser = CommandLine(description="the tokenizer of a GGUF model as a folder")
    parser.add_argument("model", help="name in configs/models.yaml, or a GGUF file")
    parser.add_argument("out", type=Path, help="folder to write")
    chosen = parser.parse_args()
    write_tokenizer(find_model(chosen.model), chosen.out)
    answer(f"written: {chosen.out}")


if __name__ == "__main__":
    run_main(main)
