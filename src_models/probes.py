"""Linear probes on a hidden state, as UAR publishes them (arXiv 2406.12534): one `.pth` file each, with a
matrix `score.weight` (2, width). Only tensors are read from a file; nothing in it is run.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from src_core.errors import UserError

if TYPE_CHECKING:  # a package that most runs do not need
    import numpy as np
    import numpy.typing as npt

WEIGHT = "score.weight"


@lru_cache(maxsize=4)
def open_probes(folder: Path, names: tuple[str, ...]) -> Probes:
    """The probes `NAME_cls*.pth` below `folder`. Raises `UserError` where one is missing, doubled or
    broken.
    """
    return Probes(folder, {name: _weight(folder, name) for name in names})


class Probes:
    """Probes by name; each matrix is (2, width) float32."""

    def __init__(self, folder: Path, weights: dict[str, npt.NDArray[np.float32]]) -> None:
        self._folder = folder
        self._weights = weights

    def scores(self, state: npt.NDArray[np.float32]) -> dict[str, float]:
        """The probability of class 0 by each probe for a hidden state (width,). Raises `UserError` where the
        widths differ, and where the product is no number.
        """
        found = {}
        for name, weight in self._weights.items():
            if weight.shape[1] != state.shape[0]:
                raise UserError(
                    f"the probe {name} in {self._folder} reads states of width {weight.shape[1]}, the model "
                    f"has {state.shape[0]}; set method_settings.model to the model of the probes"
                )
            first, second = (float(value) for value in weight @ state)
            if not (math.isfinite(first) and math.isfinite(second)):
                raise UserError(
                    f"the probe {name} in {self._folder} computes no number; use the model that it was "
                    "trained with, or fetch the probe again"
                )
            found[name] = 1 / (1 + math.exp(max(-700.0, min(700.0, second - first))))
        return found


def _weight(folder: Path, name: str) -> npt.NDArray[np.float32]:
    import torch

    files = sorted(folder.rglob(f"{name}_cls*.pth")) if folder.is_dir() else []
    if len(files) != 1:
        raise UserError(
            f"{folder} has {len(files)} files {name}_cls*.pth, not one; set method_settings.probes to a "
            "folder with the probes of one model"
        )
    try:
        stored = torch.load(files[0], map_location="cpu", weights_only=True)
        weight: npt.NDArray[np.float32] = stored[WEIGHT].float().numpy()
    except Exception as error:  # the package raises many kinds for a broken or hostile file
        raise UserError(f"{files[0]} is not a probe; fetch it again") from error
    if weight.ndim != 2 or weight.shape[0] != 2:
        raise UserError(f"{files[0]} holds {WEIGHT} of shape {weight.shape}, not (2, width); fetch it again")
    return weight
