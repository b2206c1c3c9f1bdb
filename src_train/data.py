"""The data of a run: the files of its configuration, read and encoded for its objective."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console

from src_core.chat_tokenizer import ChatTokenizer
from src_core.errors import UserError
from src_core.progress import PLAIN_EVERY, StepProgress
from src_train.config import DataFile, TrainConfig
from src_train.pairs import read_pairs
from src_train.rollouts import read_rollouts
from src_train.rows import Rows, read_rows

SIDES_OF_A_PAIR = 2


class Data(NamedTuple):
    """The training and validation rows of a run."""

    train: Rows
    validation: Rows | None


def read_data(
    config: TrainConfig, encoder: ChatTokenizer, *, console: Console, every: float = PLAIN_EVERY
) -> Data:
    """All rows, encoded, with the number of rows read on `console` every `every` seconds. Raises `UserError`
    for rows that cannot be trained on; see `rows`, `pairs` and `rollouts`.
    """
    train = _read(
        config, config.train, encoder, StepProgress(console, unit="rows read", total=None, every=every)
    )
    if not config.validation:
        return Data(train, None)
    progress = StepProgress(console, unit="validation rows read", total=None, every=every)
    return Data(train, _read(config, config.validation, encoder, progress))


def _read(
    config: TrainConfig, files: Sequence[DataFile], encoder: ChatTokenizer, progress: StepProgress
) -> Rows:
    drop = config.on_long == "drop"
    with progress:
        if config.objective == "policy":
            return read_rollouts(
                files,
                encoder.vocabulary,
                max_length=config.max_length,
                drop_long=drop,
                seed=config.seed,
                on_row=progress.advance,
            )
        read = read_pairs if config.objective == "dpo" else read_rows
        return read(
            files,
            encoder,
            config.prompt,
            max_length=config.max_length,
            drop_long=drop,
            seed=config.seed,
            on_row=progress.advance,
        )


def check_config(config: TrainConfig) -> None:
    """Check combinations of settings. Raises `UserError`."""
    together = SIDES_OF_A_PAIR if config.objective == "dpo" else 1
    if config.pack_length and config.pack_length < together * config.max_length:
        raise UserError(
            f"pack_length={config.pack_length} is below max_length={config.max_length}"
            + (" times two (the sides of a pair are packed together)" if together > 1 else "")
            + "; raise it or lower max_length"
        )
    if config.objective == "dpo" and config.loss == "sequence":
        raise UserError("loss=sequence has no meaning for dpo, where each pair counts once; remove it")
    if config.objective != "sft" and any(file.min_searches for file in (*config.train, *config.validation)):
        raise UserError(
            f"min_searches is not for objective={config.objective}, only for conversations; remove it"
        )
    if config.reference == "base" and config.lora is None:
        raise UserError("reference=base disables adapters, and this run has none; set reference=start")
    if config.validation and config.save_steps % config.eval_steps:
        raise UserError("save_steps must be a multiple of eval_steps, so that the best checkpoint is on disk")
    if config.patience and not config.validation:
        raise UserError("patience needs validation files; name some under validation, or remove patience")
    if (
        config.precision == "bf16_weights"
        and config.lora is None
        and config.optimizer.startswith("adamw_torch")
    ):
        raise UserError(
            "precision=bf16_weights with plain AdamW loses small updates to rounding; take an 8-bit optimiser"
            " (optimizer=adamw_bnb_8bit), adapters (lora) or precision=bf16"
        )
