"""What is shown before the first step: how much there is to learn, and one row with its learnt tokens in
colour.
"""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from src_core.chat_tokenizer import ChatTokenizer, Encoded
from src_train.config import TrainConfig
from src_train.packing import pack
from src_train.rows import Rows, dropped_note, length_report

_LEARNT, _CONTEXT = "bold green", "dim"
_SHOWN_TOKENS = 700


def print_check(made: Rows, encoder: ChatTokenizer, config: TrainConfig) -> None:
    """Counts, lengths, packing, and the first row."""
    console = Console()
    report = length_report(made)
    table = Table(
        "rows", "tokens", "learnt", "shortest", "median", "longest", "left out", "sequences", "filled"
    )
    packs = len(pack(made.lengths(), config.pack_length)) if config.pack_length else report.rows
    filled = report.tokens / (packs * config.pack_length) if config.pack_length else 1.0
    table.add_row(
        f"{report.rows:,}",
        f"{report.tokens:,}",
        f"{report.learnt:,} ({report.learnt / report.tokens:.1%})",
        *(f"{value:,}" for value in (report.shortest, report.median, report.longest, report.dropped, packs)),
        f"{filled:.1%}",
    )
    console.print(table)
    if note := dropped_note(made, config.max_length):
        console.print(note, markup=False)
    console.print(f"the first row, {made.rows[0].place}; what is learnt is green:", markup=False)
    console.print(coloured(made.rows[0].encoded, encoder))


def coloured(encoded: Encoded, encoder: ChatTokenizer) -> Text:
    """The text of a row; learnt stretches in one style, the rest in another, special tokens visible."""
    text = Text()
    ids, targets = encoded.ids[:_SHOWN_TOKENS].tolist(), encoded.trainable[:_SHOWN_TOKENS].tolist()
    start = 0
    for at in range(1, len(ids) + 1):
        if at == len(ids) or targets[at] != targets[start]:
            text.append(encoder.decode(ids[start:at]), style=_LEARNT if targets[start] else _CONTEXT)
            start = at
    if len(encoded.ids) > _SHOWN_TOKENS:
        text.append(" …", style=_CONTEXT)
    return text
