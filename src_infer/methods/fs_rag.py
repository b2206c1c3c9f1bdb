"""FS-RAG: a search after every sentence of the reasoning, with that sentence (`fix-sentence-retrieval` in
DRAGIN, which takes the rule from IRCoT; reference deeprag.md section 12).

The first search is made with the question; the last step that `limits` allow has to answer. It differs from
`ircot` in two ways, as in DRAGIN: the model reads the newest passages only, and the answer is its own. How we
differ: the prompt is that of IRCoT and FLARE, so that the three differ only in when they search, with what,
and in what they keep; the release writes the whole rest of the reasoning for each sentence that it keeps.
"""

from __future__ import annotations

from collections.abc import Sequence

from src_core.protocols.records import ParsedStep, ParseError, Turn
from src_core.types import Question, Step, Trajectory
from src_infer.chain_of_thought import CLOSING, newest_passages
from src_infer.methods import ircot
from src_infer.multi_step import (
    Evidence,
    Prompted,
    answer_stepwise,
    assistant_turn,
    passage_search,
    passage_turns,
    reader_policy,
    user_turn,
)
from src_infer.runtime import Runtime


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Sentences, each followed by a search, until one states the answer."""

    def turns(text: str, steps: Sequence[Step]) -> list[Turn]:
        thoughts = [assistant_turn(step.thought) for step in steps if step.thought]
        return [user_turn(text), *passage_turns(newest_passages(steps), runtime, query=text), *thoughts]

    notation = Prompted(
        runtime.prompt("next_sentence"),
        turns=turns,
        parse=parse,
        stops=ircot.SENTENCE_STOPS,
        closing=CLOSING,
    )
    return await answer_stepwise(
        question,
        runtime,
        writer=reader_policy(runtime, notation),
        search=passage_search(runtime),
        initial_query=question.question,
        evidence=Evidence.PASSAGES,
    )


def parse(text: str, functions: Sequence[str]) -> ParsedStep | ParseError:
    """As IRCoT's; the words before an answer alone are no sentence."""
    return ircot.parse("" if text.strip() == CLOSING else text, functions)
