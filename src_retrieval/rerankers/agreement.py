"""How closely the ONNX files of a cross-encoder follow its weights in torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from src_retrieval.encoders.base import Device
from src_retrieval.rerankers import load_reranker
from src_retrieval.rerankers.base import Pair, RerankOptions, RerankPrecision
from src_retrieval.results import FloatArray


def agreement_with_torch(options: RerankOptions, probe: Sequence[Pair]) -> dict[str, dict[str, float]]:
    """For each precision of the ONNX files: the rank correlation (Spearman) with torch's scores of the same
    pairs, and the largest absolute difference of a score.
    """
    on_cpu = replace(options, device=Device.CPU)
    exact = load_reranker(replace(on_cpu, precision=RerankPrecision.TORCH)).score(probe)
    found = {}
    for precision in (RerankPrecision.FP32, RerankPrecision.INT8):
        scores = load_reranker(replace(on_cpu, precision=precision)).score(probe)
        found[str(precision)] = {
            "rank_correlation": rank_correlation(exact, scores),
            "max_difference": float(np.abs(exact - scores).max()),
        }
    return found


def rank_correlation(left: FloatArray, right: FloatArray) -> float:
    """Spearman's coefficient; equal values share the mean of their ranks. 1.0 where all values of both sides
    are equal, 0.0 where only those of one side are.
    """
    ranks = [_ranks(side) - (len(side) - 1) / 2 for side in (left, right)]
    norms = [float(np.sqrt((side**2).sum())) for side in ranks]
    if 0.0 in norms:
        return float(norms[0] == norms[1])
    return float(ranks[0] @ ranks[1]) / (norms[0] * norms[1])


def _ranks(values: FloatArray) -> NDArray[np.float64]:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean_ranks = (2 * ends - counts - 1) / 2
    found: NDArray[np.float64] = mean_ranks[group]
    return found
