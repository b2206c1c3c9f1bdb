"""The page of an evaluation: one table over all methods and data sets, bars and the Pareto figure of each
data set, the tables beside the main one, and a link into the report of each run. It is plain HTML with SVG
and needs neither a script nor a server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from src_core.html_page import fill_page
from src_core.jsonl import write_atomic
from src_eval.compare import Line, Table
from src_eval.pareto import Point
from src_eval.records import Estimate
from src_eval.report.pareto_plot import pareto_plot
from src_eval.report.report_page import page_part
from src_eval.report.svg_parts import LEFT, LONGEST_NAME, RIGHT, WIDTH, escaped, label, opened
from src_eval.score import is_share
from src_eval.tables import cells_of, shown_name
from src_eval.text_tables import Cells, Row

PAGE = "index.html"
_BAR = 22
_TITLES = {"pareto": "Right answers against searches", "boundary": "Knowledge boundary"}


class Link(NamedTuple):
    """The report of a run, relative to the page."""

    dataset: str
    line: str
    href: str


class Extras(NamedTuple):
    """What the page shows beside the main table: the points of the Pareto figures, and tables by name."""

    points: Sequence[Point] = ()
    tables: Mapping[str, Cells] = {}


def write_evaluation_page(
    path: Path, table: Table, *, name: str, links: Sequence[Link], extras: Extras | None = None
) -> None:
    """Write the page. Numbers are those of `table`; a metric in [0, 1] is shown in per cent."""
    hrefs = {(link.dataset, link.line): link.href for link in links}
    body = "".join(_body(table, name, hrefs, extras or Extras())).replace(
        "{", "&#123;"
    )  # not a place of the template
    page = page_part("evaluation.html").replace("<!-- body -->", body)
    write_atomic(
        path,
        fill_page(page, title=f"evaluation {name}", style=page_part("evaluation.css"), script="", data={}),
    )


def _body(table: Table, name: str, hrefs: Mapping[tuple[str, str], str], extras: Extras) -> Iterator[str]:
    yield f"<h1>Evaluation {escaped(name)}</h1>"
    yield from _cells(cells_of(table), hrefs)
    for dataset in dict.fromkeys(line.dataset for line in table.lines):
        lines = [line for line in table.lines if line.dataset == dataset]
        for metric in lines[0].cells:
            if is_share(metric) and any(_estimate(line, metric) for line in lines):
                yield f"<section><h2>{escaped(dataset)}: {escaped(shown_name(metric))}</h2>"
                yield _bars(lines, metric)
                yield pareto_plot([point for point in extras.points if point.dataset == dataset])
                yield "</section>"
                break  # the first share is the metric that the data set is reported by
    for what, cells in extras.tables.items():
        yield f"<section><h2>{escaped(_TITLES.get(what, what))}</h2>"
        yield from _cells(cells, hrefs)
        yield "</section>"


def _cells(cells: Cells, hrefs: Mapping[tuple[str, str], str]) -> Iterator[str]:
    head, rows, notes = cells
    yield f"<table><thead><tr>{''.join(f'<th>{escaped(cell)}</th>' for cell in head)}</tr></thead><tbody>"
    yield from (_row(row, hrefs) for row in rows)
    yield "</tbody></table><ul class=notes>"
    yield from (f"<li>{escaped(note)}</li>" for note in notes)
    yield "</ul>"


def _row(row: Row, hrefs: Mapping[tuple[str, str], str]) -> str:
    dataset, line, *figures = row.cells
    href = hrefs.get((dataset, line)) if row.ours else None
    named = f'<a href="{escaped(href)}">{escaped(line)}</a>' if href else escaped(line)
    cells = "".join(f"<td>{escaped(cell)}</td>" for cell in figures)
    kind = "" if row.ours else " class=published"
    return f"<tr{kind}><th>{escaped(dataset)}</th><th>{named}</th>{cells}</tr>"


def _bars(lines: Sequence[Line], metric: str) -> str:
    """One bar per method with its interval, 0 to 100 %."""
    shown = [(line, estimate) for line in lines if (estimate := _estimate(line, metric))]
    height = _BAR * len(shown) + 26
    parts = [opened(height, f"{shown_name(metric)} by method with 95 % intervals")]
    for number, (line, estimate) in enumerate(shown):
        y = number * _BAR + 4
        middle = y + _BAR / 2 - 2
        parts.append(label(LEFT - 8, middle + 4, line.name[:LONGEST_NAME], anchor="end"))
        width = _x(estimate.mean) - LEFT
        parts.append(f'<rect class=mean x="{LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 8}"/>')
        if not estimate.too_few:
            parts.append(
                f'<path class=interval d="M{_x(estimate.low):.1f} {middle}H{_x(estimate.high):.1f}"/>'
            )
        end = _x(estimate.mean if estimate.too_few else estimate.high) + 6
        parts.append(label(end, middle + 4, f"{100 * estimate.mean:.1f}"))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(label(_x(share), height - 6, f"{100 * share:.0f}", anchor="middle"))
    return "".join([*parts, "</svg>"])


def _estimate(line: Line, metric: str) -> Estimate | None:
    cell = line.cells.get(metric)
    return cell.estimate if cell else None


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share
