"""One decision before the answer, whether to search: what UAR and TAARE share. With a search the answer is
that of CoT-Retrieve, without one that of CoT, so that the four differ only in the decision.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from src_core.text import fill
from src_core.types import Question, Trajectory, Usage
from src_infer.chain_of_thought import answer_by_reasoning
from src_infer.multi_step import with_notes
from src_infer.rag_engine import ask
from src_infer.runtime import Runtime

_WORD = re.compile(r"\b(yes|no)\b", re.IGNORECASE)
READ = 400
"""Characters of a reply in which yes or no is looked for."""


class YesOrNo:
    """Questions to the answer LLM that are answered with yes or no. `usage` adds up their calls, `replies`
    holds what was read, by the name of the prompt: "yes", "no" or "unread".
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.usage = Usage()
        self.replies: dict[str, str] = {}

    async def ask(self, name: str, **slots: str) -> str:
        """Ask the prompt `name`; the first yes or no of the reply counts. Raises `ModelError`."""
        prompt = fill(self._runtime.prompt(name), **slots)
        reply = await ask(self._runtime.reader, prompt, sampling=self._runtime.final_sampling)
        self.usage += reply.usage
        said = _WORD.search(reply.text[:READ])
        self.replies[name] = said[1].lower() if said else "unread"
        return self.replies[name]


async def answer_after(
    question: Question, runtime: Runtime, *, retrieve: bool, usage: Usage, **notes: Any
) -> Trajectory:
    """The answer after a decision, which took `usage`; `notes` say in provenance how it was made."""
    row = await answer_by_reasoning(question, runtime, retrieve=retrieve)
    return with_notes(replace(row, usage=row.usage + usage), retrieves=retrieve, **notes)
