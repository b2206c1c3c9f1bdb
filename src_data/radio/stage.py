"""What every stage of RADIO works on: settings, questions, folder, consoles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from src_core.errors import BoundaryError, ServerGoneError, UserError
from src_core.progress import Steps
from src_core.server_news import resumable
from src_core.types import Question
from src_data.radio.config import RadioConfig
from src_data.sampling.mixture import mix
from src_tasks.readers.sources import read_questions


class Stage(NamedTuple):
    """What a stage works on: settings, folder, training questions, and where it prints and reports."""

    config: RadioConfig
    folder: Path
    questions: list[Question]
    out: Console
    err: Console

    @property
    def steps(self) -> Steps:
        """Builds progress lines."""
        return Steps(self.err)

    def say(self, text: str) -> None:
        """One line of the result."""
        self.out.print(Text(text), soft_wrap=True)


@contextmanager
def servers_needed(config: RadioConfig) -> Iterator[None]:
    """A server that does not answer ends the stage with a `UserError`; the same command goes on."""
    try:
        yield
    except ServerGoneError as error:
        raise resumable(error, config.run_name) from error
    except BoundaryError as error:
        raise UserError(
            f"a server does not answer: {error}; run 'bash deploy/status.sh' to see which servers run"
        ) from error


def training_questions(config: RadioConfig, err: Console) -> list[Question]:
    """The first `n_samples` of the mixed training questions. Raises `UserError` for a malformed row, and
    where none is asked for.
    """
    if config.n_samples == 0:
        raise UserError("n_samples is 0, so there is nothing to do; set it to a number, or to -1 for all")
    mixture = mix(config.mix_config(), report=lambda bad: err.print(Text(f"bad row: {bad}"), soft_wrap=True))
    questions = list(mixture)
    return questions if config.n_samples < 0 else questions[: config.n_samples]


def evaluation_questions(config: RadioConfig) -> list[Question]:
    """The questions of all evaluation sets, each once. Raises `UserError` for a malformed row."""
    found = {}
    for each in config.comparison.datasets:
        for question in read_questions(each.path, limit=each.n, setting=f"the path of {each.name}"):
            found[question.id] = question
    return list(found.values())
