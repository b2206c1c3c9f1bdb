"""The layouts of published question sets, and the detection of a row's layout.

Questions that their set marks as unanswerable have `meta["answerable"] = False` (and may have no answers).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from src_tasks.readers.base import JsonRow
from src_tasks.readers.fanoutqa import parse_fanoutqa
from src_tasks.readers.general import parse_flashrag, parse_plain, parse_project
from src_tasks.readers.hotpotqa import parse_2wiki, parse_hotpotqa
from src_tasks.readers.iirc import parse_iirc, unfold_iirc
from src_tasks.readers.multiple_choice import (
    ARC_QUESTION_KEYS,
    CHOICE_KEYS,
    MMLU_COLUMNS,
    parse_arc,
    parse_mmlu,
    unfold_arc,
)
from src_tasks.readers.musique import parse_musique
from src_tasks.readers.rows import SourceRow
from src_tasks.readers.single_hop import (
    parse_bamboogle,
    parse_frames,
    parse_nq,
    parse_popqa,
    parse_webquestions,
)
from src_tasks.readers.squad import parse_squad, unfold_squad
from src_tasks.readers.strategyqa import parse_strategyqa
from src_tasks.readers.time_sensitive import (
    is_freshqa,
    parse_cag,
    parse_freshqa,
    parse_situatedqa,
    parse_timeqa,
)
from src_tasks.readers.triviaqa import parse_triviaqa


@dataclass(frozen=True, slots=True)
class Format:
    """One layout: the function that reads a row, the keys of its question (`question_keys`; rows of
    evaluation files need no answer), the function that unfolds one record into several rows, and the test for
    such a record.
    """

    parse: Callable[[JsonRow], SourceRow]
    fits: Callable[[JsonRow], bool]
    question_keys: tuple[str, ...] = ("question",)
    unfold: Callable[[JsonRow], Sequence[JsonRow]] | None = None


def _has(*keys: str) -> Callable[[JsonRow], bool]:
    wanted = frozenset(keys)
    return lambda row: wanted <= row.keys()


def _is_triviaqa(row: JsonRow) -> bool:
    answer = row.get("Answer", row.get("answer"))
    return "QuestionId" in row or ("question_id" in row and isinstance(answer, dict))


def _is_strategyqa(row: JsonRow) -> bool:
    return {"qid", "term"} <= row.keys() or ("facts" in row and isinstance(row.get("answer"), bool))


def _is_2wiki(row: JsonRow) -> bool:
    return "context" in row and bool({"evidences", "entity_ids"} & row.keys())


def _is_musique(row: JsonRow) -> bool:
    return "question" in row and "paragraphs" in row


def _is_webquestions(row: JsonRow) -> bool:
    return {"utterance", "targetValue"} <= row.keys() or {"url", "question", "answers"} == row.keys()


def _is_fanoutqa(row: JsonRow) -> bool:
    return "categories" in row and bool({"decomposition", "necessary_evidence"} & row.keys())


def _is_arc(row: JsonRow) -> bool:
    inner = row.get("question")
    return "answerKey" in row or (isinstance(inner, dict) and {"stem", "choices"} <= inner.keys())


def _is_squad(row: JsonRow) -> bool:
    hub = {"question", "context", "answers"} <= row.keys() and isinstance(row["context"], str)
    return (hub and isinstance(row["answers"], dict)) or {"title", "paragraphs"} == row.keys()


def _has_choices(row: JsonRow) -> bool:
    return "question" in row and any(key in row for key in CHOICE_KEYS)


def _is_hotpotqa(row: JsonRow) -> bool:
    return "question" in row and "context" in row


def _is_nq(row: JsonRow) -> bool:
    return "question" in row and isinstance(row.get("answer"), list)


def _is_plain(row: JsonRow) -> bool:
    return "question" in row


# In the order of detection: the more specific layouts come first, `plain` fits nearly every row.
FORMATS: dict[str, Format] = {
    "mmlu": Format(parse_mmlu, _has(*MMLU_COLUMNS)),
    "iirc": Format(parse_iirc, _has("questions", "text", "title"), unfold=unfold_iirc),
    "squad": Format(parse_squad, _is_squad, unfold=unfold_squad),
    "arc": Format(parse_arc, _is_arc, ARC_QUESTION_KEYS, unfold_arc),
    "triviaqa": Format(parse_triviaqa, _is_triviaqa, ("Question", "question")),
    "popqa": Format(parse_popqa, _has("question", "possible_answers")),
    "cag": Format(parse_cag, _has("question", "q_date", "docs")),
    "situatedqa": Format(parse_situatedqa, _has("question", "edited_question"), ("edited_question",)),
    "timeqa": Format(parse_timeqa, _has("idx", "question", "context", "targets")),
    "freshqa": Format(parse_freshqa, is_freshqa),
    "frames": Format(parse_frames, _has("Prompt", "Answer"), ("Prompt",)),
    "webquestions": Format(parse_webquestions, _is_webquestions, ("utterance", "question")),
    "project": Format(parse_project, _has("question", "answers", "supporting_titles", "gold_ids")),
    "flashrag": Format(parse_flashrag, _has("question", "golden_answers")),
    "multiple_choice": Format(parse_plain, _has_choices),
    "musique": Format(parse_musique, _is_musique),
    "fanoutqa": Format(parse_fanoutqa, _is_fanoutqa),
    "strategyqa": Format(parse_strategyqa, _is_strategyqa),
    "2wikimultihopqa": Format(parse_2wiki, _is_2wiki),
    "hotpotqa": Format(parse_hotpotqa, _is_hotpotqa),
    "bamboogle": Format(parse_bamboogle, _has("Question", "Answer"), ("Question",)),
    "nq": Format(parse_nq, _is_nq),
    "plain": Format(parse_plain, _is_plain),
}


def detect(row: JsonRow) -> str | None:
    """The name of the first format that `row` fits, None where none fits."""
    return next((name for name, layout in FORMATS.items() if layout.fits(row)), None)
