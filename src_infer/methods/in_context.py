"""In context: the answer LLM reads all passages that ship with the question, gold ones and distractors, in
one call (ReaRAG, section 4.1; reference section 9.2).

The row's `context_ids` name them; they are fetched from the retriever by id, so that every method reads the
same texts. A row with only `gold_ids` gets its gold passages and passages retrieved with the question, ten in
all, in a random order seeded by its id: this is how HotpotQA's distractor setting was built (Yang et al.
2018, section 3). `provenance["context"]` records which case applied. How we differ from a long-context
baseline: no distractors of other questions are added, and passages are cut to `max_passage_chars` as in all
methods. A question without either key is a row with the status `refused`.
"""

from __future__ import annotations

import random
import time

from src_core.types import Finish, Passage, Question, Status, Step, Trajectory
from src_infer.multi_step import ask_reader, passage_turns, with_notes
from src_infer.rag_engine import unique_passages
from src_infer.runtime import Runtime

DISTRACTOR_SETTING = 10
"""The number of passages of a question in HotpotQA's distractor setting."""
NO_CONTEXT = (
    "the question has no 'context_ids' and no 'gold_ids': in_context needs a question file whose rows name "
    "the passages that ship with them"
)


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """One call, no search; the passages are recorded with the answer's step."""
    begun = time.perf_counter()
    shipped = question.meta.get("context_ids")
    if not shipped and not question.supporting:
        return Trajectory(question, (), "", Status.REFUSED, error=NO_CONTEXT)
    passages = tuple(
        await (runtime.retriever.passages(shipped) if shipped else _gold_and_distractors(question, runtime))
    )
    reply = await ask_reader(question, passage_turns(passages, runtime, query=question.question), runtime)
    seconds = time.perf_counter() - begun
    step = Step(
        n=1,
        thought="",
        action=Finish(reply.text),
        passages=passages,
        reply=reply.text,
        usage=reply.usage,
        seconds=seconds,
    )
    if runtime.on_step:
        runtime.on_step(question, step)
    row = Trajectory(question, (step,), reply.text, Status.FINISHED, reply.usage, seconds)
    return with_notes(row, context="shipped" if shipped else "gold and retrieved")


async def _gold_and_distractors(question: Question, runtime: Runtime) -> list[Passage]:
    """The gold passages among retrieved ones. Raises `RetrieverError`, also for a gold passage that the
    corpus lacks.
    """
    gold = await runtime.retriever.passages(list(question.supporting))
    known = {passage.id for passage in gold}
    # No search of the method: it makes the context that the set itself would ship.
    found = unique_passages(await runtime.retriever.search(question.question, DISTRACTOR_SETTING))
    others = [passage for passage in found if passage.id not in known]
    mixed = [*gold, *others[: max(0, DISTRACTOR_SETTING - len(gold))]]
    random.Random(question.id).shuffle(mixed)
    return mixed
