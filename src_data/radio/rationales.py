"""Stage `rationales`: a model is shown a question with its gold answers and writes why they are right.

One row per question, prompt and model (RADIO, reference radio_flashrag.md, section 1.2). How we differ from
the release, which ends at the first failed call: a run resumes, a failed call is retried by the next run, and
refusals, empty texts and rationales that only repeat the answer are counted. No passage is shown.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from src_core.config import dump
from src_core.errors import ModelError, UserError
from src_core.jsonl import drop_torn_tail, read_jsonl, rewrite_jsonl
from src_core.llm import ChatModel, derive_seed
from src_core.protocols.records import Message
from src_core.rowfiles import file_rows
from src_core.types import NO_USAGE, Question, Usage, to_json
from src_data.radio.config import Layout, RationaleSettings
from src_infer.prompts import load_prompt
from src_tasks.answers import normal_form
from src_tasks.choices import asked_text
from src_tasks.readers.base import RowError
from src_tasks.readers.formats import FORMATS, detect

TEXT_KEYS = ("reason", "rationale")
FROM_FILE = "file"
"""The digest of a rationale that no prompt asked for."""
FEWEST_NEW_WORDS = 3
_REFUSAL = re.compile(
    r"(?:sorry,|(?:i'?m|i am) (?:very |so )?sorry|i apologi[sz]e|as an ai\b|as a language model\b"
    r"|(?:unfortunately, )?(?:(?:i'?m|i am) (?:unable to|not able to)|i (?:cannot|can'?t|can not|won'?t))\b"
    r"|unfortunately, i (?:do not|don'?t))",
    re.IGNORECASE,
)
_CUE = re.compile(r"^[\s*_#]*rationale[*_]*\s*:[*_]*\s*", re.IGNORECASE)
_COMMON_WORDS = """
a an and answer answers are as at be because been by correct did do does for from given had has have he
her his i in is it its of on one or question right she so that the their them there they this to true was
were what when where which who whose why will with
"""
_COMMON = frozenset(_COMMON_WORDS.split())


class Outcome(StrEnum):
    """What became of a question. Only `written` rationales are used; `failed` ones are asked for again."""

    WRITTEN = "written"
    REFUSED = "refused"
    EMPTY = "empty"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Rationale:
    """One rationale. `prompt` is the digest of everything that is sent beside the question, `model` the
    server's name of its model (or the file that it was read from); `repeats` is true where it says nothing
    that question and answer do not; `cut` where the limit of tokens ended it.
    """

    id: str
    prompt: str
    model: str
    outcome: Outcome
    text: str = ""
    repeats: bool = False
    cut: bool = False
    usage: Usage = NO_USAGE
    error: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What one rationale is kept of."""
        return self.id, self.prompt, self.model


_ROW = TypeAdapter(Rationale)


class RationaleWriter:
    """Asks a model for rationales."""

    def __init__(self, model: ChatModel, settings: RationaleSettings) -> None:
        self._model = model
        self._settings = settings
        self._system = load_prompt(settings.prompt)
        self.prompt = prompt_digest(settings)

    async def write(self, question: Question) -> Rationale:
        """The rationale of a question with golds; a failed call is a row of outcome `failed`."""
        empty = Rationale(question.id, self.prompt, self._model.name, Outcome.FAILED)
        sampling = self._settings.sampling
        try:
            reply = await self._model.chat(
                chat_of(question, self._system, self._settings.layout),
                sampling=replace(sampling, seed=derive_seed(sampling.seed, question.id)),
            )
        except ModelError as error:
            return replace(empty, error=str(error))
        found = judged(reply.text, question)
        cut = reply.finish_reason == "length"
        return replace(
            empty, outcome=found.outcome, text=found.text, repeats=found.repeats, cut=cut, usage=reply.usage
        )


def chat_of(question: Question, system: str, layout: Layout) -> list[Message]:
    """The messages of a request. The published layout has a user message each for question, answers (as
    Python prints the list) and the cue.
    """
    asked = asked_text(question)
    if layout is Layout.PUBLISHED:
        parts = [f"Question: {asked}", f"Answer: {list(question.answers)}", "Rationale: "]
    else:
        parts = [f"Question: {asked}\nAnswer: {'; '.join(question.answers)}\nRationale:"]
    return [{"role": "system", "content": system}, *({"role": "user", "content": part} for part in parts)]


def prompt_digest(settings: RationaleSettings) -> str:
    """Hash of prompt, layout and decoding."""
    parts = [load_prompt(settings.prompt), settings.layout.value, dump(settings.sampling)]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:12]


def judged(text: str, question: Question) -> Rationale:
    """A reply as a rationale (without its provenance)."""
    text = _CUE.sub("", text).strip()
    outcome = Outcome.WRITTEN
    if not any(char.isalnum() for char in text):
        text, outcome = "", Outcome.EMPTY
    elif _REFUSAL.match(text.lstrip("*_#\"' ").replace("\u2019", "'")):
        outcome = Outcome.REFUSED
    repeats = outcome is Outcome.WRITTEN and only_repeats(text, question)
    return Rationale(question.id, "", "", outcome, text, repeats)


def only_repeats(text: str, question: Question) -> bool:
    """Whether a rationale holds fewer than three words that are neither in the question nor in an answer nor
    among the commonest. Choices count as part of the question.
    """
    known = _COMMON.union(*(normal_form(part).split() for part in (asked_text(question), *question.answers)))
    return len({word for word in normal_form(text).split() if word not in known}) < FEWEST_NEW_WORDS


def imported(paths: Sequence[str], questions: Iterable[Question]) -> Iterator[Rationale]:
    """The rationales in files of rows with `reason` or `rationale`, of the given questions. Raises
    `UserError` for a row that cannot be read, and where no row has a rationale.
    """
    wanted = {question.id: question for question in questions}
    for name in paths:
        path, found = Path(name), 0
        for place, row, problem in file_rows(path):
            layout = detect(row) if isinstance(row, dict) else None
            if problem or layout is None:
                problem = problem or "no question"
                raise UserError(f"{path}, {place}: {problem}; correct or remove that row")
            key = next((key for key in TEXT_KEYS if row.get(key) is not None), None)
            found += key is not None
            try:
                question = wanted.get(FORMATS[layout].parse(row).question.id)
            except RowError as error:
                raise UserError(f"{path}, {place}: {error}; correct or remove that row") from error
            if question is not None and key is not None:
                yield replace(judged(str(row[key]), question), prompt=FROM_FILE, model=path.name)
        if not found:
            raise UserError(f"no row of {path} has a rationale ({' or '.join(TEXT_KEYS)}); name another file")


def read_rationales(path: Path) -> Iterator[Rationale]:
    """All rows of a file. Raises `UserError` naming file and line for one that is no rationale."""
    for number, row in enumerate(read_jsonl(path, torn_tail_ok=True), start=1):
        try:
            yield _ROW.validate_python(row)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            problem = f"{first['msg']}{f' at {place}' if place else ''}"
            raise UserError(f"{path}, row {number}: {problem}; correct or remove that row") from error


def finish_rationales(path: Path) -> set[tuple[str, str, str]]:
    """Drop a torn tail, failed rows and repetitions. Returns the keys of the rows that stay."""
    drop_torn_tail(path)
    if not path.is_file():
        return set()
    rows = list(read_rationales(path))
    kept = {row.key: row for row in rows if row.outcome is not Outcome.FAILED}
    if len(kept) < len(rows):
        rewrite_jsonl(path, map(to_json, kept.values()))
    return set(kept)


def written_rationales(path: Path, *, prompt: str, models: Sequence[str]) -> dict[str, Rationale]:
    """The usable rationales of one prompt and of these models, by question id."""
    rows = read_rationales(path)
    fitting = (row for row in rows if row.prompt == prompt and row.model in models)
    return {row.id: row for row in fitting if row.outcome is Outcome.WRITTEN}


def counts_of(rows: Sequence[Rationale]) -> dict[str, Any]:
    """Outcomes, repetitions, cut ones, cost, and the errors of failed ones."""
    usage = sum((row.usage for row in rows), NO_USAGE)
    return {
        "questions": len(rows),
        **{outcome.value: sum(row.outcome is outcome for row in rows) for outcome in Outcome},
        "repeats_the_answer": sum(row.repeats for row in rows),
        "cut": sum(row.cut for row in rows),
        "calls": usage.calls,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "errors": dict(Counter(row.error for row in rows if row.error).most_common(3)),
    }
