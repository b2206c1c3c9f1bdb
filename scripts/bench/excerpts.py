"""How often the answer is in the part of a gold passage that a model sees: relevant sentences or the head.

    python scripts/bench/excerpts.py data=../shared/data split=dev

`data` is a folder with `corpus.jsonl` (`id`, `title`, `text`) and question files `NAME.SPLIT.jsonl` with
`gold_ids` and `answers`, or a `decomposition` (MuSiQue) or `evidences` (2WikiMultihopQA), whose sub-questions
are then the queries. Only passages longer than the bound count.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rich.console import Console
from rich.table import Table

from src_core.config import config_class, load_config
from src_core.errors import run_main
from src_core.jsonl import read_jsonl
from src_core.passage_view import PassagePart, PassageView
from src_core.types import Passage

_WORD = re.compile(r"[^\W_]+")
SETS = ("musique", "2wikimultihopqa", "hotpotqa", "nq")


@config_class
class ExcerptsConfig:
    """The folder of the data, the split, and the bounds in characters."""

    data: str = "../shared/data"
    split: str = "dev"
    bounds: tuple[int, ...] = (200, 300, 450, 700)


class Pair(NamedTuple):
    """A query, the answers that its passage holds, and the passage."""

    query: str
    answers: tuple[str, ...]
    passage: Passage


def main() -> None:
    """Print one row per set and bound."""
    config = load_config(ExcerptsConfig, None, sys.argv[1:])
    folder = Path(config.data)
    corpus = {row["id"]: row for row in read_jsonl(folder / "corpus.jsonl")}
    table = Table("set", "characters", "passages", "head %", "relevant %")
    for name in SETS:
        rows = read_jsonl(folder / f"{name}.{config.split}.jsonl")
        pairs = [pair for row in rows for pair in pairs_of(row, corpus)]
        for bound in config.bounds:
            long = [pair for pair in pairs if len(pair.passage.text) > bound]
            shares = [
                f"{100 * share(long, PassageView(bound, part)):.1f}"
                for part in (PassagePart.HEAD, PassagePart.RELEVANT)
            ]
            table.add_row(name, str(bound), str(len(long)), *shares)
    Console().print(table)


def share(pairs: list[Pair], view: PassageView) -> float:
    """The share of pairs whose shown part holds an answer."""
    hits = sum(holds(view.text(pair.passage, pair.query), pair.answers) for pair in pairs)
    return hits / len(pairs) if pairs else 0.0


def pairs_of(row: dict[str, Any], corpus: dict[str, Any]) -> Iterator[Pair]:
    """The queries of a question with the gold passages that hold their answers."""
    gold = [corpus[name] for name in row["gold_ids"] if name in corpus]
    for query, answers in queries_of(row):
        for found in gold:
            if holds(found["text"], answers):
                contents = f"{found['title']}\n{found['text']}"
                yield Pair(query, answers, Passage(found["id"], found["title"], contents))


def queries_of(row: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The sub-questions where the set has them, else the question; yes-or-no questions have none."""
    if row.get("decomposition"):
        found: list[str] = []
        for hop in row["decomposition"]:
            query = hop["question"]
            for number, answer in enumerate(found, start=1):
                query = query.replace(f"#{number}", answer)
            found.append(hop["answer"])
            yield query, (hop["answer"],)
    elif row.get("evidences"):
        for subject, relation, value in row["evidences"]:
            yield f"{relation} of {subject}", (value,)
    elif row["answers"][0].lower() not in ("yes", "no"):
        yield row["question"], tuple(row["answers"])


def holds(text: str, answers: tuple[str, ...]) -> bool:
    """Whether a text holds one of the answers, word for word without case and punctuation."""
    plain = words(text)
    return any(words(answer) in plain for answer in answers if words(answer))


def words(text: str) -> str:
    """The words of a text between single spaces, with one at each end."""
    return " ".join(["", *_WORD.findall(text.lower()), ""])


if __name__ == "__main__":
    run_main(main)
