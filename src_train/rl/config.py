"""The configuration of reinforcement learning: one YAML, overridden by `key=value` (`bash scripts/rl.sh`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from src_core.config import Count, InFlight, NotNegative, Port, Positive, Seconds, Seed, config_class
from src_core.rundir import OnExisting
from src_infer.config import RuntimeConfig
from src_infer.rollout import RolloutLimits
from src_tasks.readers.sources import SourceSetting
from src_tasks.reward_judge import RewardJudgeConfig
from src_tasks.reward_rules import RewardConfig
from src_train.config import LoraConfig, PolicyConfig

Share = Annotated[float, Field(ge=0, le=1)]


@config_class
class ServingConfig:
    """Where rollouts are sampled, and how new weights get there. `kind`:

    - `local`: the model that is trained samples by itself, `slots` rollouts at once; no server.
    - `embedded`: the embedded llama.cpp server, started by the run on `port` with `slots` slots of `context`
      tokens. It cannot load an adapter while it runs, so each version is a new process (a second or two for a
      small model). `gguf` is the model in GGUF or a name of `configs/models.yaml` ("": the model that is
      trained). With `merged` the adapter is put into the weights, stored in that type, which takes seconds
      for a small model: 500 tokens of passages and a reply of 40 then cost SmolLM2-135M 3.2 s of CPU in q8_0,
      and 5.2 s as published (Q4_1) with the adapter beside it (docs/benchmarks/engines.csv). `bf16` is the
      learner's arithmetic, and faster than q8_0 with an engine that was built for a processor with bf16
      instructions (scripts/native_engine.sh, docs/rl.md).
    - `vllm`: a running vLLM at `runtime.agent.url` with `--enable-lora` and
      VLLM_ALLOW_RUNTIME_LORA_UPDATING=True; each version of the adapter is loaded from the run directory
      under a name of its own.
    - `fixed`: whatever `runtime.agent` names, which never gets new weights (tests, or a look at rewards).
    """

    kind: Literal["local", "embedded", "vllm", "fixed"] = "local"
    slots: InFlight = 16
    port: Port = 9896
    context: Positive = 4096
    threads: Count = 0
    gguf: str = ""
    merged: Literal["", "q8_0", "q4_0", "iq4_nl", "bf16"] = ""
    start_seconds: Seconds = 300.0


@config_class
class AdvantageConfig:
    """How rewards become advantages (`advantages`). `name`: `grpo`, `dr_grpo` (without the standard
    deviation), `rloo`, `reinforce_pp`, `step` (each step its return from there on, against the other rollouts
    of the group), or `ppo` (value head and GAE over tokens).

    `drop_equal_groups` leaves groups out whose rewards are all equal. `trained_per_group` trains only on so
    many rollouts of each group, those whose rewards differ most, against the baseline of all (0: all of
    them): where an update takes longer than the rollouts, as on a CPU. `gamma` and `lam` are for `step` and
    `ppo`. Of `ppo`: `across_steps` lets the return of a step reach the steps before it; without it each step
    is a sequence of its own, as in R3-RAG. `kl_coef` subtracts the KL divergence from the reference from the
    reward of each token (the log-ratio, R3-RAG: 0.01), besides `policy.kl_coef` in the loss. `whiten`:
    advantages of a step have mean 0 and standard deviation 1 over its tokens.
    """

    name: Literal["grpo", "dr_grpo", "rloo", "reinforce_pp", "step", "ppo"] = "grpo"
    drop_equal_groups: bool = True
    trained_per_group: Count = 0
    gamma: Annotated[float, Field(gt=0, le=1)] = 1.0
    lam: Share = 1.0
    across_steps: bool = True
    kl_coef: NotNegative = 0.0
    whiten: bool = True


@config_class
class ValueConfig:
    """The value head of `ppo`: a linear layer on the policy's last hidden states, whose loss is added with
    the weight `coef` and reaches the shared layers (R3-RAG has a second model instead).
    """

    coef: NotNegative = 0.1
    clip: Annotated[float, Field(gt=0)] = 0.2
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3


@config_class
class LearnerConfig:
    """The model and its updates. `model`, `lora`, `precision`, `attention`, `loss`, `loss_chunk`, `reference`
    and `policy` as in `TrainConfig`; all weights are trained without `lora`.

    A batch of rollouts is split into `minibatches` optimiser steps, `epochs` times; `pack_length` tokens go
    through the model at once. `old_logprobs`: the denominator of the ratio is what the server reported, or
    what the learner computes before its first update (`learner`). There the difference between the two is
    corrected by a weight of at most `sampler_cap` per token (0: not corrected). The rate rises over the first
    `warmup_updates` and then stays.
    """

    model: str
    chat_template: str = ""
    lora: LoraConfig | None = LoraConfig()
    precision: Literal["auto", "bf16", "bf16_weights", "fp32"] = "auto"
    attention: str = "packed"
    gradient_checkpointing: bool = False
    loss_chunk: Count = 1024
    pack_length: Positive = 4096
    loss: Literal["token", "sequence"] = "token"
    minibatches: Positive = 1
    epochs: Positive = 1
    policy: PolicyConfig = PolicyConfig()
    value: ValueConfig = ValueConfig()
    reference: Literal["start", "base"] = "start"
    old_logprobs: Literal["server", "learner"] = "server"
    sampler_cap: NotNegative = 2.0
    learning_rate: Annotated[float, Field(gt=0)] = 1e-5
    warmup_updates: Count = 0
    weight_decay: NotNegative = 0.0
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.95
    max_grad_norm: NotNegative = 1.0


@config_class
class Guards:
    """When a run stops with a sentence instead of training on: more than this share of failed rollouts, of
    rollouts without a reward (the judge gave no verdict), of rollouts that were cut off, or of malformed
    ones; fewer replies than `min_valid_steps` that were a step without a repair (the format degrades
    before the answers do, docs/LOG.md); a KL divergence from the reference, or between learner and server,
    above a number (0: not checked).
    """

    max_failed: Share = 0.5
    max_unrated: Share = 0.5
    max_cut: Share = 0.9
    max_malformed: Share = 1.0
    min_valid_steps: Share = 0.0
    max_kl: NotNegative = 0.0
    max_mismatch: NotNegative = 1.0


@config_class
class RlConfig:
    """All settings of `bash scripts/rl.sh`.

    A step draws `questions_per_step` questions from `questions` (files of any layout that the readers know;
    only questions with gold answers), plays `group_size` rollouts of each, `runtime.in_flight` at once, and
    updates the weights. `runtime` holds protocol, prompt, retriever, limits and passages as in `infer.sh`; of
    `runtime.limits`, `step_tries` 1 trains on malformed replies instead of replacing them. `rollout` bounds
    the tokens of a reply and of a sample.

    `judge` is the model that rates searches where `reward.relevance` is `judge`, and answers with
    `judge.answers`.

    Every `keep_every`-th step keeps its rollouts under `rollouts/`, and they are shown in `report.html`.
    Checkpoints are written after every `save_steps` steps; the same command goes on from the last one, with
    the rollouts that were already played. `stop_after_minutes` ends the run at the next step (0: no limit).
    """

    run_name: str = "rl"
    runs_dir: str = "runs"
    on_existing: OnExisting = "resume"
    learner: LearnerConfig
    serving: ServingConfig = ServingConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    rollout: RolloutLimits = RolloutLimits()
    questions: tuple[SourceSetting, ...]
    steps: Positive = 40
    questions_per_step: Positive = 16
    group_size: Positive = 4
    reward: RewardConfig = RewardConfig()
    judge: RewardJudgeConfig | None = None
    advantage: AdvantageConfig = AdvantageConfig()
    guards: Guards = Guards()
    keep_every: Positive = 10
    save_steps: Positive = 1
    keep_checkpoints: Positive = 2
    seed: Seed = 1
    threads: Count = 0
    stop_after_minutes: NotNegative = 0.0
