"""Training speed on this machine: packed against padded batches of the same rows, packed rows kept apart by
cutting against a mask, against TRL's SFTTrainer, and the memory of the chunked loss.

    .venv-train/bin/python scripts/bench/sft.py [key=value ...]     (TRL: pip install --no-deps trl into
    .venv-train first)

Each variant runs in a separate process, on the same rows for the same number of optimiser steps; tokens per
second count real tokens, not padding. The rows are synthetic trajectories with lengths drawn from a lognormal
distribution.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_core.chat_tokenizer import Encoded
from src_core.config import config_class, dump, load_config
from src_train.packing import collate, join, pack

VARIANTS = ("packed", "masked", "padded", "trl", "plain_loss")


@config_class
class Settings:
    """`layers`, `width`: a Llama of random weights with SmolLM2-135M's vocabulary. `batch`: rows per step;
    the packed variant trains on the same rows in as many packs as they fill.
    """

    layers: int = 8
    width: int = 384
    vocabulary: int = 49152
    rows: int = 96
    batch: Annotated[int, Field(ge=1)] = 16
    mean_tokens: int = 300
    spread: float = 0.6
    longest: int = 1024
    trained: float = 0.3
    threads: int = 2
    variant: str = ""
    bf16: bool = True


def rows_of(settings: Settings) -> list[Encoded]:
    """Random ids; lengths lognormal, a share of the tokens trained."""
    draw = np.random.default_rng(1)
    center = np.log(settings.mean_tokens) - settings.spread**2 / 2
    lengths = draw.lognormal(center, settings.spread, settings.rows).astype(int).clip(16, settings.longest)
    return [
        Encoded(
            draw.integers(10, settings.vocabulary, size=length).astype(np.int32),
            draw.random(length) < settings.trained,
        )
        for length in lengths
    ]


def measure(settings: Settings) -> dict[str, float]:
    """Seconds and peak memory of one variant over all rows once, after one warm-up step."""
    import torch

    torch.set_num_threads(settings.threads)
    torch.manual_seed(0)
    rows = rows_of(settings)
    seconds = (_trl if settings.variant == "trl" else _ours)(settings, rows)
    from src_train.speed import peak_memory

    tokens = sum(len(row.ids) for row in rows)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return {"tokens_per_second": tokens / seconds, "peak_mib": peak_memory(device) / 2**20}


def model_of(settings: Settings) -> Any:
    """The random Llama."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from src_train.attention import PACKED

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=settings.vocabulary,
            hidden_size=settings.width,
            intermediate_size=settings.width * 8 // 3,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.width // 64,
            num_key_value_heads=settings.width // 64,
            max_position_embeddings=settings.longest * 4,
            tie_word_embeddings=True,
            use_cache=False,
            attn_implementation=PACKED if settings.variant in ("packed", "plain_loss") else "sdpa",
        )
    )


def _ours(settings: Settings, rows: list[Encoded]) -> float:
    import torch

    from src_train.logprobs import return_logprobs, token_logprobs
    from src_train.objectives import Sft

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = model_of(settings).to(device).train()
    return_logprobs(model, chunk=0 if settings.variant == "plain_loss" else 256)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    batches = [_batch(rows[at : at + settings.batch], settings) for at in range(0, len(rows), settings.batch)]
    began = 0.0
    for number, batch in enumerate([batches[0], *batches]):
        if number == 1:
            began = time.perf_counter()
        inputs = {key: torch.from_numpy(value).to(device) for key, value in batch.items()}
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.bf16):
            made = Sft().loss(token_logprobs(model, inputs), inputs)
            loss = made.total / made.items
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        float(loss.detach())
    return time.perf_counter() - began


def _batch(rows: list[Encoded], settings: Settings) -> dict[str, Any]:
    """The rows of a step as packs, or one row per sequence, padded to the longest."""
    lengths = [len(row.ids) for row in rows]
    packs = (
        [[at] for at in range(len(rows))] if settings.variant == "padded" else pack(lengths, settings.longest)
    )
    return collate([join([rows[at] for at in one], per_sequence=False) for one in packs], pad_id=0)


def _trl(settings: Settings, rows: list[Encoded]) -> float:
    """TRL's trainer on the same ids and labels, padded batches (its packing needs its own data format)."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    made = Dataset.from_list(
        [
            {"input_ids": row.ids.tolist(), "labels": np.where(row.trainable, row.ids, -100).tolist()}
            for row in [*rows[: settings.batch], *rows]
        ]
    )
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=settings.batch,
            max_length=None,
            num_train_epochs=1,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            bf16=settings.bf16,
            use_cpu=not torch.cuda.is_available(),  # otherwise bf16 is refused
            gradient_checkpointing=False,
            train_sampling_strategy="sequential",
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        trainer = SFTTrainer(
            model=model_of(settings), args=config, train_dataset=made, processing_class=_tokenizer()
        )
        trainer.add_callback(_clock(times))
        trainer.train()
    return times[-1] - times[0]


def _clock(times: list[float]) -> Any:
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        """The time at the end of every step."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(time.perf_counter())

    return Clock()


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 1}, unk_token="<pad>"))
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<eos>")


def main() -> None:
    """All variants, each in its own process, and one table."""
    settings = load_config(Settings, None, sys.argv[1:])
    if settings.variant:
        print(json.dumps(measure(settings)))
        return
    variants = [name for name in VARIANTS if name != "trl" or importlib.util.find_spec("trl")]
    given = [f"{key}={value}" for key, value in dump(settings).items() if key != "variant"]
    results = {}
    for variant in variants:
        done = subprocess.run(
            [sys.executable, __file__, *given, f"variant={variant}"],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{variant} failed:\n{done.stderr[-2000:]}")
        results[variant] = json.loads(done.stdout.splitlines()[-1])
    table = Table("variant", "real tokens/s", "of padded", "peak MiB")
    for variant, result in results.items():
        share = result["tokens_per_second"] / results["padded"]["tokens_per_second"]
        table.add_row(
            variant, f"{result['tokens_per_second']:,.0f}", f"{share:.2f}x", f"{result['peak_mib']:,.0f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
