"""What every figure is called in tables and on pages, and what it means: the one place for both.

`docs/evaluation.md` has the same list (a test compares them); tables on a terminal and in Markdown end with
the line `EXPLAINED`, and pages show the meanings themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from src_core.errors import UserError
from src_core.text import did_you_mean

EXPLAINED = "What the columns mean: docs/evaluation.md#names-in-tables-and-pages"
_AT = re.compile(r"@\d+")


class Metric(NamedTuple):
    """A figure: its name as the head of a column, its name in words, and what it means. A `share` is in
    [0, 1] and shown in per cent. `of_question` is false for figures that only a run or a line has, and that
    the `metrics` of an evaluation cannot name.
    """

    column: str
    title: str
    meaning: str = ""
    share: bool = False
    of_question: bool = True


METRICS: dict[str, Metric] = {
    "em": Metric(
        "EM",
        "Exact match",
        "share of answers that equal a gold answer; case, punctuation, articles and spaces do not count",
        share=True,
    ),
    "f1": Metric(
        "F1",
        "Token F1",
        "overlap of the words of answer and gold answer: 100 is the same words, 0 is no common word",
        share=True,
    ),
    "zh_f1": Metric("F1 (zh)", "Token F1, Chinese", "the same overlap, of Chinese words", share=True),
    "cover_em": Metric(
        "cover-EM", "Contains the answer", "share of answers that contain a gold answer", share=True
    ),
    "acc_l": Metric(
        "ACC_L",
        "Right by the judge",
        "mean verdict of an LLM judge: 100 right, 50 partly right, 0 wrong",
        share=True,
    ),
    "rouge_l": Metric(
        "ROUGE-L",
        "ROUGE-L",
        "longest sequence of words that answer and gold answer share in this order, as an F-measure",
        share=True,
    ),
    "choice_accuracy": Metric(
        "choice acc.", "Right choices", "share of multiple-choice questions answered rightly", share=True
    ),
    "choice_unread": Metric(
        "no one choice",
        "Answers that name no one choice",
        "answers that do not name exactly one of the choices; they count as wrong",
        share=True,
    ),
    "answered_right": Metric(
        "right", "Answered rightly", "questions that were answered with a gold answer", share=True
    ),
    "answered_wrong": Metric(
        "wrong",
        "Answered wrongly",
        "questions that were answered with another answer, also unanswerable ones that were answered at all",
        share=True,
    ),
    "abstained_right": Metric(
        "abstained, right",
        "Abstained rightly",
        "unanswerable questions that were not answered: the answer says so, in any words",
        share=True,
    ),
    "abstained_wrong": Metric(
        "abstained, wrong",
        "Abstained wrongly",
        "questions with a gold answer that were not answered",
        share=True,
    ),
    "coverage": Metric("coverage", "Coverage", "share of questions that were answered", share=True),
    "em_answered": Metric(
        "EM, answered",
        "Exact match of what was answered",
        "EM over the answered questions; the risk is what is missing to 100",
        share=True,
    ),
    "right_lost": Metric(
        "right lost",
        "Right answers withheld",
        "right answers to answerable questions that are given up by a rule of abstention",
        of_question=False,
    ),
    "rule": Metric(
        "rule", "Rule", "the settings of `abstain` under which the line counts", of_question=False
    ),
    "recall": Metric(
        "gold recall",
        "Gold passages found",
        "share of the gold passages of a question (those that hold its evidence) that its searches returned",
        share=True,
    ),
    "recall@k": Metric(
        "recall@k",
        "Gold passages found, first k",
        "share of the gold passages among the first k that were returned, of all searches of a question",
        share=True,
    ),
    "all_found": Metric(
        "all found",
        "All gold passages found",
        "share of questions of which no gold passage is missing",
        share=True,
    ),
    "ndcg@k": Metric(
        "nDCG@k",
        "Rank of gold passages (nDCG), first k",
        "how high the gold passages stand among the first k: 100 is all on top, 0 is none among them "
        "(normalised discounted cumulative gain)",
        share=True,
    ),
    "mrr": Metric("MRR", "Mean reciprocal rank", "mean of 1 / rank of the first gold passage", share=True),
    "step_recall@k": Metric(
        "recall@k, each search",
        "Gold found, each search, first k",
        "share of the gold passages that a single search has among its first k, mean over the searches",
        share=True,
    ),
    "step_ndcg@k": Metric(
        "nDCG@k, each search",
        "nDCG, each search, first k",
        "the rank of the gold passages (nDCG) in a single search, mean over the searches",
        share=True,
    ),
    "searches": Metric(
        "searches", "Searches", "searches per question; a query that was asked before counts as well"
    ),
    "searches_right": Metric(
        "searches, right", "Searches of right answers", "searches per question that was answered rightly"
    ),
    "searches_wrong": Metric(
        "searches, wrong", "Searches of wrong answers", "searches per question that was answered wrongly"
    ),
    "direct_answers": Metric(
        "direct answers",
        "Sub-questions without a search",
        "sub-questions per question that the model answered from its own knowledge",
    ),
    "steps": Metric("steps", "Steps", "steps per question; a step is a thought with its action"),
    "chain_length": Metric(
        "chain length", "Steps of right answers", "steps per question that was answered rightly"
    ),
    "calls": Metric("calls", "Model calls", "requests to a language model per question"),
    "prompt_tokens": Metric("prompt tokens", "Tokens read", "tokens that the models read per question"),
    "completion_tokens": Metric(
        "completion tokens", "Tokens written", "tokens that the models wrote per question"
    ),
    "tokens": Metric("tokens", "Tokens", "tokens that the models read and wrote per question"),
    "seconds": Metric("seconds", "Seconds", "seconds per question, from its start to its answer"),
    "wall": Metric(
        "wall",
        "Wall time",
        "seconds of the whole run divided by its questions; less than `seconds` where several are in flight",
        of_question=False,
    ),
    "parse_failures": Metric(
        "malformed",
        "Malformed replies",
        "replies per question that could not be read as a step; the model is asked again, up to a limit",
    ),
    "replies": Metric(
        "replies",
        "Replies",
        "replies of the reasoning model per question: steps and malformed replies, at most the calls",
    ),
    "invalid": Metric(
        "malformed %",
        "Share of malformed replies",
        "replies that could not be read as a step, in per cent of all replies",
        of_question=False,
    ),
    "n": Metric("n", "Questions", "questions that the figures of the line are of", of_question=False),
    "without_gold": Metric(
        "without gold", "Questions without a gold answer", "these are in no answer metric", of_question=False
    ),
    "em_per_search": Metric(
        "EM per search", "EM per search", "EM divided by searches per question", of_question=False
    ),
    "front": Metric(
        "front",
        "On the Pareto front",
        "yes where no other line of the data set has at least as much EM with at most as many searches, and "
        "better in one of the two; else the best line that has",
        of_question=False,
    ),
    "level": Metric(
        "level",
        "Level",
        "whether the decisions to search are counted once per question or at each sub-question",
        of_question=False,
    ),
    "boundary_f1": Metric(
        "F1 (no search)",
        "F1 of the decision not to search",
        "how well not searching agrees with knowing the answer: 1 is always, 0 is never",
        of_question=False,
    ),
    "boundary_accuracy": Metric(
        "accuracy",
        "Accuracy of the decisions",
        "share of decisions that were right: no search for what is known, a search for what is not",
        of_question=False,
    ),
    "boundary_balanced_accuracy": Metric(
        "balanced accuracy",
        "Balanced accuracy of the decisions",
        "mean of the accuracy on known and on unknown questions; 0.5 is no better than chance",
        of_question=False,
    ),
    "boundary_mcc": Metric(
        "MCC",
        "Matthews' correlation coefficient",
        "correlation of not searching with knowing: 1 is perfect, 0 is chance, -1 is the reverse",
        of_question=False,
    ),
    "boundary_counts": Metric(
        "TP/FP/FN/TN",
        "Decisions",
        "not searched and known / not searched and unknown / searched and known / searched and unknown",
        of_question=False,
    ),
}
"""In the order of tables and pages; `k` in a name stands for the number of passages, as in `recall@5`."""

FEWEST = 20
"""The number of questions below which no interval is shown, and no run is called better than another."""
TOO_FEW = "too few"

ENDINGS: dict[str, str] = {
    "capped": "the limit of steps or tokens was reached before the model ended, and it had to answer",
    "malformed": "at least one reply of the model could not be read as a step",
    "failed": "a server failed, or the question was not attempted; it counts as wrong",
}
"""The kinds of ending that a report can filter by."""


def require_of_questions(names: Iterable[str]) -> None:
    """Raise `UserError` for the first name that is no figure of a question, with the nearest that is one."""
    known = [name for name, named in METRICS.items() if named.of_question]
    for name in names:
        if "@k" in name or _AT.sub("@k", name) not in known:
            near = did_you_mean(name, known)
            raise UserError(
                f"no metric {name!r}; {near}there are: {', '.join(known)} (k is a number: recall@5)"
            )


def metric(name: str) -> Metric:
    """A figure by its key in scores and settings; an unknown one is called by its key."""
    at = _AT.search(name)
    if name in METRICS or at is None:
        return METRICS.get(name) or Metric(name, name.replace("_", " "))
    known = METRICS.get(_AT.sub("@k", name))
    if known is None:
        return Metric(name, name.replace("_", " "))
    k = at[0][1:]
    parts = [re.sub(r"\bk\b", k, text) for text in (known.column, known.title, known.meaning)]
    return Metric(parts[0], parts[1], parts[2], known.share)


def rank(name: str) -> int:
    """The place of a figure in the order of `METRICS`, unknown ones last."""
    return _ORDER.get(_AT.sub("@k", name), len(_ORDER))


def is_share(name: str) -> bool:
    """Whether a metric is in [0, 1] and is shown in per cent."""
    return metric(name).share


def columns(names: Iterable[str]) -> list[str]:
    """The heads of these columns."""
    return [metric(name).column for name in names]


_ORDER = {name: at for at, name in enumerate(METRICS)}
