"""FLARE: generate the next sentence; if it holds an unlikely token, retrieve with its likely part and
generate it again (Jiang et al. 2023, arXiv 2305.06983; the direct variant with a masked query).

The first retrieval is made with the question; the newest passages replace the older ones. A sentence that was
generated again is kept for any probabilities, so that the loop advances. How we differ: sentences come from
the prompt that IRCoT uses, so that the two methods differ only in the time and the text of their queries; one
threshold (`confidence`, 0.2 as in FlashRAG) decides both whether to search and which words are left out of
the query. With a server that returns no log-probabilities every new sentence counts as unlikely and is
searched for; `provenance["sentences_without_logprobs"]` is the number of such sentences.
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
    assistant_turn,
    passage_search,
    passage_turns,
    reader_policy,
    user_turn,
    with_notes,
)
from src_infer.runtime import Runtime

MAX_SENTENCES = 10


@config_class
class Settings:
    """A sentence with a token of a probability below `confidence` is searched for."""

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
    """Generates the sentences of one question. One step of the loop may take several calls; their sentences
    are in `kept`. `blind` counts sentences without probabilities.
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
        functions: Sequence[str],  # noqa: ARG002 - a prompt cannot forbid a function
    ) -> Completion:
        """Generate sentences until one is unlikely, states the answer, is empty or is a repetition."""
        self.kept = []
        notation = Prompted(self.runtime.prompt("next_sentence"), turns=self._turns, stops=SENTENCE_STOPS)
        policy = reader_policy(self.runtime, notation, logprobs=1)
        usage = NO_USAGE
        for part in range(MAX_SENTENCES):
            reply = await policy.generate(question, steps, n=n, attempt=attempt, part=part)
            usage += reply.usage
            sentence = first_sentence(reply.text)
            written_again = (
                part == 0 and n > 2
            )  # step 1 is the initial query, step 2 the first generated sentence
            old = sentence in self.kept or any(sentence in step.thought for step in steps)
            if old or stated_answer(reply.text) or not (written_again or self._sure(sentence, reply.tokens)):
                break
            self.kept.append(sentence)
        return replace(reply, usage=usage)

    def parse(self, reply: Completion, _functions: Sequence[str]) -> ParsedStep | ParseError:
        """The answer, or a search with the likely part of the unlikely sentence."""
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
        return [
            user_turn(text),
            *passage_turns(steps[-1].passages, self.runtime, query=text),
            *map(assistant_turn, thoughts),
        ]

    def _sure(self, sentence: str, tokens: Sequence[Token]) -> bool:
        own = tokens_of(sentence, tokens)
        self.blind += not own
        return bool(own) and min(token.logprob for token in own) >= _log(self.runtime.settings.confidence)


def likely_part(sentence: str, tokens: Sequence[Token], confidence: float) -> str:
    """The sentence without the words that hold an unlikely token; the whole sentence where no word is left or
    no token is known.
    """
    own = tokens_of(sentence, tokens)
    text = "".join(token.text for token in own)
    marks = "".join(
        "x" * len(token.text) if token.logprob < _log(confidence) else " " * len(token.text) for token in own
    )
    words = [word[0] for word in _WORD.finditer(text) if "x" not in marks[word.start() : word.end()]]
    return " ".join(words) or sentence


def tokens_of(sentence: str, tokens: Sequence[Token]) -> list[Token]:
    """The tokens of the sentence; [] when their text does not contain it exactly (other white space, a
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
