"""The configuration of an exploration: YAML files under `configs/systems/deeprag/`, overridden by
`key=value`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from src_core.config import AllOrCount, Count, Positive, Seed, build_config, config_class, read_yaml
from src_core.http_json import RetryPolicy
from src_core.llm import Sampling
from src_core.protocols.deeprag_lines import NO_SHORT
from src_core.rundir import OnExisting
from src_core.runfolder import CONFIG
from src_data.config import PatientEndpoint
from src_data.deeprag.pairs import Variant
from src_data.deeprag.paths import PathChoice
from src_data.exporting.export import ExportConfig
from src_data.filters.answer_rules import AnswerRule
from src_data.filters.filter_trajectory import Bounds, FilterConfig
from src_data.sampling.mixture import MixConfig
from src_infer.config import PromptSettings, RuntimeConfig
from src_infer.deeprag.records import RoleSettings
from src_infer.episode import Limits
from src_infer.prompts import PromptNames
from src_infer.search_record import SearchMode
from src_infer.search_tree import Children, TreeLimits
from src_tasks.readers.sources import OnBadRow, SourceSetting

T = TypeVar("T")
TEACHER_PROMPT = "deeprag_teacher+deeprag_examples"


@config_class
class RoleLimits(Limits):
    """Of the limits of an episode a tree uses `step_tries`, the tries of each reply (`TreeLimits` has the
    others).
    """

    step_tries: Positive = 2


@config_class
class TreeRuntime(RuntimeConfig):
    """The runtime of inference. `agent` is the target: the model that is to be trained answers from its own
    knowledge, decides and ends. `reader` is the teacher of Stage I, which writes sub-questions and reads
    documents.
    """

    agent: PatientEndpoint = PatientEndpoint()
    reader: PatientEndpoint = PatientEndpoint(url="http://127.0.0.1:9894/v1")
    retriever_retry: RetryPolicy = RetryPolicy(attempts=8)
    protocol: str = "deeprag"
    prompt: PromptSettings = PromptSettings(system="")
    agent_sampling: Sampling = Sampling(max_tokens=256, temperature=0.0, top_p=1.0, seed=1)
    observe_sampling: Sampling = Sampling(max_tokens=128, temperature=0.0, top_p=1.0, seed=1)
    limits: RoleLimits = RoleLimits()


@config_class
class ImitationBounds(Bounds):
    """Sub-questions have no thoughts, and a training row of the paper has at most 4,096 tokens."""

    min_thought_chars: Annotated[int, Field(ge=0)] = 0
    max_steps: Positive = 12
    max_tokens: Positive = 4096


@config_class
class ImitationFilter(FilterConfig):
    """The filter of Stage I (reference deeprag.md section 7.1): a well-formed final line, no intermediate
    answer that begins like a list, one path per question. How we differ: the answer has to be right, lengths
    have bounds, and no answer is replaced by the gold one.
    """

    input_file: str = "chosen.jsonl"
    answer_rule: AnswerRule = "em_f1"
    min_f1: Annotated[float, Field(gt=0, le=1)] = 0.7
    min_searches: Annotated[int, Field(ge=0)] = 0
    need_support: bool = False
    forbidden_repairs: tuple[str, ...] = (NO_SHORT,)
    allow_enumerations: bool = False
    bounds: ImitationBounds = ImitationBounds()


@config_class
class ImitationConfig:
    """Stage I's data from explored trees: which right path is taken, the filter, the export."""

    path: PathChoice = PathChoice.LEAST
    seed: Seed = 1
    clean: ImitationFilter = ImitationFilter()
    export: ExportConfig = ExportConfig(validation_share=0.0)


@config_class
class CalibrationConfig:
    """Stage II's data from explored trees. `balance`: the two kinds of decision as they come (`keep`), the
    larger one sampled down to the smaller (`drop`), or the smaller one repeated (`repeat`).
    `validation_share` as in `ExportConfig` (the release sets 0.1 aside). `guessable`: whether questions that
    a guess answers (`src_tasks.guessable`) are explored and give pairs. In 102 such trees of a 0.5B
    48 ended right, 26 without a search; in 298 others 32 and 2 (docs/LOG.md): its guesses teach it that it
    knows what it does not. The paper keeps them.
    """

    variant: Variant = Variant.PATH
    guessable: Literal["keep", "drop"] = "keep"
    balance: Literal["keep", "drop", "repeat"] = "keep"
    validation_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Seed = 1


@config_class
class ExploreConfig:
    """All settings of `python -m src_data.deeprag.explore`.

    `stage` `imitation`: the teacher proposes, and each search ends at its cheapest right leaf; then the
    conversations of `imitation` are written. `calibration`: the Stage-I model (`agent`) plays all roles, and
    the whole tree is expanded up to `tree`; then the pairs of `calibration` are written. `mode` and
    `children` (None: those of the stage) are for ablations.

    The questions are those of `src_data.config.BuildConfig`, with `in_turns` as in `MixConfig`. Where the
    first `n_sample` of them give fewer than `min_rows` training rows (conversations; pairs before `balance`),
    as many again are explored, in `max_rounds` rounds at most. `min_f1`: see `src_tasks.metrics.is_right`.
    `gold_documents`: a question without a right leaf is explored again with its gold passages in place of
    what is found, and its row says so (the paper discards such a question, the release does not).
    """

    run_name: str = "deeprag-stage1"
    runs_dir: str = "runs"
    on_existing: OnExisting = "resume"
    prompts_digest: str = ""
    stage: Literal["imitation", "calibration"] = "imitation"
    input_files: tuple[SourceSetting, ...]
    evaluation_files: tuple[SourceSetting, ...] = ()
    on_bad_row: OnBadRow = OnBadRow.FAIL
    seed: Seed = 1
    shuffle: bool = True
    in_turns: bool = False
    n_sample: AllOrCount = -1
    min_rows: Count = 0
    max_rounds: Positive = 4
    runtime: TreeRuntime = TreeRuntime()
    roles: RoleSettings = RoleSettings()
    teacher_prompt: PromptNames = TEACHER_PROMPT
    tree: TreeLimits = TreeLimits()
    mode: SearchMode | None = None
    children: Children = Children.AT_ONCE
    min_f1: Annotated[float, Field(gt=0, le=1)] = 0.7
    gold_documents: bool = False
    imitation: ImitationConfig = ImitationConfig()
    calibration: CalibrationConfig = CalibrationConfig()

    @property
    def search_mode(self) -> SearchMode:
        """The mode of the stage, unless one is set."""
        if self.mode is not None:
            return self.mode
        return SearchMode.FIRST if self.stage == "imitation" else SearchMode.ALL

    def mix_config(self) -> MixConfig:
        """The settings of the question mixture."""
        return MixConfig(
            sources=self.input_files,
            evaluation=self.evaluation_files,
            seed=self.seed,
            shuffle=self.shuffle,
            in_turns=self.in_turns,
            on_bad_row=self.on_bad_row,
        )


def last_step_config(cls: type[T], run_dir: Path, section: str, overrides: Sequence[str]) -> T:
    """The settings of the last step of a stage, repeated alone: those with which the run was explored
    (`section` of its settings), changed by `overrides`. Raises `UserError` as `load_config`.
    """
    settings = run_dir / CONFIG
    made_with = read_yaml(settings).get(section) if settings.is_file() else None
    return build_config(cls, dict(made_with or {}), overrides, where=f"{settings}, {section}")
