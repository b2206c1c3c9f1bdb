"""TriviaQA, rc and unfiltered, `{"Data": [...]}` files (http://nlp.cs.washington.edu/triviaqa) and the hub's
columns.

A row of the files: `{"Question", "QuestionId", "QuestionSource", "Answer": {"Value", "Aliases",
"NormalizedAliases", "HumanAnswers" (some), "Type", ...}, "EntityPages", "SearchResults"}`; of the hub:
`{"question", "question_id", "question_source", "answer": {"value", "aliases", ...}}`. Evidence documents are
whole pages in separate files, retrieved and not annotated: they are neither passages nor supporting titles
here.
"""

from __future__ import annotations

from src_tasks.readers.base import JsonRow, RowError, alias_texts, make_row, optional_text, text_at
from src_tasks.readers.rows import SourceRow

_ANSWER_KEYS = ("Value", "value", "Aliases", "aliases", "HumanAnswers")


def parse_triviaqa(row: JsonRow) -> SourceRow:
    """A TriviaQA row. The normalised aliases are left out: answer matching normalises answers."""
    answer = row.get("Answer", row.get("answer"))
    if answer is None:
        raise RowError("no 'Answer' (a test file ships none)")
    if not isinstance(answer, dict):
        raise RowError(f"'Answer' must be an object, found {type(answer).__name__}")
    golds = alias_texts(*(answer.get(key) for key in _ANSWER_KEYS))
    # The hub's test split has <unk> where there is no answer.
    return make_row(
        text_at(row, "Question", "question"),
        tuple(gold for gold in golds if gold != "<unk>"),
        dataset="triviaqa",
        meta={
            "source_id": optional_text(row, "QuestionId", "question_id"),
            "type": optional_text(answer, "Type", "type"),
        },
    )
