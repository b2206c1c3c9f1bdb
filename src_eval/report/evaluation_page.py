"""The page of an evaluation: one table over all methods and data sets, bars and the Pareto figure of each
data set, the tables beside the main one, a link into the report of each run, and the meaning of every
column. It is plain HTML with SVG and needs neither a script nor a server. A table or plot that is wider than
the window scrolls inside its own part of the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from src_core.html_page import fill_page
from src_core.jsonl import write_atomic
from src_core.text import shorten
from src_eval.compare import Line, Table
from src_eval.pareto import Point
from src_eval.records import Estimate
from src_eval.report.pareto_plot import pareto_plot
from src_eval.report.report_page import page_part
from src_eval.report.svg_parts import LEFT, LONGEST_NAME, RIGHT, WIDTH, escaped, label, opened
from src_eval.tables import cells_of
from src_eval.text_tables import Cells, Row
from src_tasks.metric_names import TOO_FEW, Metric, is_share, metric, rank

_BAR = 22
_THINNEST = 2.0
"""The width of the bar of a share of 0, which is a result."""
_TITLES = {
    "abstention": "Answered and abstained",
    "pareto": "Right answers against searches",
    "boundary": "Knowledge boundary",
}


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
    main = cells_of(table)
    if main.failures:
        sentences = "".join(f"<p>{escaped(sentence)}</p>" for sentence in main.failures)
        yield f"<div class=banner role=alert>{sentences}</div>"
    yield from _cells(main, hrefs, "Scores")
    for dataset in dict.fromkeys(line.dataset for line in table.lines):
        lines = [line for line in table.lines if line.dataset == dataset]
        for name in lines[0].cells:
            if is_share(name) and any(_estimate(line, name) for line in lines):
                yield f"<section><h2>{escaped(dataset)}: {escaped(metric(name).column)}</h2>"
                yield f"<div class=scroll>{_bars(lines, name)}</div>"
                plot = pareto_plot([point for point in extras.points if point.dataset == dataset])
                yield f"<div class=scroll>{plot}</div></section>" if plot else "</section>"
                break  # the first share is the metric that the data set is reported by
    for what, cells in extras.tables.items():
        title = _TITLES.get(what, what)
        yield f"<section><h2>{escaped(title)}</h2>"
        yield from _cells(cells, hrefs, title)
        yield "</section>"
    yield from _glossary(
        dict.fromkeys(key for cells in (main, *extras.tables.values()) for key in cells.keys)
    )


def _cells(cells: Cells, hrefs: Mapping[tuple[str, str], str], title: str) -> Iterator[str]:
    yield f'<div class=scroll role=region tabindex=0 aria-label="{escaped(title)}"><table><thead><tr>'
    yield from (f"<th>{_head(metric(key))}</th>" for key in cells.keys)
    yield "</tr></thead><tbody>"
    yield from (_row(row, hrefs) for row in cells.rows)
    yield "</tbody></table></div><ul class=notes>"
    yield from (f"<li>{escaped(note)}</li>" for note in cells.notes)
    yield "</ul>"


def _head(named: Metric) -> str:
    if not named.meaning:
        return escaped(named.column)
    return f'<abbr title="{escaped(f"{named.title}: {named.meaning}")}">{escaped(named.column)}</abbr>'


def _glossary(keys: Iterable[str]) -> Iterator[str]:
    """What the heads of the columns mean, for those who cannot point at them with a mouse."""
    yield "<section><h2>What the columns mean</h2><dl class=glossary>"
    for named in map(metric, sorted(keys, key=rank)):
        if named.meaning:
            title = f"{named.title}: " if named.title.lower() != named.column.lower() else ""
            yield f"<dt>{escaped(named.column)}</dt><dd>{escaped(f'{title}{named.meaning}')}</dd>"
    yield "</dl></section>"


def _row(row: Row, hrefs: Mapping[tuple[str, str], str]) -> str:
    dataset, line, *figures = row.cells
    href = hrefs.get((dataset, line)) if row.ours else None
    named = f'<a href="{escaped(href)}">{_name(line)}</a>' if href else _name(line)
    cells = "".join(map(_figure, figures))
    kind = "" if row.ours else " class=published"
    return f"<tr{kind}><th>{_name(dataset)}</th><th>{named}</th>{cells}</tr>"


def _name(text: str) -> str:
    """A name that may go on in a new line after an underscore."""
    return escaped(text).replace("_", "_<wbr>")


def _figure(cell: str) -> str:
    """A figure with its interval below it, `34.5` and `[25.1, 44.3]`: 13 columns fit a laptop."""
    mean, between, rest = cell.partition(" ")
    is_range = rest.startswith(("[", "("))
    below = f" <small>{escaped(rest)}</small>" if is_range else escaped(between + rest)
    return f"<td>{escaped(mean)}{below}</td>"


def _bars(lines: Sequence[Line], name: str) -> str:
    """One bar per method with its interval, 0 to 100 %."""
    shown = [(line, estimate) for line in lines if (estimate := _estimate(line, name))]
    height = _BAR * len(shown) + 26
    intervals = "" if all(estimate.too_few for _, estimate in shown) else " with 95 % intervals"
    parts = [opened(height, f"{metric(name).column} by method{intervals}")]
    for number, (line, estimate) in enumerate(shown):
        y = number * _BAR + 4
        middle = y + _BAR / 2 - 2
        parts.append(label(LEFT - 8, middle + 4, shorten(line.name, LONGEST_NAME), anchor="end"))
        width = max(_x(estimate.mean) - LEFT, _THINNEST)
        parts.append(f'<rect class=mean x="{LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 8}"/>')
        if not estimate.too_few:
            parts.append(
                f'<path class=interval d="M{_x(estimate.low):.1f} {middle}H{_x(estimate.high):.1f}"/>'
            )
        end = _x(estimate.mean if estimate.too_few else estimate.high) + 6
        few = f" ({TOO_FEW})" if estimate.too_few else ""
        parts.append(label(end, middle + 4, f"{100 * estimate.mean:.1f}{few}"))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(label(_x(share), height - 6, f"{100 * share:.0f}", anchor="middle"))
    return "".join([*parts, "</svg>"])


def _estimate(line: Line, name: str) -> Estimate | None:
    cell = line.cells.get(name)
    return cell.estimate if cell else None


def _x(share: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * share
