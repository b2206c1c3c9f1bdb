"""Sets that ship a question and its answers, without passages: NQ-open, PopQA, WebQuestions, Bamboogle,
FRAMES.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from src_core.rowfiles import RawRow
from src_tasks.readers.base import (
    JsonRow,
    RowError,
    alias_texts,
    clean_title,
    json_cell,
    make_row,
    optional_text,
    text_at,
    unique,
    written_list,
)
from src_tasks.readers.golds import row_golds
from src_tasks.readers.rows import SourceRow

_DESCRIPTION = r'\(description (?:"((?:[^"\\]|\\.)*)"|([^()"]+))\)'
_TARGET = re.compile(rf"\(list(?:\s*{_DESCRIPTION})*\s*\)")
_WIKI_URL = re.compile(r"https?://[^\s'\",\]]*/wiki/(?:[^\s'\"\]]*[^\s'\"\],])")


DPR_COLUMNS = ("question", "answers")
DPR_DELIMITER = "\t"


def is_dpr_table(first: list[str]) -> bool:
    """Whether the first line of a table, split at tabs, is one of DPR's (`nq-test.qa.csv`, without a header):
    a question and a Python list of answers.
    """
    return len(first) == len(DPR_COLUMNS) and first[1].startswith("[") and first[1].endswith("]")


def dpr_row(row: RawRow) -> RawRow:
    """A row of such a table with its answers as a list; one whose answers are none has a problem."""
    if row.problem:
        return row
    try:
        answers = written_list(row.value["answers"])
    except RowError as error:
        return row._replace(value=None, problem=str(error))
    if not isinstance(answers, list):
        return row._replace(value=None, problem="the answers are no list as Python prints it")
    return row._replace(value={**row.value, "answers": answers})


def parse_nq(row: JsonRow) -> SourceRow:
    """NQ-open, `NQ-open.{train,dev}.jsonl`, the hub's `nq_open`: `{"question", "answer": [alias, ...]}`."""
    return make_row(text_at(row, "question"), row_golds(row, row.get("answer")), dataset="nq")


def parse_popqa(row: JsonRow) -> SourceRow:
    """PopQA, `popQA.tsv` and the hub's `akariasai/PopQA`: `id, subj, prop, obj, ..., question,
    possible_answers`, the last a JSON list within the cell. The triple behind the question becomes its
    evidence.
    """
    answers = json_cell(row.get("possible_answers"), "possible_answers")
    triple = [optional_text(row, key) for key in ("subj", "prop", "obj")]
    return make_row(
        text_at(row, "question"),
        alias_texts(answers),
        dataset="popqa",
        meta={
            "source_id": optional_text(row, "id"),
            "type": triple[1],
            "evidences": [triple] if all(triple) else [],
        },
    )


def parse_webquestions(row: JsonRow) -> SourceRow:
    """WebQuestions: the publisher's `{"url", "utterance", "targetValue": "(list (description \\"...\\")
    ...)"}` and the hub's `{"url", "question", "answers"}`.
    """
    target = row.get("targetValue")
    answers = row_golds(row, row.get("answers")) if target is None else _target_answers(target)
    meta = {"source_id": optional_text(row, "url")}
    return make_row(text_at(row, "utterance", "question"), answers, dataset="webquestions", meta=meta)


def parse_bamboogle(row: JsonRow) -> SourceRow:
    """Bamboogle (https://github.com/ofirpress/self-ask, and the hub's copies): `Question, Answer` as a table
    or as JSON rows.
    """
    return make_row(text_at(row, "Question"), row_golds(row, row.get("Answer")), dataset="bamboogle")


def parse_frames(row: JsonRow) -> SourceRow:
    """FRAMES, `test.tsv` of the hub's `google/frames-benchmark`: `Prompt, Answer, reasoning_types,
    wiki_links, wikipedia_link_1, ...`; `wiki_links` is a list of addresses written as text. Titles come from
    the addresses.
    """
    titles = [_title_of_url(url) for url in _WIKI_URL.findall(_link_text(row))]
    return make_row(
        text_at(row, "Prompt"),
        row_golds(row, row.get("Answer")),
        dataset="frames",
        meta={"type": optional_text(row, "reasoning_types"), "supporting_titles": unique(titles)},
    )


def _target_answers(target: Any) -> tuple[str, ...]:
    if not isinstance(target, str) or not _TARGET.fullmatch(target.strip()):
        raise RowError("'targetValue' is not a (list (description ...) ...)")
    found = [quoted or bare for quoted, bare in re.findall(_DESCRIPTION, target)]
    return alias_texts([re.sub(r"\\(.)", r"\1", text) for text in found])


def _link_text(row: JsonRow) -> str:
    """All cells that may hold addresses, as one text: the list is a Python literal, which is searched and not
    evaluated.
    """
    numbered = [value for key, value in row.items() if key.startswith("wikipedia_link")]
    links = row.get("wiki_links")
    parts = [*(links if isinstance(links, list) else [links]), *numbered]
    return "\n".join(part for part in parts if isinstance(part, str))


def _title_of_url(url: str) -> str:
    return clean_title(unquote(urlsplit(url).path.partition("/wiki/")[2]).replace("_", " "))
