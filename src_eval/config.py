"""The configuration of an evaluation: one YAML under `configs/eval/`, overridden by `key=value`."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from pydantic import Field

from src_core.config import AllOrCount, config_class
from src_core.errors import UserError
from src_tasks.judge import JudgeConfig, Rubric

__all__ = ["DatasetSpec", "EvalConfig", "JudgeConfig", "MethodSpec", "Rubric"]

FLASHRAG_ITEMS = 1_000
_FLASHRAG_EM = frozenset({"nq", "triviaqa", "popqa"})


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
    """Questions to answer: the first `n` of `path` (-1: all)."""

    name: str
    path: str
    n: AllOrCount = -1


@config_class
class EvalConfig:
    """Methods x data sets, and the settings of their comparison.

    `infer` is the configuration of every run, `settings` its overrides for all methods, `servers` the URLs of
    the servers (`scripts/evaluate.sh` fills it in). `corpus` and `index_dir` are the corpus and index that
    `scripts/evaluate.sh` builds and serves ("": the sample world). Every other method is tested against
    `baseline` ("": the first one). `never` is the line that never searches, whose right answers are the label
    of the knowledge boundary (`src_eval.boundary`; "": no such table). `profile` is the profile that is
    served now (`scripts/evaluate.sh` fills it in): lines of other profiles are not run, but are in the table
    if they were run before. `metrics` are the columns (names of `src_eval.records.QuestionScore`); `flashrag`
    takes the first 1,000 items and FlashRAG's choice of metric instead. `expected` is a file of published
    numbers that are printed with ours.
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
    never: str = ""
    profile: str = ""
    metrics: tuple[str, ...] = ("em", "f1")
    flashrag: bool = False
    judge: JudgeConfig | None = None
    expected: str = "configs/expected.yaml"
    runs_dir: str = "runs"

    @property
    def lines(self) -> tuple[MethodSpec, ...]:
        """The methods, each with its name and settings."""
        return tuple(MethodSpec(method=each) if isinstance(each, str) else each for each in self.methods)

    def baseline_name(self) -> str:
        """The line that the others are tested against. Raises `UserError` when no line has that name or that
        of `never`, or when two lines or data sets have the same name.
        """
        names = [line.name for line in self.lines]
        for what, given in (("methods", names), ("datasets", [each.name for each in self.datasets])):
            twice = sorted({name for name in given if given.count(name) > 1})
            if twice:
                raise UserError(f"two {what} are called {twice[0]!r}; give one another name or label")
        if self.baseline and self.baseline not in names:
            raise UserError(
                f"the baseline {self.baseline!r}, the line to compare with, is no method of this run; "
                f"set baseline to one of {', '.join(names)}"
            )
        if self.never and self.never not in names:
            raise UserError(
                f"never={self.never!r}, the line that never searches, is no method of this run; "
                f"set never to one of {', '.join(names)}"
            )
        return self.baseline or names[0]

    def metrics_of(self, dataset: str) -> tuple[str, ...]:
        """The metrics shown for a data set."""
        if not self.flashrag:
            return self.metrics
        return ("em",) if dataset in _FLASHRAG_EM else ("f1",)

    def questions_of(self, dataset: DatasetSpec) -> int:
        """The number of questions of a data set that are answered (-1: all)."""
        if not self.flashrag:
            return dataset.n
        return FLASHRAG_ITEMS if dataset.n < 0 else min(dataset.n, FLASHRAG_ITEMS)
