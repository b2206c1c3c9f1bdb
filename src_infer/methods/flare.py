"""FLARE: write ahead; where a sentence holds an unlikely token, retrieve with its likely part and write it
again (Jiang et al. 2023, arXiv 2305.06983; the direct variant with a masked query).

The first retrieval is made with the question; the newest passages replace the older ones. A sentence that was
written again is kept, whatever its probabilities, so that the loop moves on. How we differ: sentences come
from the prompt that IRCoT uses, so that the two differ in when they search and with what; one threshold
(`confidence`, 0.2 as in FlashRAG) decides on searching and on what is left out of the query. A
server that returns no log-probabilities makes every new sentence count as unlikely: then each is searched
for, and `provenance["sentences_without_logprobs"]` says how many there were.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

from pydantic import Field

from src_core.config import config_class
from src_core.llm import Completion, Token
from src_core.protocols.parsers import first_sentence, stated_answer
from src_core.protocols.records import ParsedStep, ParseError, Turn, make_action
from src_core.types import NO_USAGE, Question, Step, Trajectory
from src_infer.episode import StepWriter
from src_infer.methods.ircot import SENTENCE_STOPS
from src_infer.multi_step import (
    Evidence,
    Prompted,
    answer_stepwise,
    passage_search,
    passage_turns,
    reader_policy,
    said,
    user,
    with_notes,
)
from src_infer.runtime import Runtime

MAX_SENTENCES = 10


@config_class
class Settings:
    """A sentence with a token less likely than `confidence` is searched for."""

    confidence: Annotated[float, Field(ge=0, le=1)] = 0.2


_WORD = re.compile(r"\S+")


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Sentences until one states the answer."""
    ahead = _Ahead(runtime)
    trajectory = await answer_stepwise(
        question,
        runtime,
        writer=ahead,
        search=passage_search(runtime),
        initial_query=question.question,
        evidence=Evidence.PASSAGES,
    )
    return with_notes(trajectory, sentences_without_logprobs=ahead.blind)


@dataclass(slots=True)
class _Ahead(StepWriter):
    """Writes ahead for one question. A reply of the loop is the last of several calls, whose sentences are in
    `kept`. `blind` counts sentences that came without probabilities.
    """

    runtime: Runtime
    blind: int = 0
    kept: list[str] = field(default_factory=list)

    async def generate(
        self,
        question: str,
        steps: Sequence[Step],
        *,
        n: int,
        attempt: int,
        functions: Sequence[str],  # noqa: ARG002 - a prompt cannot forbid one
    ) -> Completion:
        """Write sentences until one is unlikely, states the answer, says nothing or nothing new."""
        self.kept = []
        notation = Prompted(self.runtime.prompt("next_sentence"), turns=self._turns, stops=SENTENCE_STOPS)
        policy = reader_policy(self.runtime, notation, logprobs=True)
        usage = NO_USAGE
        for part in range(MAX_SENTENCES):
            reply = await policy.generate(question, steps, n=n, attempt=attempt, part=part)
            usage += reply.usage
            sentence = first_sentence(reply.text)
            written_again = part == 0 and n > 2  # step 1 is the initial_query, step 2 the first look ahead
            old = sentence in self.kept or any(sentence in step.thought for step in steps)
            if old or stated_answer(reply.text) or not (written_again or self._sure(sentence, reply.tokens)):
                break
            self.kept.append(sentence)
        return replace(reply, usage=usage)

    def parse(self, reply: Completion, _functions: Sequence[str]) -> ParsedStep | ParseError:
        """The answer, or a search with what is likely of the sentence that was not."""
        sentence, answer = first_sentence(reply.text), stated_answer(reply.text)
        if answer:
            action = make_action("finish", answer)
        else:
            action = make_action(
                "search", likely_part(sentence, reply.tokens, self.runtime.settings.confidence)
            )
        thoughts = [*self.kept, sentence] if answer else self.kept
        return action if isinstance(action, ParseError) else ParsedStep(None, " ".join(thoughts), action)

    def _turns(self, text: str, steps: Sequence[Step]) -> list[Turn]:
        thoughts = [*(step.thought for step in steps if step.thought), *self.kept]
        return [user(text), *passage_turns(steps[-1].passages, self.runtime), *map(said, thoughts)]

    def _sure(self, sentence: str, tokens: Sequence[Token]) -> bool:
        own = tokens_of(sentence, tokens)
        self.blind += not own
        return bool(own) and min(token.logprob for token in own) >= _log(self.runtime.settings.confidence)


def likely_part(sentence: str, tokens: Sequence[Token], confidence: float) -> str:
    """The sentence without the words that hold an unlikely token; the whole one where nothing else is left or
    known.
    """
    own = tokens_of(sentence, tokens)
    text = "".join(token.text for token in own)
    marks = "".join(
        "x" * len(token.text) if token.logprob < _log(confidence) else " " * len(token.text) for token in own
    )
    words = [word[0] for word in _WORD.finditer(text) if "x" not in marks[word.start() : word.end()]]
    return " ".join(words) or sentence


def tokens_of(sentence: str, tokens: Sequence[Token]) -> list[Token]:
    """The tokens that make up the sentence; [] when they do not hold it as it is (other white space, a
    character that is split over tokens).
    """
    start = "".join(token.text for token in tokens).find(sentence) if sentence else -1
    own, at = [], 0
    for token in tokens:
        if start >= 0 and at < start + len(sentence) and at + len(token.text) > start:
            own.append(token)
        at += len(token.text)
    return own


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0 else -math.inf
