"""Steps for hops that name their passages: every thought after an observation quotes the sentence that it
takes the value from and names its passage. Where no passage tells the last fact, the fact is asked for in all
wordings, and the trajectory ends with `UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Sequence

from src_core.types import Action, Finish, Passage, Search, Step
from src_data.annotated_teacher import passage_thoughts
from src_data.annotated_teacher.decomposition import Decomposition, Kind, bare_title, resolve
from src_data.annotated_teacher.gather import NOT_FOUND
from src_data.annotated_teacher.mentions import shown_part
from src_data.annotated_teacher.passage_thoughts import Reading
from src_data.annotated_teacher.quotes import value_quote
from src_tasks.answers import normalize_answer

UNKNOWN = "unknown"
"""The answer where the passages do not tell it, as the prompts of the reader ask for it."""


def next_passage_step(
    decomposition: Decomposition,
    steps: Sequence[Step],
    *,
    found: Sequence[str],
    tries: int,
    key: str,
    chain: int,
) -> tuple[str, Action]:
    """The thought and action that follow `steps`; `found` and `tries` as in `teacher.Progress`."""
    readings = _readings(decomposition, steps, found)
    if len(found) == len(decomposition.hops):
        thought = passage_thoughts.last_thought(decomposition, readings, key=key)
        return thought, Finish(decomposition.answer)
    hop = decomposition.hops[len(found)]
    asked = [resolve(query, found) for query in hop.queries]
    query = asked[(chain + tries) % len(asked)]
    if tries >= len(asked):
        if decomposition.kind is not Kind.ABSTAIN or len(found) + 1 < len(decomposition.hops):
            return f"No passage answers “{asked[0]}”, so I stop here.", Finish(NOT_FOUND)
        shown = _is_shown(hop.title, steps)
        return passage_thoughts.unknown_thought(hop.title, asked[0], shown=shown, key=key), Finish(UNKNOWN)
    if tries:
        before = asked[(chain + tries - 1) % len(asked)]
        shown = _is_shown(hop.title, steps[-1:])
        return passage_thoughts.retry_thought(hop.title, before, shown=shown, key=key), Search(query)
    goal = resolve(hop.goal, found)
    if found:
        return passage_thoughts.next_thought(readings[-1], goal, query, key=key), Search(query)
    return passage_thoughts.first_thought(decomposition, goal, query, key=key), Search(query)


def _readings(decomposition: Decomposition, steps: Sequence[Step], found: Sequence[str]) -> list[Reading]:
    """What was read for each answered hop, from the first step that shows it."""
    readings: list[Reading] = []
    searches = [step for step in steps if isinstance(step.action, Search)]
    for number, value in enumerate(found):
        hop = decomposition.hops[number]
        quote = next(
            (text for step in searches if (text := _quote(hop.title, step, hop.answers, hop.sentence))), ""
        )
        question = resolve(hop.queries[0], found[:number])
        goal = resolve(hop.goal, found[:number])
        readings.append(Reading(bare_title(hop.title), quote, goal, question, value))
    return readings


def _quote(title: str, step: Step, answers: Sequence[str], sentence: str) -> str:
    passage = _passage(title, step)
    return "" if passage is None else value_quote(passage, answers, step.observation or "", near=sentence)


def _is_shown(title: str, steps: Sequence[Step]) -> bool:
    return any(_passage(title, step) is not None for step in steps)


def _passage(title: str, step: Step) -> Passage | None:
    """The passage of a title where the step's observation shows it."""
    wanted = normalize_answer(title)
    named = (passage for passage in step.passages if normalize_answer(passage.title) == wanted)
    return next((passage for passage in named if shown_part(passage, step.observation or "")), None)
