"""The Pareto front of EM against searches: as a definition, a table, a figure and a command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers_scores import answered, write_run
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.errors import UserError
from src_eval import pareto
from src_eval.compare import Entry
from src_eval.expected import Expected
from src_eval.pareto import Point, pareto_cells, points_of, with_front
from src_eval.records import Estimate
from src_eval.report.pareto_plot import pareto_plot
from src_eval.report.svg_parts import CHAR, LINE, Box, ticks
from src_eval.run import extras_of
from src_eval.scoring import score_run


def point(
    name: str, cost: float, value: float, *, dataset: str = "set", curve: str = "", n: int = 100
) -> Point:
    spread = Estimate(value, max(value - 0.1, 0.0), min(value + 0.1, 1.0), n)
    return Point(dataset, name, curve, Estimate(cost, max(cost - 0.2, 0.0), cost + 0.2, n), spread)


LINES = [
    point("always", 2.77, 0.454),
    point("adaptive", 1.37, 0.477),
    point("never", 0.0, 0.253),
    point("worse", 1.5, 0.40),
    point("equal", 1.37, 0.477),
    point("elsewhere", 9.0, 0.1, dataset="other"),
]


def test_the_front_by_hand() -> None:
    found = {each.name: each.beaten_by for each in with_front(LINES)}
    assert found == {
        "never": "",
        "adaptive": "",
        "equal": "",  # two equal lines do not beat each other
        "worse": "adaptive",
        "always": "adaptive",
        "elsewhere": "",
    }
    assert [each.name for each in with_front(LINES)][:2] == ["never", "adaptive"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_the_front_is_never_empty_and_rises(pairs: list[tuple[int, int]]) -> None:
    made = with_front([point(str(at), cost, value / 4) for at, (cost, value) in enumerate(pairs)])
    front = [each for each in made if not each.beaten_by]
    assert front
    values = [each.value.mean for each in front]
    assert values == sorted(values)
    for each in made:  # who is beaten is beaten by one that is better, and on the front itself
        if each.beaten_by:
            (by,) = [other for other in made if other.name == each.beaten_by]
            assert by.cost.mean <= each.cost.mean
            assert by.value.mean >= each.value.mean
            assert not by.beaten_by


def test_the_table_says_what_beats_a_line() -> None:
    table = pareto_cells(with_front(LINES))
    rows = {row.cells[1]: row.cells for row in table.rows}
    assert rows["never"][3:] == ["0.00 [0.00, 0.20]", "25.3 [15.3, 35.3]", "-", "yes"]
    assert rows["always"][5:] == ["16.4", "beaten by adaptive"]


def test_too_few_questions_are_neither_on_the_front_nor_beaten() -> None:
    made = with_front([point("a", 1.0, 0.5, n=4), point("b", 2.0, 0.4, n=4), point("c", 3.0, 0.3, n=20)])
    assert [each.front for each in made] == ["too few", "too few", "yes"]
    cells = pareto_cells(made)
    assert cells.rows[0].cells[3:] == ["1.00 (too few)", "50.0 (too few)", "50.0 (too few)", "too few"]
    assert "too few: below 20 questions" in cells.notes[-1]
    drawn = pareto_plot(made)
    assert [drawn.count(f"<circle class={kind}") for kind in ("few", "best", "beaten")] == [2, 1, 0]
    assert "<path class=front" not in drawn
    assert "<li>a (50.0; 1.00), too few</li>" in drawn


def test_the_figure_joins_the_front_and_the_lines_of_one_method() -> None:
    curve = [point(f"deeprag {at}", 0.5 * at, 0.2 + 0.1 * at, curve="deeprag") for at in range(4)]
    made = with_front([*curve, point("always <b>", 3.0, 0.3, curve="deeprag_always"), point("a", 3.0, 0.2)])
    drawn = pareto_plot(made)
    assert drawn.count("<circle class=best") == 4
    assert drawn.count("<circle class=beaten") == 2
    assert drawn.count("<path class=front") == 1
    assert drawn.count("<path class=curve") == 1  # lines without a method, or alone, are no curve
    assert drawn.count("<path class=spread") == 6
    assert "<li>always &lt;b&gt; (30.0; 3.00), beaten by deeprag 3</li>" in drawn
    coordinates = [float(value) for value in re.findall(r'c[xy]="([\d.-]+)"', drawn)]
    assert all(0 <= value <= 720 for value in coordinates)


def boxes(drawn: str) -> list[Box]:
    """The numbers beside the points, each as wide as its digits."""
    found = re.findall(r'<text class=number x="([\d.-]+)" y="([\d.-]+)"[^>]*>([^<]*)<', drawn)
    return [
        Box(float(x) - CHAR * len(text) / 2, float(y) - 11, CHAR * len(text), LINE) for x, y, text in found
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=16))
def test_numbers_lie_on_no_other_number_and_on_no_point(pairs: list[tuple[int, int]]) -> None:
    drawn = pareto_plot(with_front([point(f"m{at}", c / 2, v / 8) for at, (c, v) in enumerate(pairs)]))
    numbers = boxes(drawn)
    named = ", ".join(re.findall(r"<text class=number[^>]*>([^<]*)<", drawn)).split(", ")
    assert sorted(map(int, named)) == list(range(1, len(pairs) + 1))  # every point once
    middles = re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)"', drawn)
    points = [Box(float(x) - 5, float(y) - 5, 10, 10) for x, y in middles]
    assert not any(one.meets(other) for at, one in enumerate(numbers) for other in numbers[:at])
    assert not any(number.meets(each) for number in numbers for each in points)


@settings(deadline=None)
@given(st.floats(1e-6, 1e6))
def test_ticks_are_round_ascending_and_distinct(most: float) -> None:
    found = ticks(most)
    assert 3 <= len(found) <= 7
    assert len({tick.text for tick in found}) == len(found)
    assert found[0].value == 0
    assert found[-1].value <= most * 1.00001
    assert all(float(tick.text) == pytest.approx(tick.value, rel=1e-6) for tick in found)


def test_ticks_of_a_small_axis_differ() -> None:
    assert [tick.text for tick in ticks(0.36)] == ["0.0", "0.1", "0.2", "0.3"]
    assert [tick.text for tick in ticks(1.08)] == ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]


def test_without_a_search_there_is_no_figure_and_few_questions_have_no_intervals() -> None:
    assert pareto_plot(with_front([point("never", 0.0, 0.5, n=4)])) == ""
    assert "class=spread" not in pareto_plot(with_front([point("few", 1.0, 0.5, n=4)]))
    assert pareto_plot(with_front([point("none right", 1.0, 0.0)]))


def runs(folder: Path) -> list[Entry]:
    made = []
    for name, searches, right in (("closed_book", 0, 5), ("naive_rag", 1, 12), ("wasteful", 3, 10)):
        rows = [
            answered(f"Question {at}?", "x" if at < right else "y", "x", searches=[["p"]] * searches)
            for at in range(20)
        ]
        made.append(Entry("set", name, name, score_run(write_run(folder / name, rows, method=name))))
    return made


def test_an_evaluation_has_the_tables_that_its_lines_allow(tmp_path: Path) -> None:
    entries = runs(tmp_path)
    extras = extras_of(entries, never=["closed_book"], expected=Expected())
    assert list(extras.tables) == ["pareto", "boundary"]
    assert [each.beaten_by for each in extras.points] == ["", "", "naive_rag"]
    assert list(extras_of(entries, never=(), expected=Expected()).tables) == ["pareto"]
    assert list(extras_of(entries[:1], never=["closed_book"], expected=Expected()).tables) == []
    assert [each.name for each in points_of(entries)] == ["closed_book", "naive_rag", "wasteful"]


def test_a_curve_is_of_one_method_and_one_model(tmp_path: Path) -> None:
    rows = [answered("Q?", "x", "x", searches=[["p"]])]
    made = [("t=0", "a"), ("t=1", "a"), ("t=0, trained", "b")]
    entries = [
        Entry("set", name, "deeprag", score_run(write_run(tmp_path / name, rows, tags=model)))
        for name, model in made
    ]
    first, second, trained = (each.curve for each in points_of(entries))
    assert first == second != trained
    assert pareto_plot(points_of(entries)).count("<path class=curve") == 1


def test_the_command_prints_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs(tmp_path)
    names = [str(tmp_path / name) for name in ("closed_book", "naive_rag", "wasteful")]
    monkeypatch.setattr("sys.argv", ["pareto", *names])
    pareto.main()
    assert "beaten by naive_rag" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["pareto"])
    with pytest.raises(UserError, match="usage"):
        pareto.main()
    goldless = write_run(tmp_path / "goldless", [answered("Q?", "x")])
    monkeypatch.setattr("sys.argv", ["pareto", str(goldless)])
    with pytest.raises(UserError, match="none of these runs"):
        pareto.main()
