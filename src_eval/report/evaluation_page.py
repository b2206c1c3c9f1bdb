"""The page of an evaluation: one table over all methods and data sets, a bar and a scatter plot per data set,
and a link into the report of each run. It is plain HTML with SVG and needs neither a script nor a server.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from src_core.html_page import fill_page
from src_core.jsonl import write_atomic
from src_eval.compare import Line, Table
from src_eval.records import Estimate
from src_eval.report.report_page import page_part
from src_eval.score import is_share
from src_eval.tables import Row, cells_of, shown_name

PAGE = "index.html"
COST = "searches"
_BAR = 22
_WIDTH, _LEFT, _RIGHT = 720, 190, 60
_PLOT_HEIGHT = 260
_NAME = 26


class Link(NamedTuple):
    """The report of a run, relative to the page."""

    dataset: str
    line: str
    href: str


def write_evaluation_page(path: Path, table: Table, *, name: str, links: Sequence[Link]) -> None:
    """Write the page. Numbers are those of `table`; a metric in [0, 1] is shown in per cent."""
    hrefs = {(link.dataset, link.line): link.href for link in links}
    body = "".join(_body(table, name, hrefs)).replace("{", "&#123;")  # not a place of the template
    page = page_part("evaluation.html").replace("<!-- body -->", body)
    write_atomic(
        path,
        fill_page(page, title=f"evaluation {name}", style=page_part("evaluation.css"), script="", data={}),
    )


def _body(table: Table, name: str, hrefs: Mapping[tuple[str, str], str]) -> Iterator[str]:
    yield f"<h1>Evaluation {_text(name)}</h1>"
    head, rows, notes = cells_of(table)
    yield f"<table><thead><tr>{''.join(f'<th>{_text(cell)}</th>' for cell in head)}</tr></thead><tbody>"
    yield from (_row(row, hrefs) for row in rows)
    yield "</tbody></table><ul class=notes>"
    yield from (f"<li>{_text(note)}</li>" for note in notes)
    yield "</ul>"
    for dataset in dict.fromkeys(line.dataset for line in table.lines):
        lines = [line for line in table.lines if line.dataset == dataset]
        for metric in table.metrics:
            if is_share(metric) and any(_estimate(line, metric) for line in lines):
                yield f"<section><h2>{_text(dataset)}: {_text(shown_name(metric))}</h2>"
                yield _bars(lines, metric)
                yield _scatter(lines, metric)
                yield "</section>"
                break  # the first share is the metric that the data set is reported by


def _row(row: Row, hrefs: Mapping[tuple[str, str], str]) -> str:
    dataset, line, *figures = row.cells
    href = hrefs.get((dataset, line)) if row.ours else None
    named = f'<a href="{_text(href)}">{_text(line)}</a>' if href else _text(line)
    cells = "".join(f"<td>{_text(cell)}</td>" for cell in figures)
    kind = "" if row.ours else " class=published"
    return f"<tr{kind}><th>{_text(dataset)}</th><th>{named}</th>{cells}</tr>"


def _bars(lines: Sequence[Line], metric: str) -> str:
    """One bar per method with its interval, 0 to 100 %."""
    shown = [(line, estimate) for line in lines if (estimate := _estimate(line, metric))]
    height = _BAR * len(shown) + 26
    parts = [_svg(height, f"{shown_name(metric)} by method with 95 % intervals")]
    for number, (line, estimate) in enumerate(shown):
        y = number * _BAR + 4
        middle = y + _BAR / 2 - 2
        parts.append(_label(_LEFT - 8, middle + 4, line.name[:_NAME], anchor="end"))
        width = _x(estimate.mean) - _LEFT
        parts.append(f'<rect class=mean x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 8}"/>')
        if not estimate.too_few:
            parts.append(
                f'<path class=interval d="M{_x(estimate.low):.1f} {middle}H{_x(estimate.high):.1f}"/>'
            )
        end = _x(estimate.mean if estimate.too_few else estimate.high) + 6
        parts.append(_label(end, middle + 4, f"{100 * estimate.mean:.1f}"))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(_label(_x(share), height - 6, f"{100 * share:.0f}", anchor="middle"))
    return "".join([*parts, "</svg>"])


def _scatter(lines: Sequence[Line], metric: str) -> str:
    """The metric against the mean number of searches; "" where no run has searches."""
    points = [
        (line.name, cost.mean, estimate.mean)
        for line in lines
        if (cost := _estimate(line, COST)) and (estimate := _estimate(line, metric))
    ]
    most = max((searches for _, searches, _ in points), default=0.0)
    if most <= 0:
        return ""
    parts = [_svg(_PLOT_HEIGHT + 40, f"{shown_name(metric)} against searches per question")]
    best = max(value for _, _, value in points) or 1.0
    for name, searches, value in points:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * searches / (1.1 * most)
        y = 10 + (_PLOT_HEIGHT - 20) * (1 - value / (1.1 * best))
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"/>')
        side, anchor = (9, "start") if x < _WIDTH / 2 else (-9, "end")  # the text stays inside the plot
        parts.append(
            _label(x + side, y + 4, f"{name[:_NAME]} ({100 * value:.1f}; {searches:.2f})", anchor=anchor)
        )
    parts.append(f'<path class=axis d="M{_LEFT} 4V{_PLOT_HEIGHT}H{_WIDTH - _RIGHT}"/>')
    parts.append(_label(_WIDTH - _RIGHT, _PLOT_HEIGHT + 24, f"searches (to {1.1 * most:.1f})", anchor="end"))
    parts.append(_label(_LEFT - 8, 16, shown_name(metric), anchor="end"))
    return "".join([*parts, "</svg>"])


def _estimate(line: Line, metric: str) -> Estimate | None:
    cell = line.cells.get(metric)
    return cell.estimate if cell else None


def _svg(height: float, label: str) -> str:
    return f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{_text(label)}">'


def _x(share: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * share


def _label(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{_text(text)}</text>'


def _text(value: str) -> str:
    return html.escape(value, quote=True)
