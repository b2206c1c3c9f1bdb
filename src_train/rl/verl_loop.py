"""Rollouts inside verl (0.9) for several GPUs and nodes: its agent loop calls the same `rollout`, with our
protocol, retriever, masks and rewards (`scripts/rl_verl.sh`).

verl makes an object by `make_loop` for each rollout and awaits `run`. It trains one sequence per rollout, so
a format with a prompt of its own for each step does not fit (`r3rag_whole` does). Its estimators get the
reward of the whole rollout at the last token; the rewards of the steps are in `extra_fields` for the log,
since `register_adv_est` of 0.9.1 passes them to no estimator of ours.
"""

from __future__ import annotations

import asyncio
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
from src_tasks.reward_rules import Scored, score
from src_train.rl.config import RlConfig
from src_train.rl.play import Player, rollout_protocol

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
        self._opening = asyncio.Lock()

    async def runtime(self) -> Runtime:
        """Retriever and limits, connected once; they live as long as the process."""
        async with self._opening:
            if self._runtime is None:
                opened = open_runtime(self.config.runtime, needs_agent=False, needs_reader=False)
                self._runtime = await opened.__aenter__()
        return self._runtime


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
        """The rollout of a row (`verl_data`), as verl's `AgentLoopOutput`."""
        from verl.experimental.agent_loop.agent_loop import AgentLoopMetrics, AgentLoopOutput

        extra = row["extra_info"]
        question = question_from_json(extra["question"])
        number = int(row.get("priority", 0))
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
        if attempt.failed or not attempt.samples:
            raise ModelError(f"the rollout of {question.id} failed: {attempt.trajectory.error}")
        scored = score(attempt.trajectory, config.reward)
        fields = output_fields(attempt.samples[0], scored, turns=2 * len(attempt.trajectory.steps) + 1)
        return AgentLoopOutput(metrics=AgentLoopMetrics(), **fields)


def output_fields(sample: Sample, scored: Scored | None, *, turns: int) -> dict[str, Any]:
    """The fields of verl's output: the prompt is what stands before the first sampled token, tokens of the
    environment and those without a log-probability have mask 0. A rollout without a reward has mask 0
    everywhere, and so no part in the loss.
    """
    trainable = [int(each) for each in sample.trainable]
    begins = next(at for at, span in enumerate(sample.spans) if span.trainable)
    prompt = sum(len(span.ids) for span in sample.spans[:begins])
    rewards = list(scored.steps) if scored else []
    return {
        "prompt_ids": sample.ids[:prompt],
        "response_ids": sample.ids[prompt:],
        "response_mask": trainable[prompt:] if scored else [0] * (len(sample.ids) - prompt),
        "response_logprobs": sample.logprobs[prompt:],
        "reward_score": scored.total if scored else 0.0,
        "num_turns": turns,
        "extra_fields": {"turn_scores": rewards, "tool_rewards": [], "steps": list(sample.steps)},
    }
