"""A teacher that needs no LLM: it follows the annotated decomposition of a question, queries the RAG engine
and reacts to its observations.

Each call replays the steps so far against the hops: a hop counts as answered when the observation mentions
its annotated answer; otherwise the hop is searched again in other words, with a thought that says so; after
the last wording the trajectory finishes with `NOT_FOUND`, which the filters reject. No unobserved information
is used: a query refers to an earlier answer only after an observation has shown it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from src_core.llm import Completion
from src_core.protocols.base import Protocol
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import ParsedStep, ParseError
from src_core.sentences import split_sentences
from src_core.text import shorten
from src_core.types import NO_USAGE, Action, Finish, Passage, Question, Search, Step
from src_data.annotated_teacher import decompose, thought_templates
from src_data.annotated_teacher.decomposition import (
    Decomposition,
    Hop,
    Kind,
    NoDecomposition,
    bare_title,
    resolve,
)
from src_data.annotated_teacher.gather import NOT_FOUND, next_gather_step
from src_data.annotated_teacher.mentions import find_mention, shown_part
from src_data.annotated_teacher.passage_steps import next_passage_step
from src_data.annotated_teacher.quotes import answer_quote
from src_infer.episode import StepWriter
from src_tasks.answers import NO_ANSWER, normalize_answer

_VALUE_CHARS = 240


class Progress(NamedTuple):
    """The answers of the hops so far, in order, and the number of failed searches of the next hop."""

    found: tuple[str, ...]
    tries: int


class DecompositionTeacher:
    """See the module. Deterministic: every word depends on question, trajectory number and step only.
    `protocol` is the text format of the steps.
    """

    name = "decomposition"

    def __init__(self, protocol: Protocol | None = None) -> None:
        self._protocol = protocol or ReaRag()

    def seed(self, chain: int) -> int | None:  # noqa: ARG002 - nothing is sampled
        """None."""
        return None

    def refuses(self, question: Question) -> str | None:
        """The reason why the annotation of `question` gives no hops, None where it gives some."""
        decomposition = decompose(question)
        return decomposition.reason if isinstance(decomposition, NoDecomposition) else None

    def writer(self, question: Question, chain: int) -> StepWriter:
        """The step writer for one trajectory; a later one uses other wordings of queries and thoughts."""
        decomposition = decompose(question)
        if isinstance(decomposition, NoDecomposition):
            raise ValueError(f"refused: {decomposition.reason}")
        return _Writer(self._protocol, decomposition, chain=chain, wording=f"{question.id}/{chain}")


class _Writer(StepWriter):
    """Follows one decomposition."""

    def __init__(self, protocol: Protocol, decomposition: Decomposition, *, chain: int, wording: str) -> None:
        self._protocol = protocol
        self._decomposition = decomposition
        self._chain = chain
        self._wording = wording

    async def generate(
        self,
        question: str,  # noqa: ARG002 - the decomposition is built from it
        steps: Sequence[Step],
        *,
        n: int,
        attempt: int,
        functions: Sequence[str],
    ) -> Completion:
        """The next step as text."""
        thought, action = next_step(self._decomposition, steps, key=f"{self._wording}/{n}", chain=self._chain)
        if action.function not in functions and isinstance(action, Search):
            thought, action = "No search is left, and the answer is not found.", Finish(NOT_FOUND)
        return Completion(
            self._protocol.render_step(Step(n, thought, action)), f"attempt {attempt}", NO_USAGE
        )

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:
        """The written step, parsed."""
        return self._protocol.parse(reply.text, think=reply.think, functions=functions)


def next_step(
    decomposition: Decomposition, steps: Sequence[Step], *, key: str, chain: int
) -> tuple[str, Action]:
    """The thought and action that follow `steps`. `key` selects the wording of the thought."""
    if decomposition.kind is Kind.GATHER:
        return next_gather_step(decomposition, steps, key=key)
    found, tries = replay(decomposition, steps)
    if decomposition.quoted:
        return next_passage_step(decomposition, steps, found=found, tries=tries, key=key, chain=chain)
    if len(found) == len(decomposition.hops):
        if decomposition.kind is Kind.SINGLE:  # several right answers: the one that was observed
            answer, sentence = found[-1], _answer_sentence(decomposition, steps)
            if sentence:
                return thought_templates.final_thought_with_quotes([sentence], answer, key=key), Finish(
                    answer
                )
        else:
            answer = decomposition.answer
        return thought_templates.final_thought(decomposition, found, key=key), Finish(answer)
    hop = decomposition.hops[len(found)]
    if tries >= len(hop.queries):
        return f"I cannot find {resolve(hop.goal, found)}, so I stop here.", Finish(NOT_FOUND)
    query = resolve(hop.queries[(chain + tries) % len(hop.queries)], found)
    if tries:
        return thought_templates.retry_thought(decomposition, found, key=key), Search(query)
    if found:
        return thought_templates.next_hop_thought(decomposition, found, key=key), Search(query)
    return thought_templates.first_thought(decomposition, key=key), Search(query)


def _answer_sentence(decomposition: Decomposition, steps: Sequence[Step]) -> str:
    """The sentence that states the answer of a single-hop question, "" where the observation does not show
    it.
    """
    wanted = {normalize_answer(title) for title in decomposition.titles}
    shown = [passage for passage in steps[-1].passages if normalize_answer(passage.title) in wanted]
    observed = steps[-1].observation or ""
    quotes = (answer_quote(passage, decomposition.hops[-1].answers, observed) for passage in shown)
    return next((quote for quote in quotes if quote and quote[:40] in observed), "")


def replay(decomposition: Decomposition, steps: Sequence[Step]) -> Progress:
    """Match the observations of `steps` with the hops."""
    found: list[str] = []
    tries = 0
    for step in steps:
        if len(found) == len(decomposition.hops):
            break
        value = _observed(decomposition.hops[len(found)], step, decomposition.titles)
        if value is None:
            tries += 1
        else:
            found.append(value)
            tries = 0
    return Progress(tuple(found), tries)


def _observed(hop: Hop, step: Step, titles: Sequence[str]) -> str | None:
    """The hop's answer as annotated, when the observation mentions it and, where the set names its supporting
    passages, one of those was retrieved and mentions it too: a year occurs in many passages. A hop without
    annotated answer takes a sentence; see `_sentence`.
    """
    observation = step.observation or ""
    if normalize_answer(observation) in ("", NO_ANSWER):
        return None
    wanted = {normalize_answer(title) for title in ((hop.title,) if hop.title else titles)}
    supporting = [passage for passage in step.passages if normalize_answer(passage.title) in wanted]
    if not hop.answers:
        return _sentence(observation, supporting, must=bool(wanted and step.passages))
    if wanted and step.passages:
        seen = (
            f"{bare_title(passage.title)}: {part}"
            for passage in supporting
            if (part := shown_part(passage, observation))
        )
        if not any(find_mention(text, hop.answers) for text in seen):
            return None
    return find_mention(observation, hop.answers)


def _sentence(observation: str, supporting: Sequence[Passage], *, must: bool) -> str | None:
    """The first sentence of the passage that states the fact where the observation shows passages, else of
    the reader's reply. None where `must` is true and no such passage was retrieved.
    """
    if must and not supporting:
        return None
    begins = [split_sentences(passage.text)[:1] for passage in supporting]
    shown = [text for first in begins for text in first if text in observation]
    return shorten((shown or split_sentences(observation))[0], _VALUE_CHARS).rstrip(".")
