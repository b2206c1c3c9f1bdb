"""Questions that a guess answers: yes or no, and a choice between names that stand in the question."""

from __future__ import annotations

import re
from collections.abc import Sequence

from src_tasks.answers import CLOSED, squad_normalize


def is_guessable(question: str, golds: Sequence[str]) -> bool:
    """Whether an answer without knowledge may be right: a gold answer is yes or no, or the question holds it
    as whole words ("Which film is older, A or B?"). Compared in SQuAD's normal form
    (`answers.squad_normalize`).
    """
    asked = squad_normalize(question)
    forms = [form for gold in golds if (form := squad_normalize(gold))]
    return any(form in CLOSED or re.search(rf"(?<!\S){re.escape(form)}(?!\S)", asked) for form in forms)
