"""The loop: questions, rollouts, rewards, advantages, update, checkpoint, new weights to the server.

What a step needs to be repeated is on disk before it is used: the rollouts as they end, then the checkpoint.
A run that was killed goes on with the next batch of the same questions, and with the rollouts of that batch
that were played already.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console

from src_core.chat_tokenizer import ChatTokenizer
from src_core.errors import UserError
from src_core.jsonl import JsonlWriter, drop_torn_tail, read_jsonl, rewrite_jsonl
from src_core.progress import StepProgress
from src_core.served import Servers
from src_core.types import Question
from src_infer.documents import has_documents
from src_infer.rag_engine import ObservationMode
from src_infer.runtime import Runtime, open_runtime
from src_tasks.reward_judge import RewardJudge
from src_tasks.reward_rules import Verdicts, score
from src_train.checkpoints import last_whole_checkpoint
from src_train.rl.attempts import Attempt, Key, attempt_json, read_attempts, train_rows
from src_train.rl.checkpoint import restore, save, step_of
from src_train.rl.config import Guards, RlConfig
from src_train.rl.credit import Group, Played, kept_groups, trained_part, with_advantages
from src_train.rl.judging import opened_judge
from src_train.rl.learner import Learner
from src_train.rl.play import Player, play_groups, questions_of, rollout_protocol
from src_train.rl.serving import Serving, make_serving
from src_train.rl.step_log import judge_facts, step_facts

LOG = "log.jsonl"
ROLLOUTS = "rollouts"
_STEP = "step-{:06d}.jsonl"


class Run:
    """One run in its folder."""

    def __init__(
        self,
        config: RlConfig,
        questions: Sequence[Question],
        learner: Learner,
        tokenizer: ChatTokenizer,
        *,
        folder: Path,
        console: Console,
    ) -> None:
        self.config, self.questions = config, questions
        self.learner, self.tokenizer = learner, tokenizer
        self.folder, self._console = folder, console
        self.done = 0
        self.out_of_time = False
        self._judge: RewardJudge | None = None
        self._protocol = rollout_protocol(config.runtime)
        self.style = self._protocol.style
        self._servers = Servers(strict=config.on_existing != "resume_anyway")
        self._begun = time.monotonic()

    async def run(self) -> None:
        """All steps from the last checkpoint on."""
        self._resume()
        async with AsyncExitStack() as opened:
            runtime = await opened.enter_async_context(self._runtime())
            self._servers.bind(
                self.folder,
                ways_out="take another run_name, or go on all the same with on_existing=resume_anyway",
                has_rows=(self.folder / LOG).is_file() or (self.folder / ROLLOUTS).is_dir(),
            )
            if self.config.judge is not None:
                self._judge = await opened.enter_async_context(opened_judge(self.config.judge))
            serving = make_serving(self.config, self.learner, self.tokenizer, folder=self.folder)
            opened.push_async_callback(serving.close)
            progress = opened.enter_context(
                StepProgress(self._console, unit="steps", total=self.config.steps, done=self.done)
            )
            while self.done < self.config.steps and not self.out_of_time:
                facts = await self.step(runtime, serving)
                progress.update(self.done, note=_note(facts))
                minutes = (time.monotonic() - self._begun) / 60
                limit = self.config.stop_after_minutes
                self.out_of_time = bool(limit) and minutes > limit and self.done < self.config.steps

    async def step(self, runtime: Runtime, serving: Serving) -> dict[str, Any]:
        """One step. Returns its line of the log."""
        number, begun = self.done + 1, time.perf_counter()
        await serving.publish(self.done)
        published = time.perf_counter()
        groups = await self._play(number, runtime, serving)
        played = time.perf_counter()
        verdicts = await self._verdicts(groups)
        scored = [self._scored(group, verdicts) for group in groups]
        kept = kept_groups(scored, self.config.advantage)
        facts = step_facts(groups, scored, len(kept)) | judge_facts(groups, verdicts)
        check_rollouts(facts, self.config.guards)
        facts |= self._train(kept)
        check_update(facts, self.config.guards)
        trained = time.perf_counter()
        self.done = number
        facts |= {
            "seconds_weights": round(published - begun, 3),
            "seconds_rollouts": round(played - published, 3),
            "seconds_update": round(trained - played, 3),
        }
        line = {"step": number, "questions": [group[0].key.question_id for group in groups], **facts}
        with JsonlWriter(
            self.folder / LOG
        ) as log:  # before the checkpoint: a resumed run drops what is later
            log.write(orjson.dumps(line))
        if number % self.config.save_steps == 0 or number == self.config.steps:
            self._save()
        return line

    async def _play(self, number: int, runtime: Runtime, serving: Serving) -> list[list[Attempt]]:
        """The rollouts of step `number`, the missing ones played now."""
        config = self.config
        path = self._rollouts(number)
        player = Player(
            model=serving.model,
            protocol=self._protocol,
            tokenizer=self.tokenizer,
            runtime=runtime,
            tokens=config.rollout,
            seed=config.seed,
            version=self.done,
        )
        chosen = questions_of(self.done, self.questions, size=config.questions_per_step, seed=config.seed)
        have = read_attempts(path, policy_version=self.done)
        total = len(chosen) * config.group_size
        progress = StepProgress(self._console, unit=f"rollouts of step {number}", total=total)
        with JsonlWriter(path, durable=False) as file, progress:
            progress.skip(len(have))

            def keep(attempt: Attempt) -> None:
                if not attempt.failed:
                    file.write(attempt_json(attempt))
                progress.advance()

            return await play_groups(
                chosen,
                player,
                size=config.group_size,
                in_flight=config.runtime.in_flight,
                have=have,
                on_done=keep,
            )

    async def _verdicts(self, groups: Sequence[Sequence[Attempt]]) -> dict[Key, Verdicts]:
        """What the judge says of each rollout; nothing without one."""
        judge = self._judge
        if judge is None:
            return {}
        asked = [attempt for group in groups for attempt in group if not attempt.failed]
        found = await asyncio.gather(*(judge.verdicts(each.trajectory, self.config.reward) for each in asked))
        return {attempt.key: verdicts for attempt, verdicts in zip(asked, found, strict=True)}

    def _scored(self, group: Sequence[Attempt], verdicts: Mapping[Key, Verdicts]) -> Group:
        """The rollouts of a group that have a reward and tokens to train on."""
        made = []
        for attempt in group:
            known = verdicts.get(attempt.key)
            found = None if attempt.failed else score(attempt.trajectory, self.config.reward, known)
            if found is not None and attempt.samples:
                file = self._rollouts(self.done + 1)
                rows = train_rows(attempt, self.tokenizer.vocabulary, file=file)
                made.append(Played(attempt, found, rows))
        return made

    def _rollouts(self, number: int) -> Path:
        """The file of the rollouts of step `number`."""
        return self.folder / ROLLOUTS / _STEP.format(number)

    def _files(self) -> list[tuple[Path, int]]:
        """The files of rollouts that are there, with the number of their step."""
        paths = (self.folder / ROLLOUTS).glob("step-*.jsonl")
        return [(path, int(path.stem.rpartition("-")[2])) for path in paths]

    def _train(self, kept: Sequence[Group]) -> dict[str, float]:
        """Update the weights; without any group to learn from they stay."""
        if not kept:
            return {"updates": 0.0}
        kept = [trained_part(group, self.config.advantage.trained_per_group) for group in kept]
        flat = [played for group in kept for played in group]
        known = iter(self.learner.annotate([row for played in flat for row in played.rows]))
        annotated = [
            [played._replace(rows=[next(known) for _ in played.rows]) for played in group] for group in kept
        ]
        rows = with_advantages(annotated, self.config.advantage)
        figures = self.learner.update(rows)
        return figures | {"trained_tokens": float(sum(len(row.encoded.ids) for row in rows))}

    def _runtime(self) -> Any:
        """Retriever, and the reader where observations are its answers; the agent is this run's own."""
        config = self.config.runtime
        reads = config.observation_mode is not ObservationMode.PASSAGES and not has_documents(self._protocol)
        return open_runtime(
            config, needs_agent=False, needs_reader=reads, section="runtime.", servers=self._servers
        )

    def _resume(self) -> None:
        """Weights of the last checkpoint, the log up to it, and the rollouts that these weights played: those
        of later steps are of weights that were not saved.
        """
        found = last_whole_checkpoint(self.folder)
        if found is not None:
            restore(self.learner, found)
            self.done = step_of(found)
        for path, number in self._files():
            if number > self.done + 1:
                path.unlink()
        log = self.folder / LOG
        if log.is_file():
            drop_torn_tail(log)
            lines = [orjson.dumps(line) for line in read_jsonl(log) if line["step"] <= self.done]
            rewrite_jsonl(log, iter(lines))

    def _save(self) -> None:
        """A checkpoint; the oldest ones, and the rollouts of steps that are not to be shown, are removed."""
        save(self.learner, self.folder / f"checkpoint-{self.done}")
        numbered = sorted(self.folder.glob("checkpoint-*"), key=step_of)
        for old in numbered[: -self.config.keep_checkpoints]:
            shutil.rmtree(old)
        for path, number in self._files():
            if number <= self.done and number % self.config.keep_every and number != 1:
                path.unlink()


def check_rollouts(facts: dict[str, Any], guards: Guards) -> None:
    """Raises `UserError` where a step's rollouts are not worth training on."""
    total = max(facts["rollouts"], 1)
    if facts["failed"] / total > guards.max_failed:
        raise UserError(
            f"{facts['failed']} of {total} rollouts failed, the first with: {facts['first_error']}; correct "
            "that, then run the same command again (guards.max_failed)"
        )
    if facts["without_reward"] / total > guards.max_unrated:
        raise UserError(
            f"{facts['without_reward']} of {total} rollouts have no reward, more than "
            f"guards.max_unrated={guards.max_unrated:g}: the judge gave no rating that can be read "
            "(judge_unrated), or rollout.max_tokens leaves no room for a reply; take another judge, or more "
            "tokens"
        )
    for name, limit, advice in (
        ("cut", guards.max_cut, "raise rollout.max_tokens or runtime.limits.t_max"),
        ("malformed", guards.max_malformed, "train the format by supervised fine-tuning first"),
    ):
        if facts[name] is not None and facts[name] > limit:
            raise UserError(
                f"{facts[name]:.0%} of the rollouts are {name}, more than guards.max_{name}={limit:g}; "
                f"{advice}"
            )
    if facts["valid_steps"] < guards.min_valid_steps:
        raise UserError(
            f"{facts['valid_steps']:.0%} of the replies are steps without a repair, fewer than "
            f"guards.min_valid_steps={guards.min_valid_steps:g}; raise reward.format.fix or "
            "learner.policy.kl_coef, or lower learner.learning_rate"
        )


def check_update(facts: dict[str, Any], guards: Guards) -> None:
    """Raises `UserError` where the weights have moved too far, before they are saved."""
    if guards.max_kl and facts.get("kl", 0.0) > guards.max_kl:
        raise UserError(
            f"the KL divergence from the reference is {facts['kl']:.3g}, more than "
            f"guards.max_kl={guards.max_kl:g}; lower learner.learning_rate or raise learner.policy.kl_coef, "
            "and go on from the last checkpoint with on_existing=resume_anyway"
        )
    if guards.max_mismatch and facts.get("mismatch", 0.0) > guards.max_mismatch:
        raise UserError(
            f"the server's log-probabilities differ from the learner's by {facts['mismatch']:.3g} per token, "
            f"more than guards.max_mismatch={guards.max_mismatch:g}; serve the same weights in the same "
            "precision"
        )


def _note(facts: dict[str, Any]) -> str:
    shown = (
        ("reward", "reward"),
        ("outcome", "outcome"),
        ("searches", "searches"),
        ("malformed", "malformed"),
    )
    parts = [f"{label} {facts[name]:.3f}" for name, label in shown if facts.get(name) is not None]
    return ", ".join(parts)
