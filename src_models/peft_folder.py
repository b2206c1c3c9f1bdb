"""A LoRA adapter as peft saves it: `adapter_config.json` beside `adapter_model.safetensors`.

Only plain LoRA (arXiv 2106.09685: W + scale * B A) is read, with peft's patterns of rank and alpha and the
rank-stabilised scale; other methods, which no server can apply at run time, are refused by name. This module
needs neither torch nor peft.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from src_core.errors import UserError
from src_core.json_file import read_object
from src_models.safetensors_file import Stored, StoredTensor, open_safetensors

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
COPY = ".base_layer.weight"
"""peft adds a copy of the base's matrix where the embeddings or the output matrix are adapted."""
MORE_THAN_LORA = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "alora_invocation_tokens",
    "layer_replication",
    "target_parameters",
    "use_bdlora",
    "use_qalora",
    "arrow_config",
    "kasa_config",
    "fan_in_fan_out",
)
MOST_ALPHA = 1e9
REPEATED_GROUP = re.compile(r"\)[*+?{]")
PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Values of `init_lora_weights` that do not change the base; PiSSA, OLoRA, CorDA and LoftQ change it."""


class LoraPair(NamedTuple):
    """The two matrices of one module: `a` [rank, in], `b` [out, rank]; the module gains `scale` * b a."""

    a: StoredTensor
    b: StoredTensor
    scale: float

    @property
    def rank(self) -> int:
        """Width of the bottleneck."""
        return self.a.shape[0]


@dataclass(frozen=True)
class PeftAdapter:
    """One adapter: `pairs` by module name (`model.layers.0.self_attn.q_proj`), and its base model."""

    folder: Path
    alpha: float
    pairs: Mapping[str, LoraPair]
    base: str

    @property
    def rank(self) -> int:
        """The largest rank of its modules."""
        return max(pair.rank for pair in self.pairs.values())


def is_peft_folder(path: Path) -> bool:
    """Whether `path` is a folder that peft wrote."""
    return (path / CONFIG).is_file()


def read_peft(folder: Path) -> PeftAdapter:
    """The adapter in `folder`. Raises `UserError` when a file is missing or damaged, or it is not plain
    LoRA."""
    if not is_peft_folder(folder):
        raise UserError(f"{folder} has no {CONFIG}; give the folder of an adapter")
    config = read_object(folder / CONFIG, advice="copy or train the adapter again")
    _require_plain(config, folder)
    stored = open_safetensors(folder / WEIGHTS)
    modules = sorted({_module(name, folder) for name in stored if not name.endswith(COPY)})
    if not modules:
        raise UserError(f"{folder / WEIGHTS} holds no tensors; copy or train the adapter again")
    pairs = {module: _pair(module, stored, config=config, folder=folder) for module in modules}
    base = str(config.get("base_model_name_or_path") or "")
    return PeftAdapter(folder, _alpha(config["lora_alpha"], folder), pairs, base)


def require_fit(adapter: PeftAdapter, weights: Stored, *, model: str) -> None:
    """Raise a `UserError` when a module of the adapter is not in `weights` (tensors of a hub folder), or is
    there in another size."""
    for module, pair in adapter.pairs.items():
        found = weights.get(f"{module}.weight")
        wanted = (pair.b.shape[0], pair.a.shape[1])
        if found is None or found.shape != wanted:
            there = "lacks it" if found is None else f"has it with {' x '.join(map(str, found.shape))}"
            raise UserError(
                f"the adapter {adapter.folder} does not fit {model}: it changes {module} of "
                f"{wanted[0]} x {wanted[1]}, the model {there}; serve its own model, "
                f"{adapter.base or 'another'}"
            )


def _require_plain(config: dict[str, Any], folder: Path) -> None:
    if config.get("peft_type") != "LORA" or "lora_alpha" not in config:
        raise UserError(
            f"{folder / CONFIG} does not describe a LoRA adapter; give one, others cannot be served"
        )
    beyond = [key for key in MORE_THAN_LORA if config.get(key)]
    beyond += ["bias"] if config.get("bias", "none") != "none" else []
    start = config.get("init_lora_weights")
    beyond += ["init_lora_weights"] if isinstance(start, str) and start.lower() not in PLAIN_STARTS else []
    if beyond:
        raise UserError(
            f"{folder} is more than plain LoRA ({', '.join(beyond)} in {CONFIG}); train it without these"
        )


def _module(name: str, folder: Path) -> str:
    match = TENSOR.fullmatch(name)
    if match is None:
        raise UserError(
            f"{folder / WEIGHTS} holds {name}, only lora_A and lora_B are supported; train a "
            "plain LoRA adapter"
        )
    return match[1]


def _pair(module: str, stored: Stored, *, config: dict[str, Any], folder: Path) -> LoraPair:
    both = [stored.get(f"base_model.model.{module}.lora_{side}.weight") for side in "AB"]
    a, b = both
    if a is None or b is None or len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        raise UserError(
            f"{folder / WEIGHTS}: lora_A and lora_B of {module} do not belong together; "
            "copy or train the adapter again"
        )
    alpha = _alpha(_for_module(config.get("alpha_pattern"), module, config["lora_alpha"], folder), folder)
    rank = a.shape[0]
    if rank == 0:
        raise UserError(f"{folder / WEIGHTS}: {module} has rank 0; train the adapter with a rank from 1 on")
    return LoraPair(a, b, alpha / (math.sqrt(rank) if config.get("use_rslora") else rank))


def _alpha(value: Any, folder: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < MOST_ALPHA:
        raise UserError(f"{folder / CONFIG} has the alpha {value!r:.40}, which is no number; correct it")
    return float(value)


def _for_module(patterns: Any, module: str, default: Any, folder: Path) -> Any:
    """peft's rule: the first pattern that matches the end of the module's name from a dot on."""
    for pattern, value in (patterns if isinstance(patterns, dict) else {}).items():
        try:
            if REPEATED_GROUP.search(pattern):  # such a pattern may take for ever to match
                raise re.error("a group is repeated")
            found = re.fullmatch(rf"(.*\.)?({pattern})", module)
        except re.error as error:
            raise UserError(
                f"{folder / CONFIG} has the alpha_pattern {pattern!r:.80}, which cannot be used ({error}); "
                "name the modules instead"
            ) from error
        if found:
            return value
    return default
