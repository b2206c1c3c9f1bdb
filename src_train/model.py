"""The model to train: its folder, its weights in the precision of the run, and its adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from src_core.errors import UserError
from src_models.peft_folder import read_peft
from src_train.config import LoraConfig
from src_train.logprobs import return_logprobs


class ModelSettings(Protocol):
    """The settings that loading a model reads, of training and of reinforcement learning."""

    @property
    def lora(self) -> LoraConfig | None:
        """Adapters, None for all weights."""

    @property
    def precision(self) -> str:
        """`bf16`, `bf16_weights` or `fp32`."""

    @property
    def attention(self) -> str:
        """The implementation in transformers."""

    @property
    def loss_chunk(self) -> int:
        """Trained tokens whose logits are in memory at once."""


def load_model(folder: Path, config: ModelSettings) -> Any:
    """The model for `trainer.PackedTrainer`: in training mode, after `return_logprobs`, with the adapters of
    the run. Raises `UserError` for a folder that cannot be loaded.
    """
    dtype = torch.bfloat16 if config.precision == "bf16_weights" or _frozen(config) else torch.float32
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation=config.attention
        )
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"cannot load {folder}: {reason}; check that its files are whole") from error
    model.config.use_cache = False
    return_logprobs(model, chunk=config.loss_chunk)
    if config.lora is not None:
        model = _with_adapters(model, config.lora)
    return model.train()


def halve_adapter(file: Path) -> None:
    """Store an adapter's weights in float16: half the size, and the precision of servers."""
    weights = load_file(file)
    halved = {name: weight.to(torch.float16).contiguous() for name, weight in weights.items()}
    save_file(halved, file, metadata={"format": "pt"})


def _frozen(config: ModelSettings) -> bool:
    """Whether the base weights are not trained and can therefore be stored in bf16."""
    return config.lora is not None and config.precision != "fp32"


def _with_adapters(model: Any, lora: LoraConfig) -> Any:
    from peft import LoraConfig as PeftLora
    from peft import get_peft_model

    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    settings = PeftLora(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
    )
    try:
        adapted = get_peft_model(model, settings)
    except ValueError as error:
        raise UserError(
            f"lora.targets={lora.targets!r} does not fit this model: {error}; name layers that it has"
        ) from error
    if lora.start_from:
        _load_adapter(adapted, Path(lora.start_from))
    return adapted


def _load_adapter(model: Any, folder: Path) -> None:
    """Load the weights of an adapter into the model's adapter. Raises `UserError` unless both have the same
    parameters.
    """
    from peft import set_peft_model_state_dict

    file, ours = folder / "adapter_model.safetensors", model.peft_config["default"]
    if not file.is_file():
        raise UserError(f"lora.start_from={folder} has no {file.name}; give the folder that training wrote")
    theirs = read_peft(folder)
    if (theirs.rank, theirs.alpha) != (ours.r, ours.lora_alpha):
        raise UserError(f"{folder} has rank {theirs.rank}, alpha {theirs.alpha:g}: set lora.rank, lora.alpha")
    try:
        loaded = set_peft_model_state_dict(model, load_file(file))
    except RuntimeError as error:  # shapes
        raise UserError(
            f"{folder} does not fit this model and rank: {str(error)[:200]}; set model and "
            "lora.rank to its own"
        ) from error
    missing = [key for key in loaded.missing_keys if "lora_" in key]
    if missing or loaded.unexpected_keys:
        raise UserError(
            f"{folder} was trained on other layers: {[*missing, *loaded.unexpected_keys][:2]}; "
            "set lora.targets to "
            "its own"
        )
