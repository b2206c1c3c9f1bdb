"""TRL's GRPO losses and gradients on one case: `tests/data/trl_grpo.json`, which the suite compares with.

    pip install --no-deps --target /tmp/trl trl==1.16.0
    PYTHONPATH=/tmp/trl .venv-test-train/bin/python -m tests.helpers_trl_grpo      # writes the file

As `helpers_trl`; the rollouts have two turns each, between them tokens of the environment.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.helpers_trl import _tokenizer, gradient_sums, tiny_model

STORED = Path("tests/data/trl_grpo.json")
KL = 0.3
PROMPTS = ([5, 9, 11, 30], [5, 9, 11, 30], [7, 2], [7, 2])
COMPLETIONS = ([12, 13, 40, 41, 42, 14, 3], [15, 40, 43, 16, 17, 3], [20, 44, 21, 3], [22, 23, 45, 46, 47, 3])
MASKS = ([1, 1, 0, 0, 0, 1, 1], [1, 0, 0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0, 0, 1])
ADVANTAGES = (0.7, -0.7, 1.2, -1.2)
SHIFTS = (0.3, -0.4, 0.05, 0.0)
"""What the old log-probabilities differ by from the model's: two beyond the clip range."""
LOSSES = ("grpo", "bnpo")
"""Normalised per sequence, and per token."""


def trl_grpo(loss: str, kl: float) -> dict[str, Any]:
    """TRL's loss and gradients for all rollouts in one batch."""
    import torch
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    with tempfile.TemporaryDirectory() as folder:
        settings = GRPOConfig(
            output_dir=folder,
            beta=0.0,
            loss_type=loss,
            epsilon=0.2,
            use_bias_correction_kl=False,  # KL as in DeepSeek-R1: not multiplied by the ratio
            num_generations=2,
            per_device_train_batch_size=4,
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_dropout=True,
        )
        model = tiny_model(1)
        trainer = GRPOTrainer(
            model=model,
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=settings,
            train_dataset=Dataset.from_list([{"prompt": "a"}] * 4),
            processing_class=_tokenizer(),
        )
        trainer.current_gradient_accumulation_steps = 1
        batch = _batch()
        known = _logprobs(trainer, batch)
        model.load_state_dict(tiny_model(2).state_dict())
        batch["ref_per_token_logps"] = _logprobs(trainer, batch)
        model.load_state_dict(tiny_model(1).state_dict())
        batch["old_per_token_logps"] = known - torch.tensor(SHIFTS)[:, None]
        trainer.beta = kl
        model.zero_grad()
        total = trainer._compute_loss(model, batch)
        total.backward()
        return {"loss": float(total.detach()), "gradients": gradient_sums(model)}


def _logprobs(trainer: Any, batch: dict[str, Any]) -> Any:
    """Those of the trainer's model, which it has changed to compute them in chunks."""
    import torch

    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    with torch.no_grad():
        found = trainer._get_per_token_logps_and_entropies(
            trainer.model, ids, mask, batch["completion_ids"].size(1)
        )
    return found[0]


def _batch() -> dict[str, Any]:
    import torch

    def padded(rows: Any, *, left: bool) -> tuple[Any, Any]:
        longest = max(map(len, rows))
        ids = torch.zeros((len(rows), longest), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for at, row in enumerate(rows):
            place = slice(longest - len(row), None) if left else slice(0, len(row))
            ids[at, place], mask[at, place] = torch.tensor(row), 1
        return ids, mask

    prompt, prompt_mask = padded(PROMPTS, left=True)
    ids, mask = padded(COMPLETIONS, left=False)
    tool, _ = padded(MASKS, left=False)
    return {
        "prompt_ids": prompt,
        "prompt_mask": prompt_mask,
        "completion_ids": ids,
        "completion_mask": mask,
        "tool_mask": tool,
        "advantages": torch.tensor(ADVANTAGES),
    }


def main() -> None:
    """Write the stored values."""
    import trl

    values = {f"{loss}, KL {kl}": trl_grpo(loss, kl) for loss in LOSSES for kl in (0.0, KL)}
    STORED.write_text(json.dumps({"trl": trl.__version__, "values": values}, indent=1) + "\n")


if __name__ == "__main__":
    main()
