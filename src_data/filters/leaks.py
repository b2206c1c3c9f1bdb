"""Finds control tokens and think tags, which must not be in training text.

A tokenizer encodes `<|im_end|>` inside a passage as a real end of turn; a thought with an incomplete think
block teaches the model to write one.
"""

from __future__ import annotations

import re

_LEAK = re.compile(
    r"<\|[^|<>\n]{1,40}\|>"  # <|im_end|>, <|observation|>
    r"|<｜[^｜<>\n]{1,40}｜>"  # DeepSeek
    r"|</?(?:think|thinking|tool_call|tool_response|information)>"
    r"|<(?:s|/s|eos|bos|pad|unk|sop|eop|start_of_turn|end_of_turn|endoftext)>"
    r"|\[(?:gMASK|/?INST|UNK|PAD|CLS|SEP|MASK)\]"
    r"|<<SYS>>"
)


def find_leak(text: str) -> str:
    """The first control token or think tag in a text, "" when there is none."""
    match = _LEAK.search(text)
    return match[0] if match else ""
