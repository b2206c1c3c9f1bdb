"""TRL's DPO losses and gradients on one small case: `tests/data/trl_dpo.json`, which the suite compares with.

    pip install --no-deps --target /tmp/trl trl==1.16.0      # no torch, no CUDA: it takes what is installed
    PYTHONPATH=/tmp/trl .venv-test-train/bin/python -m tests.helpers_trl      # writes the file

TRL is no requirement of the tests: its dependencies include torch, which the usual environment does not have.
The model's weights come from numpy's frozen generator, so that the case is the same with every torch.
"""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

STORED = Path("tests/data/trl_dpo.json")
VOCABULARY, WIDTH, BETA = 61, 16, 0.3
PROMPTS = ([5, 9, 11, 30], [7, 2], [40, 41, 42, 43, 44, 45])
CHOSEN = ([12, 13, 14, 3], [20, 21, 3], [50, 3])
REJECTED = ([15, 16, 3], [20, 22, 23, 24, 3], [51, 52, 53, 3])
LOSSES = {
    "sigmoid": {"variant": "sigmoid"},
    "sigmoid_norm": {"variant": "sigmoid", "length_normalised": True},
    "ipo": {"variant": "ipo"},
    # With one pair in a batch, TRL's "aot" is the sigmoid loss with label smoothing.
    "aot": {"variant": "sigmoid", "label_smoothing": 0.1},
}
"""TRL's name of a loss, and our settings for it."""


def tiny_model(seed: int, *, attention: str = "sdpa") -> Any:
    """A two-layer Llama whose float32 weights come from numpy's frozen generator. Needs torch."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        attn_implementation=attention,
    )
    model = LlamaForCausalLM(config)
    draw = np.random.RandomState(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            values = draw.standard_normal(tuple(weight.shape)) * 0.3 + ("norm" in name)
            weight.copy_(torch.from_numpy(values.astype(np.float32)))
    return model


def gradient_sums(model: Any) -> dict[str, list[float]]:
    """Of each parameter's gradient: its norm, and its product with a fixed vector."""
    found = {}
    for name, weight in sorted(model.named_parameters()):
        values = weight.grad.double().flatten().numpy()
        fixed = np.random.RandomState(len(name)).standard_normal(len(values))
        found[name] = [float(np.linalg.norm(values)), float(values @ fixed)]
    return found


def trl_dpo(loss: str, pairs: list[int]) -> dict[str, Any]:
    """TRL's loss and gradients for the pairs with these numbers, in one batch."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    rows = [
        {"prompt_ids": PROMPTS[at], "chosen_ids": CHOSEN[at], "rejected_ids": REJECTED[at]} for at in pairs
    ]
    with tempfile.TemporaryDirectory() as folder:
        settings = DPOConfig(
            output_dir=folder,
            beta=BETA,
            loss_type=[loss],
            label_smoothing=LOSSES[loss].get("label_smoothing", 0.0),
            per_device_train_batch_size=len(rows),
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            remove_unused_columns=False,
            max_length=None,
            disable_dropout=True,
        )
        trainer = DPOTrainer(
            model=tiny_model(1),
            ref_model=tiny_model(2),
            args=settings,
            train_dataset=Dataset.from_list(
                [{"prompt": "a", "chosen": "b", "rejected": "c"} for _ in rows]  # tokenised, and not used
            ),
            processing_class=_tokenizer(),
        )
        batch = trainer.data_collator(copy.deepcopy(rows))
        total = trainer.compute_loss(trainer.model, batch)
        total.backward()
        return {"loss": float(total.detach()), "gradients": gradient_sums(trainer.model)}


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1, "a": 2, "b": 3, "c": 4}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")


def main() -> None:
    """Write the stored values."""
    import trl

    values = {
        loss: {
            str(pairs): trl_dpo(loss, pairs) for pairs in ([[0], [1], [2]] if loss == "aot" else [[0, 1, 2]])
        }
        for loss in LOSSES
    }
    STORED.write_text(json.dumps({"trl": trl.__version__, "values": values}, indent=1) + "\n")


if __name__ == "__main__":
    main()
