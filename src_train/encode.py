"""The name by which bug reports import the chat tokenizer (`../shared/cases/breaks/10_forged_turns.py`); the
project itself uses `src_core.chat_tokenizer`.
"""

from __future__ import annotations

from src_core.chat_tokenizer import ChatTokenizer as Encoder

__all__ = ["Encoder"]
