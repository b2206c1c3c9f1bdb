"""The configuration of data construction: `src_data/data_config.yaml`, overridden by `key=value`.

The two sections and their key names are the original's (reference section 6.1); keys of its own that this
project adds stand among them. Three of its keys lost their meaning and are taken with a note, see
`SUPERSEDED`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from src_core.config import build_config, config_class, read_yaml
from src_core.grammar import Constrain
from src_core.http_json import RetryPolicy
from src_core.llm import Endpoint, Sampling
from src_core.rundir import OnExisting
from src_data.exporting.export import ExportConfig
from src_data.filters.filter_trajectory import FilterConfig
from src_data.sampling.mixture import MixConfig
from src_infer.config import PromptSettings
from src_infer.episode import Limits
from src_infer.rag_engine import ObservationMode
from src_tasks.readers.sources import OnBadRow, SourceSetting

SUPERSEDED = {
    "output_dir": "a run is kept in runs_dir/run_name",
    "output_file": "chains are kept in trajectories.jsonl of the run directory",
    "save_batch_size": "every chain is on disk as soon as it ends",
}
"""Keys of the original's `build_conv` section that have no effect here, and why."""


@config_class
class BuildConfig:
    """How chains are made (section `build_conv`).

    The original's keys: `input_files` (paths, `hub:` names, or mappings of `SourceConfig`), `n_sample` (-1:
    all), `max_tries` (here per step, not per question), `iter_num_max` (T_max), `llm_api`, `retriever_api`,
    `gen_api` (URLs; `/generate`, `/search` endings are cut off), `llm_tokenizer_path` (only for
    `llm_endpoint: completions`), `ans_tokenizer_path` (likewise for `gen_endpoint`), `top_k`, `num_workers`
    (chains in flight).

    `teacher` is `llm` or `decomposition`; `n_chains` chains are made per question. `thinks`: the teacher's
    replies begin with a think block. `retriever_api` may be `toy:CORPUS`, a model's URL `scripted:FILE`.
    """

    input_files: tuple[SourceSetting, ...]
    evaluation_files: tuple[SourceSetting, ...] = ()
    on_bad_row: OnBadRow = OnBadRow.FAIL
    seed: int = 1
    shuffle: bool = True
    n_sample: Annotated[int, Field(ge=-1)] = 5
    teacher: Literal["llm", "decomposition"] = "llm"
    n_chains: Annotated[int, Field(ge=1)] = 1
    max_tries: Annotated[int, Field(ge=1)] = 20
    iter_num_max: Annotated[int, Field(ge=1)] = 25
    max_repeats: int = 2
    min_searches: int = 0
    max_tokens: int = 0
    llm_api: str = "http://127.0.0.1:9894/v1"
    llm_endpoint: Literal["chat", "completions"] = "chat"
    llm_engine: Literal["vllm", "llama.cpp"] = "vllm"
    llm_tokenizer_path: str = ""
    thinks: bool = True
    prompt: PromptSettings = PromptSettings(system="teacher_system+teacher_example")
    constrain: Constrain = Constrain.OFF
    prompt_tokens: int = 14000
    sampling: Sampling = Sampling(max_tokens=2048, temperature=0.99, top_p=0.85, seed=1)
    gen_api: str = "http://127.0.0.1:9893/v1"
    gen_endpoint: Literal["chat", "completions"] = "chat"
    gen_engine: Literal["vllm", "llama.cpp"] = "vllm"
    ans_tokenizer_path: str = ""
    gen_sampling: Sampling = Sampling(max_tokens=1024, temperature=0.95, top_p=0.9, seed=1)
    retriever_api: str = "http://127.0.0.1:9892"
    top_k: Annotated[int, Field(ge=1)] = 3
    observation_mode: ObservationMode = ObservationMode.READER
    max_passage_chars: int = 2000
    timeout: float = 500.0
    retry: RetryPolicy = RetryPolicy(attempts=8)
    num_workers: Annotated[int, Field(ge=1)] = 64

    def mix_config(self) -> MixConfig:
        """What to mix the questions from."""
        return MixConfig(
            sources=self.input_files,
            evaluation=self.evaluation_files,
            seed=self.seed,
            shuffle=self.shuffle,
            on_bad_row=self.on_bad_row,
        )

    def teacher_endpoint(self) -> Endpoint:
        """Where the teacher is served."""
        return Endpoint(
            url=base_url(self.llm_api),
            engine=self.llm_engine,
            api=self.llm_endpoint,
            tokenizer=self.llm_tokenizer_path,
            timeout=self.timeout,
            retry=self.retry,
        )

    def reader_endpoint(self) -> Endpoint:
        """Where the reader of the RAG engine is served."""
        return Endpoint(
            url=base_url(self.gen_api),
            engine=self.gen_engine,
            api=self.gen_endpoint,
            tokenizer=self.ans_tokenizer_path,
            timeout=self.timeout,
            retry=self.retry,
        )

    def needs_reader(self) -> bool:
        """Whether an LLM writes the observations."""
        return self.observation_mode is not ObservationMode.PASSAGES

    def needs_llm(self) -> bool:
        """Whether any LLM has a part. The decomposition teacher over passages needs the retriever alone."""
        return self.teacher == "llm" or self.needs_reader()

    def limits(self) -> Limits:
        """The limits of one episode."""
        return Limits(
            t_max=self.iter_num_max,
            step_tries=self.max_tries,
            max_tokens=self.max_tokens,
            min_searches=self.min_searches,
            max_repeats=self.max_repeats,
        )


@config_class
class DataConfig:
    """Everything that `bash data_construct.sh` needs; `prompts_digest` as in `InferConfig`."""

    run_name: str = "data"
    runs_dir: str = "runs"
    on_existing: OnExisting = "resume"
    prompts_digest: str = ""
    build_conv: BuildConfig
    clean_conv: FilterConfig = FilterConfig()
    export: ExportConfig = ExportConfig()


def base_url(url: str) -> str:
    """The original's `http://host:port/generate` as the OpenAI base URL of the same server, and its
    `http://host:port/search` as that of the retriever.
    """
    plain = url.rstrip("/").removesuffix("/search")
    return f"{plain.removesuffix('/generate')}/v1" if plain.endswith("/generate") else plain


def load_data_config(path: Path, overrides: list[str]) -> tuple[DataConfig, list[str]]:
    """The configuration, and notes on what was taken without effect. Raises `UserError` as `load_config`."""
    values = read_yaml(path)
    section: Any = values.get("build_conv")
    notes: list[str] = []
    if isinstance(section, dict):
        notes = [f"build_conv.{key} has no effect: {SUPERSEDED[key]}" for key in SUPERSEDED if key in section]
        values["build_conv"] = {key: value for key, value in section.items() if key not in SUPERSEDED}
    return build_config(DataConfig, values, overrides, where=str(path)), notes
