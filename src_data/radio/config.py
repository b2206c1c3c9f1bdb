"""The configuration of RADIO's data stages: one YAML under `configs/systems/radio/`, overridden by
`key=value`. Defaults are the published ones (reference radio_flashrag.md, sections 1.2 to 1.6).
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from src_core.config import AllOrCount, Count, InFlight, Positive, Seed, config_class
from src_core.http_json import RetryPolicy
from src_core.llm import Sampling
from src_core.rankings import PASSAGES
from src_core.runfolder import run_folder
from src_core.text import fill_some
from src_data.config import PatientEndpoint
from src_data.radio import files
from src_data.radio.blending import Sampler
from src_data.sampling.mixture import MixConfig
from src_infer.prompts import PromptNames
from src_retrieval.scoring import RerankOptions, ScorerSettings
from src_tasks.readers.sources import OnBadRow, SourceConfig, SourceSetting

NONE = "none"
"""The line of a comparison without a reranker."""
_FILES = frozenset(Path(name).stem for name in (PASSAGES, files.CANDIDATES, files.QUESTIONS))
"""What lies beside the rankings of the lines, `LABEL.jsonl`."""
Weight = Annotated[float, Field(ge=0, le=1)]


def _label(value: str) -> str:
    if value in _FILES:
        raise ValueError(f"the label {value!r} is the name of another file of the run; choose another")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,80}", value) or value == NONE:
        raise ValueError(
            f"the label {value!r:.90} must be letters, digits, '-', '_', '+' and '.', and not {NONE!r}"
        )
    return value


Label = Annotated[str, AfterValidator(_label)]
"""The name of a line and of its files; `none` is the line without a reranker."""


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
    prompt: PromptNames = "radio/rationale"
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
    of the rationale score (1: the rationale alone, 0: the retriever alone). Only questions with a rationale
    become groups, whatever the weight, so that weights are compared on the same questions;
    `without_rationale` adds the others, which asks for the weight 0.
    """

    label: Label = "w0.5"
    weight: Weight = 0.5
    sampler: Sampler = Sampler.SHIFT
    gold: Gold = Gold.IGNORE
    without_rationale: bool = False

    def __post_init__(self) -> None:
        if self.without_rationale and self.weight > 0:
            raise ValueError(
                f"the blend {self.label!r} has without_rationale and the weight {self.weight:g} of the "
                "rationale's score, which such questions lack; give it the weight 0"
            )


@config_class
class EvaluationSet:
    """Questions with gold passages that rerankers are compared on: the first `n` of `path` (-1: all)."""

    name: str
    path: str
    n: AllOrCount = -1


@config_class
class OtherReranker:
    """A line of the comparison that no blend makes: the base before its training, or a reranker of another
    base. In `rerank.model`, `{runs}` (the folder of all runs) and `{run}` (the run's name) are filled in.
    """

    label: Label
    rerank: RerankOptions


@config_class
class OtherReader:
    """Another model that answers from the same rankings: the `settings` of its runs, and the lines that it
    reads (none named: all).
    """

    label: Label
    settings: tuple[str, ...]
    lines: tuple[str, ...] = ()


@config_class
class Comparison:
    """The comparison of rerankers on questions with gold passages: none, `others`, and the one of each blend,
    run as `tuned` says, in whose `model` also `{label}` is filled in. All of them score the same `top_n`
    candidates of each question; a reader answers from the best `top_k` of each, with `infer` and `settings`,
    and so do `readers`. Of each set it answers the first `read` questions (-1: all), while the rankings of
    all are scored. `page_questions` training questions are put on the page of candidates.
    """

    datasets: tuple[EvaluationSet, ...] = ()
    top_n: Positive = 20
    tuned: RerankOptions = RerankOptions(model="{runs}/{run}-{label}/model")
    others: tuple[OtherReranker, ...] = ()
    top_k: Positive = 5
    infer: str = "configs/infer/cpu.yaml"
    settings: tuple[str, ...] = ()
    read: AllOrCount = -1
    readers: tuple[OtherReader, ...] = ()
    page_questions: Count = 30


@config_class
class MmluSettings:
    """Multiple-choice questions that are answered without a search and under rankings of the comparison
    (`lines`; none named: all): `path` is a folder of MMLU's tables or any question file ("": the stage has
    nothing to do). `n` questions are taken evenly from all subjects (-1: all). `answer` is how the letter is
    taken (`src_infer.methods.multiple_choice`); the reader has the best `top_k` passages, `infer` and
    `settings`.
    """

    path: str = ""
    n: AllOrCount = -1
    lines: tuple[str, ...] = ()
    answer: Literal["grammar", "logprob", "text"] = "grammar"
    top_k: Positive = 5
    infer: str = "configs/infer/cpu.yaml"
    settings: tuple[str, ...] = ()


@config_class
class RadioConfig:
    """All settings of the data stages. `n_samples` of the mixed questions are taken (-1: all); a larger
    number contains the smaller sample, so that what was made stays usable. `held_out` of them are for
    validation.
    """

    run_name: str = "radio"
    runs_dir: str = "runs"
    questions: tuple[SourceSetting, ...]
    n_samples: AllOrCount = 20_000
    seed: Seed = 1
    on_bad_row: OnBadRow = OnBadRow.FAIL
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.05
    rationales: RationaleSettings = RationaleSettings()
    candidates: CandidateSettings = CandidateSettings()
    scores: ScoreSettings = ScoreSettings()
    blends: Annotated[tuple[Blend, ...], Field(min_length=1)] = (Blend(),)
    comparison: Comparison = Comparison()
    mmlu: MmluSettings = MmluSettings()

    def __post_init__(self) -> None:
        labels = [blend.label for blend in self.blends]
        labels += [other.label for other in self.comparison.others]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise ValueError(f"two blends or rerankers are called {twice!r}; give each its own label")
        sets = [each.name for each in self.comparison.datasets]
        readers = [reader.label for reader in self.comparison.readers]
        for what, names in (("sets", sets), ("readers", readers)):
            same = next((name for name in names if names.count(name) > 1), None)
            if same is not None:
                raise ValueError(f"two {what} of the comparison are called {same!r}; give each its own name")
        known = (NONE, *labels)
        named = [line for reader in self.comparison.readers for line in reader.lines]
        unknown = next((line for line in (*named, *self.mmlu.lines) if line not in known), None)
        if unknown is not None:
            raise ValueError(f"there is no line {unknown!r}; the lines are {', '.join(known)}")

    @property
    def folder(self) -> Path:
        """The folder of the run. Raises `UserError` for a name that cannot be one."""
        return run_folder(self.runs_dir, self.run_name)

    def mix_config(self) -> MixConfig:
        """The mixture of training questions, without those of the comparison and of multiple choice."""
        evaluation = [each.path for each in self.comparison.datasets]
        evaluation += [self.mmlu.path] if self.mmlu.path else []
        return MixConfig(
            sources=self.questions,
            evaluation=tuple(SourceConfig(path=path) for path in evaluation),
            seed=self.seed,
            on_bad_row=self.on_bad_row,
        )

    def model_of(self, template: str, label: str = "") -> str:
        """The model that a setting names, with `{runs}`, `{run}` and `{label}` filled in."""
        return fill_some(template, runs=self.runs_dir, run=self.run_name, label=label)
