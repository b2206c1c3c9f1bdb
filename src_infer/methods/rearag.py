"""ReaRAG: the Thought-Action-Observation loop; the answer is that of its finish action, or with
answer_from=reader a short one that the reader writes (paper v3, P_ans).

How we differ from the release (reference section 8): the question is always answered, also at T_max, over
budget or after malformed replies; with `answer_from: reader` the `finish` argument is the fallback when the
reader's answer is empty.
"""

from __future__ import annotations

from src_core.types import Question, Trajectory
from src_infer.multi_step import answer_stepwise
from src_infer.runtime import Runtime


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """One episode and its final answer."""
    return await answer_stepwise(
        question,
        runtime,
        writer=runtime.policy,
        search=runtime.rag.observe,
        answer_from=runtime.answer_from,
    )
