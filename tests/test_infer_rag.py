"""The RAG engine, the prompts and the methods, with a scripted model and the toy retriever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from helpers_llm import write_script

from src_core.config import load_config
from src_core.endpoints import make_model
from src_core.errors import UserError
from src_core.llm import Completion, Sampling
from src_core.passage_view import PassageView, passage_block
from src_core.protocols.rearag import ReaRag, render_step
from src_core.protocols.records import Message, PromptStyle
from src_core.scripted import ScriptedModel
from src_core.text import fill, shorten
from src_core.types import Finish, Passage, Question, Search, Status, Step, Trajectory, Usage
from src_infer.config import InferConfig
from src_infer.episode import Limits
from src_infer.methods import load_method, method_names
from src_infer.policy import Policy
from src_infer.prompts import load_prompt, searches_block
from src_infer.rag_engine import ObservationMode, RagEngine, unique_passages
from src_infer.runtime import Runtime
from src_retrieval.toy import ToyRetriever
from src_tasks.scores import score

PASSAGES = [
    Passage("p1", "Emma", "Emma\nEmma is a novel by Jane Austen."),
    Passage("p2", "Jane Austen", "Jane Austen\nJane Austen was born in Steventon."),
    Passage("p3", "Emma (copy)", "Emma\nEmma is  a novel by Jane Austen."),
]


class Recorder:
    """A `ChatModel` that answers with a function of the last message and keeps what it was asked."""

    name = "recorder"

    def __init__(self, *replies: str) -> None:
        self._replies = replies
        self.calls: list[list[Message]] = []
        self.samplings: list[Sampling] = []
        self.stops: list[Sequence[str]] = []
        self.constraints: list[object] = []

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        stop: Sequence[str] = (),
        constraint: object = None,
        logprobs: int = 0,
    ) -> Completion:
        self.calls.append(list(messages))
        self.samplings.append(sampling)
        self.stops.append(stop)
        self.constraints.append(constraint)
        text = self._replies[min(len(self.calls), len(self._replies)) - 1]
        return Completion(text, "stop", Usage(1, 300, 2))

    async def ready(self) -> None: ...

    async def close(self) -> None: ...


def engine(
    reader: Recorder, mode: ObservationMode, retriever: ToyRetriever | None = None, **shown: bool
) -> RagEngine:
    return RagEngine(
        retriever=ToyRetriever(PASSAGES) if retriever is None else retriever,
        reader=reader,
        prompt="{context}|{question}",
        sampling=Sampling(),
        top_k=3,
        mode=mode,
        view=PassageView(200),
        **shown,
    )


@pytest.mark.parametrize(
    ("mode", "text", "calls"),
    [
        (ObservationMode.READER, "By Jane Austen.", 1),
        (ObservationMode.PASSAGES, "[1] Emma: Emma is a novel by Jane Austen.", 0),
        (ObservationMode.BOTH, "By Jane Austen.\n[1] Emma: Emma is a novel by Jane Austen.", 1),
    ],
)
def test_an_observation_is_what_the_mode_says(mode: ObservationMode, text: str, calls: int) -> None:
    reader = Recorder(" By Jane Austen. \n")
    seen = asyncio.run(engine(reader, mode).observe("Who wrote Emma?", ()))
    assert [passage.id for passage in seen.passages] == ["p1"]  # p3 is the same text
    assert seen.text == text
    assert seen.usage.calls == len(reader.calls) == calls
    if calls:
        assert reader.calls[0][0]["content"] == ("[1] Emma: Emma is a novel by Jane Austen.|Who wrote Emma?")


def test_passages_that_were_shown_before_are_repeated_where_that_is_set() -> None:
    rag = engine(Recorder("x"), ObservationMode.PASSAGES, repeat_passages=True)
    before = Step(1, "", Search("Emma"), "o", passages=(PASSAGES[0],))
    seen = asyncio.run(rag.observe("Emma by Jane Austen", [before]))
    assert "novel" in seen.text
    assert "shown before" not in seen.text


def test_passages_about_another_name_are_left_out_where_that_is_set() -> None:
    everything = engine(Recorder("x"), ObservationMode.PASSAGES)
    rag = engine(Recorder("x"), ObservationMode.PASSAGES, only_named=True)
    query = "Where was Emma born?"
    assert {passage.id for passage in asyncio.run(everything.observe(query, ())).passages} >= {"p1", "p2"}
    seen = asyncio.run(rag.observe(query, ()))
    assert {passage.id for passage in seen.passages} == {"p1"}
    assert "Steventon" not in seen.text


def test_passages_that_were_shown_before_are_named_not_repeated() -> None:
    rag = engine(Recorder("x"), ObservationMode.PASSAGES)
    before = Step(1, "", Search("Emma"), "o", passages=(PASSAGES[0],))
    seen = asyncio.run(rag.observe("Emma by Jane Austen", [before]))
    assert "(shown before: Emma)" in seen.text
    assert "Steventon" in seen.text
    assert "novel" not in seen.text
    assert {passage.id for passage in seen.passages} == {"p1", "p2"}
    nothing = asyncio.run(rag.observe("zzz", ()))
    assert (nothing.text, nothing.passages) == ("(no passage was found)", ())


def test_passages_of_equal_text_are_kept_once_in_order() -> None:
    assert [passage.id for passage in unique_passages([PASSAGES[1], *PASSAGES])] == ["p2", "p1"]


def test_slots_are_filled_in_one_pass() -> None:
    assert fill("{a} {b} {} {1}", a="{b}", b="{a}") == "{b} {a} {} {1}"
    assert fill("{a}{a}", a="x") == "xx"


def test_texts_are_cut_at_a_word() -> None:
    assert shorten("one two  three\nfour", 100) == "one two three four"
    assert shorten("one two three four", 12) == "one two …"
    assert len(shorten("x" * 50, 10)) <= 10
    assert passage_block([], view=PassageView(9), query="") == "(no passage was found)"
    assert passage_block([Passage("1", "", "a b c d e f")], view=PassageView(7), query="") == "[1] a b …"


def test_the_final_prompt_lists_each_search_once() -> None:
    steps = [
        Step(1, "", Search("a"), "A"),
        Step(2, "", Search("a"), "again", repeated=True),
        Step(3, "", Finish("x")),
    ]
    assert searches_block(steps) == "Search query: a\nSearch result: A"
    assert searches_block([]) == "(no search was made)"


def test_prompt_files_are_read_by_name_and_a_missing_one_lists_the_others() -> None:
    both = load_prompt("agent_system+agent_example")
    assert both == load_prompt("agent_system") + "\n" + load_prompt("agent_example")
    assert load_prompt("") == ""
    with pytest.raises(UserError, match=r"no prompt 'nope'.*agent_system"):
        load_prompt("nope")
    with pytest.raises(
        UserError, match=r"no prompt 'naive_ragg'.*; did you mean naive_rag\? there are: agent"
    ):
        load_prompt("naive_ragg")
    with pytest.raises(UserError, match=r"; did you mean radio/rationale\? "):
        load_prompt("radio/rationle")
    for name, slots in {"observe": 2, "final": 2, "naive_rag": 2, "closed_book": 1}.items():
        text = load_prompt(name)
        assert text.count("{question}") == 1
        assert text.count("{context}") == slots - 1


def policy_with(model: Recorder, **more: object) -> Policy:
    settings = {"sampling": Sampling(temperature=0.0, seed=5), "prompt_tokens": 2000}
    return Policy(model, ReaRag(PromptStyle(system="S")), **{**settings, **more})  # type: ignore[arg-type]


def runtime_with(
    model: Recorder | ScriptedModel, *, answer_from: str = "reader", printed: list[int] | None = None
) -> Runtime:
    retriever = ToyRetriever(PASSAGES)
    return Runtime(
        policy=policy_with(model),  # type: ignore[arg-type]
        reader=model,
        rag=engine(model, ObservationMode.READER, retriever),  # type: ignore[arg-type]
        retriever=retriever,
        limits=Limits(t_max=3),
        final_sampling=Sampling(max_tokens=8),
        answer_from=answer_from,
        top_k=2,
        view=PassageView(100),
        on_step=(lambda _, step: printed.append(step.n)) if printed is not None else None,
    )


QUESTION = Question("id", "Who wrote Emma?", ("Jane Austen",), ("p1",))


def run_method(name: str, runtime: Runtime) -> Trajectory:
    return asyncio.run(load_method(name).run(QUESTION, runtime))


STEPS = (
    render_step(1, "t", Search("Who wrote Emma?")),
    "It was Jane Austen.",
    render_step(2, "t", Finish("Austen")),
)


@pytest.mark.parametrize(
    ("final", "answer_from", "expected", "calls"),
    [
        ("Jane Austen", "reader", "Jane Austen", 4),
        ("unknown", "reader", "Austen", 4),
        ("", "reader", "Austen", 4),
        ("Jane Austen", "finish", "Austen", 3),
    ],
)
def test_rearag_takes_the_readers_answer_or_falls_back_to_finish(
    final: str, answer_from: str, expected: str, calls: int
) -> None:
    printed: list[int] = []
    model = Recorder(*STEPS, final)
    trajectory = run_method("rearag", runtime_with(model, answer_from=answer_from, printed=printed))
    assert (trajectory.answer, trajectory.status, trajectory.searches) == (expected, Status.FINISHED, 1)
    assert trajectory.usage == Usage(calls, 300 * calls, 2 * calls)
    assert printed == [1, 2]
    if calls == 4:
        assert "Search result: It was Jane Austen." in model.calls[-1][-1]["content"]
        assert model.samplings[-1].max_tokens == 8


def test_rearag_answers_also_at_the_cap_and_after_malformed_replies() -> None:
    asks = [text for n in (1, 2, 3) for text in (render_step(n, "t", Search(f"Emma {n}")), "o")]
    capped = run_method("rearag", runtime_with(Recorder(*asks, "Jane Austen")))
    assert (capped.status, capped.answer) == (Status.CAPPED_THEN_ANSWERED, "Jane Austen")
    broken = run_method("rearag", runtime_with(Recorder("x", "x", "x", "x", "x", "Austen")))
    assert (broken.status, broken.answer) == (Status.MALFORMED_THEN_ANSWERED, "Austen")
    said = {"code": "no_action", "text": "x"}
    assert broken.provenance == {"parse_failures": ["no_action"] * 5, "malformed_replies": [said] * 5}


def test_rearag_records_a_reader_that_fails_at_the_end(tmp_path: Path) -> None:
    row = ("Reasoning process", [STEPS[0], STEPS[2]])
    script = write_script(tmp_path / "s.jsonl", [row, ("|Who wrote", ["It was Jane Austen."])])
    trajectory = run_method("rearag", runtime_with(ScriptedModel(script)))
    assert trajectory.status is Status.MODEL_ERROR
    assert "no reply left" in (trajectory.error or "")
    assert len(trajectory.steps) == 2


def test_naive_rag_searches_once_with_the_question() -> None:
    model = Recorder("Jane Austen")
    trajectory = run_method("naive_rag", runtime_with(model))
    assert (trajectory.answer, trajectory.searches) == ("Jane Austen", 1)
    assert trajectory.steps[0].passages[0].id == "p1"
    assert "[1] Emma: Emma is a novel" in model.calls[0][-1]["content"]
    assert score(trajectory)["recall"] == 1.0


def test_closed_book_asks_once_and_needs_no_retriever() -> None:
    model = Recorder("Austen")
    trajectory = run_method("closed_book", runtime_with(model))
    assert (trajectory.answer, trajectory.steps) == ("Austen", ())
    assert model.calls[0][-1]["content"].count("Who wrote Emma?") == 1
    assert not load_method("closed_book").needs_search
    assert load_method("rearag").needs_search


def test_an_unknown_method_lists_the_known_ones() -> None:
    assert {"closed_book", "naive_rag", "rearag"} <= set(method_names())
    with pytest.raises(UserError, match=r"no method 'nope'; there are: .*rearag"):
        load_method("nope")


def test_a_model_url_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="must start with"):
        make_model(InferConfig(agent={"url": "localhost:9891"}).agent, connections=1, token=None)  # type: ignore[arg-type]


def test_deterministic_sets_every_temperature_to_0() -> None:
    config = InferConfig(deterministic=True)
    assert {config.sampling(which).temperature for which in ("agent", "observe", "final")} == {0.0}
    assert InferConfig().sampling("agent").temperature > 0


def test_a_misspelt_prompt_of_a_file_is_named_with_file_line_and_the_nearest_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("method: rearag\nprompt:\n  system: agent_system+agent_exmple\n")
    with pytest.raises(UserError) as wrong:
        load_config(InferConfig, path)
    said = str(wrong.value)
    assert said.startswith(
        "setting 'prompt.system' is wrong: no prompt 'agent_exmple' under configs/prompts; "
    )
    assert "did you mean agent_example? there are: agent_example, " in said
    assert said.endswith(f"correct it in {path}, line 3")
