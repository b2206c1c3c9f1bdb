"""One HTML page for many conversations: no other file, no network, filters and search in the page itself
(`src_core.html_page` prevents the page from executing text of people and models).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from src_core.html_page import fill_page
from src_core.jsonl import write_atomic
from src_core.page_step import page_step
from src_data.filters.filter_report import source_of, teacher_of
from src_data.filters.filter_trajectory import finish_answer
from src_data.filters.outcomes import meaning_of
from src_data.viewing.chain_files import Entry

_PARTS = Path(__file__).resolve().parent / "page"


def write_page(path: Path, entries: Iterable[Entry], *, title: str) -> int:
    """Write the page. Returns the number of conversations on it."""
    chains = [_chain(entry) for entry in entries]
    template, style, script = (_part(f"view.{kind}") for kind in ("html", "css", "js"))
    write_atomic(path, fill_page(template, title=title, style=style, script=script, data=chains))
    return len(chains)


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _chain(entry: Entry) -> dict[str, Any]:
    """The page's data of one conversation."""
    chain, result = entry.chain, entry.result
    outcome = (("kept" if result.kept else result.reason) if result else "") or "not filtered"
    return {
        "id": chain.question.id if chain else entry.place,
        "question": chain.question.question if chain else "(unreadable)",
        "golds": list(chain.question.answers) if chain else [],
        "answer": finish_answer(chain.steps) if chain else "",
        "source": source_of(chain),
        "teacher": teacher_of(chain),
        "kept": result.kept if result else None,
        "outcome": outcome,
        "meaning": meaning_of(outcome),
        "detail": result.detail if result else "",
        "f1": result.f1 if result and chain and chain.question.answers else None,
        "steps": [
            page_step(step, [{"id": passage.id, "title": passage.title} for passage in step.passages])
            for step in (chain.steps if chain else ())
        ],
        "raw": entry.raw,
    }
