"""Multiple choice: at most one retrieval, then the letter of the answer (RADIO's MMLU, reference
radio_flashrag.md, section 1.6).

`answer` is how the letter is taken: `grammar` lets the server generate nothing but one of the letters,
`logprob` takes the letter of the highest log-probability as the first token (`provenance["letters"]` has all
of them), `text` reads the letter or the choice in a free reply (RADIO: exact match of a generated letter).
How we differ: the query is the question without its choices unless `query_with_choices` is set.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any

from src_core.config import config_class
from src_core.errors import UserError
from src_core.llm import Completion
from src_core.passage_view import passage_block
from src_core.protocols.records import Constraint, Message
from src_core.text import fill_some
from src_core.types import Question, Search, Status, Step, Trajectory
from src_infer.runtime import Runtime
from src_tasks.choices import letters_of, plain_text

LIKELIEST = 20
"""Tokens at the first position whose log-probabilities are asked for: the most that servers give."""


class AnswerBy(StrEnum):
    """How the letter is taken."""

    GRAMMAR = "grammar"
    LOGPROB = "logprob"
    TEXT = "text"


@config_class
class Settings:
    """`search`: whether passages are retrieved. `answer`: see the module. `query_with_choices`: the query
    holds the choices too.
    """

    search: bool = True
    answer: AnswerBy = AnswerBy.GRAMMAR
    query_with_choices: bool = False


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """One search (where it is wanted), recorded as a step with its passages, then one call. A question
    without choices is refused.
    """
    begun = time.perf_counter()
    if not question.choices:
        return Trajectory(question, (), "", Status.REFUSED, error="the question has no choices")
    settings: Settings = runtime.settings
    steps = await _searched(question, runtime) if settings.search else ()
    prompt = "multiple_choice" if settings.search else "multiple_choice_closed"
    context = steps[0].observation or "" if steps else ""
    asked = fill_some(runtime.prompt(prompt), context=context, question=question.question)
    reply = await _reply(asked, question, runtime)
    answer, provenance = reply.text.strip(), {}
    if settings.answer is AnswerBy.LOGPROB:
        provenance = {"letters": letter_logprobs(reply, letters_of(question.choices))}
        answer = likeliest_letter(provenance["letters"]) or answer
    return Trajectory(
        question=question,
        steps=steps,
        answer=answer,
        status=Status.FINISHED,
        usage=reply.usage,
        seconds=time.perf_counter() - begun,
        provenance=provenance,
    )


async def _searched(question: Question, runtime: Runtime) -> tuple[Step, ...]:
    whole = runtime.settings.query_with_choices
    query = question.question if whole else plain_text(question.question, question.choices).strip()
    draft = Step(n=1, thought="", action=Search(query))
    if runtime.on_draft:
        runtime.on_draft(question, draft)
    passages = await runtime.retrieve(query)
    step = replace(
        draft, observation=passage_block(passages, view=runtime.view, query=query), passages=passages
    )
    if runtime.on_step:
        runtime.on_step(question, step)
    return (step,)


async def _reply(asked: str, question: Question, runtime: Runtime) -> Completion:
    """The model's reply, constrained or with log-probabilities as the settings say. Raises `ModelError`, and
    `UserError` for a constraint that the server has no field for.
    """
    messages: list[Message] = [{"role": "user", "content": asked}]
    how: AnswerBy = runtime.settings.answer
    more: dict[str, Any] = {}
    if how is AnswerBy.GRAMMAR:
        letters = " | ".join(f'"{letter}"' for letter in letters_of(question.choices))
        more["constraint"] = Constraint(grammar=f"root ::= {letters}")
    if how is AnswerBy.LOGPROB:
        more["logprobs"] = LIKELIEST
    try:
        return await runtime.reader.chat(messages, sampling=runtime.final_sampling, **more)
    except UserError as error:
        if how is not AnswerBy.GRAMMAR:
            raise
        raise UserError(
            "the reader's server (engine=openai) takes no grammar; set method_settings.answer to logprob or "
            "text"
        ) from error


def letter_logprobs(reply: Completion, letters: Sequence[str]) -> dict[str, float]:
    """The log-probability of each letter as the first token of a reply, over the tokens that are this letter
    with or without white space around it; letters that are none of the likeliest tokens are absent.
    """
    found: dict[str, list[float]] = {}
    for text, logprob in reply.tokens[0].likeliest if reply.tokens else ():
        if text.strip() in letters:
            found.setdefault(text.strip(), []).append(logprob)
    return {letter: math.log(sum(map(math.exp, found[letter]))) for letter in letters if letter in found}


def likeliest_letter(logprobs: dict[str, float]) -> str:
    """The letter of the highest log-probability; the first of equal ones, "" where there is none."""
    return max(logprobs, key=lambda letter: logprobs[letter], default="")
