"""Rules that compare an answer with its golds, side by side: `python scripts/bench/answer_rules.py
[FILE.jsonl …]`.

Rules: the original's filter, exact match, token F1, F1 with equal numbers and dates, the same where one side
contains the other, and ours. First the adversarial pairs of `tests/data/answer_pairs.jsonl`, each judged by a
person, as a Markdown table with the errors of every rule. Then, per file:

- `trajectories.jsonl` of a run: the number of its final answers that each rule keeps, and the disagreements
of ours with F1 - a question file (rows with `question` and `answers`): golds of *other* questions that
share a token with this one's gold, nearly all of them wrong, and aliases of one question, most of them
right
"""

from __future__ import annotations

import random
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_core.errors import run_main
from src_core.jsonl import read_jsonl
from src_core.rundir import ROWS
from src_core.types import Status, trajectory_from_json
from src_data.filters.answer_rules import CLOSED, accept, original_accepts
from src_data.filters.filter_trajectory import finish_answer
from src_tasks.answer_tokens import is_quantity, tokens
from src_tasks.answers import normalize_answer
from src_tasks.metrics import exact_match, token_f1
from src_tasks.readers.sources import read_questions

PAIRS = Path(__file__).resolve().parents[2] / "tests" / "data" / "answer_pairs.jsonl"
MIN_F1 = 0.6
SAMPLE = 5_000
SHOWN = 20
Rule = Callable[[str, Sequence[str]], bool]


class Pair(NamedTuple):
    """A prediction, the golds, and a person's judgement with its reason."""

    golds: tuple[str, ...]
    prediction: str
    right: bool
    why: str


def _quantities(text: str) -> list[str]:
    return sorted(filter(is_quantity, tokens(text)))


def _f1_and_numbers(prediction: str, golds: Sequence[str]) -> bool:
    return bool(exact_match(prediction, golds)) or any(
        token_f1(prediction, [gold]) >= MIN_F1 and _quantities(prediction) == _quantities(gold)
        for gold in golds
    )


def _f1_and_contained(prediction: str, golds: Sequence[str]) -> bool:
    """As `_f1_and_numbers`, where every word of the shorter one is in the longer one."""
    predicted = Counter(tokens(prediction))
    return bool(exact_match(prediction, golds)) or any(
        _f1_and_numbers(prediction, [gold])
        and (predicted <= Counter(tokens(gold)) or predicted >= Counter(tokens(gold)))
        for gold in golds
    )


RULES: dict[str, Rule] = {
    "original": lambda prediction, golds: original_accepts(prediction, golds[0]),
    "EM": lambda prediction, golds: bool(exact_match(prediction, golds)),
    "F1": lambda prediction, golds: token_f1(prediction, golds) >= MIN_F1,
    "F1, numbers": _f1_and_numbers,
    "F1, numbers, contained": _f1_and_contained,
    "ours": lambda prediction, golds: accept(prediction, golds).accepted,
}


def main() -> None:
    """Print the pairs, then the files that were named."""
    print_pairs(read_pairs())
    for path in map(Path, sys.argv[1:]):
        if path.name == ROWS:
            print_trajectories(path)
        else:
            print_questions(path)


def read_pairs() -> list[Pair]:
    """The adversarial pairs."""
    rows = read_jsonl(PAIRS)
    return [Pair(tuple(row["golds"]), row["prediction"], row["right"], row["why"]) for row in rows]


def print_pairs(pairs: list[Pair]) -> None:
    """One row per pair; an outcome that disagrees with the person's is bold."""
    print(f"| gold | prediction | person | {' | '.join(RULES)} | |\n|{'---|' * (len(RULES) + 4)}")
    errors = {name: [0, 0] for name in RULES}
    for pair in pairs:
        cells = []
        for name, rule in RULES.items():
            kept = rule(pair.prediction, pair.golds)
            errors[name][pair.right] += kept != pair.right
            word = "keep" if kept else "refuse"
            cells.append(word if kept == pair.right else f"**{word}**")
        person = "right" if pair.right else "wrong"
        print(
            f"| {' / '.join(pair.golds)} | {pair.prediction} | {person} | {' | '.join(cells)} | {pair.why} |"
        )
    wrong = sum(not pair.right for pair in pairs)
    print("\n| rule | wrong ones kept | right ones refused |\n|---|---:|---:|")
    for name, (kept, refused) in errors.items():
        print(f"| {name} | {kept} of {wrong} | {refused} of {len(pairs) - wrong} |")


def print_trajectories(path: Path) -> None:
    """The final answers of a run's finished trajectories."""
    with path.open("rb") as lines:
        rows = [trajectory_from_json(line) for line in lines]
    pairs = [
        (finish_answer(row.steps), row.question.answers)
        for row in rows
        if row.status is Status.FINISHED and row.question.answers
    ]
    print(f"\n{path}: final answers of {len(pairs)} finished trajectories")
    _print_rates(pairs)


def print_questions(path: Path) -> None:
    """Golds of other questions, and aliases of one question."""
    golds = [question.answers for question in read_questions(path) if question.answers]
    for name, pairs in (("golds of other questions", _others(golds)), ("aliases", _aliases(golds))):
        sample = [(prediction, (gold,)) for prediction, gold in _sample(pairs)]
        print(f"\n{path.name}: {len(sample)} pairs, {name}")
        _print_rates(sample)


def _print_rates(pairs: Sequence[tuple[str, Sequence[str]]]) -> None:
    """How many pairs each rule keeps, and some where ours and `F1, numbers` disagree."""
    if not pairs:
        return
    print("\n| rule | kept | % |\n|---|---:|---:|")
    for name, rule in RULES.items():
        kept = sum(rule(*pair) for pair in pairs)
        print(f"| {name} | {kept} | {100 * kept / len(pairs):.1f} |")
    plain, ours = RULES["F1, numbers"], RULES["ours"]
    for title, first, second in (("ours", ours, plain), ("F1, numbers", plain, ours)):
        only = sorted({pair for pair in pairs if first(*pair) and not second(*pair)})
        print(f"kept by {title} only: {len(only)} different pairs")
        for prediction, golds in random.Random(1).sample(only, min(SHOWN, len(only))):
            print(f"    {prediction!r} for {' / '.join(golds)!r}")


def _others(golds: list[tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Pairs of different answers of two questions with a token in common."""
    by_token: dict[str, list[int]] = defaultdict(list)
    for number, answers in enumerate(golds):
        for token in set(normalize_answer(answers[0]).split()):
            by_token[token].append(number)
    for members in by_token.values():
        for one in members:
            for other in members:
                pair = golds[one][0], golds[other][0]
                plain = {normalize_answer(text) for text in pair}
                if one != other and len(plain) == 2 and not plain & CLOSED:
                    yield pair


def _aliases(golds: list[tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for answers in golds:
        for one in answers:
            for other in answers:
                if normalize_answer(one) != normalize_answer(other):
                    yield one, other


def _sample(pairs: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    found = sorted(set(pairs))
    return random.Random(1).sample(found, min(SAMPLE, len(found)))


if __name__ == "__main__":
    run_main(main)
