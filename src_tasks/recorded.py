"""What a model really answered to a question file: `recorded.json` beside the file, written by
`scripts/record_default.sh` from runs and never by hand.

The live page shows the recorded answers with its examples, `infer.sh` prints the recorded totals below its
own, and `README.md` and `docs/results.md` quote them; so no page shows a figure that nobody measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from src_core.errors import UserError

RECORDED = "recorded.json"
MAKER = "bash scripts/record_default.sh"


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RecordedMethod:
    """The totals of one method: shares in [0, 1], searches and seconds per question."""

    em: Interval
    f1: Interval
    searches: float
    seconds: float


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """What one method answered to one question."""

    answer: str
    right: bool
    searches: int


@dataclass(frozen=True, slots=True)
class RecordedQuestion:
    """A question with its gold answers and each method's answer."""

    golds: tuple[str, ...]
    answers: dict[str, RecordedAnswer]


@dataclass(frozen=True, slots=True)
class Recording:
    """Runs of several methods with one model over all `questions` of one file; `examples` by their text."""

    model: str
    started: str
    commit: str
    questions: int
    methods: dict[str, RecordedMethod]
    examples: dict[str, RecordedQuestion]


_RECORDING = TypeAdapter(Recording)


def read_recording(questions: Path) -> Recording | None:
    """The recording beside a question file, None where there is none. Raises `UserError` for one that cannot
    be read.
    """
    path = questions.parent / RECORDED
    if not path.is_file():
        return None
    try:
        return _RECORDING.validate_json(path.read_bytes())
    except (ValidationError, OSError) as error:
        raise UserError(f"{path} is not a recording; write it again: {MAKER}") from error


def recorded_line(recording: Recording) -> str:
    """The totals in one line: `rearag EM 40.5 [29.8, 51.2], 2.21 searches; naive_rag EM …`."""
    return "; ".join(
        f"{name} EM {percents(own.em)}, {own.searches:.2f} searches"
        for name, own in recording.methods.items()
    )


def percents(value: Interval) -> str:
    """`40.5 [29.8, 51.2]`."""
    return f"{100 * value.mean:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"
