"""The output before the first step: counts of the data, and the first row (or pair) with its trained tokens
in colour.
"""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from src_core.chat_tokenizer import ChatTokenizer, Encoded
from src_core.console import Terminal
from src_train.config import TrainConfig
from src_train.rows import Rows, dropped_note, length_report

_TRAINED, _CONTEXT = "bold green", "dim"
_SHOWN_TOKENS = 700


def print_check(made: Rows, encoder: ChatTokenizer, config: TrainConfig) -> None:
    """Counts, lengths, packing, and the first row or pair."""
    console = Terminal()
    report = length_report(made)
    packs = len(made.packs(config.pack_length))
    filled = report.tokens / (packs * config.pack_length) if config.pack_length else 1.0
    table = Table(show_header=False)
    for name, value in (
        ("rows", f"{report.rows:,}"),
        ("rows left out", f"{report.dropped:,}"),
        ("tokens", f"{report.tokens:,}"),
        ("trained tokens", f"{report.trained:,} ({report.trained / report.tokens:.1%})"),
        ("tokens of a row", f"{report.shortest:,} to {report.longest:,}, median {report.median:,}"),
        ("packed sequences", f"{packs:,}, {filled:.1%} filled"),
    ):
        table.add_row(name, value)
    console.print(table)
    if note := dropped_note(made, config.max_length):
        console.print(note)
    names = ("the first pair, chosen", "rejected") if made.together > 1 else ("the first row",)
    for name, row in zip(names, made.rows, strict=False):
        console.print(f"{name}, {row.place}; trained tokens are green:")
        console.print(coloured(row.encoded, encoder))


def coloured(encoded: Encoded, encoder: ChatTokenizer) -> Text:
    """The text of a row; trained tokens in one style, the rest in another, special tokens visible."""
    text = Text()
    ids, trained = encoded.ids[:_SHOWN_TOKENS].tolist(), encoded.trainable[:_SHOWN_TOKENS].tolist()
    start = 0
    for at in range(1, len(ids) + 1):
        if at == len(ids) or trained[at] != trained[start]:
            text.append(encoder.decode(ids[start:at]), style=_TRAINED if trained[start] else _CONTEXT)
            start = at
    if len(encoded.ids) > _SHOWN_TOKENS:
        text.append(" …", style=_CONTEXT)
    return text
