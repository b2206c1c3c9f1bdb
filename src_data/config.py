"""The configuration of data construction: `src_data/data_config.yaml`, overridden by `key=value`. Key names
of the original are translated (`original_keys`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from src_core.config import AllOrCount, Positive, Seconds, Seed, build_config, config_class, read_yaml
from src_core.http_json import RetryPolicy
from src_core.llm import Endpoint, Sampling
from src_core.rundir import OnExisting
from src_data.exporting.export import ExportConfig
from src_data.filters.filter_trajectory import FilterConfig
from src_data.original_keys import SECTION, translate_overrides, translate_section
from src_data.sampling.mixture import MixConfig
from src_infer.config import PromptSettings, RuntimeConfig
from src_infer.episode import Limits
from src_infer.rag_engine import ObservationMode
from src_tasks.readers.sources import OnBadRow, SourceSetting


@config_class
class PatientEndpoint(Endpoint):
    """An endpoint of construction, with time-outs for long replies and long runs."""

    timeout: Seconds = 500.0
    retry: RetryPolicy = RetryPolicy(attempts=8)


@config_class
class ConstructionLimits(Limits):
    """The original's limits of one trajectory (reference rearag.md section 6.1)."""

    t_max: Positive = 25
    step_tries: Positive = 20


@config_class
class ConstructionRuntime(RuntimeConfig):
    """The runtime of construction: the teacher is `agent`, with the teacher's prompt, decoding and limits."""

    agent: PatientEndpoint = PatientEndpoint(url="http://127.0.0.1:9894/v1")
    reader: PatientEndpoint = PatientEndpoint(url="http://127.0.0.1:9893/v1")
    retriever_retry: RetryPolicy = RetryPolicy(attempts=8)
    thinks: bool = True
    prompt: PromptSettings = PromptSettings(system="teacher_system+teacher_example")
    prompt_tokens: Positive = 14000
    agent_sampling: Sampling = Sampling(max_tokens=2048, temperature=0.99, top_p=0.85, seed=1)
    observe_sampling: Sampling = Sampling(max_tokens=1024, temperature=0.95, top_p=0.9, seed=1)
    limits: ConstructionLimits = ConstructionLimits()


@config_class
class BuildConfig:
    """How trajectories are constructed (section `build_conv`).

    `input_files` are paths, `hub:` names, or mappings of `SourceConfig`; the first `n_sample` of the mixed
    questions are taken (-1: all). `teacher` is `llm` or `decomposition` (follows the annotation of a
    question); `n_chains` trajectories are constructed per question, with `until_right` one after the other
    and only until one ends with a gold answer; `first_greedy`: an LLM writes the first one at temperature 0
    (both as in R3-RAG's cold start; not with Ray). `runtime` is the runtime of inference, with the teacher as
    its agent.
    """

    input_files: tuple[SourceSetting, ...]
    evaluation_files: tuple[SourceSetting, ...] = ()
    on_bad_row: OnBadRow = OnBadRow.FAIL
    seed: Seed = 1
    shuffle: bool = True
    n_sample: AllOrCount = 5
    teacher: Literal["llm", "decomposition"] = "llm"
    n_chains: Positive = 1
    until_right: bool = False
    first_greedy: bool = False
    runtime: ConstructionRuntime = ConstructionRuntime()

    def mix_config(self) -> MixConfig:
        """The settings of the question mixture."""
        return MixConfig(
            sources=self.input_files,
            evaluation=self.evaluation_files,
            seed=self.seed,
            shuffle=self.shuffle,
            on_bad_row=self.on_bad_row,
        )

    def needs_reader(self) -> bool:
        """Whether an LLM writes the observations."""
        return self.runtime.observation_mode is not ObservationMode.PASSAGES

    def needs_llm(self) -> bool:
        """Whether any LLM is needed. The decomposition teacher with passages as observations needs only the
        retriever.
        """
        return self.teacher == "llm" or self.needs_reader()


@config_class
class DataConfig:
    """All settings of `bash data_construct.sh`; `prompts_digest` as in `InferConfig`."""

    run_name: str = "data"
    runs_dir: str = "runs"
    on_existing: OnExisting = "resume"
    prompts_digest: str = ""
    build_conv: BuildConfig
    clean_conv: FilterConfig = FilterConfig()
    export: ExportConfig = ExportConfig()


def load_data_config(path: Path, overrides: list[str]) -> tuple[DataConfig, list[str]]:
    """The configuration, and notes on keys without effect. Raises `UserError` as `load_config`."""
    values = read_yaml(path)
    section: Any = values.get(SECTION)
    notes: list[str] = []
    if isinstance(section, dict):
        values[SECTION], notes = translate_section(section)
    return build_config(DataConfig, values, translate_overrides(overrides), where=str(path), file=path), notes
