"""The rollouts of a step: a group for each question, many at once, each on its own when a call fails."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from src_core.chat_tokenizer import ChatTokenizer, EncodeError
from src_core.errors import UserError
from src_core.llm import derive_seed
from src_core.llm_tokens import TokenModel
from src_core.protocols.base import Protocol
from src_core.protocols.search_r1 import DIALECTS
from src_core.replicas import one_piece_of_work
from src_core.types import Question, to_json
from src_infer.config import RuntimeConfig
from src_infer.documents import search_of
from src_infer.prompts import load_prompt
from src_infer.rollout import RolloutLimits, rollout
from src_infer.runtime import Runtime, make_protocol
from src_infer.search_tree import together
from src_tasks.readers.sources import read_questions
from src_train.rl.attempts import Attempt, Key, attempt_of, failed_attempt
from src_train.rl.config import RlConfig


def training_questions(config: RlConfig) -> list[Question]:
    """The questions of a run: those with gold answers, each once. Raises `UserError` without any."""
    found: dict[str, Question] = {}
    for source in config.questions:
        found |= {question.id: question for question in read_questions(source) if question.answers}
    if not found:
        raise UserError(
            "questions names no question with a gold answer, which a reward needs; "
            "add answers or name another file"
        )
    return list(found.values())


def digest_of(questions: Sequence[Question]) -> str:
    """A hash of all questions in their order; a resumed run must have the same, since it draws by place."""
    return hashlib.sha256(b"\n".join(map(to_json, questions))).hexdigest()[:16]


def questions_of(step: int, questions: Sequence[Question], *, size: int, seed: int) -> list[Question]:
    """The questions of step `step` (from 0): `size` of them, from one permutation of all questions after the
    other. Depends on its arguments only, so that a resumed run draws the same.
    """
    size = min(size, len(questions))
    chosen: list[Question] = []
    at = step * size
    while len(chosen) < size:
        epoch, offset = divmod(at + len(chosen), len(questions))
        order = list(range(len(questions)))
        random.Random(f"{seed}/{epoch}").shuffle(order)
        part = [questions[index] for index in order[offset : offset + size - len(chosen)]]
        chosen += part
    return list({question.id: question for question in chosen}.values())


def rollout_protocol(config: RuntimeConfig) -> Protocol:
    """The format of the rollouts with the prompt of its method: Search-R1's formats are asked with the
    instruction in `configs/prompts`, in the user's turn.
    """
    prompt = config.prompt
    if config.protocol in DIALECTS and not prompt.user_template:
        prompt = replace(
            prompt, system="", user_template=load_prompt(config.protocol), observation_role="user"
        )
    return make_protocol(replace(config, prompt=prompt))


class Player:
    """Plays rollouts with the weights of one version. `seed` and the place of a rollout decide its draws."""

    def __init__(
        self,
        *,
        model: TokenModel,
        protocol: Protocol,
        tokenizer: ChatTokenizer,
        runtime: Runtime,
        tokens: RolloutLimits,
        seed: int,
        version: int,
    ) -> None:
        self._model, self._protocol, self._tokenizer = model, protocol, tokenizer
        self._search, self._limits = search_of(runtime, protocol), runtime.limits
        self._tokens, self._seed, self._version = tokens, seed, version

    async def play(self, question: Question, number: int) -> Attempt:
        """One rollout; failures of servers are its status."""
        begun = time.perf_counter()
        try:
            done = await rollout(
                question,
                model=self._model,
                protocol=self._protocol,
                tokenizer=self._tokenizer,
                search=self._search,
                limits=self._limits,
                tokens=self._tokens,
                seed=derive_seed(self._seed, question.id, self._version, number),
                policy_version=self._version,
            )
        except EncodeError as error:  # half a character in a passage, a turn that the template changes
            return failed_attempt(question, str(error), number=number, policy_version=self._version)
        return attempt_of(
            done, number=number, policy_version=self._version, seconds=time.perf_counter() - begun
        )


async def play_groups(
    questions: Sequence[Question],
    player: Player,
    *,
    size: int,
    in_flight: int,
    have: Mapping[Key, Attempt],
    on_done: Callable[[Attempt], None],
) -> list[list[Attempt]]:
    """A group of `size` rollouts for each question; those of `have` are not played again. The rollouts of a
    group start one after the other and stay with one server, which finds their common prompt in its cache.
    """
    slots = asyncio.Semaphore(in_flight)

    async def one(question: Question, number: int) -> Attempt:
        known = have.get(Key(question.id, number))
        if known is not None:
            return known
        async with slots:
            attempt = await player.play(question, number)
        on_done(attempt)
        return attempt

    async def group(question: Question) -> list[Attempt]:
        with one_piece_of_work():
            return await together(*(one(question, number) for number in range(size)))

    return await together(*map(group, questions))
