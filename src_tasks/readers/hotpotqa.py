"""HotpotQA and 2WikiMultihopQA: one layout, the second adds evidence triples and entity ids.

HotpotQA (https://hotpotqa.github.io, `hotpot_{train,dev}_{,distractor_,fullwiki_}v1*.json`): a JSON array of
`{"_id", "question", "answer", "type", "level", "context": [[title, [sentence, ...]], ...],
"supporting_facts": [[title, sentence index], ...]}`. The hub's columns write `"context": {"title": [...],
"sentences": [[...]]}` and `"supporting_facts": {"title": [...], "sent_id": [...]}`, and `id` for `_id`.

2WikiMultihopQA (https://github.com/Alab-NII/2wikimultihop): the same plus `"evidences": [[subject, relation,
object], ...]` and, since December 2020, `answer_id` (Wikidata), whose aliases are lines of `id_aliases.json`:
`{"Q_id", "aliases": [...], "demonyms": [...]}`. Its hub copies name the sentences `content` and the triples
`{"fact", "relation", "entity"}`. Copies that hold these fields as JSON text are read too (that layout could
not be checked against its publisher). A `decomposition` that a copy adds to its rows is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from src_core.types import Passage
from src_tasks.readers.base import (
    JsonRow,
    RowError,
    alias_texts,
    clean_title,
    ids_of_titles,
    json_cell,
    make_passage,
    make_row,
    optional_text,
    own_hops,
    records,
    text_at,
    unique,
)
from src_tasks.readers.golds import row_golds
from src_tasks.readers.rows import SourceRow, decomposition_meta


class Annotation(NamedTuple):
    """The passages of a row with its supporting facts and evidences."""

    passages: tuple[Passage | None, ...]
    supporting: tuple[str, ...]
    meta: JsonRow


def parse_hotpotqa(row: JsonRow) -> SourceRow:
    """A HotpotQA row, distractor or fullwiki (where the gold passages may be missing from the context)."""
    return _multihop(row, row_golds(row, row.get("answer")), dataset="hotpotqa")


def parse_2wiki(row: JsonRow, aliases: Mapping[str, Sequence[str]] | None = None) -> SourceRow:
    """A 2WikiMultihopQA row; `aliases` maps a Wikidata id to the further names of that answer."""
    extra = (aliases or {}).get(optional_text(row, "answer_id"), ())
    answers = row_golds(row, row.get("answer"))
    return _multihop(row, alias_texts(answers, extra) if answers else (), dataset="2wikimultihopqa")


def annotation(row: JsonRow) -> Annotation:
    """Context, supporting facts and evidences of a row in any of the layouts above. Raises `RowError`."""
    facts = _pairs(row.get("supporting_facts"), "supporting_facts", ("sent_id",))
    for _, index in facts:
        if isinstance(index, bool) or not isinstance(index, int):
            raise RowError("a supporting fact must be a title and a sentence number")
    passages = [
        make_passage(title, _joined(text))
        for title, text in _pairs(row.get("context"), "context", ("sentences", "content"))
    ]
    titles = unique([clean_title(title) for title, _ in facts])
    meta = {
        "supporting_titles": titles,
        "supporting_facts": [[clean_title(title), index] for title, index in facts],
        "evidences": _triples(row.get("evidences")),
    }
    return Annotation(tuple(passages), tuple(ids_of_titles(passages, titles)), meta)


def _multihop(row: JsonRow, answers: tuple[str, ...], *, dataset: str) -> SourceRow:
    found = annotation(row)
    return make_row(
        text_at(row, "question"),
        answers,
        dataset=dataset,
        passages=found.passages,
        supporting=found.supporting,
        meta={
            "source_id": optional_text(row, "_id", "id"),
            "type": optional_text(row, "type"),
            "level": optional_text(row, "level"),
            **found.meta,
            "decomposition": decomposition_meta(own_hops(row)),
        },
    )


def _pairs(value: Any, what: str, second: tuple[str, ...]) -> list[tuple[str, Any]]:
    """(title, other) pairs of a list of pairs, a list of objects, or an object of columns."""
    value = json_cell(value, what) if value else []
    if isinstance(value, dict):
        other = next((key for key in second if key in value), second[0])
        value = records({key: value.get(key) for key in ("title", other)}, what)
    if not isinstance(value, list):
        raise RowError(f"{what!r} must be a list, found {type(value).__name__}")
    return [_pair(item, what, second) for item in value]


def _pair(item: Any, what: str, second: tuple[str, ...]) -> tuple[str, Any]:
    if isinstance(item, dict):
        item = [item.get("title"), next((item[key] for key in second if key in item), None)]
    if not isinstance(item, list | tuple) or len(item) != 2 or not isinstance(item[0], str):
        raise RowError(f"an entry of {what!r} must be a title and its {second[0]}")
    return item[0], item[1]


def _joined(sentences: Any) -> str:
    """The paragraph; HotpotQA's sentences begin with a blank, those of 2WikiMultihopQA do not."""
    parts = [sentences] if isinstance(sentences, str) else sentences
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise RowError("the sentences of a context passage must be texts")
    return " ".join(part.strip() for part in parts)


def _triples(value: Any) -> list[list[str]]:
    value = json_cell(value, "evidences") if value else []
    if isinstance(value, dict):
        columns = {key: value.get(key) for key in ("fact", "relation", "entity")}
        value = [list(record.values()) for record in records(columns, "evidences")]
    if not isinstance(value, list):
        raise RowError(f"'evidences' must be a list, found {type(value).__name__}")
    return [_triple(item) for item in value]


def _triple(item: Any) -> list[str]:
    parts = list(item) if isinstance(item, list | tuple) else []
    if len(parts) != 3 or not all(isinstance(part, str) for part in parts):
        raise RowError("an evidence must be subject, relation and object as texts")
    return parts
