"""The configuration of a run: one YAML under `configs/infer/`, overridden by `key=value`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from src_core.config import AllOrCount, InFlight, Positive, config_class
from src_core.http_json import RetryPolicy
from src_core.llm import Endpoint, Sampling
from src_core.passage_view import PassagePart, PassageView
from src_core.protocols.records import Constrain, PromptStyle
from src_core.rundir import OnExisting
from src_core.server_url import Addresses
from src_infer.episode import Limits
from src_infer.prompts import PromptNames, load_prompt
from src_infer.rag_engine import ObservationMode
from src_retrieval.web import web_engine
from src_retrieval.web.retriever import WebSettings
from src_tasks.abstention import Abstain

ROLES = ("agent", "observe", "final")
"""The kinds of calls with a sampling of their own."""


@config_class
class PromptSettings:
    """The prompts of the reasoning model. `system` names files in `configs/prompts`, joined by `+` ("" = no
    system turn); the other fields are those of `PromptStyle`.
    """

    system: PromptNames = "agent_system"
    user_template: str = ""
    observation_role: str = "observation"
    observation_template: str = ""
    legacy_actions: bool = False

    def style(self) -> PromptStyle:
        """The prompt style, with the text of the prompt files."""
        return PromptStyle(
            system=load_prompt(self.system),
            user_template=self.user_template,
            observation_role=self.observation_role,
            observation_template=self.observation_template,
            legacy_actions=self.legacy_actions,
        )


@config_class
class RuntimeConfig:
    """The parts that answer questions: models, retriever, prompts, decoding, limits. Defaults are those of
    the original ReaRAG, except where they are defects (reference rearag.md sections 3, 8 and 14.7).

    `agent` writes the steps in the text format `protocol` (a name of `src_core/protocols` or the path of a
    file), `reader` answers sub-queries and the question from passages. `retriever` is a URL (a list: several
    servers of one index), `toy:CORPUS` (in memory, for tests), `ranked:FILE` (rankings on disk) or an engine
    of the web (`src_retrieval.web`) with the settings `web`. `thinks`:
    the agent's replies begin with a think block. `deterministic` sets every temperature to 0. `in_flight` is
    how many questions run at once. `trained` is the folder of the model or adapter that the agent serves: the
    prompt that its `training.json` records must be the run's ("": not compared). Of a passage longer than
    `max_passage_chars` a model is shown `passage_part`. What an observation leaves out is set by `only_named`
    and `repeat_passages` (`RagEngine`).
    """

    agent: Endpoint = Endpoint()
    reader: Endpoint = Endpoint(url="http://127.0.0.1:9893/v1")
    retriever: Addresses = "http://127.0.0.1:9892"
    retriever_retry: RetryPolicy = RetryPolicy()
    web: WebSettings = WebSettings()
    protocol: str = "rearag"
    thinks: bool = False
    prompt: PromptSettings = PromptSettings()
    constrain: Constrain = Constrain.OFF
    agent_sampling: Sampling = Sampling()
    observe_sampling: Sampling = Sampling(temperature=0.95, top_p=0.9)
    final_sampling: Sampling = Sampling(max_tokens=64, temperature=0.8, top_p=0.7)
    deterministic: bool = False
    limits: Limits = Limits()
    prompt_tokens: Positive = 7166
    top_k: Positive = 3
    observation_mode: ObservationMode = ObservationMode.READER
    only_named: bool = False
    repeat_passages: bool = False
    max_passage_chars: Positive = 2000
    passage_part: PassagePart = PassagePart.RELEVANT
    answer_from: Literal["reader", "finish"] = "reader"
    in_flight: InFlight = 64
    trained: str = ""

    @property
    def view(self) -> PassageView:
        """What a model is shown of a passage."""
        return PassageView(self.max_passage_chars, self.passage_part)

    def not_reproducible(self) -> str:
        """Why a second run may give other answers, "" where nothing known does: a model server computes the
        requests of one batch together, which changes the last bits of each.
        """
        if web_engine(self.retriever):
            return "the web is searched, and changes"
        urls = {self.agent.url, self.reader.url}
        if all(url.startswith("scripted:") for url in urls):
            return ""
        warm = [role for role in ROLES if self.sampling(role).temperature > 0]
        if warm:
            return f"replies are sampled (temperature above 0: {', '.join(warm)})"
        if self.in_flight > 1:
            return (
                f"{self.in_flight} questions are asked at once; in_flight=1 makes the same answers each time"
            )
        return ""

    def sampling(self, which: str) -> Sampling:
        """`agent`, `observe` or `final` sampling, at temperature 0 when `deterministic`."""
        chosen: Sampling = getattr(self, f"{which}_sampling")
        return replace(chosen, temperature=0.0, top_p=1.0) if self.deterministic else chosen


@config_class
class InferConfig(RuntimeConfig):
    """All settings of a run. `method_settings` are the settings of the method (its `Settings` class);
    `abstain` says when its answer is withheld (`src_infer.abstaining`). With
    `question` the run answers that one question instead of the file. `prompts_digest` is filled in at the
    start, so that a run is not resumed with other prompts; a given digest must match. `on_existing` says what
    happens to a run directory that was used before (`src_core.rundir`).
    """

    method: str = "rearag"
    method_settings: dict[str, Any] = Field(default_factory=dict)
    abstain: Abstain = Abstain()
    questions: str = "data/sample_world/questions.jsonl"
    n_questions: AllOrCount = -1
    question: str = ""
    run_name: str = "infer"
    runs_dir: str = "runs"
    on_existing: OnExisting = "resume"
    show_steps: bool = False
    prompts_digest: str = ""
