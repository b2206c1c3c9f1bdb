"""CoT: reasoning from worked examples, without a search (Wei et al. 2022, arXiv 2201.11903; DRAGIN's
`non-retrieval`, reference deeprag.md section 12).

How we differ: see `src_infer.chain_of_thought`.
"""

from __future__ import annotations

from src_core.types import Question, Trajectory
from src_infer.chain_of_thought import answer_by_reasoning
from src_infer.runtime import Runtime

NEEDS_SEARCH = False


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """One reasoning, and a call for its answer where it states none."""
    return await answer_by_reasoning(question, runtime, retrieve=False)
