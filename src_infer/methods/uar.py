"""UAR (unified active retrieval): four yes-or-no criteria, each a linear probe on the model's last hidden
state, and a fixed order in which they decide whether to search (Cheng et al. 2024, arXiv 2406.12534).

The order: a text that asks for a search gets one; else one that needs no knowledge gets none; else one whose
reply changes with time gets one; else the search depends on whether the model knows the reply. A probe is a
matrix (2, width) on the state of the last token of the prompt, class 0 above one half is a yes; it fits the
model that it was trained with only. `probes` is a folder with the four files of the release
(`intent_cls*.pth`, `know_cls*.pth`, `time_cls*.pth`, `self_cls*.pth`), `model` that model.

How we differ: without `probes` the answer LLM is asked the four questions in words, as a stand-in that needs
no training; `provenance["decided_by"]` says which. An answer in words that cannot be read counts in favour of
a search. DeepRAG does not say how it answers after the decision, here with CoT-Retrieve or CoT.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

from src_core.config import config_class
from src_core.errors import UserError
from src_core.protocols.records import ChatTurn
from src_core.types import NO_USAGE, Question, Trajectory
from src_infer.retrieve_once import YesOrNo, answer_after
from src_infer.runtime import Runtime
from src_models.inner_states import open_inner_states
from src_models.probes import open_probes


@config_class
class Settings:
    """See the module; `model` is needed with `probes` only."""

    probes: str = ""
    model: str = ""


class Criterion(NamedTuple):
    """One criterion: the file of its probe, the prompt of its stand-in, the reply in words that decides, and
    the decision. The last criterion decides in any case.
    """

    probe: str
    prompt: str
    decides: str
    retrieve: bool


CRITERIA = (
    Criterion("intent", "uar_intent", "yes", True),
    Criterion("know", "uar_knowledge", "no", False),  # the probe's class 0: no knowledge is needed
    Criterion("time", "uar_time", "yes", True),
    Criterion("self", "uar_self", "yes", False),  # the probe's class 0: the reply is not known
)


def require(settings: Settings) -> None:
    """Raises `UserError` for probes without `model`."""
    if settings.probes and not settings.model:
        raise UserError(
            "uar's probes read the hidden states of the model that they were trained with; set "
            "method_settings.model to its folder or name"
        )


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """The decision, then the answer. Raises `UserError` for probes that cannot be used."""
    settings: Settings = runtime.settings
    if settings.probes:
        scores = await asyncio.to_thread(_probed, question.question, settings)
        return await answer_after(
            question,
            runtime,
            retrieve=by_probes(scores),
            usage=NO_USAGE,
            decided_by="probes",
            criteria={name: round(score, 4) for name, score in scores.items()},
        )
    asked = YesOrNo(runtime)
    retrieve = True  # where the last criterion does not say that the reply is known
    for criterion in CRITERIA:
        if await asked.ask(criterion.prompt, question=question.question) == criterion.decides:
            retrieve = criterion.retrieve
            break
    return await answer_after(
        question, runtime, retrieve=retrieve, usage=asked.usage, decided_by="prompts", criteria=asked.replies
    )


def by_probes(scores: dict[str, float]) -> bool:
    """The decision for the probability of class 0 of each probe."""
    if scores["intent"] >= 0.5:
        return True
    if scores["know"] >= 0.5:
        return False
    return scores["time"] >= 0.5 or scores["self"] >= 0.5


def _probed(text: str, settings: Settings) -> dict[str, float]:
    """The probability of class 0 by each probe."""
    states = open_inner_states(settings.model, "uar")
    probes = open_probes(Path(settings.probes), tuple(criterion.probe for criterion in CRITERIA))
    return probes.scores(states.last_state(states.prompt_ids([ChatTurn.of("user", text)])))
