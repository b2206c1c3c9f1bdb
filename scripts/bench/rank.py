"""What the rank of a shipped adapter costs: its validation loss when every product B·A is cut to lower ranks.

    .venv-train/bin/python scripts/bench/rank.py configs/train/smollm2-135m-cpu.yaml train=[] \
        lora.start_from=adapters/smollm2-135m 'validation=[{path: runs/X/conversations.validation.jsonl}]'

A cut keeps the largest singular values of each product (the best approximation of that rank, Eckart and
Young); rank 0 is the model without its adapter. The size is that of the float16 file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_core.chat_tokenizer import ChatTokenizer
from src_core.config import load_config
from src_core.errors import UserError, run_main
from src_models.llm_folder import llm_folder
from src_train.config import TrainConfig
from src_train.logprobs import token_logprobs
from src_train.model import load_model
from src_train.objectives import Sft
from src_train.packing import collate, join
from src_train.rows import TrainRow, read_rows
from src_train.speed import faster_precision


def main() -> None:
    """Read the command line, evaluate each rank, print."""
    if len(sys.argv) < 2 or "=" in sys.argv[1]:
        raise UserError(
            "usage: python scripts/bench/rank.py CONFIG.yaml lora.start_from=ADAPTER validation=[…]"
        )
    config = load_config(TrainConfig, Path(sys.argv[1]), sys.argv[2:])
    if config.lora is None or not config.lora.start_from:
        raise UserError("name the adapter: lora.start_from=FOLDER")
    config = replace(config, precision=faster_precision(torch.device("cpu")))
    folder = llm_folder(config.model)
    drop = config.on_long == "drop"
    rows = read_rows(
        config.validation,
        ChatTokenizer(folder),
        config.prompt,
        max_length=config.max_length,
        drop_long=drop,
        seed=config.seed,
    ).rows
    model = load_model(folder, config).eval()
    layers = list(lora_layers(model))
    table = Table(
        "rank",
        "MB",
        "loss per trained token",
        "perplexity",
        title=f"{len(rows)} rows, {config.lora.start_from}",
    )
    full = [(a.detach().clone(), b.detach().clone()) for a, b in layers]
    for rank in ranks_down_from(config.lora.rank):
        cut_to(rank, layers, full)
        loss = mean_loss(model, rows)
        size = 2 * rank * sum(a.shape[1] + b.shape[0] for a, b in layers) / 1e6
        table.add_row(str(rank), f"{size:.1f}", f"{loss:.4f}", f"{torch.tensor(loss).exp():.3f}")
    Console(width=100).print(table)


def lora_layers(model: Any) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The two matrices of each adapted layer, A (rank, in) and B (out, rank)."""
    for module in model.modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            yield module.lora_A["default"].weight, module.lora_B["default"].weight


def ranks_down_from(rank: int) -> list[int]:
    """`rank`, its halves, and 0."""
    return [rank >> by for by in range(rank.bit_length())] + [0]


def cut_to(
    rank: int,
    layers: list[tuple[torch.Tensor, torch.Tensor]],
    full: list[tuple[torch.Tensor, torch.Tensor]],
) -> None:
    """Put the best approximation of each full product into the layers; their shapes stay, the rest is 0."""
    with torch.no_grad():
        for (a, b), (full_a, full_b) in zip(layers, full, strict=True):
            q_b, r_b = torch.linalg.qr(full_b.float())
            q_a, r_a = torch.linalg.qr(full_a.float().T)
            left, values, right = torch.linalg.svd(r_b @ r_a.T)
            values[rank:] = 0
            b.copy_(q_b @ left * values)
            a.copy_(right @ q_a.T)


def mean_loss(model: Any, rows: list[TrainRow]) -> float:
    """Nats per trained token over all rows."""
    total = weight = 0.0
    for row in rows:
        batch = collate([join([row.encoded], per_sequence=False)], pad_id=0)
        inputs = {name: torch.from_numpy(value) for name, value in batch.items()}
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            made = Sft().loss(token_logprobs(model, inputs), inputs)
        total += float(made.total)
        weight += float(made.items)
    return total / weight


if __name__ == "__main__":
    run_main(main)
