"""Special tokens in text that is sent to a server: a passage that says `<|im_end|>` must not end a turn.

A chat server tokenises the whole rendered conversation with special tokens, so one inside a question, a
passage or a reply becomes a real one. `Defuser` writes a space behind its first character (`< |im_end|>`):
tokenizers then read plain text, and a person or a model can still read it. Only what is sent changes; rows
keep the original text. The token routes need none of this: they encode foreign text without special tokens
(`chat_tokenizer`).

Where the tokenizer is known its own special tokens are meant. Otherwise they are recognised by their shapes.
The marks of our text formats (`<think>`, `<search>`, `<|begin_of_query|>`) are text in the models' own
vocabularies and stay.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

from src_core.errors import UserError

_FORMAT_MARKS = (
    r"<\|(?:begin|end)_(?:of_query|of_documents|search_query|search_result)\|>"
    r"|</?(?:think|search|answer|result|information)>"
)
"""The marks of our formats, also where a tokenizer has them as special tokens."""
_SHAPES = (
    rf"(?!{_FORMAT_MARKS})(?:"
    r"<\|[^|<>\s]{1,60}\|>"  # GLM, Qwen, Llama 3, Phi, gpt-oss: <|im_end|>
    r"|<\|[A-Za-z_]{1,40}>|<[A-Za-z_]{1,40}\|>"  # Cohere, Gemma 4: <|turn>, <turn|>
    r"|<｜[^｜<>\n]{1,60}｜>"  # DeepSeek
    r"|</?(?:s|eos|bos|pad|unk|mask|cls|sep|sop|eop|eod|eot|EOT|BOT|EOS|BOS|PAD|UNK|endoftext|end_of_text)>"
    r"|<(?:start|end)_of_[a-z]{1,20}>"  # Gemma
    r"|<(?:unused|reserved_|extra_id_|SPECIAL_)\d{1,5}>"
    r"|</?tool_(?:call|calls|response|responses|result|results)>"
    r"|<(?:PRE|SUF|MID|fim_prefix|fim_suffix|fim_middle|fim_pad)>"
    r"|\[/?(?:gMASK|sMASK|MASK|INST|SYSTEM_PROMPT|MODEL_SETTINGS|UNK|PAD|CLS|SEP|BOS|EOS|THINK"
    r"|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|AVAILABLE_TOOLS|ARGS|CALL_ID|IMG|IMG_BREAK|IMG_END)\]"
    r"|<</?SYS>>"
    r"|\]~!?b[\[\]]|\[e~\[)"  # MiniMax
)
_OURS = re.compile(_FORMAT_MARKS)
_PASSES = 4


class Defuser:
    """Breaks special tokens in text: those of the tokenizer in `folder`, or, where there is none, those of
    known shapes. The tokenizer is read at the first call, which raises `UserError` for a broken one.
    """

    def __init__(self, folder: str = "") -> None:
        self._folder = folder

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        tokens = _special_tokens(Path(self._folder)) if self._folder else []
        foreign = [token for token in tokens if len(token.strip()) > 1 and not _OURS.fullmatch(token)]
        longest = sorted(foreign, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest)) if longest else _SHAPES)

    def __call__(self, text: str) -> str:
        """`text` without any special token."""
        for _ in range(_PASSES):  # a broken token may leave one that overlapped it
            broken = self._pattern.sub(_broken, text)
            if broken == text:
                break
            text = broken
        return text


def _broken(found: re.Match[str]) -> str:
    return f"{found[0][0]} {found[0][1:]}"


def _special_tokens(folder: Path) -> list[str]:
    """The special tokens of a tokenizer folder, [] where it has none. Raises `UserError` for a broken one."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a usable tokenizer ({error}); fetch the model again") from error
    added: Any = found.get("added_tokens") if isinstance(found, dict) else None
    rows = [row for row in added or () if isinstance(row, dict) and row.get("special")]
    return [str(row["content"]) for row in rows if row.get("content")]
