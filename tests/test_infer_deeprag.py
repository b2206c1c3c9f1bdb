"""METHOD=deeprag end to end with a scripted model and a toy retriever: decisions, roles, limits, records."""

from __future__ import annotations

import asyncio
import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from helpers_methods import ASKED, QUESTION, WORLD, runtime_for
from helpers_train import tokenizer_folder

from src_core.chat_tokenizer import ChatTokenizer
from src_core.errors import ModelError, RetrieverError, UserError
from src_core.llm import Completion
from src_core.llm_tokens import TokenCompletion, TokenSampling
from src_core.protocols.deeprag import INSTRUCTION, DeepRag
from src_core.protocols.deeprag_lines import ANSWER, FINAL, LONG, NO_INFO, SEARCH
from src_core.protocols.records import Message
from src_core.scripted import ScriptedModel
from src_core.types import (
    NO_USAGE,
    DirectAnswer,
    Finish,
    Passage,
    Question,
    Search,
    Status,
    Step,
    Trajectory,
    Usage,
    to_json,
)
from src_infer.config import InferConfig
from src_infer.deeprag.players import student_roles, teacher_roles
from src_infer.deeprag.records import RoleSettings
from src_infer.episode import Limits, Node
from src_infer.methods import load_method
from src_infer.retrieval_budget import read_decisions, report, threshold_for
from src_infer.run import mismatch
from src_infer.runtime import Runtime
from src_infer.search_record import Asked
from src_infer.tree_roles import RolesExpander
from src_retrieval.toy import ToyRetriever

WHO, WHERE = "Who wrote Emma?", "Where was Jane Austen born?"
ENDS = f"{FINAL} <answer long>In Steventon.</answer long><answer short>Steventon</answer short>"
GENERATE = {"decision": "generate"}


@cache
def qwen() -> ChatTokenizer:
    """A tokenizer, made once."""
    with tempfile.TemporaryDirectory() as folder:
        return ChatTokenizer(tokenizer_folder(Path(folder) / "qwen", "qwen"))


def script(folder: Path, replies: list[str]) -> ScriptedModel:
    """A model that gives `replies` in order."""
    path = folder / "script.jsonl"
    path.write_text(json.dumps({"when": "", "replies": replies}) + "\n", encoding="utf-8")
    return ScriptedModel(path)


class Chain(ScriptedModel):
    """A model that asks `margins` in order and prefers a search by the margin; `answers` are what it says."""

    def __init__(
        self, folder: Path, margins: dict[str, float], answers: dict[str, str] | None = None
    ) -> None:
        (folder / "none.jsonl").write_text("")
        super().__init__(folder / "none.jsonl")
        self.tokenizer, self.margins, self.answers = qwen(), margins, answers or {}

    async def chat(self, messages: Sequence[Message], **more: object) -> Completion:  # type: ignore[override]
        self.calls.append([dict(message) for message in messages])
        begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        asked = [line for line in begun.split("\n") if line.startswith("Follow up: ")]
        rest = [*self.margins][len(asked) :]
        if begun.endswith(LONG):
            text = f"{ENDS.partition(LONG)[2]}"
        elif begun.endswith(ANSWER):
            text = f" {self.answers.get(asked[-1].removeprefix('Follow up: '), 'Steventon')}"
        elif begun.endswith("Follow up:"):
            text = f" {rest[0]}"
        else:
            text = f"Follow up: {rest[0]}" if rest else ENDS
        return Completion(text, "stop", Usage(1, 1, 1))

    async def score_tokens(self, prompt: Sequence[int], continuation: Sequence[int]) -> list[float]:
        asked, text = self.tokenizer.decode(prompt), self.tokenizer.decode(continuation)
        assert asked.endswith("\n")
        last = asked.rstrip("\n").rpartition("Follow up: ")[2]
        whole = self.margins[last] if text == f"{SEARCH}\n" else 0.0
        assert text in (f"{SEARCH}\n", ANSWER)
        return [whole / len(continuation)] * len(continuation)

    async def generate_tokens(self, prompt: Sequence[int], *, sampling: TokenSampling) -> TokenCompletion:
        raise NotImplementedError


def runtime(model: ScriptedModel, limits: Limits | None = None, **settings: Any) -> Runtime:
    method = load_method("deeprag", settings)
    made = runtime_for(model, limits=limits)
    tokenizer = model.tokenizer if isinstance(model, Chain) else None
    return replace(made, settings=method.settings, policy=replace(made.policy, tokenizer=lambda: tokenizer))


def play(made: Runtime, question: Question = QUESTION) -> Trajectory:
    row = asyncio.run(load_method("deeprag").answer(question, made))
    if "finish" in kinds(row):  # each search has an intermediate answer, and the steps stand in their order
        assert DeepRag().check(DeepRag().turns(question.question, row.steps)) == ""
    return row


def kinds(row: Trajectory) -> list[str]:
    return [step.action.function for step in row.steps]


def test_the_model_writes_its_decisions_line_by_line(tmp_path: Path) -> None:
    replies = [f" {WHO}", f"{SEARCH}\ninvented", " Jane Austen", f"Follow up: {WHERE}"]
    model = script(tmp_path, [*replies, "Intermediate answer: Steventon", ENDS])
    row = play(runtime(model))
    assert (row.answer, row.status) == ("Steventon", Status.FINISHED)
    first, second, end = row.steps
    assert first.action == Search(WHO)
    assert first.observation == "[1] Title: Emma Text: Emma is a novel by Jane Austen."
    assert first.conclusion == "Jane Austen"
    assert second.action == DirectAnswer(WHERE, "Steventon")
    assert (end.action, end.thought) == (Finish("Steventon"), "In Steventon.")
    assert [step.n for step in row.steps] == [1, 2, 3]
    assert row.provenance["decisions"] == [
        {"n": 1, "search": None, "direct": None, "chosen": "search"},
        {"n": 2, "search": None, "direct": None, "chosen": "direct"},
    ]
    assert (row.usage.calls, len(model.calls)) == (6, 6)
    assert sum(step.usage.calls for step in row.steps) == 6
    assert model.calls[-1][-1]["content"] == (
        f"Follow up: {WHO}\n{SEARCH}\nContext:\n{first.observation}\nIntermediate answer: Jane Austen\n"
        f"Follow up: {WHERE}\nIntermediate answer: Steventon\n"
    )


def test_the_decision_compares_the_two_lines_that_may_follow(tmp_path: Path) -> None:
    model = Chain(tmp_path, {WHO: 2.5, WHERE: -1.5}, {WHO: "Jane Austen"})
    row = play(runtime(model))
    assert kinds(row) == ["search", "direct_answer", "finish"]
    assert row.steps[0].conclusion == "Jane Austen"
    assert [(made["n"], made["chosen"]) for made in row.provenance["decisions"]] == [
        (1, "search"),
        (2, "direct"),
    ]
    margins = [made["search"] - made["direct"] for made in row.provenance["decisions"]]
    assert margins == pytest.approx([2.5, -1.5])
    assert row.provenance["decision_rule"] == "logprob"
    assert len(model.calls) == 5  # two for each sub-question, one for the end: a decision is no call
    assert kinds(play(runtime(model, threshold=3))) == ["direct_answer", "direct_answer", "finish"]
    assert kinds(play(runtime(model, threshold=-2))) == ["search", "search", "finish"]


@pytest.mark.parametrize(("rule", "searches"), [("always", 2), ("never", 0)])
def test_always_and_never_are_rules_of_their_own(rule: str, searches: int, tmp_path: Path) -> None:
    row = play(runtime(Chain(tmp_path, {WHO: 0.0, WHERE: 0.0}), decision=rule))
    assert (row.searches, row.status, row.answer) == (searches, Status.FINISHED, "Steventon")
    assert all(made["search"] is None for made in row.provenance["decisions"])


@pytest.mark.parametrize("rule", ["generate", "logprob"])
def test_let_it_be_is_searched_whole(rule: str, tmp_path: Path) -> None:
    asked = "Who wrote Let It Be? Let's see."
    model: ScriptedModel = Chain(tmp_path, {asked: 1.0})
    if rule == "generate":
        model = script(tmp_path, [f" {asked}", SEARCH, " McCartney", ENDS])
    row = play(runtime(model, decision=rule))
    assert row.steps[0].action == Search(asked)


def test_the_first_sub_question_may_be_left_to_the_model(tmp_path: Path) -> None:
    model = script(tmp_path, [ENDS])
    assert kinds(play(runtime(model, force_first=False, **GENERATE))) == ["finish"]
    assert model.calls[0][-1]["role"] == "user"
    model = script(tmp_path, [f" {WHO}", "Intermediate answer: Jane Austen", ENDS])
    assert kinds(play(runtime(model, **GENERATE))) == ["direct_answer", "finish"]
    assert model.calls[0][-1] == {"role": "assistant", "content": "Follow up:"}


def test_at_the_limit_of_steps_the_final_line_is_asked_for(tmp_path: Path) -> None:
    model = Chain(tmp_path, {WHO: 1.0, WHERE: -1.0, "And?": -1.0})
    row = play(runtime(model, limits=Limits(t_max=2, step_tries=2)))
    assert (kinds(row), row.status) == (["search", "direct_answer", "finish"], Status.CAPPED_THEN_ANSWERED)
    assert model.calls[-1][-1]["content"].endswith(f"\n{FINAL} {LONG}")
    assert row.answer == "Steventon"


def test_tokens_and_seconds_are_limits_too(tmp_path: Path) -> None:
    replies = [f" {WHO}", SEARCH, " Jane Austen", "In Steventon.</answer long><answer short>Steventon"]
    row = play(runtime(script(tmp_path, replies), limits=Limits(max_tokens=1), **GENERATE))
    assert (kinds(row), row.status, row.answer) == (
        ["search", "finish"],
        Status.BUDGET_THEN_ANSWERED,
        "Steventon",
    )

    class Slow(ToyRetriever):
        async def search(self, query: str, top_k: int) -> list[Passage]:
            await asyncio.sleep(1.1)
            return await super().search(query, top_k)

    made = runtime(Chain(tmp_path, {WHO: 1.0, WHERE: 1.0}), limits=Limits(max_seconds=1))
    row = play(replace(made, retriever=Slow(WORLD)))
    assert (kinds(row), row.status) == (["search", "finish"], Status.BUDGET_THEN_ANSWERED)


def test_a_repeated_sub_question_is_answered_as_before_and_ends_the_chain(tmp_path: Path) -> None:
    replies = [f" {WHO}", SEARCH, " Jane Austen", *["Follow up: who wrote  EMMA"] * 3, "x<answer short>Bath"]
    row = play(runtime(script(tmp_path, replies), limits=Limits(max_repeats=2), **GENERATE))
    assert row.status is Status.CAPPED_THEN_ANSWERED
    assert [step.repeated for step in row.steps] == [False, True, True, True, False]
    assert row.steps[1].action == DirectAnswer("who wrote EMMA", "Jane Austen")
    assert (row.searches, row.answer, len(row.provenance["decisions"])) == (1, "Bath", 1)


def test_malformed_replies_are_counted_and_the_question_is_answered(tmp_path: Path) -> None:
    model = script(tmp_path, ["", "", "<answer short>Bath</answer short>"])
    row = play(runtime(model, **GENERATE))
    assert (row.status, row.answer) == (Status.MALFORMED_THEN_ANSWERED, "Bath")
    assert row.provenance["parse_failures"] == ["empty_argument", "empty_argument"]
    assert row.usage.calls == 3
    model = script(tmp_path, ["Hm.", "Hm.", "", "", "Bath"])  # at last the reader answers
    row = play(runtime(model, force_first=False, **GENERATE))
    assert (kinds(row), row.status, row.answer) == ([], Status.MALFORMED_THEN_ANSWERED, "Bath")


def test_a_decision_that_cannot_be_read_is_a_search(tmp_path: Path) -> None:
    row = play(runtime(script(tmp_path, [f" {WHO}", "Hm.", "Hm.", " Jane Austen", ENDS]), **GENERATE))
    assert (row.searches, row.steps[0].conclusion) == (1, "Jane Austen")


@pytest.mark.parametrize("said", [f" {NO_INFO}", " [no related info].", ""])
def test_documents_without_an_answer_are_an_outcome_of_their_own(said: str, tmp_path: Path) -> None:
    empty = ["", ""] if not said else [said]
    row = play(runtime(script(tmp_path, [f" {WHO}", SEARCH, *empty, ENDS]), **GENERATE))
    assert (row.steps[0].conclusion, row.provenance["decisions"][0]["no_info"]) == (NO_INFO, True)
    replies = [f" {WHO}", SEARCH, *empty, " Jane Austen", ENDS]
    model = script(tmp_path, replies)
    row = play(runtime(model, no_info="direct", **GENERATE))
    assert (row.steps[0].action, row.steps[0].conclusion) == (Search(WHO), "Jane Austen")
    assert row.provenance["decisions"][0]["no_info"] is True
    assert "Context:" not in model.calls[-2][-1]["content"]  # its own answer, without the documents


def test_a_teacher_proposes_and_reads_the_target_answers_and_ends(tmp_path: Path) -> None:
    target = Chain(tmp_path, {WHO: 1.0, WHERE: -1.0}, {WHERE: "Bath"})
    (tmp_path / "teacher").mkdir()
    teacher = script(
        tmp_path / "teacher", [f" {WHO}", " Jane Austen", f"Follow up: {WHERE}", f"{FINAL} Bath"]
    )
    row = play(replace(runtime(target, prompt="teacher"), reader=teacher))
    assert [step.conclusion for step in row.steps] == ["Jane Austen", "", ""]
    assert row.steps[1].action == DirectAnswer(WHERE, "Bath")
    assert row.answer == "Steventon"  # the target's own final line
    reading, asking = teacher.calls[1], teacher.calls[2]
    assert reading[-1] == {"role": "assistant", "content": "Answer:"}
    assert reading[0]["content"].count(WHO) == 1
    assert "Emma is a novel by Jane Austen." in reading[0]["content"]
    assert asking[-1]["content"] == f"Follow up: {WHO}\nIntermediate answer: Jane Austen\n"
    assert asking[0]["content"].endswith(f"\nQuestion: {ASKED}")
    assert not any("Context:" in message["content"] for call in target.calls for message in call)


def test_a_tree_reads_a_sub_question_once_and_the_teacher_stops_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "teacher").mkdir()
    teacher = script(tmp_path / "teacher", [f" {WHO}", " Jane Austen", f"{FINAL} {LONG}", " unread"])
    target = Chain(tmp_path, {WHO: 1.0})
    roles = teacher_roles(replace(runtime(target), reader=teacher), RoleSettings())
    expander = RolesExpander(roles)

    async def ask() -> None:
        root = Node(ASKED)
        first = await expander.propose(root)
        assert isinstance(first, Asked)
        assert first.sub_question == WHO
        found = await expander.answer_after_search(root, WHO)
        assert isinstance(found, Step)
        assert (found.n, found.conclusion, found.usage.calls) == (1, "Jane Austen", 1)
        below = root.child(Step(1, "", DirectAnswer(WHO, "Jane Austen")))
        again = await expander.answer_after_search(below, WHO)
        assert isinstance(again, Step)
        assert again == replace(found, n=2, usage=NO_USAGE, seconds=0.0)
        assert expander.state(root.child(found)) == expander.state(below) != expander.state(root)
        last = await expander.propose(below)
        assert isinstance(last, Asked)
        assert (last.sub_question, last.end, last.usage.calls) == ("", None, 1)
        end = await expander.finish(below)
        assert isinstance(end, Step)
        assert end.action == Finish("Steventon")

    asyncio.run(ask())
    assert len(teacher.calls) == 3
    student = RolesExpander(student_roles(runtime(target), RoleSettings()))
    assert student.state(Node(ASKED)) is None  # its transcript holds the documents


def test_no_role_sends_more_stop_strings_than_servers_take(tmp_path: Path) -> None:
    """Hosted models take four."""
    stops: list[tuple[str, ...]] = []

    class Heard(Chain):
        async def chat(self, messages: Sequence[Message], **more: object) -> Completion:  # type: ignore[override]
            stops.append(more["stop"])  # type: ignore[arg-type]
            return await super().chat(messages, **more)

    (tmp_path / "teacher").mkdir()
    teacher, target = Heard(tmp_path / "teacher", {WHO: 1.0}), Heard(tmp_path, {WHO: 1.0})
    play(replace(runtime(target, prompt="teacher"), reader=teacher))
    play(runtime(target, **GENERATE))
    assert any(LONG in each for each in stops)
    assert {len(each) <= 4 for each in stops} == {True}


def test_a_model_that_was_not_trained_gets_an_example(tmp_path: Path) -> None:
    model = Chain(tmp_path, {WHO: 1.0})
    assert play(runtime(model)).provenance["prompt"] == "example"
    first = model.calls[0][0]["content"]
    assert first.startswith(INSTRUCTION)
    assert first.count("Question: ") == 2
    trained = play(replace(runtime(model), trained_format="deeprag"))
    assert trained.provenance["prompt"] == "student"
    assert model.calls[-1][0]["content"] == f"{INSTRUCTION}Question: {ASKED}"
    method = load_method("deeprag")
    assert mismatch(InferConfig(method="deeprag"), method) == (
        "the method deeprag answers with prompt and decision rule alone: no model that was trained for it is "
        "given"
    )


def test_where_tokens_cannot_be_scored_the_model_decides_and_it_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    replies = [f" {WHO}", SEARCH, " Jane Austen", ENDS] * 2
    made = runtime(script(tmp_path, replies))
    made.news.attach(on_note=said.append, on_wait=said.append)
    assert [play(made).provenance["decision_rule"] for _ in range(2)] == ["generate", "generate"]
    assert len(said) == 1
    with pytest.raises(UserError, match=r"set agent\.tokenizer"):
        play(runtime(script(tmp_path, replies), decision="logprob"))


def test_failing_servers_are_statuses_of_the_row(tmp_path: Path) -> None:
    class Down(ToyRetriever):
        async def search(self, query: str, top_k: int) -> list[Passage]:
            raise RetrieverError("down")

    made = runtime(Chain(tmp_path, {WHO: -1.0, WHERE: 1.0}))
    row = play(replace(made, retriever=Down(WORLD)))
    assert (row.status, row.error, kinds(row)) == (Status.RETRIEVER_ERROR, "down", ["direct_answer"])
    row = play(runtime(script(tmp_path, [f" {WHO}"]), **GENERATE))
    assert row.status is Status.MODEL_ERROR
    row = play(runtime(script(tmp_path, [f" {WHO}", "Intermediate answer: x"]), Limits(t_max=1), **GENERATE))
    assert (row.status, kinds(row)) == (Status.MODEL_ERROR, ["direct_answer"])  # in the final line


def test_a_full_context_keeps_what_was_found(tmp_path: Path) -> None:
    class Full(Chain):
        async def chat(self, messages: Sequence[Message], **more: object) -> Completion:  # type: ignore[override]
            if "Context:" in messages[-1]["content"]:
                raise ModelError("HTTP 400: context length", status=400)
            return await super().chat(messages, **more)

    made = runtime(Full(tmp_path, {WHO: 1.0, WHERE: 1.0}))
    (tmp_path / "reader").mkdir()
    row = play(replace(made, reader=script(tmp_path / "reader", ["Bath"])))
    assert (row.status, row.answer) == (Status.BUDGET_THEN_ANSWERED, "Bath")
    assert (row.steps[0].conclusion, len(row.steps[0].passages)) == (NO_INFO, 1)


def test_a_long_sub_question_is_searched_by_its_end(tmp_path: Path) -> None:
    asked: list[str] = []

    class Heard(ToyRetriever):
        async def search(self, query: str, top_k: int) -> list[Passage]:
            asked.append(query)
            return await super().search(query, top_k)

    made = runtime(Chain(tmp_path, {" ".join("abcdefghij"): 1.0}), query_words=3)
    row = play(replace(made, retriever=Heard(WORLD)))
    assert (asked, row.steps[0].action) == (["h i j"], Search("a b c d e f g h i j"))


def run_of(folder: Path, rows: list[Trajectory]) -> Path:
    folder.mkdir()
    (folder / "trajectories.jsonl").write_bytes(b"".join(to_json(row) + b"\n" for row in rows))
    return folder


def test_a_budget_of_searches_finds_the_threshold_that_a_second_run_confirms(tmp_path: Path) -> None:
    chains = [{"A?": 3.0, "B?": 0.5, "C?": -2.0}, {"D?": 1.5, "E?": -0.25}, {"F?": 2.0}]
    questions = [replace(QUESTION, id=str(n)) for n in range(len(chains))]

    def run(name: str, threshold: float) -> Path:
        rows = []
        for question, chain in zip(questions, chains, strict=True):
            folder = tmp_path / f"{name}-{question.id}"
            folder.mkdir()
            rows.append(play(runtime(Chain(folder, chain), threshold=threshold), question))
        return run_of(tmp_path / name, rows)

    recorded = read_decisions([run("dev", 0.0)])
    assert (recorded.questions, recorded.searches, len(recorded.margins)) == (3, 4, 6)
    for wanted in range(7):
        threshold = threshold_for(recorded, wanted / 3)
        assert recorded.estimate(threshold) == pytest.approx(wanted / 3)
        again = read_decisions([run(f"again{wanted}", threshold)])
        assert again.searches == wanted
    said = report(recorded, 1.0)
    assert said.startswith(
        "method_settings.threshold=1.0\n1.00 searches per question by the 6 decisions of 3"
    )
    assert "made: 1.33" in said
    assert "more than 2.00 cannot be had" in report(recorded, 5)


def test_thresholds_separate_margins_that_are_close_and_never_split_equal_ones(tmp_path: Path) -> None:
    def row(n: int, *margins: float | None) -> Trajectory:
        made = [
            {"n": k, "search": margin, "direct": 0.0, "chosen": "search"}
            for k, margin in enumerate(margins, start=1)
        ]
        return Trajectory(
            replace(QUESTION, id=str(n)), (), "", Status.FINISHED, provenance={"decisions": made}
        )

    close = [0.1, math.nextafter(0.1, 1), 0.1 + 1e-9]
    recorded = read_decisions([run_of(tmp_path / "close", [row(0, *close)])])
    assert [recorded.estimate(threshold_for(recorded, n)) for n in range(4)] == [0, 1, 2, 3]
    equal = read_decisions([run_of(tmp_path / "equal", [row(0, 1.0, 1.0, 1.0, None), row(1)])])
    assert (equal.estimate(threshold_for(equal, 0.6)), equal.unscored) == (0.0, 1)
    assert "1 decisions have no log-probabilities" in report(equal, 1)


def test_runs_without_recorded_decisions_are_refused(tmp_path: Path) -> None:
    other = run_of(tmp_path / "other", [Trajectory(QUESTION, (), "", Status.FINISHED)])
    with pytest.raises(UserError, match="has no decisions on record"):
        read_decisions([other])
    made = {"decisions": [{"n": 1, "search": None, "direct": None, "chosen": "search"}]}
    always = run_of(tmp_path / "always", [Trajectory(QUESTION, (), "", Status.FINISHED, provenance=made)])
    with pytest.raises(UserError, match="no decision has log-probabilities"):
        read_decisions([always])
    failed = [
        Trajectory(QUESTION, (), "", Status.MODEL_ERROR),
        Trajectory(QUESTION, (Step(1, "", DirectAnswer("a", "b")),), "", Status.FINISHED, provenance=made),
    ]
    with pytest.raises(UserError, match="no decision has log-probabilities"):
        read_decisions([run_of(tmp_path / "failed", failed)])


def test_a_final_line_without_its_short_answer_is_continued(tmp_path: Path) -> None:
    long = f"{FINAL} <answer long>She was born in Steventon."
    model = script(tmp_path, [f" {WHO}", SEARCH, " Jane Austen", f"{long}</answer>", "Steventon</answer>"])
    row = play(runtime(model, **GENERATE))
    assert (row.answer, row.steps[-1].thought) == ("Steventon", "She was born in Steventon.")
    assert model.calls[-1][-1]["content"].endswith(f"{long}</answer long><answer short>")
    assert "no_short_answer" not in row.steps[-1].parse_fixes
