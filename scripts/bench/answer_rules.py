"""The original's answer filter and ours, side by side: `python scripts/bench/answer_rules.py [FILE.jsonl …]`.

First the adversarial pairs of `tests/data/answer_pairs.jsonl`, each with a person's verdict, as a Markdown
table with the errors of both rules. Then, for question files (rows with `question` and `answers`), what
nobody picked by hand: golds of *other* questions that share a token with this one's gold, which the original
accepts without exception, and aliases of the same question, which should be accepted.
"""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src_core.errors import run_main
from src_core.jsonl import read_jsonl
from src_data.filters.answer_rules import CLOSED, accept, original_accepts
from src_tasks.answers import normalize_answer
from src_tasks.readers.sources import read_questions

PAIRS = Path(__file__).resolve().parents[2] / "tests" / "data" / "answer_pairs.jsonl"
SAMPLE = 5_000
SHOWN = 25


class Pair(NamedTuple):
    """A prediction, the golds, and a person's verdict with its reason."""

    golds: tuple[str, ...]
    prediction: str
    right: bool
    why: str


def main() -> None:
    """Print both parts."""
    print_pairs(read_pairs())
    for name in sys.argv[1:]:
        print_file(Path(name))


def read_pairs() -> list[Pair]:
    """The adversarial pairs."""
    rows = read_jsonl(PAIRS)
    return [Pair(tuple(row["golds"]), row["prediction"], row["right"], row["why"]) for row in rows]


def print_pairs(pairs: list[Pair]) -> None:
    """One row per pair; a verdict that disagrees with the person's is bold."""
    print("| gold | prediction | person | original | ours | |\n|---|---|---|---|---|---|")
    errors = {"original": [0, 0], "ours": [0, 0]}
    for pair in pairs:
        verdict = accept(pair.prediction, pair.golds)
        told = {"original": original_accepts(pair.prediction, pair.golds[0]), "ours": verdict.accepted}
        cells = []
        for name, accepted in told.items():
            errors[name][pair.right] += accepted != pair.right
            said = "keep" if accepted else "refuse"
            said += f" ({verdict.code})" if name == "ours" and not accepted else ""
            cells.append(said if accepted == pair.right else f"**{said}**")
        person = "right" if pair.right else "wrong"
        print(
            f"| {' / '.join(pair.golds)} | {pair.prediction} | {person} | {' | '.join(cells)} | {pair.why} |"
        )
    wrong = sum(not pair.right for pair in pairs)
    print("\n| rule | wrong ones kept | right ones refused |\n|---|---:|---:|")
    for name, (kept, refused) in errors.items():
        print(f"| {name} | {kept} of {wrong} | {refused} of {len(pairs) - wrong} |")


def print_file(path: Path) -> None:
    """Rates over one question file, and a few of ours that a person should look at."""
    golds = [question.answers for question in read_questions(path) if question.answers]
    others = _sample(_others(golds))
    aliases = _sample(_aliases(golds))
    print(f"\n{path.name}: {len(others)} pairs of golds of different questions that share a token; ", end="")
    print(f"{len(aliases)} alias pairs of one question")
    for name, pairs in (("other", others), ("alias", aliases)):
        if not pairs:
            continue
        old = sum(original_accepts(prediction, gold) for prediction, gold in pairs)
        ours = [accept(prediction, [gold]) for prediction, gold in pairs]
        kept = sum(verdict.accepted for verdict in ours)
        print(f"  {name}: original keeps {old} ({100 * old / len(pairs):.1f} %), ", end="")
        print(f"ours {kept} ({100 * kept / len(pairs):.1f} %)")
        doubtful = [
            p for p, verdict in zip(pairs, ours, strict=True) if verdict.accepted == (name == "other")
        ]
        for prediction, gold in random.Random(1).sample(doubtful, min(SHOWN, len(doubtful))):
            print(f"    {'kept' if name == 'other' else 'refused'}: {prediction!r} for {gold!r}")


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
