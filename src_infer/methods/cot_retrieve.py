"""CoT-Retrieve: one search with the question, then reasoning from worked examples (DeepRAG's baseline of that
name, `single-retrieval` in DRAGIN; reference deeprag.md section 12).

How we differ: see `src_infer.chain_of_thought`.
"""

from __future__ import annotations

from src_core.types import Question, Trajectory
from src_infer.chain_of_thought import answer_by_reasoning
from src_infer.runtime import Runtime


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """One search, one reasoning."""
    return await answer_by_reasoning(question, runtime, retrieve=True)
