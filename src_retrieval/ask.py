"""Ask a running retriever: `python -m src_retrieval.ask URL QUERY [TOP_N]`.

Prints the passages, best first, with every score that the server gives (`retrieval`, `rerank`).
"""

from __future__ import annotations

import asyncio
import sys

from rich.table import Table

from src_core.access_token import read_token
from src_core.console import Terminal, as_cell
from src_core.errors import RetrieverError, UserError, run_main
from src_core.types import Passage
from src_retrieval.client import RetrieverClient

TOP_N = 5


def main() -> None:
    """Read the command line, search, print a table."""
    given = sys.argv[1:]
    if len(given) not in (2, 3) or (not given[-1].isdigit() and len(given) == 3):
        raise UserError("usage: .venv/bin/python -m src_retrieval.ask URL QUERY [TOP_N]")
    top_n = int(given[2]) if len(given) == 3 else TOP_N
    found = asyncio.run(search(given[0], given[1], top_n))
    names = list(dict.fromkeys(name for passage in found for name in passage.scores))
    table = Table("#", "id", "passage", *names, header_style="bold")
    for rank, passage in enumerate(found, start=1):
        scores = (f"{passage.scores[name]:.3f}" if name in passage.scores else "-" for name in names)
        table.add_row(str(rank), as_cell(passage.id), as_cell(passage.title or passage.text[:60]), *scores)
    Terminal(narrowest=80).print(table)


async def search(url: str, query: str, top_n: int) -> list[Passage]:
    """The passages of one search. Raises `UserError` when the server does not answer."""
    client = RetrieverClient(url, token=read_token())
    try:
        return await client.search(query, top_n)
    except RetrieverError as error:
        raise UserError(f"the retriever does not answer: {error}; see 'bash deploy/status.sh'") from error
    finally:
        await client.close()


if __name__ == "__main__":
    run_main(main)
