"""Who plays the roles of DeepRAG: one model, or a teacher and a target model."""

from __future__ import annotations

from collections.abc import Sequence

from src_core.protocols.deeprag import INSTRUCTION, DeepRag
from src_core.protocols.records import PromptStyle, Turn
from src_core.types import Step
from src_infer.deeprag.records import RoleSettings
from src_infer.deeprag.roles import Roles
from src_infer.multi_step import Prompted, agent_policy, observation_turn, reader_policy, user_turn
from src_infer.policy import Policy
from src_infer.runtime import Runtime

QUESTION = "Question: {question}"


def student_roles(runtime: Runtime, settings: RoleSettings, *, example: bool = False) -> Roles:
    """One model, the run's agent, plays all roles with the instruction that students are trained with, and
    reads documents in its transcript; with a worked `example` for a model that was not trained.
    """
    protocol = runtime.policy.protocol
    if example:
        template = f"{INSTRUCTION}{runtime.prompt('deeprag_example')}\n\n{QUESTION}"
        protocol = DeepRag(PromptStyle(user_template=template))
    elif not isinstance(protocol, DeepRag):
        protocol = DeepRag()
    policy = agent_policy(runtime, protocol)
    return _roles(runtime, settings, proposer=policy, answerer=policy)


def teacher_roles(
    runtime: Runtime, settings: RoleSettings, *, prompt: str = "deeprag_teacher+deeprag_examples"
) -> Roles:
    """The run's reader is the teacher: it proposes sub-questions and reads documents. The agent is the
    target: it decides, answers from its own knowledge and ends. Both have the few-shot `prompt` (prompt
    files, joined by `+`) and a transcript without documents. The reading prompt has no examples, as small
    models copy them (docs/LOG.md; the release has five).
    """
    style = PromptStyle(user_template=f"{runtime.prompt(prompt)}\n{QUESTION}")
    protocol = DeepRag(style, documents=False)
    alone = Prompted(runtime.prompt("deeprag_read"), turns=_reading_turns)
    return _roles(
        runtime,
        settings,
        proposer=reader_policy(runtime, protocol),
        answerer=agent_policy(runtime, protocol),
        reader=reader_policy(runtime, alone),
    )


def _roles(
    runtime: Runtime,
    settings: RoleSettings,
    *,
    proposer: Policy,
    answerer: Policy,
    reader: Policy | None = None,
) -> Roles:
    return Roles(
        proposer, answerer, reader, runtime.retrieve, runtime.view, settings, runtime.limits.step_tries
    )


def _reading_turns(question: str, steps: Sequence[Step]) -> list[Turn]:
    return [user_turn(question), observation_turn(steps[-1].observation or "")]
