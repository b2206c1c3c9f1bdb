"""The reader's rows: the prompts of inference, the annotated values as replies."""

from __future__ import annotations

import json
from pathlib import Path

from helpers_chains import chain, question, write_chains

from src_core.passage_view import PassageView, passage_block
from src_core.protocols.rearag import ReaRag
from src_core.text import fill
from src_core.types import NO_USAGE, Finish, Passage, Question, Search, Status, Step, Trajectory
from src_data.exporting.export import ExportConfig
from src_data.exporting.reader import NOT_SAID, reader_rows
from src_data.filters.filter_trajectory import FilterConfig
from src_data.postprocess import finish_run
from src_infer.prompts import load_prompt, searches_block

FILM = Passage("p1", "Red Rain", "Red Rain\nRed Rain is a film by Ann Lee.")
OTHER = Passage("p2", "Rain", "Rain\nRain falls.")
PERSON = Passage("p3", "Ann Lee", "Ann Lee\nAnn Lee (born 1950) is a director.")
ASKED = Question(
    "q1",
    "When was the director of Red Rain born?",
    ("1950",),
    meta={
        "evidences": [["Red Rain", "director", "Ann Lee"], ["Ann Lee", "date of birth", "1950"]],
        "supporting_titles": ["Red Rain", "Ann Lee"],
    },
)


def over_passages(*, teacher: str = "decomposition") -> Trajectory:
    def search(n: int, query: str, *passages: Passage) -> Step:
        shown = passage_block(passages, view=PassageView(700), query="")
        return Step(n, "I need it.", Search(query), observation=shown, passages=passages)

    steps = (
        search(1, "Who directed Red Rain?", OTHER),
        search(2, "Who is the director of Red Rain?", OTHER, FILM),
        search(3, "When was Ann Lee born?", PERSON),
        Step(4, "Known.", Finish("1950"), observation=None),
    )
    provenance = {"teacher": teacher}
    return Trajectory(ASKED, steps, "1950", Status.FINISHED, NO_USAGE, 0.1, provenance=provenance)


def test_each_search_and_the_final_answer_become_rows() -> None:
    made = list(reader_rows(over_passages(), view=PassageView(700)))
    replies = [row[-1]["reasoning"] for row in made]
    assert replies == [
        NOT_SAID,
        "The director of Red Rain is Ann Lee.",
        "The date of birth of Ann Lee is 1950.",
        "1950",
    ]
    asked = fill(
        load_prompt("observe"),
        context=passage_block([OTHER, FILM], view=PassageView(700), query=""),
        question="Who is the director of Red Rain?",
    )
    assert made[1] == [{"role": "user", "content": asked}, {"role": "assistant", "reasoning": replies[1]}]
    assert made[3][0] == {"role": "system", "content": load_prompt("final_system")}
    last = made[3][1]["content"]
    assert (
        "Search query: When was Ann Lee born?\nSearch result: The date of birth of Ann Lee is 1950." in last
    )
    assert "[1]" not in last


def test_passages_are_cut_as_at_inference() -> None:
    first = next(reader_rows(over_passages(), view=PassageView(6)))
    assert "Rain …" in first[0]["content"]


def test_another_teachers_reader_is_quoted_and_passages_are_not() -> None:
    told = chain()
    rows = list(reader_rows(told, view=PassageView(700)))
    assert [row[-1]["reasoning"] for row in rows[:-1]] == [
        step.observation for step in told.steps if step.observation and step.passages
    ]
    assert rows[-1][1]["content"] == fill(
        load_prompt("final"), context=searches_block(told.steps), question=told.question.question
    )
    assert list(reader_rows(over_passages(teacher="llm:x"), view=PassageView(700))) == []


def test_the_training_files_hold_them_behind_their_chain(tmp_path: Path) -> None:
    run = write_chains(
        tmp_path, *(chain(asked=question(f"Question {i}: where was he born?")) for i in range(4))
    )
    config = ExportConfig(reader_passage_chars=700, validation_share=0)
    done = finish_run(run, clean=FilterConfig(), export=config, protocol=ReaRag())
    lines = [json.loads(line)["messages"] for line in done.export.train_file.read_text().splitlines()]
    assert len(json.loads(done.export.conversations.read_text())) == done.export.train == 4
    assert len(lines) == 4 + done.export.reader
    assert done.export.reader >= 8
