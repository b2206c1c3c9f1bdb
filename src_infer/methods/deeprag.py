"""DeepRAG: sub-questions, each answered from the model's own knowledge or after a search (Guan et al. 2025,
arXiv 2502.01142; reference deeprag.md, section 10).

A model that was trained for the format gets the instruction of its training; another one gets the same with a
worked example, so that prompt and decision rule alone answer. `limits.t_max` counts sub-questions (the
release: 6 on HotpotQA, else 10); at a limit the final line is asked for. How we differ from the release: see
`deeprag.roles`; a question whose final line cannot be read is answered by the reader from the passages.

`provenance["decisions"]` has a row for each sub-question that was decided: its step `n`, `chosen` (`search`
or `direct`), the log-probabilities `search` and `direct` of the two (null where they were not computed), and
`no_info` where the documents held no answer. `src_infer.retrieval_budget` reads them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from src_core.config import config_class
from src_core.errors import BoundaryError, ContextFullError
from src_core.types import Question, Search, Status, Step, Trajectory
from src_infer.deeprag.players import student_roles, teacher_roles
from src_infer.deeprag.records import Decision, RoleSettings, says_nothing
from src_infer.deeprag.roles import Roles
from src_infer.episode import Episode, Ledger, Node, failure_status, run_steps
from src_infer.multi_step import Evidence, answer_episode, with_notes
from src_infer.runtime import Runtime

FORMATS = ("deeprag",)
UNTRAINED = "answers with prompt and decision rule alone: no model that was trained for it is given"


@config_class
class Settings(RoleSettings):
    """`prompt`: the instruction of trained models (`student`), the same with a worked example (`example`), or
    a teacher that proposes and reads (`teacher`: the run's reader). `auto` is `student` for a model that was
    trained for the format, else `example`.
    """

    prompt: Literal["auto", "student", "example", "teacher"] = "auto"


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Sub-questions until the model ends."""
    settings: Settings = runtime.settings
    trained = runtime.trained_format in FORMATS
    prompt = ("student" if trained else "example") if settings.prompt == "auto" else settings.prompt
    if prompt == "teacher":
        roles = teacher_roles(runtime, settings)
    else:
        roles = student_roles(runtime, settings, example=prompt == "example")
    if settings.decision == "auto" and roles.rule == "generate":
        runtime.news.note_once(
            "deeprag: the model writes its decisions, since its server or settings do not let tokens be "
            "scored (docs/serving.md, token routes)"
        )
    play = _Play(question, runtime, roles)
    row = await answer_episode(question, runtime, play.episode(), evidence=Evidence.PASSAGES)
    return with_notes(row, decisions=play.decisions, decision_rule=roles.rule, prompt=prompt)


@dataclass(slots=True)
class _Play:
    """One question, and the decisions on its way."""

    question: Question
    runtime: Runtime
    roles: Roles
    decisions: list[dict[str, Any]] = field(default_factory=list)

    async def episode(self) -> Episode:
        """The steps, and the final line also where a limit or malformed replies ended them."""
        played = await run_steps(
            self.question.question, next_step=self._next, limits=self.runtime.limits, on_step=self._show
        )
        if played.status is Status.FINISHED or played.status.retryable:
            return played
        ledger = Ledger(played.usage, list(played.malformed))
        node = played.node
        try:
            step = await self.roles.finish(node, ledger=ledger)
            if step is not None:
                node = node.child(step)
                self._show(step)
        except ContextFullError:
            pass  # the reader answers from the passages
        except BoundaryError as failure:
            played = replace(played, status=failure_status(failure), error=str(failure))
        return replace(played, node=node, usage=ledger.usage, malformed=tuple(ledger.malformed))

    async def _next(self, node: Node, ledger: Ledger) -> Step | None:
        begun = time.perf_counter()
        proposal = await self.roles.propose(node, ledger=ledger)
        if proposal is None:
            return None
        decision = Decision(searches=False)
        if not proposal.sub_question:
            step = await self.roles.finish(node, ledger=ledger, proposal=proposal)
        else:
            step = self.roles.repeat(node, proposal.sub_question)
            if step is None:
                decision = await self.roles.decide(node, proposal.sub_question, ledger=ledger)
                step = await self._decided(node, proposal.sub_question, decision, ledger)
        if step is None:
            return None
        return replace(
            step,
            reply=f"{proposal.reply}\n{step.reply}" if step.reply else proposal.reply,
            parse_failures=proposal.failures + step.parse_failures,
            usage=proposal.usage + decision.usage + step.usage,
            seconds=time.perf_counter() - begun,
        )

    async def _decided(
        self, node: Node, sub_question: str, decision: Decision, ledger: Ledger
    ) -> Step | None:
        """The step that a decision leads to, with the decision on record."""
        roles, n = self.roles, len(node.steps) + 1
        record: dict[str, Any] = {"n": n, "search": decision.search, "direct": decision.direct}
        if not decision.searches:
            self.decisions.append({**record, "chosen": "direct"})
            return await roles.answer_directly(node, sub_question, ledger=ledger, written=decision.written)
        if self.runtime.on_draft:
            self.runtime.on_draft(self.question, Step(n, "", Search(sub_question)))
        step = await roles.answer_after_search(node, sub_question, ledger=ledger)
        no_info = says_nothing(step)
        self.decisions.append({**record, "chosen": "search", **({"no_info": True} if no_info else {})})
        if no_info and roles.settings.no_info == "direct":
            return await roles.answer_anyway(node, step, ledger=ledger)
        return step

    def _show(self, step: Step) -> None:
        if self.runtime.on_step:
            self.runtime.on_step(self.question, step)
