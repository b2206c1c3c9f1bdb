"""ReAct text and Search-R1 tags become chains; what cannot be read is a row with its problem."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.conversations import plain_protocol
from src_core.errors import UserError
from src_core.protocols.react import ReAct
from src_core.protocols.search_r1 import DIALECTS, SearchR1
from src_core.protocols.trajectory_text import MAX_TRAJECTORY
from src_core.types import Finish, Search, Status, Trajectory
from src_data.convert_trajectories.chains import (
    ImportConfig,
    detect_format,
    import_rows,
    load_golds,
)
from src_data.filters.filter_trajectory import FilterConfig, filter_trajectory
from src_tasks.readers.sources import SourceConfig

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
FIREACT = DATA / "trajectories" / "fireact_hotpotqa.json"

REACT = """Thought: I need to search for the composer of Aida.
Action: search[composer of Aida]
Observation: Aida was composed
by Giuseppe Verdi [1] in 1871.
Thought 2: I need his place of birth.
Action 2: Search[Giuseppe Verdi [composer] birthplace]
Observation 2: He was born in Le Roncole.
Thought: I know it now.
Action: finish[Le Roncole]
Observation: Episode finished, reward = True
"""
TAGS = """<think>I need to find the composer of Aida.</think>
<search> composer of
Aida </search>
<information>Doc 1(Title: "Aida") Aida was composed by Giuseppe Verdi.</information>
So it is Verdi.
<think>I need his place of birth.</think><search>Giuseppe Verdi birthplace</search>
<information>He was born in Le Roncole.</information>
<think>I know it now.</think> <answer> \\boxed{Le Roncole} </answer>"""


def rows(tmp_path: Path, *values: Any, **settings: Any) -> list[Trajectory]:
    path = tmp_path / "elsewhere.jsonl"
    path.write_text("".join((v if isinstance(v, str) else json.dumps(v)) + "\n" for v in values), "utf-8")
    config = ImportConfig(**settings)
    return list(import_rows(path, config, load_golds(config)))


def test_react_text() -> None:
    read = ReAct().parse_trajectory(REACT)
    assert read.problem == ""
    assert [step.action for step in read.steps] == [
        Search("composer of Aida"),
        Search("Giuseppe Verdi [composer] birthplace"),
        Finish("Le Roncole"),
    ]
    assert [step.thought for step in read.steps][1:] == ["I need his place of birth.", "I know it now."]
    assert read.steps[0].observation == "Aida was composed\nby Giuseppe Verdi [1] in 1871."
    assert read.steps[2].observation is None
    assert read.notes == {"reward": True}
    assert not any(step.parse_fixes for step in read.steps)


def test_search_r1_tags() -> None:
    read = SearchR1().parse_trajectory(TAGS)
    assert read.problem == ""
    assert [step.action for step in read.steps] == [
        Search("composer of Aida"),
        Search("Giuseppe Verdi birthplace"),
        Finish("Le Roncole"),
    ]
    assert read.steps[1].thought == "So it is Verdi. I need his place of birth."
    assert read.steps[0].observation == 'Doc 1(Title: "Aida") Aida was composed by Giuseppe Verdi.'


@pytest.mark.parametrize(
    ("text", "problem", "steps"),
    [
        ("Thought: x\nAction: lookup[Verdi]", "step 1: unknown action lookup", 0),
        (REACT.replace("finish[", "submit["), "step 3: unknown action submit", 2),
        (REACT.replace("finish[Le Roncole]", "finish[Le Roncole"), "step 3: the call to finish is not", 2),
        (REACT.replace("finish[Le Roncole]", "I will stop"), "step 3: the action holds no object", 2),
        (REACT.replace("finish[Le Roncole]", "finish[]"), "step 3: the argument of finish is empty", 2),
        ("Thought: x\nObservation: y", "an observation without a search after step 0", 0),
        (REACT.replace("Thought 2:", "Observation:"), "an observation without a search after step 1", 1),
        ("nothing at all", "no action found", 0),
        ("", "no action found", 0),
        ("x" * (MAX_TRAJECTORY + 1), f"longer than {MAX_TRAJECTORY} characters", 0),
    ],
)
def test_what_cannot_be_read_is_named_with_the_steps_before_it(text: str, problem: str, steps: int) -> None:
    read = ReAct().parse_trajectory(text)
    assert read.problem.startswith(problem)
    assert len(read.steps) == steps


def test_odd_but_readable() -> None:
    two_thoughts = ReAct().parse_trajectory("Thought: Hm.\nThought: So.\nAction: finish[x]\nThought: over\n")
    assert two_thoughts.steps[0].thought == "Hm. So."
    assert two_thoughts.notes == {"dropped_after_finish": True}
    unfinished = ReAct().parse_trajectory("Thought: a\nAction: search[b]\nObservation: c\nThought: and now")
    assert unfinished.notes == {"unfinished_thought": "and now"}
    bold = ReAct().parse_trajectory("**Thought 1:** a\n**Action 1:** search[b]\nObservation 1: c")
    assert bold.steps[0].thought == "a"
    fenced = 'Thought: a\nAction:\n```\n{"function": "finish", "parameters": {"answer": "b"}}\n```'
    assert ReAct().parse_trajectory(fenced).steps[0].action == Finish("b")
    assert (
        SearchR1().parse_trajectory("<think>a</think><search> </search>").problem
        == "step 1: the query is empty"
    )
    unclosed = SearchR1().parse_trajectory("<think>a<search>b</search><information>c</information>")
    assert (unclosed.steps[0].thought, unclosed.steps[0].observation) == ("a", "c")
    score = ReAct().parse_trajectory("Action: finish[b]\nObservation: Episode finished, reward = 0.5")
    assert score.notes == {"reward": 0.5}


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_each_dialect_is_detected_and_read_in_its_own_tags(dialect: str) -> None:
    protocol = DIALECTS[dialect]()
    written = TAGS
    for theirs, own in ((SearchR1.query, protocol.query), (SearchR1.result, protocol.result)):
        written = written.replace(theirs.open, own.open.strip()).replace(theirs.close, own.close.strip())
    assert detect_format(written) == dialect
    read = protocol.parse_trajectory(written)
    assert read == SearchR1().parse_trajectory(TAGS)
    assert [type(step.action) for step in read.steps] == [Search, Search, Finish]


def test_notations_are_told_apart() -> None:
    assert detect_format(REACT) == "react"
    assert detect_format(TAGS) == "search_r1"
    assert detect_format("Thought: no more") == ""


def test_imported_chains_go_through_the_same_cleaning(tmp_path: Path) -> None:
    row = {"instruction": "Where was the composer of Aida born?", "input": "", "output": REACT}
    tags = {
        "question": "Where was the composer of Aida born?",
        "response": TAGS,
        "golden_answers": ["Le Roncole"],
    }
    lookup = {**row, "output": "Thought: x\nAction: lookup[Verdi]"}
    lazy = {**tags, "response": "<think>I know this one.</think><answer>Le Roncole</answer>"}
    cut = {**tags, "response": TAGS.partition("<think>I know")[0]}
    wrong = {**tags, "golden_answers": ["Busseto"]}
    found = rows(tmp_path, row, tags, lookup, lazy, cut, wrong, {"question": "?"}, "nonsense", [1])
    verdicts = [filter_trajectory(trajectory, FilterConfig()) for trajectory in found]
    assert [verdict.reason for verdict in verdicts] == [
        "no_gold",
        "",
        "malformed_then_answered",
        "too_few_searches",
        "capped_then_answered",
        "answer_differs",
        "malformed_then_answered",
        "malformed_then_answered",
        "malformed_then_answered",
    ]
    assert verdicts[2].detail == "step 1: unknown action lookup"
    assert "not valid JSON" in verdicts[7].detail
    assert found[1].provenance == {
        "teacher": "elsewhere",
        "chain": 0,
        "from": {"file": "elsewhere.jsonl", "place": "line 2", "notation": "search_r1"},
    }
    assert filter_trajectory(found[0], FilterConfig(need_gold=False)).kept


def test_golds_are_joined_by_question_and_answers_of_the_model_are_no_golds(tmp_path: Path) -> None:
    golds = tmp_path / "golds.jsonl"
    asked = {
        "id": "q7",
        "dataset": "toy",
        "question": "Where was the composer of AIDA born",
        "answers": ["Le Roncole"],
    }
    golds.write_text(json.dumps(asked) + "\n")
    row = {"instruction": "Where was the composer of Aida born?", "output": REACT, "answer": "Le Roncole"}
    (alone,) = rows(tmp_path, row)
    assert alone.question.answers == ()
    (joined,) = rows(tmp_path, row, golds=(SourceConfig(path=str(golds)),))
    assert joined.question.answers == ("Le Roncole",)
    assert joined.question.meta["source_id"] == "q7"
    assert filter_trajectory(joined, FilterConfig()).kept


def test_prompts_around_the_question(tmp_path: Path) -> None:
    wrapped = {"prompt": [{"role": "user", "content": "Use <search>.\nQuestion: Who?\n"}], "output": TAGS}
    whole = {"text": f"Answer with <answer> Beijing </answer>.\nQuestion: Who?\n{TAGS}"}
    read = rows(tmp_path, wrapped, whole)
    assert [trajectory.question.question for trajectory in read] == ["Who?", "Who?"]
    for trajectory in read:
        assert [type(step.action) for step in trajectory.steps] == [Search, Search, Finish]


TAG_PIECES = ("think", "search", "information", "answer")
PIECES = st.sampled_from(
    [
        *("Thought:", "Action:", "Observation:", "search[x]", "finish[y]", "lookup[z]", "\n", " ", "{", "]"),
        *(f"<{name}>" for name in TAG_PIECES),
        *(f"</{name}>" for name in TAG_PIECES),
    ]
)


@settings(deadline=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join))
def test_any_text_is_read_or_named(text: str) -> None:
    for notation in ("react", "search_r1"):
        read = plain_protocol(notation).parse_trajectory(text)
        assert read.steps or read.problem
        assert [step.n for step in read.steps] == list(range(1, len(read.steps) + 1))
        assert sum(isinstance(step.action, Finish) for step in read.steps[:-1]) == 0


WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=20)


@settings(deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS, WORDS), max_size=4), WORDS, WORDS)
def test_both_notations_round_trip(steps: list[tuple[str, str, str]], thought: str, answer: str) -> None:
    react = "".join(f"Thought: {t}\nAction: search[{q}]\nObservation: {o}\n" for t, q, o in steps)
    tags = "".join(
        f"<think>{t}</think><search>{q}</search><information>{o}</information>" for t, q, o in steps
    )
    one = ReAct().parse_trajectory(f"{react}Thought: {thought}\nAction: finish[{answer}]")
    other = SearchR1().parse_trajectory(f"{tags}<think>{thought}</think><answer>{answer}</answer>")
    assert one.problem == other.problem == ""
    assert one.steps == other.steps
    assert [(s.thought, s.action, s.observation) for s in one.steps] == [
        *((t, Search(q), o) for t, q, o in steps),
        (thought, Finish(answer), None),
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        list(import_rows(tmp_path / "nowhere.json", ImportConfig(), {}))


@pytest.mark.published
def test_the_published_fireact_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "src_data.convert_trajectories", str(FIREACT)),
            *(f"runs_dir={tmp_path}", "run_name=fireact", "dataset=hotpotqa", "teacher=gpt-4"),
            f"golds=[{DATA / 'hotpotqa.train.jsonl'}]",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    counted = json.loads((tmp_path / "fireact" / "yield.json").read_bytes())["all"]
    assert counted["chains"] == 500
    assert counted["kept"] == 50
    reasons = {name: row["chains"] for name, row in counted["rejected"].items()}
    assert reasons == {"no_gold": 449, "unsupported": 1}
    config = ImportConfig()
    chains = list(import_rows(FIREACT, config, {}))
    every = Counter(filter_trajectory(chain, FilterConfig(need_gold=False)).reason for chain in chains)
    assert every[""] > 470
    assert set(every) == {"", "unsupported", "repeated_query", "too_few_searches"}
    assert Counter(chain.status for chain in chains) == {Status.FINISHED: 500}
