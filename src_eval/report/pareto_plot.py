"""The Pareto figure of a data set: EM against mean searches, with both intervals. Points on the front are
filled and joined by steps; several lines of one method and model (its decision rule at several thresholds)
are joined by a dashed curve. Points have numbers, and a list below the figure names them: names beside the
points would lie upon each other where methods are alike. Points of too few questions are drawn in dashes and
are on no front.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from src_eval.pareto import COST, VALUE, Point
from src_eval.records import Estimate
from src_eval.report.svg_parts import CHAR, RIGHT, WIDTH, Box, escaped, label, opened, place_apart, ticks
from src_tasks.metric_names import FEWEST, TOO_FEW, metric

_LEFT, _HEIGHT, _TOP = 70, 320, 26
_ROOM = 1.08  # of the largest value, so that no point lies on the border
_RADIUS = 5
_NEAR = 6.0  # points whose middles are nearer than this have one label
_FRAME = Box(_LEFT + 3, 2, WIDTH - _LEFT - 5, _HEIGHT - 5)


class _Place(NamedTuple):
    """A point, its number in the list, and where it is drawn."""

    number: int
    point: Point
    x: float
    y: float


class _Scale(NamedTuple):
    """The largest values that the plot holds."""

    cost: float
    value: float

    def x(self, searches: float) -> float:
        return _LEFT + (WIDTH - _LEFT - RIGHT) * min(searches / self.cost, 1.0)

    def y(self, share: float) -> float:
        return _TOP + (_HEIGHT - _TOP) * (1 - min(share / self.value, 1.0))


def pareto_plot(points: Sequence[Point]) -> str:
    """The figure of the points of one data set (`src_eval.pareto.with_front`) and the list of their names; ""
    where none searches.
    """
    most = max((_shown_most(point.cost) for point in points), default=0.0)
    if most <= 0:
        return ""
    best = max(_shown_most(point.value) for point in points) or 1.0
    scale = _Scale(_ROOM * most, min(_ROOM * best, 1.0))
    places = [
        _Place(number, point, scale.x(point.cost.mean), scale.y(point.value.mean))
        for number, point in enumerate(points, start=1)
    ]
    cost, value = metric(COST).column, metric(VALUE).column
    parts = [opened(_HEIGHT + 40, f"{value} against {cost} per question"), *_axes(scale)]
    parts += [_front(places), *_curves(places), *(_marks(place, scale) for place in places)]
    return "".join([*parts, *_numbers(places), "</svg>", *_list(points)])


def _axes(scale: _Scale) -> Iterator[str]:
    yield f'<path class=axis d="M{_LEFT} 4V{_HEIGHT}H{WIDTH - RIGHT}"/>'
    for tick in ticks(scale.cost):
        yield label(scale.x(tick.value), _HEIGHT + 16, tick.text, anchor="middle")
    for tick in ticks(100 * scale.value):
        yield label(_LEFT - 8, scale.y(tick.value / 100) + 4, tick.text, anchor="end")
    yield label(WIDTH - RIGHT, _HEIGHT + 34, f"{metric(COST).column} per question", anchor="end")
    yield label(_LEFT - 8, 12, f"{metric(VALUE).column}, %", anchor="end")


def _shown_most(estimate: Estimate) -> float:
    return estimate.mean if estimate.too_few else estimate.high


def _front(places: Sequence[_Place]) -> str:
    """The front as steps: what the next point adds is there from its searches on."""
    on_front = [place for place in places if place.point.on_front]
    if len(on_front) < 2:
        return ""
    path = f"M{on_front[0].x:.1f} {on_front[0].y:.1f}"
    return f'<path class=front d="{path}{"".join(f"H{p.x:.1f}V{p.y:.1f}" for p in on_front[1:])}"/>'


def _curves(places: Sequence[_Place]) -> list[str]:
    """One curve for each method and model with several lines, from few searches to many."""
    curves: dict[str, list[_Place]] = {}
    for place in places:
        curves.setdefault(place.point.curve, []).append(place)
    return [
        f'<path class=curve d="M{"L".join(f"{p.x:.1f} {p.y:.1f}" for p in of_one)}"/>'
        for name, of_one in curves.items()
        if name and len(of_one) > 1
    ]


def _marks(place: _Place, scale: _Scale) -> str:
    """The intervals and the point; below 20 questions there are none."""
    point, x, y = place.point, place.x, place.y
    kind = "few" if point.value.too_few else "best" if point.on_front else "beaten"
    circle = f'<circle class={kind} cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}"/>'
    if point.value.too_few:
        return circle
    across = f"M{scale.x(point.cost.low):.1f} {y:.1f}H{scale.x(point.cost.high):.1f}"
    down = f"M{x:.1f} {scale.y(point.value.low):.1f}V{scale.y(point.value.high):.1f}"
    return f'<path class=spread d="{across}{down}"/>{circle}'


def _numbers(places: Sequence[_Place]) -> Iterator[str]:
    """The numbers beside the points, none above another or above a point; points in one place share one."""
    groups: list[list[_Place]] = []
    for place in places:
        near = (
            group
            for group in groups
            if abs(group[0].x - place.x) < _NEAR and abs(group[0].y - place.y) < _NEAR
        )
        group = next(near, None)
        if group is None:
            groups.append([place])
        else:
            group.append(place)
    size = 2 * _RADIUS + 2
    taken = [Box(place.x - size / 2, place.y - size / 2, size, size) for place in places]
    for group in groups:
        text = ", ".join(str(place.number) for place in group)
        box = place_apart(group[0].x, group[0].y, CHAR * len(text) + 2, taken, _FRAME)
        taken.append(box)
        yield label(box.x + box.width / 2, box.y + 11, text, anchor="middle", kind="number")


def _list(points: Sequence[Point]) -> Iterator[str]:
    """The names with their figures, by number."""
    yield "<ol class=points>"
    for point in points:
        figures = f"{100 * point.value.mean:.1f}; {point.cost.mean:.2f}"
        front = "on the front" if point.on_front else point.front
        yield f"<li>{escaped(f'{point.name} ({figures}), {front}')}</li>"
    marks = f"● on the front, ○ beaten, ◌ {TOO_FEW}: below {FEWEST} questions"
    order = f"{metric(VALUE).column} in per cent; {metric(COST).column} per question"
    yield f"</ol><p class=notes>In brackets: {order}. {marks}.</p>"
