"""A run of the one-letter format, in which a search asks the question itself: a format whose replies are one
character cannot write a query. With `--die-at N` the process is killed (-9) amid step N's rollouts.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from src_core.types import Question, Step
from src_infer.episode import Observation
from src_infer.rollout import rollout
from src_infer.rollout_record import Rollout
from src_train.rl import __main__ as entry
from src_train.rl import play

_AFTER = 6


async def asking(question: Question, *, search: Any, **rest: Any) -> Rollout:
    """A rollout whose searches ask the question."""

    async def ask(_query: str, steps: Sequence[Step]) -> Observation:
        found: Observation = await search(question.question, steps)
        return found

    return await rollout(question, search=ask, **rest)


def main(arguments: Sequence[str]) -> int:
    """As `python -m src_train.rl`."""
    play.rollout = asking
    if "--die-at" in arguments:
        at = list(arguments).index("--die-at")
        _die_at(int(arguments[at + 1]))
        arguments = [*arguments[:at], *arguments[at + 2 :]]
    return entry.main(arguments)


def _die_at(step: int) -> None:
    """Kill this process after some rollouts of a step."""
    played, plain = [0], play.Player.play

    async def dying(self: play.Player, question: Question, number: int) -> Any:
        played[0] += self._version == step - 1
        if played[0] > _AFTER:
            os.kill(os.getpid(), signal.SIGKILL)
        return await plain(self, question, number)

    play.Player.play = dying  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
