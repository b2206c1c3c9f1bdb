"""The table: what is compared with what, how significance is marked, and its four forms."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from helpers_scores import answered, write_run
from rich.console import Console

from src_core.errors import UserError
from src_eval.compare import Entry, Table, build_table
from src_eval.expected import Expected, load_expected, published
from src_eval.scoring import score_run
from src_eval.tables import cells_of, comma_separated, latex, markdown, notes_of
from src_eval.text_tables import print_cells

ROOT = Path(__file__).resolve().parent.parent


def entry(folder: Path, dataset: str, line: str, right: int, *, of: int = 20) -> Entry:
    """A run that answers the first `right` questions."""
    rows = [answered(f"{dataset} {at}?", "x" if at < right else "y", "x") for at in range(of)]
    return Entry(dataset, line, line, score_run(write_run(folder / f"{dataset}-{line}", rows, method=line)))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    entries = [
        entry(tmp_path, "hotpotqa", "naive_rag", 4),
        entry(tmp_path, "hotpotqa", "rearag", 16),
        entry(tmp_path, "hotpotqa", "a_b", 5),
        entry(tmp_path, "musique", "naive_rag", 14),
        entry(tmp_path, "musique", "rearag", 2),
    ]
    expected = load_expected(str(ROOT / "configs/expected.yaml"))
    return build_table(entries, baseline="naive_rag", metrics_of=lambda _: ("em", "steps"), expected=expected)


def test_every_method_is_tested_against_the_baseline_with_correction(table: Table) -> None:
    base, better, same, _, worse = (line.cells["em"] for line in table.lines)
    assert base.comparison is None
    assert base.mark == ""
    assert better.comparison is not None
    assert better.comparison.p == 2 / 2**12  # twelve questions, all one way
    assert better.p_holm == pytest.approx(3 * 2 / 2**12)  # three comparisons of this metric
    assert (better.mark, same.mark, worse.mark) == ("*", "", "†")
    assert table.detectable[("musique", "em")] is not None
    assert table.detectable[("musique", "steps")] is None


def test_only_answers_and_retrieval_are_marked_better_or_worse(table: Table) -> None:
    better = table.lines[1]
    wasteful = replace(better, cells={**better.cells, "steps": better.cells["em"]})
    shown = cells_of(table._replace(lines=[wasteful])).rows[0].cells
    assert shown[3].endswith("*")  # em
    assert shown[4] == "0.80"  # the same comparison as a cost


def test_published_numbers_stand_under_the_lines_of_their_data_set(table: Table) -> None:
    rows = cells_of(table).rows
    shown = [row.cells for row in rows if row.cells[0] == "hotpotqa"]
    assert [row[1] for row in shown[:3]] == ["naive_rag", "rearag", "a_b"]
    assert ["hotpotqa", "ReaRAG-9B (ReaRAG v3, Table 1)", "-", "58", "-", "-"] in shown
    assert not [row for row in rows if "Self-RAG" in row.cells[1]]


def test_published_numbers_are_those_of_the_papers() -> None:
    expected = load_expected(str(ROOT / "configs/expected.yaml"))
    found = {each.source: each.values for each in published(expected, dataset="musique", method="rearag")}
    assert found["ReaRAG v1, Table 1"] == {"acc_l": 66, "em": 40}
    assert found["ReaRAG v3, Table 1"] == {"acc_l": 67, "em": 46}
    assert found["FlashRAG, reasoning sheet"] == {"em": 14.1, "cover_em": 21.5, "f1": 21.2}
    assert found["ReaRAG v1, Figure 3"] == {"chain_length": 4.33}
    fanout = published(expected, dataset="fanoutqa", method="rearag")[0].values
    assert fanout == {"acc_l": 11.6, "rouge_l": 24.3}
    assert load_expected("") == Expected()


def test_the_averages_of_deeprag_are_those_of_its_table() -> None:
    """A mistake of transcription would show."""
    tables = {each.source: each for each in load_expected(str(ROOT / "configs/expected.yaml")).tables}
    printed = {row.system: row.values[0][0] for row in tables["DeepRAG v2, Table 1, averages"].rows}
    rows = {row.system: row.values for row in tables["DeepRAG v2, Table 1"].rows}
    compared = printed.keys() & rows.keys()
    assert len(rows) == len(compared) == 28
    off = {}
    for system in compared:
        values = [value for pair in rows[system] for value in pair if value is not None]
        mean = sum(values) / 12
        if abs(mean - (printed[system] or 0.0)) > 0.006:
            off[system] = round(mean, 2)
    assert off == {}


def test_every_published_row_fits_its_table_and_the_ablations_stand_beside_no_line() -> None:
    tables = load_expected(str(ROOT / "configs/expected.yaml")).tables
    assert len({each.source for each in tables}) == len(tables)
    for table in tables:
        for row in table.rows:
            sizes = {len(cell) for cell in row.values}
            assert sizes <= {0, len(table.metrics)}, (table.source, row.system)
    ablations = [each for each in tables if each.source.startswith("DeepRAG, ")]
    assert len(ablations) == 3
    assert {row.method for each in ablations for row in each.rows} == {""}
    paths = ablations[0]
    for row in paths.rows[::2]:  # the mean of `most retrieval` is printed wrong
        *cells, average = row.values
        known = [value for cell in cells for value in cell if value is not None]
        assert sum(known) / 5 == pytest.approx(average[2], abs=0.011)


def test_dragin_is_published_with_its_searches() -> None:
    expected = load_expected(str(ROOT / "configs/expected.yaml"))
    found = [
        each for each in published(expected, dataset="hotpotqa", method="dragin") if each.source == "DRAGIN"
    ]
    assert found[0].values == {"em": 31.4, "f1": 42.38, "searches": 3.51}


def test_what_is_irregular_about_published_numbers_is_below_the_table(tmp_path: Path) -> None:
    expected = load_expected(str(ROOT / "configs/expected.yaml"))
    entries = [entry(tmp_path, "popqa", "flare", 4), entry(tmp_path, "popqa", "closed_book", 4)]
    table = build_table(entries, baseline="flare", metrics_of=lambda _: ("em",), expected=expected)
    notes = notes_of(table)
    assert sum("PopQA and WebQuestions have the same figures" in note for note in notes) == 1


def test_a_published_row_that_does_not_fit_is_named(tmp_path: Path) -> None:
    file = tmp_path / "expected.yaml"
    row = "{system: S, values: [[1.0]]}"
    table = f"{{source: T, setting: s, datasets: [a, b], metrics: [em], rows: [{row}]}}"
    file.write_text(f"tables: [{table}]\n", encoding="utf-8")
    with pytest.raises(UserError, match="'S' in 'T' needs 2 lists"):
        load_expected(str(file))


def test_markdown(table: Table) -> None:
    lines = markdown(table).splitlines()
    assert lines[0] == "| data set | method | n | EM | steps | malformed % |"
    assert lines[3].startswith("| hotpotqa | rearag | 20 | 80.0 [")
    assert lines[3].count("]\\* |") == 1
    assert "a\\_b" in lines[4]
    assert any(line.startswith("- hotpotqa, EM: smallest difference to naive\\_rag") for line in lines)


def test_latex(table: Table) -> None:
    text = latex(table)
    assert text.startswith(
        "\\begin{tabular}{llrrrr}\n\\toprule\ndata set & method & n & EM & steps & malformed \\% \\\\"
    )
    assert "hotpotqa & a\\_b & 20 & 25.0" in text
    assert "]$^{*}$" in text
    assert "]$^{\\dagger}$" in text
    assert text.count("\\midrule") == 2


def test_csv_keeps_every_figure(table: Table) -> None:
    rows = list(csv.DictReader(io.StringIO(comma_separated(table))))
    assert len(rows) == 10
    found = next(
        row for row in rows if (row["dataset"], row["method"], row["metric"]) == ("hotpotqa", "rearag", "em")
    )
    assert float(found["mean"]) == 0.8
    assert float(found["difference"]) == pytest.approx(0.6)
    assert found["baseline"] == "naive_rag"
    assert "58 (ReaRAG-9B; ReaRAG v3, Table 1)" in found["published"]


def test_the_terminal_shows_the_same_and_obeys_no_markup(tmp_path: Path) -> None:
    entries = [entry(tmp_path, "d", "[red]x[/red]", 3), entry(tmp_path, "d", "y", 3)]
    table = build_table(entries, baseline="y", metrics_of=lambda _: ("em",), expected=Expected())
    console = Console(width=150, record=True, quiet=False, file=io.StringIO())
    print_cells(cells_of(table), console)
    assert "[red]x[/red]" in console.export_text()
    assert "never differ" in notes_of(table)[-1]


def test_a_data_set_without_its_baseline_is_shown_without_comparisons(tmp_path: Path) -> None:
    found = build_table(
        [entry(tmp_path, "d", "rearag", 3)],
        baseline="gone",
        metrics_of=lambda _: ("em", "acc_l"),
        expected=Expected(),
    )
    assert found.lines[0].cells["em"].comparison is None
    assert found.lines[0].cells["acc_l"].estimate is None
    assert found.detectable == {}
    assert cells_of(found).rows[0].cells[4] == "-"


def test_a_difference_beyond_100_points_is_too_few_questions(tmp_path: Path) -> None:
    def run(name: str, answers: str) -> Entry:
        rows = [answered(f"{n}?", answer, "x") for n, answer in enumerate(answers)]
        return Entry("d", name, name, score_run(write_run(tmp_path / name, rows)))

    few = [run("base", "xy"), run("other", "yx")]
    table = build_table(few, baseline="base", metrics_of=lambda _: ("em",), expected=Expected())
    assert (table.detectable[("d", "em")] or 0) > 1
    assert notes_of(table)[-1].endswith("alpha 0.05): none, too few questions.")


def test_below_20_questions_nothing_is_better_or_worse(tmp_path: Path) -> None:
    def run(name: str, answer: str, n: int) -> Entry:
        rows = [answered(f"{at}?", answer, "x") for at in range(n)]
        return Entry("d", name, name, score_run(write_run(tmp_path / f"{name}{n}", rows)))

    for n, mark, shown in ((19, "", "100.0 (too few)"), (20, "*", "100.0 [100.0, 100.0]*")):
        table = build_table(
            [run("base", "y", n), run("good", "x", n)],
            baseline="base",
            metrics_of=lambda _: ("em",),
            expected=Expected(),
        )
        assert table.lines[1].cells["em"].p_holm < 0.001  # type: ignore[operator]
        assert table.lines[1].cells["em"].mark == mark
        assert cells_of(table).rows[1].cells[3] == shown


def test_questions_without_golds_are_counted_below_the_table(tmp_path: Path) -> None:
    rows = [answered("1?", "x", "x"), answered("2?", "x")]
    line = Entry("d", "m", "m", score_run(write_run(tmp_path / "m", rows)))
    table = build_table([line], baseline="m", metrics_of=lambda _: ("em",), expected=Expected())
    assert notes_of(table)[-1].startswith("d, m: 1 of 2 questions have no gold answer")
