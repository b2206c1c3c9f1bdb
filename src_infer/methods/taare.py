"""TAARE (TA-ARE, time-aware adaptive retrieval): the model gets the date, two questions that need a
search and two that do not, and says whether the question needs one (Zhang et al. 2024, RetrievalQA, arXiv
2402.16457).

One search with the question where it says yes. `today` is the date (YYYY-MM-DD); "" is the day of the run,
which makes a later run another one, so it is on record. How we differ: our four examples; DeepRAG does not
say how it answers after the decision, here with CoT-Retrieve or CoT; the first yes or no of a reply decides
(the release searches wherever a yes occurs). A reply without either counts as no, as in the release, and
`provenance["decision"]` is "unread" then.
"""

from __future__ import annotations

import datetime
from typing import Annotated

from pydantic import Field

from src_core.config import config_class
from src_core.types import Question, Trajectory
from src_infer.retrieve_once import YesOrNo, answer_after
from src_infer.runtime import Runtime


@config_class
class Settings:
    """`today` is the date that the model gets."""

    today: Annotated[str, Field(pattern=r"^(\d{4}-\d{2}-\d{2})?$")] = ""


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """One question to the model, then the answer."""
    today = runtime.settings.today or datetime.datetime.now().astimezone().date().isoformat()
    decision = YesOrNo(runtime)
    said = await decision.ask("taare", today=today, question=question.question)
    return await answer_after(
        question, runtime, retrieve=said == "yes", usage=decision.usage, decision=said, today=today
    )
