"""transformers' `Trainer` with checkpoints that survive a kill, for the trainers of language models and of
rerankers: a checkpoint counts once it was written to its end; a run that was killed after its last step takes
no other one; a full disk and a foreign checkpoint are one sentence each.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from safetensors import SafetensorError
from transformers import EarlyStoppingCallback, Trainer

from src_core.errors import UserError
from src_train.checkpoints import WHOLE, last_whole_checkpoint
from src_train.progress import TrainingProgress
from src_train.train_metrics import TrainingLog


class ResumableTrainer(Trainer):
    """See the module. `on_batch` is called with the tokens of each training batch of this device,
    `on_validation` with the batches done and their number.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_batch: Callable[[int], None] | None = None
        self.on_validation: Callable[[int, int], None] | None = None

    def _run_epoch(self, *, epoch: int, **kwargs: Any) -> Any:
        """Nothing where the checkpoint is that of the last step: the library looks for the end only after a
        step, and would take one more.
        """
        patience = self._early_stopping()
        patience_is_over = (
            patience is not None
            and patience.early_stopping_patience_counter >= patience.early_stopping_patience
        )
        if self.state.global_step >= self.state.max_steps or patience_is_over:
            self.control.should_training_stop = True
            return None
        return super()._run_epoch(epoch=epoch, **kwargs)

    def _load_callback_state(self) -> None:
        """The evaluations without a better one count on in a resumed run. The library would restore the
        patience itself as well, which is a setting.
        """
        patience = self._early_stopping()
        stored = self.state.stateful_callbacks.get(EarlyStoppingCallback.__name__)
        if patience is not None and stored is not None:
            patience.early_stopping_patience_counter = stored["attributes"]["early_stopping_patience_counter"]

    def _early_stopping(self) -> EarlyStoppingCallback | None:
        callbacks = self.callback_handler.callbacks
        return next((found for found in callbacks if isinstance(found, EarlyStoppingCallback)), None)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as error:
            if _is_full_disk(error):
                raise UserError(
                    f"no space for a checkpoint in {self.args.output_dir}: {error}; free some and run the"
                    " same command again, which resumes from the last whole checkpoint"
                ) from error
            raise
        if self.args.should_save:
            (Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}" / WHOLE).touch()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        try:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"{resume_from_checkpoint} is not a checkpoint of this model: {reason}; remove it to resume"
                " from the one before, or take another run_name"
            ) from error


def run_steps(trainer: ResumableTrainer, log: TrainingLog, path: Path, *, console: Console) -> None:
    """Train from the last complete checkpoint under `path`, else from the beginning."""
    progress = TrainingProgress(log, console=console)
    trainer.add_callback(progress)
    trainer.on_validation = progress.on_validation
    checkpoint = last_whole_checkpoint(path)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        progress.stop()


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_SIGNS = (
    *(f"os error {number}" for number in _FULL),
    *("No space left", "File too large", "PytorchStreamWriter failed", "file write failed"),
)


def _is_full_disk(error: Exception) -> bool:
    """Whether the disk is full: torch reports a failed write, safetensors another text."""
    return getattr(error, "errno", None) in _FULL or any(sign in str(error) for sign in _FULL_SIGNS)
