"""Rollouts inside verl (0.9) for several GPUs and nodes: its agent loop calls the same `rollout`, with our
protocol, retriever, masks and rewards (`scripts/rl_verl.sh`).

verl makes an object by `make_loop` for each rollout and awaits `run`. Its estimators see one reward per
token: that of each step stands at the step's last token, where `verl_estimator`, GAE, and (by their sum)
estimators on whole rollouts find it. Several sequences per rollout would share the last one's reward there,
so a format with a prompt of its own for each step does not fit (`r3rag_whole` does). Read in verl 0.9.1:
`AgentLoopOutput.as_dict` and `trainer/ppo/v1`, its default trainer; the older one (`trainer.use_v1=False`)
knows only the sum.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from src_core.chat_tokenizer import ChatTokenizer
from src_core.config import load_config
from src_core.errors import ModelError, UserError
from src_core.llm_tokens import TokenCompletion, TokenSampling
from src_core.protocols.records import Layout
from src_core.types import Usage, question_from_json
from src_infer.rollout_record import Sample
from src_infer.runtime import Runtime, open_runtime
from src_tasks.reward_judge import RewardJudge
from src_tasks.reward_rules import Scored, score
from src_train.rl.attempts import Attempt
from src_train.rl.config import RlConfig
from src_train.rl.judging import opened_judge
from src_train.rl.play import Player, rollout_protocol

LOG = logging.getLogger("src_train")
AGENT = "rollout"
"""The name of the agent loop in verl's rows and settings."""


def make_loop(*, settings: str, server_manager: Any, **_: Any) -> VerlLoop:
    """The agent loop of one rollout; `settings` is the path of the run's YAML (hydra calls this)."""
    return VerlLoop(_shared(settings), server_manager)


class Shared:
    """What all rollouts of a process share: settings, tokenizer, connections."""

    def __init__(self, config: RlConfig) -> None:
        self.config = config
        self.protocol = rollout_protocol(config.runtime)
        if self.protocol.layout is Layout.HISTORY_IN_USER_TURN:
            raise UserError(
                f"verl trains one sequence per rollout, and {self.protocol.name} has one per step; set "
                "runtime.protocol=r3rag_whole"
            )
        template = Path(config.learner.chat_template) if config.learner.chat_template else None
        self.tokenizer = ChatTokenizer(Path(config.learner.model), template=template)
        self._runtime: Runtime | None = None
        self._judge: RewardJudge | None = None
        self._opening = asyncio.Lock()

    async def runtime(self) -> Runtime:
        """Retriever and limits, connected once; they live as long as the process."""
        async with self._opening:
            if self._runtime is None:
                opened = open_runtime(self.config.runtime, needs_agent=False, needs_reader=False)
                self._runtime = await opened.__aenter__()
        return self._runtime

    async def scored(self, attempt: Attempt) -> Scored | None:
        """The rewards of a rollout, with the judge's verdicts where the run has a judge."""
        verdicts, judge = None, self.config.judge
        if judge is not None:
            async with self._opening:
                if self._judge is None:
                    self._judge = await opened_judge(judge).__aenter__()
            verdicts = await self._judge.verdicts(attempt.trajectory, self.config.reward)
        return score(attempt.trajectory, self.config.reward, verdicts)


@cache
def _shared(settings: str) -> Shared:
    return Shared(load_config(RlConfig, Path(settings)))


class VerlTokens:
    """verl's server as a `TokenModel`."""

    def __init__(self, server: Any, tokenizer: ChatTokenizer, *, request_id: str) -> None:
        self._server, self._tokenizer, self._request_id = server, tokenizer, request_id

    async def generate_tokens(self, prompt: Sequence[int], *, sampling: TokenSampling) -> TokenCompletion:
        """See `TokenModel.generate_tokens`."""
        settings: dict[str, Any] = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "logprobs": True,
            "stop": list(sampling.stop),
            "include_stop_str_in_output": True,
            "detokenize": True,  # strings to stop at are looked for in the text
        }
        found = await self._server.generate(
            request_id=self._request_id, prompt_ids=list(prompt), sampling_params=settings
        )
        if found.log_probs is None or len(found.log_probs) != len(found.token_ids):
            raise ModelError(
                "verl's server returned no log-probabilities; set rollout.calculate_log_probs=True"
            )
        ids = tuple(int(token) for token in found.token_ids)
        reason = "length" if len(ids) >= sampling.max_tokens else "stop"
        return TokenCompletion(
            ids, tuple(map(float, found.log_probs)), reason, Usage(1, len(prompt), len(ids))
        )

    async def score_tokens(
        self,
        prompt: Sequence[int],  # noqa: ARG002 - an argument of the interface
        continuation: Sequence[int],  # noqa: ARG002
    ) -> list[float]:
        """Not a part of verl's client."""
        raise ModelError("verl's server scores no continuations")


class VerlLoop:
    """One rollout."""

    def __init__(self, shared: Shared, server: Any) -> None:
        self._shared, self._server = shared, server

    async def run(self, sampling_params: Mapping[str, Any], **row: Any) -> Any:  # noqa: ARG002
        """The rollout of a row (`verl_data`), as verl's `AgentLoopOutput`; an empty list, which verl leaves
        out of the group, for a rollout that failed or has no reward.
        """
        from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics

        extra = row["extra_info"]
        question = question_from_json(extra["question"])
        number = int(row.get("session_id", 0))
        shared, config = self._shared, self._shared.config
        player = Player(
            model=VerlTokens(self._server, shared.tokenizer, request_id=f"{question.id}-{number}"),
            protocol=shared.protocol,
            tokenizer=shared.tokenizer,
            runtime=await shared.runtime(),
            tokens=config.rollout,
            seed=config.seed,
            version=0,
        )
        attempt = await player.play(question, number)
        if attempt.failed:
            LOG.warning("the rollout of %s failed: %s", question.id, attempt.trajectory.error)
        scored = None if attempt.failed or not attempt.samples else await shared.scored(attempt)
        if scored is None:
            return []
        fields = output_fields(attempt.samples[0], scored, turns=2 * len(attempt.trajectory.steps) + 1)
        return _output_class()(metrics=AgentLoopMetrics(), **fields)


def output_fields(sample: Sample, scored: Scored, *, turns: int) -> dict[str, Any]:
    """The fields of verl's output: the prompt is what stands before the first sampled token, tokens of the
    environment and those without a log-probability have mask 0. Among the extra fields, `step_ends` are the
    places in the response of the last sampled token of each step in `turn_scores`; a step without one (it did
    not fit) has that of the step before.
    """
    trainable = [int(each) for each in sample.trainable]
    begins = next(at for at, span in enumerate(sample.spans) if span.trainable)
    prompt = sum(len(span.ids) for span in sample.spans[:begins])
    mask, ends = trainable[prompt:], _step_ends(sample)
    places, place = list[int](), min(ends.values())
    for step in range(1, len(scored.steps) + 1):
        place = ends.get(step, place)
        places.append(place - prompt)
    return {
        "prompt_ids": sample.ids[:prompt],
        "response_ids": sample.ids[prompt:],
        "response_mask": mask,
        "response_logprobs": sample.logprobs[prompt:],
        "reward_score": scored.total,
        "num_turns": turns,
        "extra_fields": {"turn_scores": list(scored.steps), "tool_rewards": [], "step_ends": places},
    }


def _step_ends(sample: Sample) -> dict[int, int]:
    """By the number of a step, the place of its last token with a known probability."""
    found, at, number = dict[int, int](), 0, 0
    for span in sample.spans:
        if span.trainable:
            known = [at + offset for offset, value in enumerate(span.logprobs) if value is not None]
            if known:
                found[sample.steps[number]] = known[-1]
            number += 1
        at += len(span.ids)
    return found


@cache
def _output_class() -> Any:
    """verl's output with the reward of each step at its last token."""
    import torch
    from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

    class StepwiseOutput(AgentLoopOutput):  # type: ignore[misc]
        def as_dict(self) -> dict[str, Any]:
            made: dict[str, Any] = super().as_dict()
            rewards = torch.zeros(len(self.response_mask), dtype=torch.float32)
            for place, reward in zip(
                self.extra_fields["step_ends"], self.extra_fields["turn_scores"], strict=True
            ):
                rewards[place] += reward
            made["rm_scores"] = rewards
            return made

    return StepwiseOutput
