"""Search-R1 and similar models, which were trained by reinforcement learning to write queries between tags
(Search-R1, arXiv 2503.09516; R1-Searcher, 2503.05592; ReSearch, 2503.19470; reference r3rag.md, sections 3 to
5).

`protocol` selects the tags and `layout` the layout of turns (`src_core.protocols.search_r1`); serve the
checkpoint as the agent. The observation is the documents themselves; no reader reads them. How we differ from
the releases: the prompts are ours (`configs/prompts/<protocol>.txt`: replace that text by a checkpoint's own
to use its training prompt); a malformed reply is requested again instead of answered with a correction, and
then the reader answers.
"""

from __future__ import annotations

from typing import Literal

from src_core.config import config_class
from src_core.protocols.records import Layout, PromptStyle
from src_core.protocols.search_r1 import DIALECTS
from src_core.types import Question, Trajectory
from src_infer.documents import search_of
from src_infer.multi_step import Evidence, agent_policy, answer_stepwise
from src_infer.runtime import Runtime

FORMATS = ("search_r1", "r1_searcher", "research")


@config_class
class Settings:
    """The dialect and its layout."""

    protocol: Literal["search_r1", "r1_searcher", "research"] = "search_r1"
    layout: Literal["turns", "growing_turn"] = "turns"


async def run(question: Question, runtime: Runtime) -> Trajectory:
    """Tagged replies until one holds an answer."""
    settings: Settings = runtime.settings
    style = PromptStyle(user_template=runtime.prompt(settings.protocol), observation_role="user")
    protocol = DIALECTS[settings.protocol](style, layout=Layout(settings.layout))

    return await answer_stepwise(
        question,
        runtime,
        writer=agent_policy(runtime, protocol),
        search=search_of(runtime, protocol),
        evidence=Evidence.PASSAGES,
    )
