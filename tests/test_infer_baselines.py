"""DeepRAG's baselines: when each searches, with what, what it shows its model, and how it ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from helpers_methods import (
    ANSWERED,
    ASKED,
    AUTO_RAG,
    FACTS,
    FROM_PASSAGES,
    ITERDRAG,
    SENTENCE,
    WHERE,
    WHO,
    Rows,
    answered,
    queries,
    runtime_for,
    script,
    short_rows,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from src_core.errors import RetrieverError, UserError
from src_core.llm import Completion, Sampling
from src_core.protocols.parsers import sentence_spans
from src_core.protocols.records import Message
from src_core.scripted import ScriptedModel
from src_core.types import (
    DirectAnswer,
    Finish,
    Passage,
    Search,
    Status,
    Usage,
    to_json,
    trajectory_from_json,
)
from src_infer.chain_of_thought import joined
from src_infer.episode import Limits
from src_infer.methods import load_method
from src_infer.methods.uar import by_probes
from src_retrieval.toy import ToyRetriever

COT = "Answer the last question as in the examples"
WITHOUT = "So the answer is: no\n\nQuestion: " + ASKED
WITH = "say what you believe.\n\nQuestion: " + ASKED
TAARE = "Today is"


@dataclass
class Typist:
    """Writes `text` word by word, on from where the assistant's turn ends, as many words as it may."""

    text: str
    calls: list[Sequence[Message]] = field(default_factory=list)
    name: str = "typist"

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling,
        stop: Sequence[str] = (),
        constraint: object = None,
        logprobs: int = 0,
    ) -> Completion:
        self.calls.append(messages)
        begun = messages[-1]["content"] if messages[-1]["role"] == "assistant" else ""
        assert self.text.startswith(begun), begun
        words = re.findall(r"\s*\S+", self.text[len(begun) :])
        text = "".join(words[: sampling.max_tokens])
        for mark in stop:
            text = text.split(mark, 1)[0]
        reason = "length" if len(words) > sampling.max_tokens else "stop"
        return Completion(text, reason, Usage(1, 1, len(words)))

    async def ready(self) -> None: ...

    async def close(self) -> None: ...


def test_cot_reasons_from_examples_and_needs_no_retriever(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", [(COT, ["Emma is by Jane Austen. So the answer is: St. Ives."])])
    row = answered("cot", runtime_for(model))
    assert (row.status, row.answer, row.searches) == (Status.FINISHED, "St. Ives", 0)
    assert row.steps[0].thought == "Emma is by Jane Austen. So the answer is: St. Ives."
    assert row.usage.calls == len(model.calls) == 1
    assert [message["role"] for message in model.calls[0]] == ["user"]
    assert model.calls[0][0]["content"].endswith(f"{WITHOUT}\nAnswer:")
    assert not load_method("cot").needs_search
    assert trajectory_from_json(to_json(row)) == row


def test_cot_retrieve_searches_once_with_the_question(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", [(COT, ["So the answer is: Steventon"])])
    row = answered("cot_retrieve", runtime_for(model))
    assert (row.answer, queries(row), row.usage.calls) == ("Steventon", [ASKED], 1)
    assert "[1] Emma: Emma is a novel by Jane Austen." in model.calls[0][0]["content"]
    assert model.calls[0][0]["content"].endswith(f"{WITH}\nAnswer:")


@pytest.mark.parametrize("method", ["cot", "cot_retrieve"])
def test_a_reasoning_without_an_answer_is_continued_once(method: str, tmp_path: Path) -> None:
    rows: Rows = [(COT, ["Emma is by J. Austen. She was born in Steventon. ", "Steventon."])]
    model = script(tmp_path / "s.jsonl", rows)
    row = answered(method, runtime_for(model))
    assert (row.status, row.answer, row.usage.calls) == (Status.FINISHED, "Steventon", 2)
    begun = "Emma is by J. Austen. She was born in Steventon. So the answer is:"
    assert model.calls[1][-1] == {"role": "assistant", "content": begun}
    assert model.calls[1][0] == model.calls[0][0]
    assert row.steps[-1].thought == f"{begun} Steventon."


@pytest.mark.parametrize("method", ["cot", "cot_retrieve", "fl_rag"])
def test_empty_replies_are_asked_for_again_and_then_the_reader_answers(method: str, tmp_path: Path) -> None:
    rows: Rows = [(FROM_PASSAGES, ["by reader"]), (COT, ["", " \n"])]
    row = answered(method, runtime_for(script(tmp_path / "s.jsonl", rows)))
    assert (row.status, row.answer) == (Status.MALFORMED_THEN_ANSWERED, "by reader")
    assert row.provenance["parse_failures"] == ["empty_reply"] * 2
    none = answered(method, runtime_for(script(tmp_path / "t.jsonl", [(COT, ["Hm.", "\n"] * 2), *rows[:1]])))
    assert none.provenance["parse_failures"] == ["no_answer"] * 2
    assert none.usage.calls == 5


def test_an_answer_that_is_announced_twice(tmp_path: Path) -> None:
    """A server that cannot continue a turn writes the words that were to be continued again."""
    for number, again in enumerate(("So the answer is: Bath.", "The final answer is Bath", " Bath")):
        model = script(tmp_path / f"{number}.jsonl", [(COT, ["Emma is by Jane Austen.", again])])
        assert answered("cot", runtime_for(model)).answer == "Bath"


def test_the_answer_of_a_very_long_reasoning_is_found(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", [(COT, [f"{'On and on. ' * 4000}So the answer is: Bath"])])
    row = answered("cot", runtime_for(model))
    assert (row.answer, row.usage.calls) == ("Bath", 1)


def test_fl_rag_searches_every_n_tokens_with_the_tokens_before() -> None:
    model = Typist(
        "Emma was written by Jane Austen. She was born in the village Steventon. So the answer is: Steventon"
    )
    row = answered("fl_rag", runtime_for(model, limits=Limits(t_max=20)), tokens=4)
    assert (row.status, row.answer) == (Status.FINISHED, "Steventon")
    assert queries(row) == [
        ASKED,
        "Emma was written by",
        "Jane Austen. She was",
        "born in the village",
        "Steventon. So the answer",
    ]
    assert row.steps[-1].thought == " is: Steventon"
    assert joined([step.thought for step in row.steps]) == model.text
    assert row.usage.calls == len(model.calls) == 5
    read = [call[0]["content"].partition("Passages for the last question:")[2] for call in model.calls]
    assert "novel by Jane Austen" in read[0]
    assert "novel by Jane Austen" not in read[-1]  # the newest passages only
    assert "born in Steventon" in read[-1]
    assert [message["role"] for message in model.calls[1]] == ["user", "assistant"]


def test_fl_rag_does_not_cut_an_answer_or_a_word() -> None:
    """The release takes what is there, and joins pieces with a space."""
    model = Typist("So the answer is: the village of Steventon in Hampshire.")
    row = answered("fl_rag", runtime_for(model), tokens=6)
    assert (row.answer, queries(row)) == ("the village of Steventon in Hampshire", [ASKED])
    assert row.usage.calls == 2
    assert joined(["in Steven", "ton. ", "", "She"]) == "in Steventon. She"
    assert joined(["in Steventon.", "She", " was "]) == "in Steventon. She was"


@pytest.mark.parametrize("limits", [Limits(t_max=3), Limits(t_max=20, max_repeats=1)])
def test_fl_rag_writes_to_the_end_at_the_last_step(limits: Limits) -> None:
    model = Typist(f"{'and on ' * 9}So the answer is: Bath it is")
    row = answered("fl_rag", runtime_for(model, limits=limits), tokens=2)
    assert (row.status, row.answer) == (Status.FINISHED, "Bath it is")
    assert queries(row) == [ASKED, *["and on"] * (len(row.steps) - 2)]
    assert sum(step.repeated for step in row.steps) == limits.max_repeats % 2
    assert joined([step.thought for step in row.steps]) == model.text


def test_fs_rag_searches_with_every_sentence_and_reads_the_newest_passages(tmp_path: Path) -> None:
    replies = [
        "Jane Austen wrote Emma.",
        "Jane Austen was born in Steventon. Yes",
        "So the answer is: Steventon",
    ]
    model = script(tmp_path / "s.jsonl", [(SENTENCE, replies)])
    row = answered("fs_rag", runtime_for(model))
    assert queries(row) == [ASKED, "Jane Austen wrote Emma.", "Jane Austen was born in Steventon."]
    last = model.calls[-1][0]["content"]
    assert "born in Steventon." in last
    assert "novel by Jane Austen" not in last
    assert "Thoughts so far: Jane Austen wrote Emma. Jane Austen was born in Steventon." in last
    assert row.usage.calls == 3  # the answer is the model's own, no reader


@pytest.mark.parametrize(("reply", "answer"), [(" Steventon.", "Steventon"), (" ", "by reader")])
def test_fs_rag_has_to_answer_at_its_last_step(reply: str, answer: str, tmp_path: Path) -> None:
    rows: Rows = [(FROM_PASSAGES, ["by reader"]), (SENTENCE, ["Jane Austen wrote Emma.", reply, reply])]
    model = script(tmp_path / "s.jsonl", rows)
    row = answered("fs_rag", runtime_for(model, limits=Limits(t_max=3, step_tries=2)))
    assert (row.answer, queries(row)) == (answer, [ASKED, "Jane Austen wrote Emma."])
    assert model.calls[1][1] == {"role": "assistant", "content": "So the answer is:"}


def test_iterdrag_keeps_the_documents_of_earlier_questions(tmp_path: Path) -> None:
    replies = [
        f"Follow up: {WHO}",
        FACTS[0],
        f"Follow up: {WHERE}",
        FACTS[1],
        "So the final answer is: Steventon",
    ]
    model = script(tmp_path / "s.jsonl", [(ITERDRAG, replies)])
    row = answered("iterdrag", runtime_for(model))
    assert [step.conclusion for step in row.steps] == ["", *FACTS, ""]
    assert [step.usage.calls for step in row.steps] == [0, 2, 2, 1]
    first, second = model.calls[1][0]["content"], model.calls[3][0]["content"]
    assert first.endswith(f"Question: {ASKED}\nFollow up: {WHO}\nIntermediate answer:")
    assert second.endswith(
        f"Follow up: {WHO}\nIntermediate answer: {FACTS[0]}\nFollow up: {WHERE}\nIntermediate answer:"
    )
    for fact in ("novel by Jane Austen", "born in Steventon"):
        assert fact in second.partition("Documents:")[2]


def test_iterdrag_has_to_answer_after_its_iterations(tmp_path: Path) -> None:
    replies = [f"Follow up: {WHO}", FACTS[0], WHERE, FACTS[1], " Steventon"]
    model = script(tmp_path / "s.jsonl", [(ITERDRAG, replies)])
    row = answered("iterdrag", runtime_for(model), iterations=2)
    assert (row.status, row.answer) == (Status.FINISHED, "Steventon")
    assert queries(row) == [ASKED, WHO, WHERE]
    assert model.calls[-1][1] == {"role": "assistant", "content": "So the final answer is:"}
    assert row.usage.calls == len(model.calls) == 5


def test_iterdrag_asks_its_reader_where_the_last_answer_is_blank(tmp_path: Path) -> None:
    rows: Rows = [(FROM_PASSAGES, ["by reader"]), (ITERDRAG, [f"Follow up: {WHO}", FACTS[0], "", "\n"])]
    row = answered("iterdrag", runtime_for(script(tmp_path / "s.jsonl", rows)), iterations=1)
    assert (row.status, row.answer) == (Status.MALFORMED_THEN_ANSWERED, "by reader")
    assert queries(row) == [ASKED, WHO]


@pytest.mark.parametrize(
    "reply",
    [
        "Jane Austen wrote Emma.",
        " Intermediate answer: Jane Austen wrote Emma.\nFollow up: no",
        "\nJane Austen wrote Emma.\nSo the final answer is: Bath",
    ],
)
def test_an_intermediate_answer_is_its_first_line_without_its_label(reply: str, tmp_path: Path) -> None:
    replies = [f"Follow up: {WHO}", reply, "So the final answer is: Steventon"]
    row = answered("iterdrag", runtime_for(script(tmp_path / "s.jsonl", [(ITERDRAG, replies)])))
    assert (row.steps[1].conclusion, row.answer) == (FACTS[0], "Steventon")


def test_iterdrag_survives_a_question_with_let_in_it_and_one_asked_twice(tmp_path: Path) -> None:
    replies = ["Follow up: Who wrote Let It Be?", "-", "Follow up: who wrote let it be", "Final answer: Emma"]
    model = script(tmp_path / "s.jsonl", [(ITERDRAG, replies)])
    row = answered("iterdrag", runtime_for(model))
    assert queries(row) == [ASKED, "Who wrote Let It Be?", "who wrote let it be"]
    assert [step.repeated for step in row.steps] == [False, False, True, False]
    assert model.calls[-1][0]["content"].endswith("Intermediate answer: (asked before)")


def test_auto_rag_shows_only_new_documents_and_ends_with_its_own(tmp_path: Path) -> None:
    queries_ = ["Emma novel", "Emma book", "Jane Austen birthplace"]
    replies = [f"Needed: it.\nRefined Query: {query}" for query in queries_]
    rows: Rows = [
        ("Write what an encyclopedia would say", ["Jane Austen was born\nin Steventon."]),
        (AUTO_RAG, [*replies, "Found.\nFinal Answer: No. 10, Steventon."]),
    ]
    model = script(tmp_path / "s.jsonl", rows)
    row = answered("auto_rag", runtime_for(model), retrievals=2, own_documents=1)
    assert (row.status, row.answer) == (Status.FINISHED, "No. 10, Steventon")
    assert [step.observation for step in row.steps[:2]] == [
        "[1] Emma: Emma is a novel by Jane Austen.",
        "(no new document was found)",
    ]
    assert row.steps[2].action == DirectAnswer(queries_[2], "Jane Austen was born in Steventon.")
    assert (row.searches, queries(row)) == (2, queries_[:2])
    assert row.usage.calls == len(model.calls) == 5
    assert f"Query: {queries_[2]}" in model.calls[3][0]["content"]
    assert model.calls[4][0]["content"].endswith(
        f"Refined Query: {queries_[2]}\nRetrieved Document_3: Jane Austen was born in Steventon."
    )


@pytest.mark.parametrize(("own", "documents"), [(0, 0), (2, 2)])
def test_auto_rag_has_to_answer_after_its_documents(own: int, documents: int, tmp_path: Path) -> None:
    """No search is made and no document written beyond the settings, also where the model knows nothing."""
    asks = [f"Refined Query: Emma {number}" for number in range(1 + own)]
    rows: Rows = [("Write what an encyclopedia would say", [" "] * 9), (AUTO_RAG, [*asks, "Steventon."])]
    model = script(tmp_path / "s.jsonl", rows)
    row = answered("auto_rag", runtime_for(model), retrievals=1, own_documents=own)
    assert (row.status, row.answer, queries(row)) == (Status.FINISHED, "Steventon", ["Emma 0"])
    written = [step.action.answer for step in row.steps if isinstance(step.action, DirectAnswer)]
    assert written == ["(nothing is known)"] * documents
    assert model.calls[-1][1] == {"role": "assistant", "content": "Final Answer:"}


def test_auto_rag_that_does_not_want_to_answer_is_answered_by_the_reader(tmp_path: Path) -> None:
    """What it writes after the given label is no answer where it has labels of its own."""
    rows: Rows = [(FROM_PASSAGES, ["by reader"]), (AUTO_RAG, ["Refined Query: a", " I need b.\nQuery: b"])]
    row = answered("auto_rag", runtime_for(script(tmp_path / "s.jsonl", rows), limits=Limits(t_max=2)))
    assert (row.status, row.answer) == (Status.CAPPED_THEN_ANSWERED, "by reader")


def test_auto_rag_takes_the_label_that_comes_first(tmp_path: Path) -> None:
    rows: Rows = [
        (
            AUTO_RAG,
            ["Refined Query: a b\nFinal Answer: x", "The answer is Bath.\nFinal Answer: Oslo\nQuery: c"],
        )
    ]
    row = answered("auto_rag", runtime_for(script(tmp_path / "s.jsonl", rows)))
    assert (queries(row), row.answer) == (["a b"], "Oslo")


@pytest.mark.parametrize(
    ("reply", "decision", "searches"),
    [
        ("[Yes]", "yes", 1),
        ("[No].", "no", 0),
        ("No, unless yes", "no", 0),
        ("yes\nno", "yes", 1),
        ("", "unread", 0),
        ("Yesterday", "unread", 0),
    ],
)
def test_taare_asks_once_and_says_what_it_read(
    reply: str, decision: str, searches: int, tmp_path: Path
) -> None:
    rows: Rows = [(TAARE, [reply]), (WITH, ["So the answer is: A"]), (WITHOUT, ["So the answer is: B"])]
    model = script(tmp_path / "s.jsonl", rows)
    row = answered("taare", runtime_for(model), today="2024-02-29")
    assert (row.searches, row.answer) == (searches, "A" if searches else "B")
    assert {key: row.provenance[key] for key in ("decision", "retrieves", "today")} == {
        "decision": decision,
        "retrieves": bool(searches),
        "today": "2024-02-29",
    }
    assert "Today is 2024-02-29." in model.calls[0][0]["content"]
    assert row.usage.calls == len(model.calls) == 2


def test_taare_without_a_date_takes_the_day_and_refuses_another_form(tmp_path: Path) -> None:
    model = script(tmp_path / "s.jsonl", [(TAARE, ["no"]), (COT, ["So the answer is: A"])])
    row = answered("taare", runtime_for(model))
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", row.provenance["today"])
    with pytest.raises(UserError, match="today"):
        load_method("taare", {"today": "tomorrow"})


@pytest.mark.parametrize(
    ("replies", "retrieves"),
    [
        (["Yes"], True),
        (["no", "No."], False),
        (["no", "yes", "yes"], True),
        (["no", "yes", "no", "yes"], False),
        (["no", "yes", "no", "no"], True),
        (["?", "?", "?", "?"], True),
    ],
)
def test_uar_asks_its_criteria_in_order_until_one_decides(
    replies: list[str], retrieves: bool, tmp_path: Path
) -> None:
    rows: Rows = [("with yes or no only.", replies), (COT, ["So the answer is: A"])]
    model = script(tmp_path / "s.jsonl", rows)
    row = answered("uar", runtime_for(model))
    assert row.provenance["retrieves"] is retrieves
    assert row.provenance["decided_by"] == "prompts"
    assert (
        list(row.provenance["criteria"])
        == ["uar_intent", "uar_knowledge", "uar_time", "uar_self"][: len(replies)]
    )
    assert row.searches == int(retrieves)
    assert row.usage.calls == len(model.calls) == len(replies) + 1


@pytest.mark.parametrize(
    ("intent", "know", "time", "own", "retrieves"),
    [
        (0.5, 0.9, 0.1, 0.1, True),
        (0.4, 0.5, 0.9, 0.9, False),
        (0.4, 0.4, 0.5, 0.1, True),
        (0.4, 0.4, 0.4, 0.5, True),
        (0.4, 0.4, 0.4, 0.4, False),
    ],
)
def test_the_order_of_uars_probes(
    intent: float, know: float, time: float, own: float, retrieves: bool
) -> None:
    assert by_probes({"intent": intent, "know": know, "time": time, "self": own}) is retrieves


def test_probes_need_the_model_that_they_belong_to(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"method_settings\.model"):
        answered("uar", runtime_for(Typist("")), probes=str(tmp_path))


def test_sentences_cover_the_text() -> None:
    text = " It is by J. Austen. She wrote it!\n\n1. Born in St. Ives\nSo: no "
    spans = sentence_spans(text)
    assert [text[start:end].strip() for start, end in spans] == [
        "It is by J. Austen.",
        "She wrote it!",
        "1.",
        "Born in St. Ives",
        "So: no",
    ]
    assert sentence_spans(" \n") == []


@given(text=st.text(alphabet="aA. \n!?”J", max_size=60))
def test_sentences_are_neighbours_and_none_is_blank(text: str) -> None:
    spans = sentence_spans(text)
    assert "".join(text[start:end] for start, end in spans) == (text if text.strip() else "")
    assert all(text[start:end].strip() for start, end in spans)


BASELINES = ("cot", "cot_retrieve", "fl_rag", "fs_rag", "iterdrag", "auto_rag", "uar", "taare")
FRAGMENTS = st.sampled_from(
    [
        *("So the answer is:", "Follow up: ", "Refined Query: ", "Final Answer:", "Intermediate answer:"),
        *(
            "yes",
            "no",
            "[Yes]",
            ".",
            "\n",
            " ",
            "the answer is",
            "?",
            "\ud800",
            "\x00",
            "{question}",
            "x" * 2100,
        ),
    ]
)


SEARCHING = [name for name in BASELINES if name != "cot"]
ON_AND_ON = {
    "fl_rag": "It is so and so on and on.",
    "fs_rag": "Emma is it.",
    "iterdrag": "Follow up: Emma?",
    "auto_rag": "Refined Query: Emma",
}


def one_search(method: str, path: Path) -> ScriptedModel:
    """The method searches once and answers."""
    if method != "auto_rag":
        return script(path, short_rows(ASKED, "Steventon"))
    return script(path, [(AUTO_RAG, ["Refined Query: Emma", "Final Answer: Steventon"])])


@pytest.mark.parametrize("method", SEARCHING)
def test_a_retriever_that_finds_nothing(method: str, tmp_path: Path) -> None:
    model = one_search(method, tmp_path / "s.jsonl")
    row = answered(method, runtime_for(model, retriever=ToyRetriever([])))
    assert (row.status, row.answer, row.searches) == (Status.FINISHED, "Steventon", 1)
    nothing = "no new document was found" if method == "auto_rag" else "no passage was found"
    assert f"({nothing})" in model.calls[-1][0]["content"]


class Broken(ToyRetriever):
    async def search(self, query: str, top_n: int) -> list[Passage]:
        raise RetrieverError("the retriever is gone")


@pytest.mark.parametrize("method", SEARCHING)
def test_a_retriever_that_fails_is_a_row_to_try_again(method: str, tmp_path: Path) -> None:
    model = one_search(method, tmp_path / "s.jsonl")
    row = answered(method, runtime_for(model, retriever=Broken([])))
    assert (row.status, row.answer, row.searches) == (Status.RETRIEVER_ERROR, "", 0)
    assert "is gone" in (row.error or "")


@pytest.mark.parametrize("method", ON_AND_ON)
def test_a_budget_ends_a_baseline_after_the_step_that_spends_it(method: str) -> None:
    runtime = runtime_for(Typist(ON_AND_ON[method]), limits=Limits(max_tokens=1))
    row = answered(method, runtime, **({"tokens": 4} if method == "fl_rag" else {}))
    assert (row.status, bool(row.answer)) == (Status.BUDGET_THEN_ANSWERED, True)
    assert [len(row.steps), row.searches] == ([1, 1] if method == "auto_rag" else [2, 2])


class Parrot(Typist):
    """Says the same things over and over, each as long as it likes."""

    async def chat(self, messages: Sequence[Message], **more: object) -> Completion:  # type: ignore[override]
        assert not more.get("logprobs")  # many servers have none
        self.calls.append(messages)
        parts = self.text.split("|")
        text = parts[len(self.calls) % len(parts)]
        return Completion(text, ("stop", "length")[len(self.calls) % 2], Usage(1, 1, 1))


@pytest.mark.parametrize("method", BASELINES)
@given(
    replies=st.lists(
        st.lists(FRAGMENTS | st.text(max_size=9), max_size=6).map("".join), min_size=1, max_size=4
    )
)
@settings(max_examples=15, deadline=None)
def test_no_reply_can_break_a_baseline_or_keep_it_going(method: str, replies: list[str]) -> None:
    model = Parrot("|".join(replies))
    row = answered(method, runtime_for(model, limits=Limits(t_max=4, step_tries=2)))
    assert row.status in ANSWERED - {Status.REFUSED}
    assert len(row.steps) <= 4
    assert row.usage.calls == len(model.calls) <= 4 * 2 * 2 + 5
    assert to_json(row)
    assert all(isinstance(step.action, Search | Finish | DirectAnswer) for step in row.steps)


def test_a_long_prompt_is_shortened_for_a_growing_text(tmp_path: Path) -> None:
    """The text so far is never cut; passages are."""
    model = Typist("Emma is by Jane Austen. So the answer is: Steventon")
    runtime = runtime_for(model)
    tight = replace(runtime, policy=replace(runtime.policy, prompt_tokens=600))
    row = answered("fl_rag", tight, tokens=5)
    assert row.answer == "Steventon"
    assert model.calls[-1][-1]["content"] == "Emma is by Jane Austen."
