"""How often the retriever finds the passage of each sub-question of made questions.

    python scripts/bench/passage_questions.py questions=data/passage_questions.jsonl retriever=http://127.0.0.1:9892

Each sub-question, with the right earlier answers filled in, is one query; it is found when the passage that
tells its answer is among the `top_k` that come back. Abstentions are counted alone: there the passage of the
thing asked about should come back, though it does not tell the answer.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))

from src_core.config import AllOrCount, InFlight, Positive, config_class, load_config  # noqa: E402
from src_core.errors import run_main  # noqa: E402
from src_core.types import Question  # noqa: E402
from src_data.annotated_teacher.decomposition import resolve  # noqa: E402
from src_retrieval.client import RetrieverClient  # noqa: E402
from src_tasks.readers.rows import decomposition  # noqa: E402
from src_tasks.readers.sources import read_questions  # noqa: E402


@config_class
class BenchConfig:
    """The question file, the retriever, how many passages of a query count, how many questions (-1: all)."""

    questions: str
    retriever: str = "http://127.0.0.1:9892"
    top_k: Positive = 3
    n: AllOrCount = -1
    in_flight: InFlight = 8


def main() -> None:
    """Ask, count, print."""
    config = load_config(BenchConfig, None, sys.argv[1:])
    questions = read_questions(config.questions, limit=config.n)
    found, asked, whole = asyncio.run(_search(questions, config))
    kinds = Counter(question.group for question in questions)
    table = Table("kind", "questions", "all hops found", "hop 1", "hop 2", "hop 3")
    for kind, count in sorted(kinds.items()):
        hops = [
            f"{found[kind, at]}/{asked[kind, at]} ({100 * found[kind, at] / asked[kind, at]:.0f} %)"
            if asked[kind, at]
            else ""
            for at in range(3)
        ]
        table.add_row(kind, str(count), f"{100 * whole[kind] / count:.0f} %", *hops)
    Console().print(table)


Counts = Counter[tuple[str, int]]


async def _search(questions: list[Question], config: BenchConfig) -> tuple[Counts, Counts, Counter[str]]:
    client = RetrieverClient(config.retriever)
    gate = asyncio.Semaphore(config.in_flight)
    found: Counts = Counter()
    asked: Counts = Counter()
    whole: Counter[str] = Counter()

    async def one(question: Question) -> None:
        hops = decomposition(question)
        answers = [hop.answers[0] for hop in hops]
        hits = 0
        for at, hop in enumerate(hops):
            async with gate:
                passages = await client.search(resolve(hop.question, answers[:at]), config.top_k)
            hit = any(passage.title == hop.title for passage in passages)
            found[question.group, at] += hit
            asked[question.group, at] += 1
            hits += hit
        whole[question.group] += hits == len(hops)

    try:
        await asyncio.gather(*map(one, questions))
    finally:
        await client.close()
    return found, asked, whole


if __name__ == "__main__":
    run_main(main)
