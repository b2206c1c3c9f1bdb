"""The gold answers of a row in any layout: their keys, their aliases, and the shapes that are refused."""

from __future__ import annotations

import re
from typing import Any

from rapidfuzz.distance import OSA

from src_core.rowfiles import RawRow
from src_tasks.readers.base import JsonRow, RowError, gold_texts
from src_tasks.readers.multiple_choice import CHOICE_KEYS, NO_CHOICES, Choices, gold_of_choices

GOLD_KEYS = ("answers", "golden_answers", "answer")
_ALIAS_KEYS = ("answer_aliases", "aliases", "answer_alias", "alias", "normalized_aliases")
# Keys that other sets use: AmbigQA's annotations, DROP's answers_spans, correct_answer, ground_truths, label,
# cop.
_LIKE_GOLDS = re.compile(
    r"(?:\w+_)?(?:golds?|targets?|labels?|annotations?|answers?|ground_?truths?|references?|solutions?)"
    r"(?:_(?:texts?|keys?|list|spans?|values?|idx|index))?|answer_?key|(?:correct|expected)(?:_\w+)?|cop"
    r"|outputs?|reward_model"
)
_LIKE_CHOICES = re.compile(r"(?:answer_?)?(?:choices?|options?)")
_PERHAPS_CHOICES = re.compile(r"candidates?|candidate_answers|endings|opts")
# option_a, opa, answerA, choice1, sol2.
_LIKE_A_CHOICE = re.compile(
    r"(?:options?|choices?|opt?|ans(?:wer)?|candidate|ending|sol)_?(?:[a-h]|\d)|[a-h]"
)
_INDEX = re.compile(r"[A-Za-z]|-?\d{1,2}(?:\.0)?")
# Alternatives (Dun(mark|land), NY|New York), \d, \s+, .*, [0-9]+, ^ and $: CuratedTREC's golds are patterns.
# LaTeX's \dfrac and \boxed are none.
_PATTERN = re.compile(
    r"\w\s*\|\s*\w|\([^()]*\|[^()]*\)|\(\?[:!=i]|\.[*+]|\\[dswbDSW](?![A-Za-z])|[\]).]\{\d|\[[^\]]*\][*+?]"
    r"|\)[*+?]\s*\w|^\^.*\$$|\b[A-Za-z]+[a-z]\?[a-z]+\b"
)
_WHOLE = re.compile(r"-?\d{1,15}\.0")


def golds_of(row: JsonRow, choices: Choices = NO_CHOICES) -> tuple[str, ...]:
    """The golds under the first of `GOLD_KEYS` that holds any (an empty list hides no other key), and their
    aliases; with `choices`, the texts of the right ones. Raises `RowError` for golds that cannot be read, and
    where there is none but another key looks like one.
    """
    value = next((row[key] for key in GOLD_KEYS if key in row and gold_texts(row[key])), None)
    if choices.texts:
        if value is None:
            _refuse_other_golds(row)
        return gold_of_choices(value, choices)
    _refuse_unread_choices(row, value)
    if value is None:
        _refuse_other_golds(row)
        return ()
    return row_golds(row, value)


def row_golds(row: JsonRow, *values: Any) -> tuple[str, ...]:
    """The golds in `values` and the row's aliases of them. Raises `RowError` for golds that are all regular
    expressions: no metric here matches patterns.
    """
    golds = gold_texts(*values)
    if golds and all(map(_PATTERN.search, golds)):
        raise RowError(f"the gold {golds[0]!r:.60} is a regular expression; list the answers that it matches")
    return gold_texts(list(golds), *(row.get(key) for key in _ALIAS_KEYS)) if golds else ()


def untyped(row: RawRow) -> RawRow:
    """A row of a text table, whose cells have no type: a gold of "2.0" also is the number 2, one of "True"
    also is yes. Questions with choices keep their cells.
    """
    value = row.value
    if row.problem or any(value.get(key) for key in CHOICE_KEYS):
        return row
    both = {key: _readings(value[key]) for key in (*GOLD_KEYS, "Answer") if key in value}
    return row._replace(value={**value, **both}) if both else row


def _readings(cell: Any) -> Any:
    if isinstance(cell, str) and _WHOLE.fullmatch(cell.strip()):
        return [cell, float(cell)]
    if isinstance(cell, str) and cell.strip() in ("True", "False", "TRUE", "FALSE", "true", "false"):
        return [cell, cell.strip().lower() == "true"]
    return cell


def _refuse_other_golds(row: JsonRow) -> None:
    for key, value in row.items():
        if key not in GOLD_KEYS and _like_golds(key.lower()) and value not in (None, "", [], {}):
            raise RowError(f"no 'answers', but {key!r:.60} looks like them; rename that key to 'answers'")


def _like_golds(name: str) -> bool:
    """Whether a key names golds in another set, or is one of ours with a letter added, missing or wrong, or
    with two letters exchanged.
    """
    return bool(_LIKE_GOLDS.fullmatch(name)) or any(OSA.distance(name, own) == 1 for own in GOLD_KEYS)


def _refuse_unread_choices(row: JsonRow, gold: Any) -> None:
    """Raises `RowError` for choices in a place where they are not read: the model would not see them, and a
    gold that is an index into them would never match.
    """
    picks = gold is None or all(map(_INDEX.fullmatch, gold_texts(gold)))
    for key, value in row.items():
        name = key.lower()
        known = _LIKE_CHOICES.fullmatch(name) or (picks and _PERHAPS_CHOICES.fullmatch(name))
        if known and isinstance(value, list | dict | str) and value:
            raise RowError(f"{key!r:.60} looks like the choices; rename that key to 'choices'")
    single = [key for key in row if _LIKE_A_CHOICE.fullmatch(key.lower())]
    if len(single) > 1 and (picks or max(map(len, single)) > 1):
        raise RowError(
            f"{single[0]!r:.60} and {single[1]!r:.60} look like choices; write them as a list under 'choices'"
        )
