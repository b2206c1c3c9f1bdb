"""R3-RAG (arXiv 2505.23794): steps of an analysis and a query or the answer (reference r3rag.md, section 1).

The model is asked anew at each step, without an instruction: it has to be one that was trained for the
format. How we differ from the release: a question without an answer after the last step is answered by the
reader from the passages (there it counts as failed), and passages keep their ranks (there they are shuffled).
"""

from __future__ import annotations

from src_core.protocols.r3rag import R3Rag
from src_core.protocols.r3rag_whole import R3Whole
from src_core.types import Question, Trajectory
from src_infer.documents import search_of
from src_infer.multi_step import Evidence, agent_policy, answer_stepwise
from src_infer.runtime import Runtime

FORMATS = ("r3rag", "r3rag_whole")


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Steps until one holds an answer; in one growing turn for a model that was trained so."""
    protocol = R3Whole() if runtime.trained_format == R3Whole.name else R3Rag()

    return await answer_stepwise(
        question,
        runtime,
        writer=agent_policy(runtime, protocol),
        search=search_of(runtime, protocol),
        evidence=Evidence.PASSAGES,
    )
