"""Reinforcement learning from one YAML: `bash scripts/rl.sh CONFIG.yaml [key=value …]`.

The run directory holds `log.jsonl` (one line per step), `rollouts/` of every k-th step, `report.html`,
checkpoints, and at the end `adapter/` (or `model/`) with the tokenizer, which `infer.sh` serves. The same
command resumes the run.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from src_core.chat_tokenizer import ChatTokenizer
from src_core.config import dump, load_config
from src_core.console import Terminal
from src_core.errors import BoundaryError, UserError, run_main
from src_core.rundir import RunDir
from src_core.runfolder import run_folder
from src_core.terminal import answer
from src_core.trained_prompt import require_trained_prompt
from src_core.types import Question
from src_models.llm_folder import llm_folder
from src_models.machine import physical_cores
from src_tasks.reward_rules import rates_searches
from src_train.checkpoints import last_whole_checkpoint
from src_train.result import write_export
from src_train.rl.checkpoint import export, step_of
from src_train.rl.config import LearnerConfig, RlConfig
from src_train.rl.learner import Learner
from src_train.rl.loop import LOG, ROLLOUTS, Run
from src_train.rl.play import digest_of, rollout_protocol, training_questions
from src_train.rl.report import write_report
from src_train.run_settings import weights_digest
from src_train.speed import faster_precision

USAGE = "usage: bash scripts/rl.sh CONFIG.yaml [key=value …]"


def main(arguments: Sequence[str]) -> int:
    """Read, check, train, write the result."""
    if not arguments or "=" in arguments[0]:
        raise UserError(USAGE)
    config = load_config(RlConfig, Path(arguments[0]), arguments[1:])
    check_config(config)
    folder = run_folder(config.runs_dir, config.run_name)
    torch.set_num_threads(config.threads or physical_cores())
    disable_progress_bar()
    if config.learner.precision == "auto":
        config = replace(config, learner=replace(config.learner, precision=faster_precision(_device())))
    questions = training_questions(config)
    start = weights_digest(_start(config.learner))
    settings = {**dump(config), "questions_digest": digest_of(questions), "start_digest": start}
    run_dir = RunDir(folder, config=settings, on_existing=config.on_existing)
    try:
        train(config, questions, run_dir)
    finally:
        run_dir.close()
    return 0


def train(config: RlConfig, questions: Sequence[Question], run_dir: RunDir) -> None:
    """Train on the questions and write the result with its manifest; nothing where there is a result of as
    many steps.
    """
    folder, learner_config = run_dir.path, config.learner
    result = folder / ("model" if learner_config.lora is None else "adapter")
    last = last_whole_checkpoint(folder)
    if result.is_dir() and (last is None or step_of(last) >= config.steps):
        answer(f"{result} exists already; nothing to do")
        return
    weights, *adapter = _start(learner_config)
    for trained in (weights, *adapter):
        require_trained_prompt(trained, rollout_protocol(config.runtime))
    template = Path(learner_config.chat_template) if learner_config.chat_template else None
    tokenizer = ChatTokenizer(weights, template=template)
    learner = Learner(learner_config, config.advantage, weights, device=_device(), seed=config.seed)
    run = Run(config, questions, learner, tokenizer, folder=folder, console=Terminal(stderr=True))
    try:
        asyncio.run(run.run())
    except BoundaryError as error:
        raise UserError(
            f"a server does not answer: {error}; start it, then run the same command again to resume"
        ) from error
    finally:
        write_report(folder, log=folder / LOG, rollouts=folder / ROLLOUTS, title=config.run_name)
    if run.out_of_time:
        answer("the time limit is reached; run the same command again to resume")
    else:
        record = {
            "run": config.run_name,
            "objective": "rl",
            "prompt": dump(run.style),
            "format": config.runtime.protocol,
        }
        write_export(partial(export, learner), result, weights, record)
    run_dir.write_manifest(
        {
            "status": "stopped at the time limit" if run.out_of_time else "finished",
            "config": dump(config),
            "steps": run.done,
            "questions": len(questions),
        }
    )


def _start(learner: LearnerConfig) -> list[Path]:
    """The folder of the model that the run starts from, and that of the adapter, if there is one."""
    adapter = learner.lora.start_from if learner.lora is not None else ""
    return [llm_folder(learner.model), *([Path(adapter)] if adapter else [])]


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def check_config(config: RlConfig) -> None:
    """Check combinations of settings. Raises `UserError`."""
    learner, advantage = config.learner, config.advantage
    if learner.reference == "base" and learner.lora is None:
        raise UserError("learner.reference=base disables adapters, and this run has none; set it to start")
    if learner.lora is not None and learner.lora.dropout:
        raise UserError(
            "learner.lora.dropout would change the ratio to the sampling policy at random; set it to 0"
        )
    if advantage.name != "ppo" and config.group_size == 1:
        raise UserError(
            f"advantage.name={advantage.name} compares rollouts of one question, and group_size is 1; raise "
            "group_size, or take ppo"
        )
    if rates_searches(config.reward) and config.judge is None:
        raise UserError("reward.relevance=judge needs a judge; set judge.endpoint.url")
    if advantage.kl_coef and advantage.name != "ppo":
        raise UserError("advantage.kl_coef is for ppo; set learner.policy.kl_coef for a KL term in the loss")
    if config.serving.kind == "embedded" and config.rollout.max_tokens > config.serving.context:
        raise UserError(
            f"a rollout may have {config.rollout.max_tokens} tokens, and a slot of the embedded server holds "
            f"{config.serving.context}; raise serving.context or lower rollout.max_tokens"
        )
    if config.rollout.temperature != 1.0 or config.rollout.top_p != 1.0:
        raise UserError(
            "rollout.temperature and rollout.top_p must be 1: log-probabilities are those of the whole "
            "distribution, and other samples would be off-policy"
        )


if __name__ == "__main__":
    run_main(lambda: main(sys.argv[1:]))
