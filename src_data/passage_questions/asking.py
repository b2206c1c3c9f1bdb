"""Facts that a model asks for: `python -m src_data.passage_questions.asking corpus=CORPUS out=FILE
endpoint.url=URL [key=value ...]`, for sentences that the patterns of `relations/` do not read.

The patterns find what definitions say, so that nine of ten sentences that a training chain quotes are the
first one of their passage, and a model learns to quote the first one whatever is asked (`docs/LOG.md`). Here
a model writes question and answer for a later sentence. Both are kept where the question names the
passage's subject, the answer is in that sentence and not in the question, and the same model, shown the whole
passage, gives that answer again. `make.make_questions` builds on them as on any other fact (`asked=FILE`).
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from rich.table import Table
from rich.text import Text

from src_core.access_token import read_token
from src_core.config import InFlight, Positive, config_class, load_config
from src_core.console import Terminal
from src_core.endpoints import make_model
from src_core.errors import ModelError, UserError, run_main
from src_core.jsonl import drop_torn_tail
from src_core.llm import ChatModel, Sampling
from src_core.open_files import allow_connections
from src_core.progress import StepProgress
from src_core.protocols.records import Message
from src_core.server_news import ServerNews
from src_data.config import PatientEndpoint
from src_data.passage_questions.asked import KEPT, AskedFact, last_rows
from src_data.passage_questions.config import CorpusConfig
from src_data.passage_questions.entities import Entity, Predicate
from src_data.passage_questions.made import shuffled
from src_data.passage_questions.read_world import read_world
from src_data.passage_questions.world import World
from src_infer.own_servers import reach
from src_infer.prompts import load_prompt
from src_infer.runner import run_all
from src_tasks.answer_tokens import contains, tokens

_REPLY = re.compile(r"\s*Question: *(?P<question>[^\n]+\?)\s*\nAnswer: *(?P<answer>[^\n]+)")
_ASKS = re.compile(
    r"(?:(?:In|On|At|For|From|To|By|With|Under|Of|After|During|Through|Into|Until|Since) (?:wh|how)|Wh|How )"
)
_MOST_WORDS, _MOST_ANSWER_WORDS, _MOST_EXTRA_WORDS = 22, 5, 3
_SHORTEST_SENTENCE, _LONGEST_SENTENCE = 40, 260


class Outcome(StrEnum):
    """What became of a sentence. Only `kept` ones are used; `failed` ones are asked again by the next run."""

    KEPT = KEPT
    WRITTEN = "written, not read again yet"
    NO_QUESTION = "no question"
    OTHER_SUBJECT = "the question does not name the subject"
    TOLD = "the question holds the answer"
    NOT_COPIED = "the answer is not in the sentence, or too long"
    LEAD_TELLS = "the first sentence holds the answer"
    READ_OTHERWISE = "read again, the passage gave another answer"
    FAILED = "failed"


@config_class
class AskingConfig(CorpusConfig):
    """`n` sentences are asked about, one per passage; those of passages that another passage's fact leads to
    come first, since only they make questions of several hops. The `passage_chars` first characters of a
    passage are shown when the answer is read again.
    """

    out: str = "data/asked_facts.jsonl"
    n: Positive = 1000
    passage_chars: Positive = 800
    endpoint: PatientEndpoint = PatientEndpoint(engine="llama.cpp")
    sampling: Sampling = Sampling(max_tokens=80, temperature=0.0, top_p=1.0)
    in_flight: InFlight = 8


class Target(NamedTuple):
    """A sentence to ask about."""

    entity: Entity
    predicate: Predicate


@dataclass(frozen=True, slots=True)
class Reply:
    """A question and its answer, as a model wrote them."""

    question: str
    answer: str


def targets(world: World, seed: int) -> Iterator[Target]:
    """One later sentence of each passage, passages that facts lead to first."""
    led_to = {linked.id for fact in world.all_facts() if (linked := world.entity_of(fact)) is not None}
    entities = shuffled(list(world.entities.values()), seed, "asked")
    for entity in sorted(entities, key=lambda each: each.id not in led_to):
        later = [
            each
            for each in entity.predicates
            if not each.lead and _SHORTEST_SENTENCE <= len(each.sentence) <= _LONGEST_SENTENCE
        ]
        if later:
            yield Target(entity, shuffled(later, seed, entity.id)[0])


class Written(NamedTuple):
    """A written question whose answer is to be read again."""

    target: Target
    fact: AskedFact


Work = TypeVar("Work", Target, Written)


def asked_chat(target: Target) -> list[Message]:
    """The request for a question: examples as turns of the chat, then the sentence."""
    messages: list[Message] = [{"role": "system", "content": load_prompt("questions/write")}]
    for example in load_prompt("questions/write_examples").split("\n\n"):
        given, _, wanted = example.partition("\nQuestion:")
        messages += [
            {"role": "user", "content": given},
            {"role": "assistant", "content": f"Question:{wanted}"},
        ]
    last = f"Subject: {target.entity.name}\nSentence: {target.predicate.sentence}"
    return [*messages, {"role": "user", "content": last}]


def judged(text: str, target: Target) -> Reply | Outcome:
    """A model's question and answer, or why they cannot be used."""
    found = _REPLY.match(text)
    if found is None or not _ASKS.match(found["question"]) or len(found["question"].split()) > _MOST_WORDS:
        return Outcome.NO_QUESTION
    question, answer = found["question"].strip(), found["answer"].strip(' ."“”')
    name, wanted = target.entity.name, tokens(answer)
    if question.count(name) != 1:
        return Outcome.OTHER_SUBJECT
    sentence = tokens(target.predicate.sentence)
    if not wanted or len(answer.split()) > _MOST_ANSWER_WORDS or not contains(sentence, wanted):
        return Outcome.NOT_COPIED
    if contains(tokens(question), wanted):
        return Outcome.TOLD
    if contains(tokens(target.entity.predicates[0].sentence), wanted):
        return Outcome.LEAD_TELLS
    return Reply(question, answer)


def reads_the_same(answer: str, again: str) -> bool:
    """Whether a second reading gave the same answer: the same words, or a few more or fewer."""
    first, second = tokens(answer), tokens(again.strip(' ."“”'))
    shorter, longer = sorted((first, second), key=len)
    return bool(shorter) and contains(longer, shorter) and len(longer) - len(shorter) <= _MOST_EXTRA_WORDS


class Asker:
    """Asks a model about sentences."""

    def __init__(self, model: ChatModel, config: AskingConfig) -> None:
        self._model, self._config = model, config

    async def write(self, target: Target) -> AskedFact:
        """The question and answer for a sentence, not read again yet, or why there is none."""
        text, row = await self._reply(asked_chat(target), target)
        reply = judged(text, target) if row is None else None
        if isinstance(reply, Reply):
            question = reply.question.replace(target.entity.name, "{s}")
            return self._row(target, Outcome.WRITTEN, question, reply.answer)
        return row or self._row(target, reply or Outcome.FAILED)

    async def read(self, written: Written) -> AskedFact:
        """Whether the passage gives the answer again."""
        target, fact = written
        entity = target.entity
        passage = f"Passage: {entity.title}: {entity.text[: self._config.passage_chars]}"
        question = fact.question.replace("{s}", entity.name)
        text, row = await self._reply(
            [
                {"role": "system", "content": load_prompt("questions/read")},
                {"role": "user", "content": f"{passage}\n\nQuestion: {question}"},
            ],
            target,
        )
        same = reads_the_same(fact.answer, text)
        outcome = Outcome.KEPT if same else Outcome.READ_OTHERWISE
        return row or self._row(target, outcome, fact.question, fact.answer)

    async def _reply(self, chat: list[Message], target: Target) -> tuple[str, AskedFact | None]:
        try:
            return (await self._model.chat(chat, sampling=self._config.sampling)).text, None
        except ModelError as error:
            return "", replace(self._row(target, Outcome.FAILED), error=str(error))

    def _row(self, target: Target, outcome: Outcome, question: str = "", answer: str = "") -> AskedFact:
        sentence = target.predicate.sentence
        return AskedFact(target.entity.id, sentence, str(outcome), self._model.name, question, answer)


async def ask_all(config: AskingConfig, world: World, console: Terminal) -> None:
    """Ask about the sentences that `config.out` does not have yet: all questions first, then all readings,
    so that the server keeps the one prompt of each round.
    """
    out = Path(config.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    drop_torn_tail(out)
    todo = list(islice(targets(world, config.seed), config.n))
    allow_connections(config.in_flight, in_flight=config.in_flight)
    news = ServerNews()
    model = make_model(
        config.endpoint,
        connections=config.in_flight,
        token=read_token(),
        keys=("endpoint",),
        news=news,
    )
    asker = Asker(model, config)
    try:
        await reach(model, config.endpoint, sampling=config.sampling, news=news)
        done = last_rows(out)
        _require_same_model(done.values(), model.name, out)
        unasked = [each for each in todo if _open(done.get(each.entity.id))]
        await _round(unasked, asker.write, "questions written", len(todo), config, console, news)
        rows = last_rows(out)
        by_id = {each.entity.id: each for each in todo}
        unread = [
            Written(by_id[row.passage], row)
            for row in rows.values()
            if row.outcome == Outcome.WRITTEN and row.passage in by_id
        ]
        await _round(unread, asker.read, "answers read again", len(unread), config, console, news)
    finally:
        await model.close()


def _require_same_model(rows: Iterable[AskedFact], model: str, out: Path) -> None:
    others = sorted({row.model for row in rows} - {model})
    if others:
        raise UserError(f"{out} holds questions of {', '.join(others)}, not of {model}; choose another out=")


def _open(row: AskedFact | None) -> bool:
    return row is None or row.outcome == Outcome.FAILED


async def _round(
    todo: Sequence[Work],
    answer: Callable[[Work], Awaitable[AskedFact]],
    unit: str,
    total: int,
    config: AskingConfig,
    console: Terminal,
    news: ServerNews,
) -> None:
    progress = StepProgress(console, unit=unit, total=total)
    news.attach(
        on_note=lambda note: console.print(Text(f"note: {note}"), soft_wrap=True), on_wait=progress.note
    )
    progress.skip(total - len(todo))
    try:
        await run_all(
            todo,
            answer=answer,
            in_flight=config.in_flight,
            rows=Path(config.out),
            on_row=lambda _: progress.advance(),
        )
    finally:
        progress.stop()


def main() -> int:
    """Read the command line, ask, print what became of the sentences."""
    config = load_config(AskingConfig, None, sys.argv[1:])
    world = read_world(config).world
    asyncio.run(ask_all(config, world, Terminal(stderr=True)))
    last = last_rows(Path(config.out))
    outcomes = Counter(row.outcome for row in last.values())
    table = Table("sentences", "outcome", title=f"asked about {len(last):,} sentences: {config.out}")
    for outcome, count in outcomes.most_common():
        table.add_row(f"{count:,}", outcome)
    Terminal(narrowest=100).print(table)
    return int(outcomes[Outcome.FAILED] > 0)


if __name__ == "__main__":
    run_main(main)
