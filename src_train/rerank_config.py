"""The configuration of the training of a reranker: one YAML, overridden by `key=value`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from src_core.config import AllOrCount, Count, Positive, Seed, config_class
from src_core.rundir import OnExisting

Metric = Literal["ndcg@10", "recall@2", "recall@5", "mrr"]


@config_class
class GroupFile:
    """A file of groups in FlagEmbedding's row format; `n` of its rows are drawn with the run's seed (-1:
    all).
    """

    path: str
    n: AllOrCount = -1


@config_class
class RerankConfig:
    """All settings of `python -m src_train.rerank`. The defaults are RADIO's (reference/radio_flashrag.md,
    section 1.5).

    `model`: a hub name, a folder in the hub's layout (a reranker, or an encoder, which gets a new head over
    its first token), or an encoder of `configs/models.yaml`. Of the layers, `frozen_layers` (with the
    embeddings) are not trained.

    A step trains on `batch_size` questions per device, times `accumulation`, times devices. A question has
    `group_size` passages: one positive, drawn anew in each epoch, and negatives, drawn without replacement
    (all, where a row has fewer). `in_batch_negatives` positives of other questions of the batch are added.
    `soft_weight` is the share of the KL divergence from the scores of the rows (`pos_scores`, `neg_scores`,
    divided by `soft_temperature`, through a softmax) in the loss; the rest is the cross-entropy of the
    positive. A pair has at most `max_length` tokens, of which the query gets `query_max_length`; only the
    passage is cut, as the server does it. `batch_tokens`: padded tokens of one forward pass.

    `precision`: `bf16` and `fp16` keep float32 weights and compute in half precision; `auto` is the faster of
    `bf16` and `fp32` on this device. `max_steps` 0 follows `epochs`. Every `save_steps` (and before the
    first step) the candidates of the validation rows are ranked and a checkpoint is written; the one with the
    best `metric` is the result. `patience`: evaluations without a better one before training ends (0: never).
    After `stop_after_minutes` the run ends with a checkpoint that the next run resumes (0: no limit).
    `export`: the ONNX files for the server on a CPU.
    """

    run_name: str = "reranker"
    runs_dir: str = "runs"
    on_existing: OnExisting = "resume"
    model: str = "BAAI/bge-reranker-base"
    frozen_layers: Count = 0
    train: tuple[GroupFile, ...]
    validation: tuple[GroupFile, ...] = ()
    group_size: Annotated[int, Field(ge=2)] = 7
    in_batch_negatives: Count = 0
    soft_weight: Annotated[float, Field(ge=0, le=1)] = 0.0
    soft_temperature: Annotated[float, Field(gt=0)] = 1.0
    max_length: Annotated[int, Field(ge=16)] = 512
    query_max_length: Positive = 128
    batch_size: Positive = 16
    accumulation: Positive = 4
    batch_tokens: Positive = 65_536
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "fp16"
    gradient_checkpointing: bool = False
    optimizer: str = "adamw_torch"
    learning_rate: Annotated[float, Field(gt=0)] = 6e-5
    schedule: str = "linear"
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    epochs: Annotated[float, Field(gt=0)] = 2.0
    max_steps: Count = 0
    metric: Metric = "ndcg@10"
    save_steps: Positive = 50
    keep_checkpoints: Positive = 2
    patience: Count = 0
    stop_after_minutes: Annotated[float, Field(ge=0)] = 0.0
    export: bool = True
    seed: Seed = 1
    threads: Count = 0
    trackers: tuple[str, ...] = ()
    log_steps: Positive = 10
