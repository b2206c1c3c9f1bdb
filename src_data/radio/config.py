"""The configuration of RADIO's data stages: one YAML under `configs/systems/radio/`, overridden by
`key=value`. Defaults are the published ones (reference radio_flashrag.md, sections 1.2 to 1.6).
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field

from src_core.config import AllOrCount, Count, InFlight, Positive, Seed, config_class
from src_core.http_json import RetryPolicy
from src_core.llm import Sampling
from src_core.runfolder import run_folder
from src_data.config import PatientEndpoint
from src_data.radio.blending import Sampler
from src_data.sampling.mixture import MixConfig
from src_retrieval.scoring import RerankOptions, ScorerSettings
from src_tasks.readers.sources import OnBadRow, SourceConfig, SourceSetting

NONE, UNTUNED = "none", "untuned"
RESERVED = (NONE, UNTUNED)
"""The lines of a comparison that no blend makes: no reranker, and the reranker before its training."""
Weight = Annotated[float, Field(ge=0, le=1)]


class Layout(StrEnum):
    """The chat of a rationale: one user turn, or the release's three (question, answers as Python prints a
    list, a bare cue), which some chat templates refuse.
    """

    ONE_TURN = "one_turn"
    PUBLISHED = "published"


class Query(StrEnum):
    """The query of the rationale score: the release's `question. answers. rationale`, or the rationale."""

    PUBLISHED = "published"
    RATIONALE = "rationale"


class Gold(StrEnum):
    """The use of known gold passages as positives: none (published); where one is among the candidates, else
    the blend (`first`); or there alone, and other questions give no group (`only`).
    """

    IGNORE = "ignore"
    FIRST = "first"
    ONLY = "only"


@config_class
class RationaleSettings:
    """The model that writes rationales, and its decoding. `prompt` names a file under `configs/prompts`.
    With `files` no model is asked: they hold the rationales (rows of any question format with `reason` or
    `rationale`, as the authors' `train_with_reason_*.jsonl`).
    """

    endpoint: PatientEndpoint = PatientEndpoint(url="http://127.0.0.1:9894/v1")
    sampling: Sampling = Sampling(max_tokens=1000, temperature=0.2, top_p=1.0, seed=42)
    prompt: str = "radio/rationale"
    layout: Layout = Layout.PUBLISHED
    in_flight: InFlight = 64
    files: tuple[str, ...] = ()


@config_class
class CandidateSettings:
    """The search for candidates: any retriever server, `toy:CORPUS` in tests. `with_choices`: the query of a
    multiple-choice question holds its choices.
    """

    retriever: str = "http://127.0.0.1:9892"
    retry: RetryPolicy = RetryPolicy(attempts=8)
    top_n: Positive = 50
    in_flight: InFlight = 64
    with_choices: bool = False


@config_class
class ScoreSettings(ScorerSettings):
    """The encoder of the rationale score, and the text that it compares with each candidate."""

    query: Query = Query.PUBLISHED


@config_class
class Blend:
    """One set of training groups, and the reranker that is made of it; `label` names both. `weight` is that
    of the rationale score (1: the rationale alone, 0: the retriever alone).
    """

    label: str = "w0.5"
    weight: Weight = 0.5
    sampler: Sampler = Sampler.SHIFT
    gold: Gold = Gold.IGNORE

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,80}", self.label) or self.label in RESERVED:
            raise ValueError(
                f"the label {self.label!r:.90} must be letters, digits, '-', '_', '+' and '.', and none of "
                f"{', '.join(RESERVED)}"
            )


@config_class
class EvaluationSet:
    """Questions with gold passages that rerankers are compared on: the first `n` of `path` (-1: all)."""

    name: str
    path: str
    n: AllOrCount = -1


@config_class
class Comparison:
    """The comparison of rerankers: no reranker, `rerank` as it is (without the section: no such line), and
    one of each blend, read from `tuned`, in which `{run}` and `{label}` are filled in. All of them score the
    same `top_n` candidates of each question; a reader answers from the best `top_k` of each, with `infer`
    and `settings`. `page_questions` training questions are put on the page of candidates.
    """

    datasets: tuple[EvaluationSet, ...] = ()
    top_n: Positive = 20
    rerank: RerankOptions | None = None
    tuned: str = "runs/{run}-{label}/model"
    top_k: Positive = 5
    infer: str = "configs/infer/cpu.yaml"
    settings: tuple[str, ...] = ()
    page_questions: Count = 30


@config_class
class RadioConfig:
    """All settings of the data stages. `n_samples` of the mixed questions are taken (-1: all); a larger
    number contains the smaller sample, so that what was made stays usable. `held_out` of them are for
    validation. Only questions with a rationale become groups, whatever the weight, so that weights are
    compared on the same questions; `without_rationale` adds the others where the weight is 0.
    """

    run_name: str = "radio"
    runs_dir: str = "runs"
    questions: tuple[SourceSetting, ...]
    n_samples: AllOrCount = 20_000
    seed: Seed = 1
    on_bad_row: OnBadRow = OnBadRow.FAIL
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.05
    without_rationale: bool = False
    rationales: RationaleSettings = RationaleSettings()
    candidates: CandidateSettings = CandidateSettings()
    scores: ScoreSettings = ScoreSettings()
    blends: Annotated[tuple[Blend, ...], Field(min_length=1)] = (Blend(),)
    comparison: Comparison = Comparison()

    def __post_init__(self) -> None:
        labels = [blend.label for blend in self.blends]
        if len(set(labels)) < len(labels):
            raise ValueError("two blends have one label; give each its own")

    @property
    def folder(self) -> Path:
        """The folder of the run. Raises `UserError` for a name that cannot be one."""
        return run_folder(self.runs_dir, self.run_name)

    def mix_config(self) -> MixConfig:
        """The mixture of training questions, without those of the comparison."""
        return MixConfig(
            sources=self.questions,
            evaluation=tuple(SourceConfig(path=each.path) for each in self.comparison.datasets),
            seed=self.seed,
            on_bad_row=self.on_bad_row,
        )

    def tuned_model(self, label: str) -> str:
        """The folder of the reranker of a blend."""
        return self.comparison.tuned.replace("{run}", self.run_name).replace("{label}", label)
