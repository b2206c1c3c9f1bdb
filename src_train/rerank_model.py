"""The model that becomes a reranker: its folder, its weights, and the head that a plain encoder gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from src_core.errors import UserError
from src_models.convert.encoder_to_hf import hub_copy
from src_models.hub import snapshot

_HEAD = ("classifier.", "pooler.", "bert.pooler.", "roberta.pooler.", "score.")
"""The weights that an encoder may lack: they are drawn anew."""


def base_folder(name: str) -> Path:
    """The folder of `model`: the folder itself, the hub's copy of that name, or an encoder of the catalogue
    in the hub's layout. Raises `UserError` when none is found.
    """
    folder = Path(name)
    if (folder / "config.json").is_file():
        return folder
    if folder.exists():
        raise UserError(f"{name} has no config.json; give a folder as the hub lays it out")
    return snapshot(name) if "/" in name else hub_copy(name)


def load_cross_encoder(folder: Path, *, frozen_layers: int) -> Any:
    """A sequence classifier with one label in float32, in training mode; an encoder's gets a new head. The
    embeddings and the first `frozen_layers` layers are not trained where that is above 0. Raises `UserError`
    for a folder that cannot be loaded.
    """
    from transformers import AutoModelForSequenceClassification

    try:
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            str(folder), num_labels=1, dtype=torch.float32, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"cannot load {folder}: {reason}; give a reranker with one label or an encoder, with whole files"
        ) from error
    lacking = sorted(name for name in loaded["missing_keys"] if not name.startswith(_HEAD))
    if lacking:
        raise UserError(f"{folder} lacks the weights {lacking[0]}; check that its files are whole")
    if frozen_layers:
        _freeze(model, frozen_layers)
    return model.train()


def _freeze(model: Any, count: int) -> None:
    body = model.base_model
    layers = body.encoder.layer
    if count > len(layers):
        raise UserError(f"frozen_layers is {count}, the model has {len(layers)} layers; take a smaller one")
    for part in (body.embeddings, *layers[:count]):
        for weight in part.parameters():
            weight.requires_grad_(False)
