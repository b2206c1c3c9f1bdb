"""The Pareto figure of a data set: EM against mean searches, with both intervals. Points on the front are
filled and joined by steps; several lines of one method and model (its decision rule at several thresholds)
are joined by a dashed curve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from src_eval.pareto import VALUE, Point
from src_eval.records import Estimate
from src_eval.report.svg_parts import LEFT, LONGEST_NAME, RIGHT, WIDTH, label, opened
from src_eval.tables import shown_name

_HEIGHT, _TOP = 320, 14
_ROOM = 1.08  # of the largest value, so that no point lies on the border
_LINE_HEIGHT = 14


class _Place(NamedTuple):
    """A point and where it is drawn."""

    point: Point
    x: float
    y: float


class _Scale(NamedTuple):
    """The largest values that the plot holds."""

    cost: float
    value: float

    def x(self, searches: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(searches / self.cost, 1.0)

    def y(self, share: float) -> float:
        return _TOP + (_HEIGHT - _TOP) * (1 - min(share / self.value, 1.0))


def pareto_plot(points: Sequence[Point]) -> str:
    """The figure of the points of one data set (`src_eval.pareto.with_front`); "" where none searches."""
    most = max((_shown_most(point.cost) for point in points), default=0.0)
    if most <= 0:
        return ""
    best = max(_shown_most(point.value) for point in points) or 1.0
    scale = _Scale(_ROOM * most, min(_ROOM * best, 1.0))
    places = [_Place(point, scale.x(point.cost.mean), scale.y(point.value.mean)) for point in points]
    parts = [opened(_HEIGHT + 36, f"{shown_name(VALUE)} against searches per question")]
    parts += [_front(places), *_curves(places), *(_marks(place, scale) for place in places)]
    parts += _labels(places)
    parts.append(f'<path class=axis d="M{LEFT} 4V{_HEIGHT}H{WIDTH - RIGHT}"/>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        at = share * scale.cost
        parts.append(label(scale.x(at), _HEIGHT + 14, f"{at:.1f}", anchor="middle"))
        parts.append(
            label(
                LEFT - 6, scale.y(share * scale.value) + 4, f"{100 * share * scale.value:.0f}", anchor="end"
            )
        )
    parts.append(label(WIDTH - RIGHT, _HEIGHT + 30, "searches per question", anchor="end"))
    parts.append(label(LEFT - 40, _TOP, shown_name(VALUE), anchor="end"))
    return "".join([*parts, "</svg>"])


def _shown_most(estimate: Estimate) -> float:
    return estimate.mean if estimate.too_few else estimate.high


def _front(places: Sequence[_Place]) -> str:
    """The front as steps: what the next point adds is there from its searches on."""
    on_front = [place for place in places if not place.point.beaten_by]
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
    """The intervals and the point; 20 questions are too few for intervals."""
    point, x, y = place
    kind = "beaten" if point.beaten_by else "best"
    circle = f'<circle class={kind} cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    if point.value.too_few:
        return circle
    across = f"M{scale.x(point.cost.low):.1f} {y:.1f}H{scale.x(point.cost.high):.1f}"
    down = f"M{x:.1f} {scale.y(point.value.low):.1f}V{scale.y(point.value.high):.1f}"
    return f'<path class=spread d="{across}{down}"/>{circle}'


def _labels(places: Sequence[_Place]) -> list[str]:
    """The names with their figures, on the side with more room, none above another."""
    found = []
    taken: list[tuple[bool, float]] = []
    for point, x, y in sorted(places, key=lambda place: place.y):
        right = x < WIDTH / 2
        at = y + 4
        while any(side is right and abs(at - other) < _LINE_HEIGHT for side, other in taken):
            at += 2
        taken.append((right, at))
        text = f"{point.name[:LONGEST_NAME]} ({100 * point.value.mean:.1f}; {point.cost.mean:.2f})"
        found.append(label(x + (9 if right else -9), at, text, anchor="start" if right else "end"))
    return found
