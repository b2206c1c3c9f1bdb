"""RADIO's stages rank and mmlu: every reranker on the same candidates, and the evaluation of a reader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers_radio import TOWNS, Radio, read_rows, write_rows
from helpers_rerank import onnx_folder

from src_core.config import load_config
from src_core.errors import RetrieverError
from src_core.types import Passage, Question
from src_data.sampling.turns import in_turns
from src_eval.config import EvalConfig
from src_retrieval.scoring import PassageReranker
from src_retrieval.toy import ToyRetriever

TOY = "{label: untuned, rerank: {model: toy, type: bi_encoder}}"
READER = "{label: small, settings: []}"


@pytest.fixture
def radio(tmp_path: Path) -> Radio:
    """A run whose blend w0.5 is trained, and whose w1 is not."""
    found = Radio(tmp_path)
    dev = [{"id": "d", "question": f"When was {TOWNS[9]} founded?", "answers": ["1209"]}]
    write_rows(tmp_path / "dev.jsonl", [{**dev[0], "supporting_ids": ["p9"]}])
    found.settings |= {
        "blends": "[{label: w0.5, weight: 0.5}, {label: w1, weight: 1}]",
        "comparison.datasets": f"[{{name: dev, path: {tmp_path}/dev.jsonl}}]",
        "comparison.others": f"[{TOY}]",
        "comparison.tuned": "{model: '{runs}/{run}-{label}/model', max_length: 40}",
        "comparison.top_n": "10",
    }
    onnx_folder(tmp_path / "runs/radio-w0.5/model")
    return found


def test_every_reranker_sorts_the_same_candidates(radio: Radio) -> None:
    radio.stages("rationales", "candidates", "scores", "blend", "rank")
    by_line = {line: radio.rows(f"comparison/{line}.jsonl") for line in ("none", "untuned", "w0.5")}
    ids = {line: [each["id"] for each in rows[0]["passages"]] for line, rows in by_line.items()}
    assert sorted(ids["none"]) == sorted(ids["untuned"]) == sorted(ids["w0.5"])
    assert len(ids["none"]) == 10
    assert ids["untuned"][0] == "p9"  # its name is in the question
    scores = [each["scores"]["rerank"] for each in by_line["untuned"][0]["passages"]]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1
    assert len({each["scores"]["rerank"] for each in by_line["w0.5"][0]["passages"]}) == 1
    assert ids["w0.5"] == ids["none"]  # equal scores keep the retriever's order
    page = radio.rows("comparison/page/none.jsonl")[0]["passages"][0]["scores"]
    assert {"retrieval", "rationale", "blend 0.5", "blend 1"} <= page.keys()


def test_a_reranker_that_is_not_there_yet_is_left_out_aloud(radio: Radio) -> None:
    radio.stages("rationales", "candidates", "scores")
    done = radio.stage("rank")
    assert "left out: there is no reranker of w1 (stage finetune)" in done.stdout
    assert not (radio.run / "comparison/w1.jsonl").exists()
    onnx_folder(radio.folder / "runs/radio-w1/model", seed=1)
    done = radio.stage("rank")
    assert "w0.5: ranked before" in done.stdout
    assert "w1: ranked before" not in done.stdout
    assert (radio.run / "comparison/w1.jsonl").is_file()


def test_another_model_under_the_same_name_ranks_anew(radio: Radio) -> None:
    radio.stages("rationales", "candidates", "scores", "rank")
    before = radio.rows("comparison/w0.5.jsonl")
    onnx_folder(radio.folder / "runs/radio-w0.5/model", seed=5)
    radio.stages("rank")
    assert radio.rows("comparison/w0.5.jsonl") != before


def dev_sets(radio: Radio, n: int) -> str:
    """Two evaluation sets, the first `n` questions of each."""
    sets = []
    for name, towns in (("one", TOWNS[9:13]), ("two", TOWNS[13:17])):
        rows = [{"question": f"When was {town} founded?", "answers": ["1200"]} for town in towns]
        write_rows(radio.folder / f"{name}.jsonl", rows)
        sets.append(f"{{name: {name}, path: {radio.folder}/{name}.jsonl, n: {n}}}")
    return f"[{', '.join(sets)}]"


def test_with_more_questions_the_rankings_only_grow(radio: Radio) -> None:
    made = {}
    for n in (2, 4):
        radio.stages("candidates", comparison__datasets=dev_sets(radio, n))
        done = radio.stage("rank", comparison__datasets=dev_sets(radio, n))
        assert done.returncode == 0, done.stderr
        names = ("none", "untuned", "w0.5")
        made[n] = {name: (radio.run / f"comparison/{name}.jsonl").read_bytes() for name in names}
    for name, few in made[2].items():
        assert made[4][name].startswith(few)
        assert (few.count(b"\n"), made[4][name].count(b"\n")) == (4, 8)
    assert "w0.5: 40 pairs scored; 4 questions were ranked before" in done.stdout
    assert "none: 0 pairs scored; 4 questions were ranked before" in done.stdout
    whole = {row["id"]: row for row in radio.rows("comparison/untuned.jsonl")}
    (radio.run / "comparison/untuned.jsonl").unlink()
    radio.stages("rank", comparison__datasets=dev_sets(radio, 4))
    assert {row["id"]: row for row in radio.rows("comparison/untuned.jsonl")} == whole


def test_other_candidates_are_ranked_anew(radio: Radio) -> None:
    radio.stages("candidates", "rank")
    done = radio.stage("rank", comparison__top_n="5")
    assert "w0.5: 5 pairs scored\n" in done.stdout
    assert [len(row["passages"]) for row in radio.rows("comparison/w0.5.jsonl")] == [5]


def test_the_readers_of_a_comparison(radio: Radio) -> None:
    radio.stages("candidates")
    other = "[{label: small, settings: ['reader.url=scripted:x'], lines: [w0.5, w1]}]"
    radio.stages("rank", comparison__readers=other, comparison__top_k="3")
    config = load_config(EvalConfig, radio.run / "comparison/readers.yaml")
    assert [line.name for line in config.lines] == ["none", "untuned", "w0.5"]
    assert config.lines[2].settings == (
        f"retriever=ranked:{radio.run}/comparison/w0.5.jsonl",
        "top_k=3",
    )
    small = load_config(EvalConfig, radio.run / "comparison/readers-small.yaml")
    assert [line.name for line in small.lines] == ["none", "w0.5"]
    assert (small.name, small.settings) == ("radio-small", ("reader.url=scripted:x",))
    assert small.baseline_name() == config.baseline_name() == "none"


def test_a_line_that_was_interrupted_goes_on(radio: Radio, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": f"When was {TOWNS[at]} founded?", "answers": [f"{1200 + at}"]} for at in range(20)]
    write_rows(radio.folder / "dev.jsonl", rows)
    radio.stages("candidates")
    scored: list[int] = []
    real = PassageReranker.scores

    def once(self: PassageReranker, queries: list[str], passages: list[list[str]]) -> list[list[float]]:
        if scored:
            raise KeyboardInterrupt
        scored.append(len(queries))
        return real(self, queries, passages)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PassageReranker, "scores", once)
        radio.stage("rank")
    path = radio.run / "comparison/untuned.jsonl"
    first = path.read_bytes()
    assert first.count(b"\n") == 16  # the batch that was scored
    path.write_bytes(first[:-9])  # and a kill in the middle of a row
    assert "untuned: 50 pairs scored; 15 questions were ranked before" in radio.stage("rank").stdout
    assert path.read_bytes().startswith(first[: first.rindex(b"\n", 0, -1)])
    whole = {row["id"]: row for row in radio.rows("comparison/untuned.jsonl")}
    path.unlink()
    radio.stages("rank")
    assert {row["id"]: row for row in radio.rows("comparison/untuned.jsonl")} == whole
    assert len(whole) == 20


def test_a_line_may_give_the_retriever_a_share(radio: Radio) -> None:
    line = "[{label: untuned, rerank: {model: toy, type: bi_encoder, retrieval_weight: %s}}]"
    radio.stages("candidates", "rank")
    alone = [row["id"] for row in radio.rows("comparison/untuned.jsonl")[0]["passages"]]
    none = [row["id"] for row in radio.rows("comparison/none.jsonl")[0]["passages"]]
    assert alone != none
    done = radio.stage("rank", comparison__others=line % 1)
    assert "untuned: 10 pairs scored" in done.stdout  # another order, so ranked anew
    passages = radio.rows("comparison/untuned.jsonl")[0]["passages"]
    assert [row["id"] for row in passages] == none
    assert (passages[0]["scores"]["rerank"], passages[-1]["scores"]["rerank"]) == (1.0, 0.0)
    assert "untuned: ranked before" in radio.stage("rank", comparison__others=line % 1).stdout


def test_another_share_of_the_retriever_is_a_re_sort(radio: Radio) -> None:
    """The line after the reranker's own takes its scores; where that line is not there, all are computed."""
    shared = "{label: shared, rerank: {model: toy, type: bi_encoder, retrieval_weight: 0.5}}"
    both = f"[{shared}, {TOY}]"
    radio.stages("candidates")
    done = radio.stage("rank", comparison__others=both)
    assert "untuned: 10 pairs scored" in done.stdout
    assert "shared: 0 pairs scored" in done.stdout
    first = radio.rows("comparison/shared.jsonl")
    for name in ("shared", "untuned"):
        (radio.run / f"comparison/{name}.jsonl").unlink()
    (radio.run / "comparison/rank.json").unlink()
    alone = radio.stage("rank", comparison__others=f"[{shared}]")
    assert "shared: 10 pairs scored" in alone.stdout
    assert radio.rows("comparison/shared.jsonl") == first


def test_a_reader_may_answer_fewer_questions_than_are_ranked(radio: Radio) -> None:
    radio.settings["comparison.datasets"] = dev_sets(radio, 3)
    radio.stages("candidates", "rank", comparison__read="2")
    config = load_config(EvalConfig, radio.run / "comparison/readers.yaml")
    assert [(each.n, each.ranked) for each in config.datasets] == [(2, 3), (2, 3)]
    assert len(radio.rows("comparison/w0.5.jsonl")) == 6
    for read in ("-1", "3", "9"):  # all of them
        radio.stages("rank", comparison__read=read)
        config = load_config(EvalConfig, radio.run / "comparison/readers.yaml")
        assert [(each.n, each.ranked) for each in config.datasets] == [(3, None), (3, None)]
    radio.stages("candidates", "rank", comparison__datasets=dev_sets(radio, -1), comparison__read="2")
    config = load_config(EvalConfig, radio.run / "comparison/readers.yaml")
    assert [(each.n, each.ranked) for each in config.datasets] == [(2, -1), (2, -1)]


MMLU_ROW = "When was {} founded?,1200,1201,1202,1203,{}\n"


def mmlu_folder(folder: Path) -> Path:
    """Two subjects of three questions, as published."""
    folder.mkdir()
    for subject, first in (("astronomy", 0), ("virology", 3)):
        rows = (MMLU_ROW.format(TOWNS[at], "ABCD"[at % 4]) for at in range(first, first + 3))
        (folder / f"{subject}_val.csv").write_text("".join(rows), encoding="utf-8")
    return folder


def test_multiple_choice_is_asked_without_and_with_each_ranking(radio: Radio) -> None:
    path = str(mmlu_folder(radio.folder / "val"))
    radio.stages("mmlu", mmlu__path=path, mmlu__n="4", mmlu__answer="logprob", mmlu__lines="[w0.5]")
    asked = read_rows(radio.run / "mmlu/questions.jsonl")
    assert [row["group"] for row in asked] == ["astronomy", "virology", "astronomy", "virology"]
    assert len(radio.rows("mmlu/none.jsonl")) == len(radio.rows("mmlu/w0.5.jsonl")) == 4
    config = load_config(EvalConfig, radio.run / "mmlu/readers.yaml")
    assert [line.name for line in config.lines] == ["no_search", "none", "w0.5"]
    assert {line.method for line in config.lines} == {"multiple_choice"}
    assert "method_settings.search=false" in config.lines[0].settings
    assert "method_settings.answer=logprob" in config.lines[2].settings
    again = radio.stage("mmlu", mmlu__path=path, mmlu__n="4", mmlu__answer="logprob", mmlu__lines="[w0.5]")
    assert "w0.5: ranked before" in again.stdout


def test_questions_are_spread_over_subjects() -> None:
    rows = [Question(f"{group}{at}", "?", group=group) for group in "abc" for at in range(3)]
    taken = in_turns(rows, lambda row: row)
    assert [row.id for row in taken[:5]] == ["a0", "b0", "c0", "a1", "b1"]
    assert sorted(row.id for row in taken) == sorted(row.id for row in rows)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mmlu.path": ""}, "set mmlu.path to a folder of MMLU"),
        ({"mmlu.path": "nowhere"}, "nowhere"),
        ({"mmlu.lines": "[w7]"}, "there is no line 'w7'; the lines are none, w0.5, w1, untuned"),
        ({"comparison.others": "[{label: w1, rerank: {model: toy}}]"}, "are called 'w1'"),
        ({"comparison.others": "[{label: none, rerank: {model: toy}}]"}, "and not 'none'"),
        ({"comparison.others": "[{label: a/b, rerank: {model: toy}}]"}, "the label 'a/b' must be"),
        ({"blends": "[{label: candidates}]"}, "'candidates' is the name of another file"),
        ({"comparison.others": "[{label: passages, rerank: {model: toy}}]"}, "the name of another file"),
        ({"comparison.others": "[{label: questions, rerank: {model: toy}}]"}, "the name of another file"),
        ({"comparison.readers": f"[{READER}, {READER}]"}, "two readers of the comparison are called 'small'"),
    ],
)
def test_mistakes_are_one_sentence(radio: Radio, settings: dict[str, str], words: str) -> None:
    radio.settings |= settings
    done = radio.stage("mmlu")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1 or "error: " in done.stderr


def judge(radio: Radio, kind: str, *replies: str) -> str:
    """`comparison.others` with a language model that gives these replies and then none."""
    row = {"when": "", "replies": replies, "likeliest": {"Yes": 0.6, "No": 0.2}, "anywhere": True}
    script = write_rows(radio.folder / "judge.jsonl", [row])
    llm = f"{{in_flight: 1, endpoint: {{url: 'scripted:{script}', retry: {{attempts: 1}}}}}}"
    return f"[{{label: judge, rerank: {{type: {kind}, llm: {llm}}}}}]"


def test_an_outage_of_a_judge_is_one_sentence_and_the_line_goes_on(radio: Radio) -> None:
    rows = [{"question": f"When was {TOWNS[at]} founded?", "answers": [f"{1200 + at}"]} for at in range(20)]
    write_rows(radio.folder / "dev.jsonl", rows)
    radio.settings["comparison.top_n"] = "2"
    radio.stages("candidates")
    line = judge(radio, "llm_pointwise", *["Yes"] * 35)  # in each run
    gone = radio.stage("rank", comparison__others=line)
    assert (gone.returncode, gone.stderr.count("error: ")) == (2, 1)
    assert "a server does not answer" in gone.stderr
    assert len(radio.rows("comparison/judge.jsonl")) == 16  # the batch that was scored
    back = radio.stage("rank", comparison__others=line)
    assert (back.returncode, "judge: 8 pairs scored; 16 questions" in back.stdout) == (0, True), back.stderr
    assert len({row["id"] for row in radio.rows("comparison/judge.jsonl")}) == 20


def test_two_questions_of_one_text_are_two_lists_for_a_judge(radio: Radio) -> None:
    asked = {"question": f"When was {TOWNS[9]} founded?"}
    write_rows(radio.folder / "dev.jsonl", [{**asked, "answers": [year]} for year in ("1209", "1210")])
    radio.settings["comparison.top_n"] = "3"
    radio.stages("candidates")
    line = judge(radio, "llm_listwise", "[2] > [1] > [3]", "[2] > [1] > [3]")
    radio.stages("rank", comparison__others=line)
    for row in radio.rows("comparison/judge.jsonl"):
        scores = [each["scores"]["rerank"] for each in row["passages"]]
        assert scores == pytest.approx([1, 2 / 3, 1 / 3])


def test_a_failed_search_of_the_evaluation_says_that_it_is_needed(
    radio: Radio, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ToyRetriever.search

    async def search(self: ToyRetriever, query: str, top_n: int) -> list[Passage]:
        if TOWNS[9] in query:
            raise RetrieverError("no answer")
        return await real(self, query, top_n)

    monkeypatch.setattr(ToyRetriever, "search", search)
    done = radio.stage("candidates")
    assert (done.returncode, "those of an evaluation are all needed" in done.stdout) == (1, True)
    assert "1 of 1 questions have no candidates" in radio.stage("rank").stderr


def test_the_record_names_each_rerankers_weights(radio: Radio) -> None:
    radio.stages("candidates", "rank")
    record = json.loads((radio.run / "comparison/rank.json").read_text(encoding="utf-8"))
    hashes = {label: each["identity"].get("sha256") for label, each in record["rerankers"].items()}
    assert hashes.keys() == {"none", "untuned", "w0.5"}
    assert hashes["none"] is None
    assert hashes["w0.5"] != hashes["untuned"]
