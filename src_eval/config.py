"""The configuration of an evaluation: one YAML under `configs/eval/`, overridden by `key=value`."""

from __future__ import annotations

import dataclasses
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from src_core.config import AllOrCount, config_class
from src_core.errors import UserError
from src_core.text import did_you_mean
from src_tasks.judge import JudgeConfig, Rubric
from src_tasks.metric_names import require_of_questions

__all__ = ["DatasetSpec", "EvalConfig", "JudgeConfig", "MethodSpec", "Rubric"]

FLASHRAG_ITEMS = 1_000
ANSWERS = ("em", "f1")
COSTS = ("searches", "searches_right", "searches_wrong", "tokens", "seconds")
"""What every table shows: a method that searches more or reads more is compared at its cost."""
_FLASHRAG_EM = frozenset({"nq", "triviaqa", "popqa"})


def _names(value: Any) -> Any:
    return (value,) if isinstance(value, str) and value else value or ()


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
"""Names of lines or folders; a single one may stand alone."""


@config_class
class MethodSpec:
    """A method of `src_infer/methods` as a line of the table: `label` (default: its name) distinguishes two
    lines of one method, `settings` are its own `key=value` overrides, `profile` is the profile of its run
    (small: a model that was trained for the loop; "": every profile that no line names).
    """

    method: str
    label: str = ""
    settings: tuple[str, ...] = ()
    profile: str = ""

    @property
    def name(self) -> str:
        """The name of the line: the label, or the method (of a file, its name)."""
        return self.label or PurePath(self.method).stem


@config_class
class DatasetSpec:
    """Questions to answer: the first `n` of `path` (-1: all). `ranked`: where the lines search rankings on
    disk, the first `ranked` of them count (`src_eval.rerankers`; None: those that are answered). `trees` are
    run directories of explorations of these questions, one for each model, that label the sub-questions of
    the knowledge boundary (`src_eval.tree_labels`).
    """

    name: str
    path: str
    n: AllOrCount = -1
    ranked: AllOrCount | None = None
    trees: Names = ()


@config_class
class EvalConfig:
    """Methods x data sets, and the settings of their comparison.

    `infer` is the configuration of every run, `settings` its overrides for all methods, `servers` the URLs of
    the servers (`scripts/evaluate.sh` fills it in). `corpus` and `index_dir` are the corpus and index that
    `scripts/evaluate.sh` builds and serves ("": the sample world). Question files, methods that are files,
    `trees`, `corpus`, `expected`, `infer` and paths in `settings` are looked for beside the configuration,
    then in `caller`, the folder of the person who called `scripts/evaluate.sh` (which fills it in), then in
    the repository (`src_eval.found_files`). Every other method is tested against `baseline` ("": the first
    one). `never` are the lines that never search, whose right answers are the labels of the knowledge
    boundary, for each line those of its own model (`src_eval.boundary`; none: no such table). `profile` is
    the profile that is served now (`scripts/evaluate.sh` fills it in): lines of other profiles are not run,
    but are in the table if they were run before. `metrics` are the columns (names of `src_tasks.metric_names`
    that a question has) before EM, F1 and the costs, which are in every table; `flashrag` takes the first
    1,000 items, and puts FlashRAG's choice of metric first. `expected` is a file of published numbers that
    are printed with ours. `ray` holds the settings of Ray (`src_infer.on_ray:RayConfig`): with any of them
    the questions of each run are answered on the nodes of a cluster.
    """

    name: str
    infer: str = "configs/infer/cpu.yaml"
    methods: Annotated[tuple[str | MethodSpec, ...], Field(min_length=1)]
    datasets: Annotated[tuple[DatasetSpec, ...], Field(min_length=1)]
    settings: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    corpus: str = ""
    index_dir: str = ""
    baseline: str = ""
    never: Names = ()
    profile: str = ""
    caller: str = ""
    metrics: tuple[str, ...] = ()
    flashrag: bool = False
    judge: JudgeConfig | None = None
    expected: str = "configs/expected.yaml"
    runs_dir: str = "runs"
    ray: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def lines(self) -> tuple[MethodSpec, ...]:
        """The methods, each with its name and settings."""
        return tuple(MethodSpec(method=each) if isinstance(each, str) else each for each in self.methods)

    def require_names(self) -> None:
        """Raise `UserError` when two lines or data sets have the same name, or a metric is none."""
        names = [line.name for line in self.lines]
        for what, given in (("methods", names), ("datasets", [each.name for each in self.datasets])):
            twice = sorted({name for name in given if given.count(name) > 1})
            if twice:
                raise UserError(f"two {what} are called {twice[0]!r}; give one another name or label")
        require_of_questions(self.metrics)

    def baseline_name(self) -> str:
        """The line that the others are tested against. Raises `UserError` when no line has that name."""
        names = [line.name for line in self.lines]
        if self.baseline and self.baseline not in names:
            raise UserError(
                f"the baseline {self.baseline!r}, the line to compare with, is no method of this run; "
                f"{did_you_mean(self.baseline, names)}set baseline to one of {', '.join(names)}"
            )
        return self.baseline or names[0]

    def absent_never(self) -> list[str]:
        """The names of `never` that no line has, as where the methods of a file are replaced by others."""
        names = [line.name for line in self.lines]
        return [name for name in self.never if name not in names]

    def metrics_of(self, dataset: str) -> tuple[str, ...]:
        """The metrics shown for a data set; the first one is the metric that it is reported by."""
        answers = ANSWERS if dataset in _FLASHRAG_EM else ANSWERS[::-1]
        chosen = answers if self.flashrag else (*self.metrics, *ANSWERS)
        return tuple(dict.fromkeys((*chosen, *COSTS)))

    def questions_of(self, dataset: DatasetSpec) -> int:
        """The number of questions of a data set that are answered (-1: all)."""
        if not self.flashrag:
            return dataset.n
        return FLASHRAG_ITEMS if dataset.n < 0 else min(dataset.n, FLASHRAG_ITEMS)
