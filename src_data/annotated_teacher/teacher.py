"""A teacher that needs no large model: it follows the annotation of a question (its plan), asks the real RAG
engine, and reacts to what it really observes.

Each call replays the steps so far against the plan: a hop counts as answered when the observation mentions
its annotated answer; otherwise the hop is asked again in other words, with a thought that says so; when the
wordings are used up the chain gives up (and the cleaning throws it out). Nothing is ever known that was not
observed: a query refers to earlier answers only once an observation has shown them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from src_core.llm import Completion
from src_core.protocols.base import Protocol
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import ParsedStep, ParseError
from src_core.text import shorten
from src_core.types import NO_USAGE, Action, Finish, Passage, Question, Search, Step
from src_data.annotated_teacher import plan, thought_templates
from src_data.annotated_teacher.decomposition import Hop, Kind, NoPlan, Plan, resolve
from src_data.annotated_teacher.gather import GAVE_UP, next_gathering_step
from src_data.annotated_teacher.mentions import find_mention, shown_part
from src_data.annotated_teacher.quotes import telling_quote
from src_infer.episode import StepWriter
from src_tasks.answers import NO_ANSWER, normalize_answer

_VALUE_CHARS = 240


class Progress(NamedTuple):
    """What the hops found so far, in order, and how often the next hop was asked in vain."""

    found: tuple[str, ...]
    tries: int


class DecompositionTeacher:
    """See the module. Deterministic: question, chain number and step decide every word. `protocol` is the
    text format of the steps.
    """

    name = "decomposition"

    def __init__(self, protocol: Protocol | None = None) -> None:
        self._protocol = protocol or ReaRag()

    def seed(self, chain: int) -> int | None:  # noqa: ARG002 - nothing is sampled
        """None."""
        return None

    def refuses(self, question: Question) -> str | None:
        """The planner's reason when the annotation gives no chain."""
        made = plan(question)
        return made.reason if isinstance(made, NoPlan) else None

    def writer(self, question: Question, chain: int) -> StepWriter:
        """The step writer for one chain; a later chain uses other wordings of queries and thoughts."""
        made = plan(question)
        if isinstance(made, NoPlan):
            raise ValueError(f"refused: {made.reason}")
        return _Writer(self._protocol, made, chain=chain, wording=f"{question.id}/{chain}")


class _Writer(StepWriter):
    """Follows one plan."""

    def __init__(self, protocol: Protocol, made: Plan, *, chain: int, wording: str) -> None:
        self._protocol = protocol
        self._plan = made
        self._chain = chain
        self._wording = wording

    async def generate(
        self,
        question: str,  # noqa: ARG002 - the plan was made from it
        steps: Sequence[Step],
        *,
        n: int,
        attempt: int,
        functions: Sequence[str],
    ) -> Completion:
        """The next step as text."""
        thought, action = next_step(self._plan, steps, key=f"{self._wording}/{n}", chain=self._chain)
        if action.function not in functions and isinstance(action, Search):
            thought, action = "No search is left, and the answer is not found.", Finish(GAVE_UP)
        return Completion(
            self._protocol.render_step(Step(n, thought, action)), f"attempt {attempt}", NO_USAGE
        )

    def parse(self, reply: Completion, functions: Sequence[str]) -> ParsedStep | ParseError:
        """What was written, read back."""
        return self._protocol.parse(reply.text, think=reply.think, functions=functions)


def next_step(made: Plan, steps: Sequence[Step], *, key: str, chain: int) -> tuple[str, Action]:
    """The thought and action that follow `steps`. `key` picks the wording of the thought."""
    if made.kind is Kind.GATHER:
        return next_gathering_step(made, steps, key=key)
    found, tries = replay(made, steps)
    if len(found) == len(made.hops):
        if made.kind is Kind.SINGLE:  # several right answers: the one that was observed
            told = _told(made, steps)
            thought = thought_templates.quoting_conclusion([told], found[-1], key=key) if told else ""
            return thought or thought_templates.conclusion(made, found, key=key), Finish(found[-1])
        return thought_templates.conclusion(made, found, key=key), Finish(made.answer)
    hop = made.hops[len(found)]
    if tries >= len(hop.queries):
        return f"I cannot find {resolve(hop.goal, found)}, so I stop here.", Finish(GAVE_UP)
    query = resolve(hop.queries[(chain + tries) % len(hop.queries)], found)
    if tries:
        return thought_templates.retry(made, found, key=key), Search(query)
    if found:
        return thought_templates.onward(made, found, key=key), Search(query)
    return thought_templates.opening(made, key=key), Search(query)


def _told(made: Plan, steps: Sequence[Step]) -> str:
    """The sentence that tells the answer of a single fact, where the observation shows its passage."""
    wanted = {normalize_answer(title) for title in made.titles}
    shown = [passage for passage in steps[-1].passages if normalize_answer(passage.title) in wanted]
    observed = steps[-1].observation or ""
    quotes = (telling_quote(passage, made.hops[-1].answers, observed) for passage in shown)
    return next((quote for quote in quotes if quote and quote[:40] in observed), "")


def replay(made: Plan, steps: Sequence[Step]) -> Progress:
    """Match the observations of `steps` with the hops of the plan."""
    found: list[str] = []
    tries = 0
    for step in steps:
        if len(found) == len(made.hops):
            break
        value = _observed(made.hops[len(found)], step, made.titles)
        if value is None:
            tries += 1
        else:
            found.append(value)
            tries = 0
    return Progress(tuple(found), tries)


def _observed(hop: Hop, step: Step, titles: Sequence[str]) -> str | None:
    """The hop's answer as annotated, when the observation mentions it and, where the set names its supporting
    passages, one of those was retrieved and mentions it too: a year stands in many passages. A hop without
    annotated answer takes a sentence; see `_sentence`.
    """
    observation = step.observation or ""
    if normalize_answer(observation) in ("", NO_ANSWER):
        return None
    wanted = {normalize_answer(title) for title in ((hop.title,) if hop.title else titles)}
    telling = [passage for passage in step.passages if normalize_answer(passage.title) in wanted]
    if not hop.answers:
        return _sentence(observation, telling, must=bool(wanted and step.passages))
    if wanted and step.passages:
        seen = (shown_part(passage, observation) for passage in telling)
        if not any(find_mention(text, hop.answers) for text in seen):
            return None
    return find_mention(observation, hop.answers)


def _sentence(observation: str, telling: Sequence[Passage], *, must: bool) -> str | None:
    """The first sentence of the passage that tells the fact where the observation shows passages, else of the
    reader's reply. None when such a passage is a `must` and was not retrieved.
    """
    if must and not telling:
        return None
    begins = [thought_templates.sentences(passage.text)[:1] for passage in telling]
    shown = [text for first in begins for text in first if text in observation]
    return shorten((shown or thought_templates.sentences(observation))[0], _VALUE_CHARS).rstrip(".")
