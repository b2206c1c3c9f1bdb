"""Every rule refuses what it is for, with its reason; nothing is lost; the stage never falls over."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from helpers_chains import GOLDS, QUESTION, chain, finish, question, search, write_chains
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.config import load_config
from src_core.errors import UserError
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import PromptStyle
from src_core.types import Status, Trajectory, to_json
from src_data.config import BuildConfig
from src_data.filters.filter_report import advice, build_report, report_markdown, report_table, save_report
from src_data.filters.filter_run import FilterPaths, filter_paths, filter_run, read_filtered
from src_data.filters.filter_trajectory import Bounds, FilterConfig, filter_trajectory
from src_data.filters.outcomes import EXPLAINED, OUTCOMES, REASONS
from src_data.postprocess import FinishConfig

STYLE = PromptStyle()
SOUND = chain()
S1, S2, S3 = SOUND.steps


def reasons(path: Path) -> list[tuple[int, str]]:
    return [(row.line, row.result.reason) for row in read_filtered(path)]


def test_a_sound_chain_is_kept() -> None:
    result = filter_trajectory(SOUND, FilterConfig())
    assert result == (True, "", "", 1.0)


SPOILED: dict[str, tuple[Trajectory, str]] = {
    "model error": (chain(status=Status.MODEL_ERROR, error="timeout"), "model_error"),
    "retriever error": (chain(status=Status.RETRIEVER_ERROR), "retriever_error"),
    "capped": (chain(S1, S2, status=Status.CAPPED_THEN_ANSWERED), "capped_then_answered"),
    "refused": (chain(status=Status.REFUSED), "refused"),
    "no steps": (replace(SOUND, steps=()), "structure"),
    "no finish": (chain(S1, S2), "structure"),
    "numbered from 2": (chain(search(2, "Who?", "Verdi"), finish(3, "Le Roncole")), "structure"),
    "gap": (chain(S1, search(3, "Where?", "In Le Roncole"), finish(4, "Le Roncole")), "structure"),
    "nothing observed": (chain(S1, replace(S2, observation=None), S3), "structure"),
    "blank observation": (chain(S1, replace(S2, observation=" \n"), S3), "structure"),
    "finish in the middle": (chain(S1, finish(2, "Le Roncole"), finish(3, "Le Roncole")), "structure"),
    "observed finish": (chain(S1, S2, replace(S3, observation="Episode finished")), "structure"),
    "no thought": (chain(S1, S2, finish(3, "Le Roncole", thought=" ")), "structure"),
    "a label in a thought": (
        chain(S1, S2, finish(3, "Le Roncole", thought="So\nAction 3: search[x]\nand so on")),
        "structure",
    ),
    "an invented observation in a thought": (
        chain(S1, S2, finish(3, "Le Roncole", thought="Good.\nObservation 2: Le Roncole\nSo it is.")),
        "structure",
    ),
    "no question": (chain(asked=question("  ")), "structure"),
    "think block": (
        chain(S1, S2, finish(3, "Le Roncole", thought="</think> So it is Le Roncole.")),
        "leaked_tokens",
    ),
    "control token": (chain(S1, search(2, "Where?", "Le Roncole<|im_end|>"), S3), "leaked_tokens"),
    "no golds": (chain(asked=question(golds=())), "no_gold"),
    "abstains": (chain(S1, S2, finish(3, "unknown")), "answer_abstains"),
    "abstains from yes or no": (
        chain(S1, S2, finish(3, "unknown"), asked=question(golds=("yes",))),
        "answer_abstains",
    ),
    "closed": (chain(S1, S2, finish(3, "no"), asked=question(golds=("yes",))), "answer_closed"),
    "number": (
        chain(S1, search(2, "When?", "In 1906."), finish(3, "1906"), asked=question(golds=("1905",))),
        "answer_number",
    ),
    "name": (
        chain(
            S1,
            search(2, "Who?", "Jane Smith"),
            finish(3, "Jane Smith"),
            asked=question(golds=("John Smith",)),
        ),
        "answer_differs",
    ),
    "other": (chain(S1, S2, finish(3, "Busseto")), "answer_differs"),
    "no search": (chain(finish(1, "Le Roncole")), "too_few_searches"),
    "repeated query": (
        chain(S1, S2, search(3, "where was giuseppe verdi BORN", "Le Roncole"), finish(4, "Le Roncole")),
        "repeated_query",
    ),
    "noticed repeat": (chain(S1, replace(S2, repeated=True), S3), "repeated_query"),
    "unsupported": (chain(S1, search(2, "Where?", "Near Busseto."), S3), "unsupported"),
    "short thought": (chain(S1, S2, finish(3, "Le Roncole", thought="Done.")), "thought_length"),
    "long thought": (chain(S1, S2, finish(3, "Le Roncole", thought="so " * 2000)), "thought_length"),
    "long observation": (chain(S1, search(2, "Where?", "Le Roncole " * 900), S3), "observation_length"),
    "many steps": (
        chain(*(search(n, f"Question {n}?", "Le Roncole") for n in range(1, 26)), finish(26, "Le Roncole")),
        "too_many_steps",
    ),
    "many tokens": (
        chain(
            *(search(n, f"Question {n}?", "Le Roncole or so " * 400) for n in range(1, 7)),
            finish(7, "Le Roncole"),
        ),
        "too_many_tokens",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_chain_is_refused_with_its_reason(name: str) -> None:
    spoiled, reason = SPOILED[name]
    result = filter_trajectory(spoiled, FilterConfig())
    assert (result.kept, result.reason) == (False, reason), result.detail
    assert reason in REASONS


def test_settings_relax_the_rules() -> None:
    mended = chain(replace(S1, parse_fixes=("no_fence",)), S2, S3)
    assert filter_trajectory(mended, FilterConfig()).kept
    assert filter_trajectory(mended, FilterConfig(allow_repairs=False)).reason == "repaired"
    assert filter_trajectory(SPOILED["no search"][0], FilterConfig(min_searches=0)).kept
    assert filter_trajectory(SOUND, FilterConfig(min_searches=3)).reason == "too_few_searches"
    assert filter_trajectory(SPOILED["unsupported"][0], FilterConfig(need_support=False)).kept
    assert filter_trajectory(SPOILED["repeated query"][0], FilterConfig(allow_repeated_queries=True)).kept
    assert filter_trajectory(
        SPOILED["short thought"][0], FilterConfig(bounds=Bounds(min_thought_chars=1))
    ).kept
    assert filter_trajectory(SPOILED["no golds"][0], FilterConfig(need_gold=False)).kept
    partly = chain(S1, S2, finish(3, "Roncole near Busseto"))
    assert filter_trajectory(partly, FilterConfig()).reason == "answer_differs"
    loose = FilterConfig(answer_rule="original", need_support=False)
    assert filter_trajectory(partly, loose).kept


def test_the_first_failing_rule_names_the_reason_and_f1_is_reported() -> None:
    both = chain(S1, S2, finish(3, "Roncole"), status=Status.BUDGET_THEN_ANSWERED)
    result = filter_trajectory(both, FilterConfig())
    assert result.reason == "budget_then_answered"
    assert result.f1 == pytest.approx(2 / 3)


def supported_by(answer: str, *observations: tuple[str, str], asked: str = QUESTION) -> bool:
    steps = [search(n, query, text) for n, (query, text) in enumerate(observations, start=1)]
    made = chain(*steps, finish(len(steps) + 1, answer), asked=question(asked, (answer,)))
    return filter_trajectory(made, FilterConfig()).kept


@pytest.mark.parametrize(
    ("answer", "observation", "expected"),
    [
        ("October 5, 1987", "He was born on 5 October 1987 in Oakland.", True),
        ("1987", "He was born on 5 October 1987 in Oakland.", True),
        ("October 5, 1987", "He was born in 1987.", False),
        ("3 million", "It had 3,000,000 inhabitants.", True),
        ("3 million", "It had 3,100,000 inhabitants.", False),
        ("Suffolk County, New York", "It lies in Suffolk County in the state of New York.", True),
        ("Paris", "It is not in the Parish of Ascension.", False),
        ("American", "The American director was born in Ohio.", True),
        ("Washington, D.C.", "He died in Washington DC.", True),
        ("Le Roncole", "No answer found.", False),
        ("35", "At age 135 he said so.", False),
    ],
)
def test_support_by_one_observation(answer: str, observation: str, expected: bool) -> None:
    assert supported_by(answer, ("Which one is it?", observation)) is expected


def test_support_of_answers_that_are_never_said_in_so_many_words() -> None:
    compare = "Which film came out first, Blind Shaft or The Mask Of Fu Manchu?"
    first = ("When was Blind Shaft released?", "2003")
    second = ("When was The Mask of Fu Manchu released?", "1932")
    assert supported_by("The Mask Of Fu Manchu", first, second, asked=compare)
    assert not supported_by("The Mask Of Fu Manchu", first, asked=compare)
    assert not supported_by("The Mask Of Fu Manchu", first, (second[0], "No answer found."), asked=compare)
    either = "Who directed God, Inc., Roman Karmen or Francis Stokes?"
    assert supported_by(
        "Francis Stokes", ("Who directed God, Inc.?", "Stokes is its director."), asked=either
    )
    assert not supported_by("Francis Stokes", ("Who directed God, Inc.?", "A director."), asked=either)
    closed = "Are Random House Tower and 888 7th Avenue both used for real estate?"
    tower = ("What is Random House Tower used for?", "As headquarters.")
    assert supported_by("no", tower, ("What is 888 7th Avenue?", "A skyscraper."), asked=closed)
    assert not supported_by("no", tower, asked=closed)
    at_once = "Random House Tower is for offices, 888 7th Avenue for real estate."
    assert supported_by("no", ("What are they used for?", at_once), asked=closed)
    country = "Are both villages, Parvaraq and Bala Shad Deh, located in the same country?"
    where = "What country do Parvaraq and Bala Shad Deh belong to?"
    assert supported_by("yes", (where, "Parvaraq and Bala Shad Deh belong to Iran."), asked=country)
    assert not supported_by("yes", (where, "Iran"), asked=country)
    assert not supported_by("yes", (where, "Parvaraq is in Iran."), asked=country)
    assert supported_by("no", tower, asked="Is Random House Tower used for real estate?")
    assert not supported_by("no", ("What is Random House Tower used for?", "No answer found."), asked=closed)
    assert not supported_by("no", ("Who sang Get Low?", "Dillon Francis and DJ Snake."), asked=closed)
    assert supported_by("Tom and Jerry", ("Who was first?", "Tom."), ("Who was second?", "Jerry."))
    assert not supported_by("Tom and Jerry", ("Who was first?", "Tom."))


def clean(tmp_path: Path, *rows: Trajectory | bytes, **settings_: Any) -> FilterPaths:
    return filter_run(write_chains(tmp_path / "run", *rows), FilterConfig(**settings_), ReaRag(STYLE))


def test_every_row_ends_in_one_file_with_its_reason_and_the_whole_chain(tmp_path: Path) -> None:
    rows = [SOUND, *(spoiled for spoiled, _ in SPOILED.values())]
    paths = clean(tmp_path, *rows)
    assert reasons(paths.kept) == [(1, "")]
    assert sorted(reasons(paths.rejected)) == [
        (n, reason) for n, (_, reason) in enumerate(SPOILED.values(), start=2)
    ]
    for row in (*read_filtered(paths.kept), *read_filtered(paths.rejected)):
        assert row.trajectory == rows[row.line - 1]


UNREADABLE = {
    "torn": to_json(SOUND)[:200],
    "no JSON": b"nonsense \xff\xfe",
    "a list": b"[1, 2]",
    "integer answer": json.dumps({**json.loads(to_json(SOUND)), "answer": 1905}).encode(),
    "list answer": json.dumps({**json.loads(to_json(SOUND)), "answer": ["a", "b"]}).encode(),
    "no question": json.dumps(
        {k: v for k, v in json.loads(to_json(SOUND)).items() if k != "question"}
    ).encode(),
    "integer golds": json.dumps(
        {**json.loads(to_json(SOUND)), "question": {"id": "x", "question": "?", "answers": 1905}}
    ).encode(),
    "deep": b"[" * 5000,
}


def test_unreadable_rows_are_rejected_rows(tmp_path: Path) -> None:
    paths = clean(tmp_path, *UNREADABLE.values(), SOUND)
    assert reasons(paths.rejected) == [(n, "unreadable") for n in range(1, len(UNREADABLE) + 1)]
    assert len(reasons(paths.kept)) == 1
    kept_raw = [row.raw.encode("utf-8", "replace") for row in read_filtered(paths.rejected)]
    assert kept_raw[3] == UNREADABLE["integer answer"]


def test_the_best_chain_of_a_question_is_kept(tmp_path: Path) -> None:
    longer = chain(S1, search(2, "What is Aida?", "An opera"), replace(S2, n=3), replace(S3, n=4))
    less = chain(S1, S2, finish(3, "Roncole"), asked=question(golds=("Le Roncole",)))
    best = chain(S1, S2, finish(3, "Le Roncole"), asked=question(golds=("Le Roncole",)))
    retried = chain(replace(S1, parse_failures=2), S2, S3)
    paths = clean(tmp_path, longer, less, retried, best, SOUND, SOUND)
    assert reasons(paths.kept) == [(4, ""), (5, "")]
    assert sorted(reasons(paths.rejected)) == [
        (1, "not_best"),
        (2, "not_best"),
        (3, "not_best"),
        (6, "not_best"),
    ]
    assert len(reasons(clean(tmp_path, longer, SOUND, SOUND, chains_per_question=2).kept)) == 2
    assert len(reasons(clean(tmp_path, longer, SOUND, SOUND, chains_per_question=0).kept)) == 3


def test_the_original_keys_say_where(tmp_path: Path) -> None:
    run = write_chains(tmp_path / "elsewhere", SOUND)
    (run / "trajectories.jsonl").rename(run / "conv_qwq_temp.jsonl")
    overrides = [
        f"clean_conv.input_dir={run}",
        f"clean_conv.output_dir={tmp_path / 'out'}",
        "clean_conv.input_file=conv_qwq_temp.jsonl",
        "clean_conv.output_file=conv_qwq.json",
        "clean_conv.output_file_validity=conv_qwq_temp_valid.json",
    ]
    config = load_config(FinishConfig, None, overrides).clean_conv
    paths = filter_run(tmp_path / "run", config, ReaRag(STYLE))
    assert paths.conversations == tmp_path / "out" / "conv_qwq.json"
    validity = json.loads((tmp_path / "out" / "conv_qwq_temp_valid.json").read_bytes())
    turns = ReaRag(STYLE).turns(QUESTION, SOUND.steps)
    assert validity == [{"conversation": turns, "valid": True, "valid_message": "valid"}]
    assert filter_paths(tmp_path, FilterConfig()).conversations == tmp_path / "conversations.json"


def test_nothing_to_clean_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no trajectories to filter"):
        filter_run(tmp_path, FilterConfig(), ReaRag(STYLE))
    paths = clean(tmp_path)
    assert paths.kept.read_bytes() == paths.rejected.read_bytes() == b""
    assert json.loads(paths.validity.read_bytes()) == []


def test_the_yield_counts_what_is_in_the_files(tmp_path: Path) -> None:
    other = chain(
        asked=replace(question("Another one?"), meta={"dataset": "b|<set>"}),
        provenance={"teacher": "llm:x", "chain": 1},
    )
    paths = clean(tmp_path, SOUND, SOUND, other, b"nonsense", *(spoiled for spoiled, _ in SPOILED.values()))
    found = build_report(paths.kept, paths.rejected)
    plain = found.as_dict()
    assert plain["all"]["chains"] == 4 + len(SPOILED)
    assert plain["all"]["kept"] == 2
    counted = {name: row["chains"] for name, row in plain["all"]["rejected"].items()}
    expected = Counter(reason for _, reason in SPOILED.values())
    assert counted == {**expected, "unreadable": 1, "not_best": 1}
    assert plain["by_source"]["b|<set>"]["kept_percent"] == 100.0
    assert plain["by_teacher"]["llm:x"]["chains"] == 1
    assert plain["all"]["mean_searches_of_kept"] == 2.0
    assert plain["questions_with_a_kept_chain"] == 2
    save_report(found, tmp_path)
    assert json.loads((tmp_path / "yield.json").read_bytes()) == plain
    markdown = report_markdown(found)
    assert "| outcome | (unknown) | b\\|&lt;set> | toyset | all |" in markdown
    width = markdown.splitlines()[0].replace("\\|", "").count("|")
    assert all(line.count("|") == width for line in markdown.split("\n\n")[0].splitlines()[2:])
    assert report_table(found).row_count == len(markdown.split("\n\n")[0].splitlines()) - 2
    assert f"2 of {found.questions} questions have a kept trajectory." in markdown
    assert all(f"- {name}: {OUTCOMES[name].meaning}\n" in markdown for name in counted)
    assert EXPLAINED in markdown
    assert advice(found, tmp_path) == []


def test_where_nothing_is_kept_the_reasons_and_the_settings_are_named(tmp_path: Path) -> None:
    bad = [chain(search(1, "Who?", "Nobody."), finish(2, "I do not know")), chain(finish(1, "Berlin"))]
    paths = clean(tmp_path, *bad, bad[1])
    told = advice(build_report(paths.kept, paths.rejected), tmp_path)
    assert told[0].startswith("No trajectory was kept.")
    assert told[1] == f"  2 x answer_differs: {OUTCOMES['answer_differs'].change}"
    assert f"read some: bash scripts/view_data.sh {tmp_path} reason=answer_differs n=5" in told
    assert f"src_data.postprocess {tmp_path} clean_conv.KEY=VALUE" in told[-1]
    assert advice(build_report(*_empty(tmp_path)), tmp_path) == []


def _empty(folder: Path) -> tuple[Path, Path]:
    (folder / "empty.jsonl").touch()
    return folder / "empty.jsonl", folder / "empty.jsonl"


def test_the_outcomes_of_the_documentation_are_those_of_the_code() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs/data.md").read_text(encoding="utf-8")
    listed = re.findall(
        r"^\| `(\w+)` \| (.*) \| (.*) \|$", page.split("### Outcomes")[1].split("\n## ")[0], re.M
    )
    assert listed == [(name, *outcome) for name, outcome in OUTCOMES.items()]
    assert EXPLAINED.endswith("docs/data.md#outcomes")


def test_every_setting_that_an_outcome_names_is_one() -> None:
    for outcome in OUTCOMES.values():
        for key in re.findall(r"clean_conv\.([\w.]+)", outcome.change):
            load_config(FilterConfig, None, [f"{key}={_any_value(key)}"])
        for key in re.findall(r"build_conv\.([\w.]+)", outcome.change):
            value = "[q.jsonl]" if key == "input_files" else "7"
            load_config(BuildConfig, None, ["input_files=[q.jsonl]", f"{key}={value}"])
        assert re.search(r"(?<![\w.])(top_k|limits|n_chains)\b", outcome.change) is None, (
            "a setting without its section"
        )


def _any_value(key: str) -> str:
    return {"answer_rule": "original", "min_f1": "0.5", "forbidden_repairs": "[x]"}.get(
        key, "true" if key.split("_")[0] in ("need", "allow") else "7"
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(), st.sampled_from(["a b", "Le Roncole", "yes", "1905", "<|x|>", "or", "and", ","])
        ),
        min_size=1,
        max_size=5,
    ),
    st.text(),
    st.text(max_size=40),
)
def test_any_text_gets_a_verdict_and_kept_chains_pass_the_structural_check(
    words: list[str], observation: str, thought: str
) -> None:
    answer = " ".join(words)
    made = chain(
        search(1, answer, observation + answer, thought),
        finish(2, answer, thought),
        asked=question(observation or "?", (answer, *words)),
    )
    result = filter_trajectory(made, FilterConfig())
    assert result.reason in ("", *REASONS)
    if result.kept:
        assert ReaRag(STYLE).check(ReaRag(STYLE).turns(made.question.question, made.steps)) == ""


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(range(6)), max_size=12))
def test_no_row_is_lost_or_doubled(tmp_path_factory: pytest.TempPathFactory, picks: list[int]) -> None:
    rows: list[Trajectory | bytes] = [SOUND, b"{}", *(SPOILED[name][0] for name in list(SPOILED)[:4])]
    paths = clean(tmp_path_factory.mktemp("runs"), *(rows[pick] for pick in picks))
    lines = [line for path in (paths.kept, paths.rejected) for line, _ in reasons(path)]
    assert sorted(lines) == list(range(1, len(picks) + 1))
    assert len(reasons(paths.kept)) == (0 in picks)
    assert len(orjson.loads(paths.validity.read_bytes())) == len(picks)


def test_golds_are_aliases() -> None:
    assert filter_trajectory(
        chain(S1, search(2, "Where?", "In Roncole Verdi."), finish(3, GOLDS[1])), FilterConfig()
    ).kept
