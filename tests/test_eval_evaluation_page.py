"""The page of an evaluation: figures, links and plots; names are text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from src_eval.compare import Cell, Line, Table
from src_eval.pareto import Point, pareto_cells, with_front
from src_eval.records import Estimate
from src_eval.report.evaluation_page import Extras, Link, write_evaluation_page
from src_eval.tables import markdown


def line(dataset: str, name: str, em: Estimate, searches: float) -> Line:
    cells = {"em": Cell(em), "searches": Cell(Estimate(searches, searches, searches, em.n))}
    return Line(dataset, name, em.n, cells, invalid_rate=0.0)


def page(path: Path, lines: list[Line], links: list[Link]) -> str:
    table = Table(lines, ["em", "searches"], "naive_rag", {})
    points = [
        Point(each.dataset, each.name, each.name, cost, value)
        for each in lines
        if (cost := each.cells["searches"].estimate) and (value := each.cells["em"].estimate)
    ]
    extras = Extras(with_front(points), {"pareto": pareto_cells(with_front(points))})
    write_evaluation_page(path / "index.html", table, name="{{data}} <b>t</b>", links=links, extras=extras)
    return (path / "index.html").read_text(encoding="utf-8")


def test_figures_links_and_plots(tmp_path: Path) -> None:
    text = page(
        tmp_path,
        [
            line("world", "naive_rag", Estimate(0.5, 0.4, 0.6, 100), 1.0),
            line("world", "rearag", Estimate(0.75, 0.5, 1.0, 4), 2.5),
            line("world", "lost", Estimate(0.0, 0.0, 0.04, 100), 1.0),
        ],
        [Link("world", "rearag", "../eval-t-world-rearag/report.html")],
    )
    assert '<a href="../eval-t-world-rearag/report.html">rearag</a>' in text
    assert "<td>50.0 <small>[40.0, 60.0]</small></td>" in text
    assert "<td>75.0 <small>(too few)</small></td>" in text
    assert text.count("<svg") == 2  # bars, and EM against searches
    assert re.search(r'<rect class=mean [^>]* width="2\.0"', text)  # 0 % is a result too
    assert len(re.findall(r"<path class=interval", text)) == 2  # four questions have no interval
    assert "rearag (75.0; 2.50), too few" in text
    assert "75.0 (too few)</text>" in text  # at the end of the bar
    assert "<h2>Right answers against searches</h2>" in text
    assert text.count('<a href="../eval-t-world-rearag/report.html">rearag</a>') == 2  # in both tables


def test_every_head_of_a_column_is_explained(tmp_path: Path) -> None:
    text = page(tmp_path, [line("world", "naive_rag", Estimate(0.5, 0.4, 0.6, 100), 1.0)], [])
    assert '<abbr title="Exact match: share of answers that equal a gold answer;' in text
    glossary = text.split("<dl class=glossary>")[1]
    heads = set(re.findall(r"<abbr[^>]*>([^<]*)</abbr>", text))
    assert heads == set(re.findall(r"<dt>([^<]*)</dt>", glossary))
    assert {"n", "EM", "searches", "malformed %", "EM per search", "front"} <= heads
    named = set(re.findall(r"<th>([^<]+)</th>", text.replace("<wbr>", "")))
    assert named == {"data set", "method", "world", "naive_rag"}


def test_tables_and_plots_scroll_in_their_own_part(tmp_path: Path) -> None:
    text = page(tmp_path, [line("world", "naive_rag", Estimate(0.5, 0.4, 0.6, 100), 1.0)], [])
    assert text.count("<div class=scroll") == text.count("<table>") + text.count("<svg") == 4


def test_names_are_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>{{script}}"
    text = page(
        tmp_path,
        [line(evil, evil, Estimate(0.5, 0.4, 0.6, 100), 0.0)],
        [Link(evil, evil, 'x" onclick="y')],
    )
    assert "<script>alert" not in text
    assert 'onclick="y' not in text
    assert "{{script}}" not in text.split("<main")[1]
    assert text.count("<svg") == 1  # no run searched


def test_failed_questions_are_told_above_the_table_and_in_every_form(tmp_path: Path) -> None:
    failed = replace(
        line("world", "rearag", Estimate(0.5, 0.4, 0.6, 40), 1.0), failures="20 of 40 failed <b>"
    )
    text = page(tmp_path, [failed, line("world", "cot", Estimate(0.5, 0.4, 0.6, 40), 1.0)], [])
    banner, table = text.index("world, rearag: 20 of 40 failed &lt;b&gt;."), text.index("<table>")
    assert text.index("class=banner") < banner < table
    assert text.count("20 of 40 failed") == 1
    assert "20 of 40 failed" in markdown(Table([failed], ["em"], "rearag", {}))
