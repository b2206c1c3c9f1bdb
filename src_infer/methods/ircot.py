"""IRCoT: one sentence of reasoning, then a retrieval with that sentence, until a sentence states the answer;
a reader answers from all passages (Trivedi et al. 2023, arXiv 2212.10509).

The first retrieval is made with the question. How we differ: the prompt is an instruction with one short
example, not 20 demonstrations; repeated queries end the loop as in `run_episode`; the newest passages are
last and the 15 newest are kept (the paper stops collecting at 15).
"""

from __future__ import annotations

from collections.abc import Sequence

from src_core.protocols.parsers import first_sentence, stated_answer
from src_core.protocols.records import ParsedStep, ParseError, Turn, make_action
from src_core.types import Question, Step, Trajectory
from src_infer.multi_step import (
    Evidence,
    Prompted,
    all_passages,
    answer_stepwise,
    assistant_turn,
    passage_search,
    passage_turns,
    reader_policy,
    user_turn,
)
from src_infer.rag_engine import READER_STOPS
from src_infer.runtime import Runtime

SENTENCE_STOPS = (*READER_STOPS, "\n")


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """The interleaved loop, then the reader."""

    def turns(text: str, steps: Sequence[Step]) -> list[Turn]:
        thoughts = [assistant_turn(step.thought) for step in steps if step.thought]
        return [user_turn(text), *passage_turns(all_passages(steps), runtime, query=text), *thoughts]

    notation = Prompted(runtime.prompt("next_sentence"), turns=turns, parse=parse, stops=SENTENCE_STOPS)
    return await answer_stepwise(
        question,
        runtime,
        writer=reader_policy(runtime, notation),
        search=passage_search(runtime),
        initial_query=question.question,
        answer_from="reader",
        evidence=Evidence.PASSAGES,
    )


def parse(text: str, _functions: Sequence[str]) -> ParsedStep | ParseError:
    """A sentence that states the answer ends the loop; any other is a thought and the next query."""
    sentence = first_sentence(text)
    answer = stated_answer(text)
    action = make_action("finish", answer) if answer else make_action("search", sentence)
    return action if isinstance(action, ParseError) else ParsedStep(None, sentence, action)
