"""The configuration of a training run: one YAML under `configs/train/`, overridden by `key=value`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from src_core.config import Seed, config_class
from src_core.conversations import PUBLISHED
from src_core.protocols.records import PromptStyle
from src_core.rundir import OnExisting

Positive = Annotated[int, Field(ge=1)]


@config_class
class DataFile:
    """A file of training rows: conversations (`conversations.train.jsonl`, a published ReaRAG file),
    preference pairs or rollouts, according to the objective. `n` of its rows are drawn with the run's seed
    (-1: all); of conversations only those with at least `min_searches` observations. `format` is the format
    of rows without one, such as published conversations; a format in a file of the user's is named by path.
    """

    path: str
    format: str = PUBLISHED
    n: Annotated[int, Field(ge=-1)] = -1
    min_searches: Annotated[int, Field(ge=0)] = 0


@config_class
class LoraConfig:
    """Low-rank adapters instead of all weights (`peft`). `targets`: names of linear layers, or `all-linear`.
    `start_from`: the folder of an adapter of the same model, rank and targets, from which training starts.
    """

    rank: Positive = 16
    alpha: Positive = 32
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    start_from: str = ""


@config_class
class DpoConfig:
    """Preference pairs (`losses.dpo_loss`). `beta`: the strength of the constraint to the reference.
    `length_normalised`: log-probabilities per token instead of their sum (always so for `ipo`).
    `label_smoothing`: assumed share of pairs whose sides are swapped.
    """

    beta: Annotated[float, Field(gt=0)] = 0.1
    variant: Literal["sigmoid", "ipo"] = "sigmoid"
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    length_normalised: bool = False


@config_class
class PolicyConfig:
    """Policy gradient (`losses.policy_loss`): the ratio to the sampling policy is clipped to 1 - `clip_low`
    … 1 + `clip_high`; `kl_coef` weighs the KL divergence from the reference (0: no reference is needed).
    """

    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    clip_high: Annotated[float, Field(gt=0)] = 0.2
    kl_coef: Annotated[float, Field(ge=0)] = 0.0


@config_class
class TrainConfig:
    """All settings of `bash scripts/train.sh`.

    `objective`: `sft` trains on conversations by cross-entropy, `dpo` on preference pairs (`pairs`), `policy`
    on rollouts with advantages (`rollouts`). `reference`, for `dpo` and a KL divergence: `start` is the model
    at the start of the run (with the adapter of `lora.start_from`), `base` the model with its adapters
    disabled.

    `model`: a folder in the hub's layout, a hub name, or a name of `configs/models.yaml`, whose GGUF is then
    converted to bf16. `chat_template`: a Jinja file for models whose tokenizer has none. `prompt` must be the
    prompt of inference. `max_length`: rows with more tokens are dropped and listed, or end the run
    (`on_long`).

    A sequence holds as many rows as fit in `pack_length` tokens (0: one row, batched by length); the two
    sides of a pair are always in one sequence. A step trains on `batch_size` sequences per device, times
    `accumulation`, times devices. `loss` `token`: every trained token has the same weight; `sequence`: every
    row has (LongAlign, reference section 7.1). `loss_chunk`: number of trained tokens whose logits are in
    memory at once (0: all). `attention`: `packed`, each row separately (see `attention`), or a name in
    transformers: `sdpa`, `flash_attention_2`, `eager`.

    `precision`: `bf16` keeps float32 weights and computes in bf16, `bf16_weights` keeps weights in bf16 too
    (with an 8-bit optimiser or adapters), `fp32`; `auto` is the faster of `bf16` and `fp32` on this device (a
    processor without bf16 instructions emulates them, 50 times slower). `max_steps` 0 follows `epochs`,
    with more of them where they hold fewer than `min_steps`: a handful of rows is one step an epoch.
    `eval_steps` and `save_steps` are optimiser steps. `patience`: evaluations without a better validation
    loss before training ends (0: never). after `stop_after_minutes` the run ends with a checkpoint that the
    next run resumes (0: no limit).
    """

    objective: Literal["sft", "dpo", "policy"] = "sft"
    dpo: DpoConfig = DpoConfig()
    policy: PolicyConfig = PolicyConfig()
    reference: Literal["start", "base"] = "start"
    run_name: str = "sft"
    runs_dir: str = "runs"
    on_existing: OnExisting = "resume"
    model: str
    chat_template: str = ""
    prompt: PromptStyle = PromptStyle()
    train: tuple[DataFile, ...]
    validation: tuple[DataFile, ...] = ()
    max_length: Positive = 2048
    on_long: Literal["fail", "drop"] = "fail"
    pack_length: Annotated[int, Field(ge=0)] = 2048
    batch_size: Positive = 1
    accumulation: Positive = 8
    loss: Literal["token", "sequence"] = "token"
    loss_chunk: Annotated[int, Field(ge=0)] = 1024
    lora: LoraConfig | None = None
    precision: Literal["auto", "bf16", "bf16_weights", "fp32"] = "bf16"
    gradient_checkpointing: bool = False
    attention: str = "packed"
    optimizer: str = "adamw_torch"
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    schedule: str = "cosine"
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.03
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.95
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    epochs: Annotated[float, Field(gt=0)] = 2.0
    max_steps: Annotated[int, Field(ge=0)] = 0
    min_steps: Annotated[int, Field(ge=0)] = 0
    eval_steps: Positive = 50
    save_steps: Positive = 50
    keep_checkpoints: Positive = 2
    patience: Annotated[int, Field(ge=0)] = 0
    stop_after_minutes: Annotated[float, Field(ge=0)] = 0.0
    seed: Seed = 1
    threads: Annotated[int, Field(ge=0)] = 0
    fsdp: bool = False
    trackers: tuple[str, ...] = ()
    log_steps: Positive = 1
