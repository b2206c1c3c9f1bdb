"""R3-RAG (arXiv 2505.23794): steps of an analysis and a query or the answer (reference r3rag.md, section 1).

The model is asked anew at each step, without an instruction: it has to be one that was trained for the
format. How we differ from the release: a question without an answer after the last step is answered by the
reader from the passages (there it counts as failed), and passages keep their ranks (there they are shuffled).
"""

from __future__ import annotations

from collections.abc import Sequence

from src_core.protocols.r3rag import R3Rag
from src_core.types import Question, Step, Trajectory
from src_infer.episode import Observation
from src_infer.multi_step import Evidence, agent_policy, answer_stepwise
from src_infer.runtime import Runtime

FORMATS = ("r3rag",)


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Steps until one holds an answer."""
    protocol = R3Rag()

    async def search(query: str, _steps: Sequence[Step]) -> Observation:
        passages = await runtime.retrieve(query)
        return Observation(protocol.render_documents(passages, view=runtime.view, query=query), passages)

    return await answer_stepwise(
        question,
        runtime,
        writer=agent_policy(runtime, protocol),
        search=search,
        evidence=Evidence.PASSAGES,
    )
