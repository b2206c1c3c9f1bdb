"""Every figure that is computed has a name and a meaning in one place, and the documentation has the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers_scores import answered, write_run

from src_eval.scoring import score_run
from src_tasks.metric_names import ENDINGS, EXPLAINED, METRICS, columns, is_share, metric, rank
from src_tasks.retrieval import ranking_scores

ROOT = Path(__file__).resolve().parent.parent


def test_every_figure_of_a_scored_run_is_named_and_explained(tmp_path: Path) -> None:
    rows = [
        answered("Where?", "Rome", "Rome", searches=[["a"], ["b"]], supporting=["a", "c"], rejected=1),
        answered("Who?", "Verdi", "Bach", searches=[["a"]], supporting=["a"]),
    ]
    found = score_run(write_run(tmp_path / "run", rows)).run.metrics.keys() | ranking_scores([], ["a"]).keys()
    assert {"recall@5", "step_ndcg@5", "parse_failures", "searches_right", "mrr", "ndcg@10"} <= found
    for name in found:
        assert metric(name).meaning, name
        assert rank(name) < len(METRICS), name
    inside = {name for name, estimate in score_run(tmp_path / "run").run.metrics.items() if is_share(name)}
    costs = "searches|steps|calls|tokens|seconds|parse_failures|replies|chain|direct"
    assert inside == {name for name in found if not re.match(costs, name) and "tokens" not in name} - {
        "mrr",
        "ndcg@10",
        "recall@2",
    }


def test_a_rank_is_written_into_name_and_meaning() -> None:
    assert metric("recall@5").column == "recall@5"
    assert metric("step_recall@5").title == "Gold found, each search, first 5"
    assert "first 10" in metric("ndcg@10").meaning
    assert metric("recall").column == "gold recall"
    assert rank("recall@5") == rank("recall@10") < rank("ndcg@5")


def test_an_unknown_figure_is_called_by_its_key() -> None:
    for name in ("my_own", "my_own@3", "@7", ""):
        assert metric(name).column == name
        assert not metric(name).meaning
        assert not is_share(name)
        assert rank(name) == len(METRICS)
    assert columns(["data set", "em"]) == ["data set", "EM"]


def test_no_two_columns_have_the_same_name() -> None:
    assert len({each.column for each in METRICS.values()}) == len(METRICS)
    assert all(each.meaning and each.title for each in METRICS.values())


@pytest.fixture(scope="module")
def section() -> str:
    file, anchor = EXPLAINED.split(": ")[1].split("#")
    text = (ROOT / file).read_text(encoding="utf-8")
    heading = next(line for line in text.splitlines() if line.lower().replace(" ", "-") == f"##-{anchor}")
    return text.split(heading)[1].split("\n## ")[0]


def test_the_documentation_has_the_same_list(section: str) -> None:
    rows = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", section, re.MULTILINE)[1:]
    assert rows == [tuple(each[:3]) for each in METRICS.values()]
    assert all(f"`{ending}`" in section for ending in ENDINGS)


def test_the_readme_says_how_to_read_em_and_f1() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "EM is the share of answers equal to a gold answer, F1 the overlap of their words" in text
    assert EXPLAINED.split(": ")[1] in text
