"""The page of an evaluation in a real browser, as wide as a laptop, a tablet and a phone: nothing is cut off,
no label lies on another, and no two ticks read the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_report import open_browser

from src_core.config import load_config
from src_eval.compare import Cell, Line, Table
from src_eval.config import EvalConfig
from src_eval.expected import Published
from src_eval.pareto import Point, pareto_cells, with_front
from src_eval.records import Estimate
from src_eval.report.evaluation_page import Extras, write_evaluation_page
from src_tasks.metric_names import is_share

pytestmark = pytest.mark.browser
METRICS = ["em", "f1", "cover_em", "acc_l", "recall", "recall@5", "ndcg@5", "step_recall@5", "searches"]
# Alike in both figures, as methods often are; two are equal.
LINES = [
    ("cot", 0.13, 0.0),
    ("closed_book", 0.12, 0.0),
    ("naive_rag", 0.22, 1.0),
    ("cot_retrieve", 0.23, 1.0),
]
LINES += [
    ("dragin", 0.22, 1.0),
    ("rearag", 0.34, 2.2),
    ("a_line_with_a_very_long_name_of_its_own", 0.34, 2.21),
]
OVERLAPS = """nodes => {
  const boxes = nodes.map((node) => node.getBoundingClientRect());
  return boxes.flatMap((a, at) => boxes.slice(0, at).map((b) => [a, b])).filter(([a, b]) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4).length;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines, points = [], []
    for name, em, searches in LINES:
        value, cost = Estimate(em, em - 0.1, em + 0.1, 100), Estimate(searches, searches, searches, 100)
        cells = {metric: Cell(value) for metric in METRICS[:-1]} | {"searches": Cell(cost)}
        known = [Published("A paper of many authors, Table 1", f"{name} of a large model", {"em": 58.0})]
        lines.append(Line("hotpotqa", name, 100, cells, invalid_rate=0.1, published=known))
        points.append(Point("hotpotqa", name, name, cost, value))
    extras = Extras(with_front(points), {"pareto": pareto_cells(with_front(points))})
    path = tmp_path_factory.mktemp("evaluation") / "index.html"
    write_evaluation_page(path, Table(lines, METRICS, "cot", {}), name="wide", links=[], extras=extras)
    return path


@pytest.mark.parametrize("width", [1360, 800, 390])
def test_wide_parts_scroll_and_the_page_does_not(browser: Any, file: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    table = page.locator(".scroll").first
    assert table.evaluate("node => node.scrollWidth > node.clientWidth") == (width < 1280)
    table.evaluate("node => { node.scrollLeft = node.scrollWidth }")
    last = page.locator("table >> nth=0 >> tbody tr >> nth=0 >> td").last.bounding_box()
    assert last["x"] + last["width"] <= width
    if width >= 800:  # the name of the line stays in sight
        name = page.locator("table >> nth=0 >> tbody tr >> nth=0 >> th").nth(1).bounding_box()
        assert 0 <= name["x"] < width / 3
    assert page.locator("svg >> nth=1 >> text").evaluate_all(OVERLAPS) == 0
    assert page.locator("svg >> nth=0 >> text").evaluate_all(OVERLAPS) == 0
    ticks = page.locator("svg >> nth=1 >> text:not(.number)").all_text_contents()
    across, up = ticks[: ticks.index("0", 1)], ticks[ticks.index("0", 1) :]
    assert len(set(across)) == len(across) >= 3
    assert len(set(up)) == len(up) >= 3
    assert page.locator(".points li").count() == len(LINES)
    page.close()


@pytest.mark.parametrize("questions", [4, 100])
def test_the_columns_of_the_shipped_evaluations_fit_a_laptop(
    browser: Any, tmp_path: Path, questions: int
) -> None:
    shipped = load_config(EvalConfig, Path("configs/eval/real.yaml"))
    metrics = shipped.metrics_of("hotpotqa")
    share, cost = Estimate(0.345, 0.251, 0.443, questions), Estimate(12.25, 1, 2, questions)
    cells = {name: Cell(share if is_share(name) else cost) for name in metrics}
    cells["tokens"] = Cell(Estimate(12345.5, 1, 2, questions))
    names = ["closed_book", "rearag_trained", "a_line_with_a_long_name"]
    lines = [Line("2wikimultihopqa", name, questions, cells, invalid_rate=0.1) for name in names]
    write_evaluation_page(
        tmp_path / "i.html", Table(lines, list(metrics), "closed_book", {}), name="t", links=[]
    )
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((tmp_path / "i.html").as_uri())
    assert page.locator("thead th").count() == len(metrics) + 4 >= 13
    assert page.locator(".scroll").first.evaluate("node => node.scrollWidth - node.clientWidth") == 0
    page.close()
