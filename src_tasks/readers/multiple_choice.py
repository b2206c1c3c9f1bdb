"""Questions with choices: MMLU's tables, and the right choices of any row.

MMLU (https://github.com/hendrycks/test, `data/{dev,val,test}/SUBJECT_{dev,val,test}.csv`): one table per
subject without a header, `question, A, B, C, D, letter`. The hub's `cais/mmlu` has `{"question", "subject",
"choices": [...], "answer": index}`, which is read as a plain row.

ARC (`ARC-Challenge-Test.jsonl` and the hub's `allenai/ai2_arc`), CommonsenseQA and OpenBookQA: `{"question":
{"stem", "choices": [{"text", "label"}]}, "answerKey"}`, or `{"question", "choices": {"text": [...], "label":
[...]}, "answerKey"}`. The labels are letters or digits from 1.
"""

from __future__ import annotations

import re
import string
from typing import Any, NamedTuple

from src_tasks.choices import MAX_CHOICES
from src_tasks.readers.base import (
    JsonRow,
    RowError,
    json_cell,
    make_row,
    optional_text,
    records,
    scalar_text,
    text_at,
    written_list,
)
from src_tasks.readers.rows import SourceRow

MMLU_COLUMNS = ("question", "A", "B", "C", "D", "answer")
_LETTERS = MMLU_COLUMNS[1:5]
ARC_QUESTION_KEYS = ("question", "question_stem")
CHOICE_KEYS = ("choices", "options")
_DIGITS = re.compile(r"[0-9]+(?:\.0)?")
_SPLIT = re.compile(r"_(?:dev|val|test|auxiliary_train)$")


def parse_mmlu(row: JsonRow) -> SourceRow:
    """A row of an MMLU table. `subject` is added by the caller from the file's name."""
    choices = choices_of({"choices": [row.get(letter) for letter in _LETTERS]})
    return make_row(
        text_at(row, "question"),
        gold_of_choices(row.get("answer"), choices),
        dataset="mmlu",
        choices=choices.texts,
        group=optional_text(row, "subject"),
    )


def unfold_arc(row: JsonRow) -> list[JsonRow]:
    """The row with its question and choices side by side, as the hub has them."""
    inner = row.get("question")
    return [{**row, **inner, "question": inner.get("stem")} if isinstance(inner, dict) else row]


def parse_arc(row: JsonRow) -> SourceRow:
    """A row returned by `unfold_arc`. The test files of some sets have no `answerKey`, or "" there."""
    choices = choices_of(row)
    if not choices.labels:
        raise RowError("'choices' must have 'text' and 'label'")
    return make_row(
        text_at(row, *ARC_QUESTION_KEYS),
        gold_of_choices(row.get("answerKey"), choices),
        dataset="",
        choices=choices.texts,
        meta={"source_id": optional_text(row, "id")},
    )


def is_mmlu_table(first: list[str]) -> bool:
    """Whether the first line of a table is a row of MMLU's (and no header)."""
    return len(first) == len(MMLU_COLUMNS) and first[-1].strip() in _LETTERS


def subject_of(stem: str) -> str:
    """The subject in a file's name: `high_school_physics_val` -> `high school physics`."""
    return _SPLIT.sub("", stem).replace("_", " ")


class Choices(NamedTuple):
    """The choices of a row in their order, and the labels of its set (ARC's letters or digits)."""

    texts: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


NO_CHOICES = Choices()


def choices_of(row: JsonRow) -> Choices:
    """The choices under `choices` or `options`: a list of texts, of `{"label", "text"}`, the hub's columns
    `{"text": [...], "label": [...]}`, or an object of letters and texts; empty where the row has none. Raises
    `RowError` for any other shape, and for anything but 2 to 26 choices.
    """
    key = next((name for name in CHOICE_KEYS if row.get(name) not in (None, [])), None)
    if key is None:
        return Choices()
    value = _written(row[key])
    if isinstance(value, dict) and not {"text", "label"} <= value.keys():
        value = [{"label": label, "text": text} for label, text in value.items()]
    if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
        parts = records(value, key)
        texts, labels = ([part.get(name) for part in parts] for name in ("text", "label"))
    else:
        texts, labels = value, []
    if not isinstance(texts, list | tuple) or not 2 <= len(texts) <= MAX_CHOICES:
        raise RowError(f"{key!r} must be a list of 2 to {MAX_CHOICES} texts")
    found = Choices(tuple(map(scalar_text, texts)), tuple(map(scalar_text, labels)))
    if not all(found.texts) or not all(found.labels):
        raise RowError(f"a choice of {key!r} is empty")
    return found


def _written(value: Any) -> Any:
    """Choices in a cell of a table: the list or object that a text is."""
    if isinstance(value, str) and value.strip().startswith("{"):
        return json_cell(value, "choices")
    return written_list(value)


def gold_of_choices(value: Any, choices: Choices) -> tuple[str, ...]:
    """The texts of the right choices. A gold is a label, an index from 0, the text of a choice, or a letter.
    Raises `RowError` for a gold that is none of the choices. Without a gold the result is ().
    """
    value = written_list(value)
    values = value if isinstance(value, list | tuple) else [] if value is None else [value]
    return tuple(dict.fromkeys(_right_choice(gold, choices) for gold in values if gold not in (None, "")))


def _right_choice(gold: Any, choices: Choices) -> str:
    texts = choices.texts
    if isinstance(gold, float) and gold.is_integer():
        gold = int(gold)
    at: int | None = None
    text = scalar_text(gold)
    labels = [label.lower() for label in choices.labels]
    if text.lower() in labels:
        at = labels.index(text.lower())
    elif isinstance(gold, int) and not isinstance(gold, bool):
        at = gold
    elif text in texts:
        return text
    elif len(text) == 1 and text.upper() in string.ascii_uppercase:
        at = string.ascii_uppercase.index(text.upper())
    elif _DIGITS.fullmatch(text):
        at = int(float(text))
    else:
        same = {text.lower(), str(gold).lower()}  # true is "yes" or "true"
        lower = [choice for choice in texts if choice.lower() in same]
        if lower:
            return lower[0]
    if at is None or not 0 <= at < len(texts):
        raise RowError(f"the gold {gold!r:.60} is none of the {len(texts)} choices")
    return texts[at]
