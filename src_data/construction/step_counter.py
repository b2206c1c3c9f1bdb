"""How far the chains are that are not finished: their steps and searches, beside the finished chains."""

from __future__ import annotations

from dataclasses import dataclass, replace

from src_core.progress import StepProgress
from src_core.types import Question, Search, Step
from src_infer.runtime import Runtime


@dataclass(slots=True)
class StepCounter:
    """Counts the steps of a run, finished chains included, so that the numbers only grow."""

    progress: StepProgress
    steps: int = 0
    searches: int = 0

    def watch(self, runtime: Runtime) -> Runtime:
        """The runtime whose steps are counted: a search when it begins, a step when it is complete."""
        return replace(runtime, on_draft=self._drafted, on_step=self._made)

    def _drafted(self, _question: Question, step: Step) -> None:
        self.searches += isinstance(step.action, Search)
        self._show()

    def _made(self, _question: Question, _step: Step) -> None:
        self.steps += 1
        self._show()

    def _show(self) -> None:
        steps, searches = (
            f"{count:,} {word}{plural * (count != 1)}"
            for count, word, plural in ((self.steps, "step", "s"), (self.searches, "search", "es"))
        )
        self.progress.detail(f"{steps} and {searches}")
