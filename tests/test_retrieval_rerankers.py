"""Rerankers with random weights: pairs are cut and batched as said, ONNX and torch agree, answers change."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_rerank import LENGTH, WORDS, cross_encoder_folder
from helpers_wait import PATIENCE
from rich.console import Console

from src_core.config import load_config
from src_core.errors import UserError
from src_core.progress import Steps
from src_models.cross_encoders import build_cross_encoder
from src_retrieval.build import build_index
from src_retrieval.build_plan import BuildConfig
from src_retrieval.engine import EngineConfig, OpenedIndex, open_engine
from src_retrieval.identity import describe
from src_retrieval.pipeline.search import SearchPipeline
from src_retrieval.rerankers import load_reranker
from src_retrieval.rerankers.base import (
    Candidates,
    Pair,
    Reranker,
    RerankOptions,
    RerankPrecision,
    sigmoid,
    token_batches,
)
from src_retrieval.rerankers.pair_tokens import PairTokenizer, positions
from src_retrieval.results import FloatArray

QUERIES = [f"thing{at} kind{at % 5}" for at in range(6)]
PAIRS = [
    Pair(query, " ".join(f"word{(at * 7 + n) % 60}" for n in range(3 + 5 * (at % 6))))
    for query, at in itertools.product(QUERIES, range(8))
]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cross_encoder_folder(tmp_path_factory.mktemp("hub") / "reranker")


@pytest.fixture(scope="module")
def onnx_folder(hub: Path) -> Path:
    build_cross_encoder(hub, hub.parent / "onnx")
    return hub.parent / "onnx"


def loaded(folder: Path, **changes: Any) -> Reranker:
    return load_reranker(RerankOptions(model=str(folder), threads=1, **changes))


def test_only_the_passage_is_cut_and_a_long_query_leaves_room_for_it(hub: Path) -> None:
    tokens = PairTokenizer(hub, RerankOptions(model="", max_length=16, query_max_length=128))
    words = [f"word{at}" for at in range(30)]
    ids = {word: at for at, word in enumerate(WORDS)}
    (short,) = tokens.encode([Pair("thing1 thing2", " ".join(words))])
    expected = ["[CLS]", "thing1", "thing2", "[SEP]", *words[:11], "[SEP]"]
    assert short.ids == [ids[word] for word in expected]
    assert short.types == [0] * 4 + [1] * 12
    hostile, fine = tokens.encode([Pair("thing3 " * 500, " ".join(words)), Pair("thing4", "word1")])
    assert len(hostile.ids) == 16
    assert hostile.ids.count(ids["thing3"]) == 6
    assert hostile.ids[8:15] == [ids[word] for word in words[:7]]
    assert [WORDS[at] for at in fine.ids] == ["[CLS]", "thing4", "[SEP]", "word1", "[SEP]"]
    (empty,) = tokens.encode([Pair("thing5", "")])
    assert [WORDS[at] for at in empty.ids] == ["[CLS]", "thing5", "[SEP]", "[SEP]"]


def test_no_pair_is_longer_than_the_model_has_positions(hub: Path) -> None:
    tokens = PairTokenizer(hub, RerankOptions(model="", max_length=512))
    assert tokens.max_length == LENGTH
    assert len(tokens.encode([Pair("thing1", "word1 " * 99)])[0].ids) == LENGTH
    config = {"max_position_embeddings": 514, "pad_token_id": 1, "model_type": "xlm-roberta"}
    assert positions(config, hub) == 512


@pytest.mark.training
def test_pairs_are_cut_as_transformers_cuts_them(hub: Path) -> None:
    import transformers

    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(hub / "tokenizer.json"))
    ours = PairTokenizer(hub, RerankOptions(model="", max_length=20)).encode(PAIRS)
    for pair, tokens in zip(PAIRS, ours, strict=True):
        expected = theirs(*pair, truncation="only_second", max_length=20, return_token_type_ids=True)
        assert tokens.ids == expected["input_ids"]
        assert tokens.types == expected["token_type_ids"]


def test_batches_hold_at_most_the_budget_of_padded_tokens() -> None:
    lengths = [5, 40, 7, 7, 90, 1, 12, 40]
    batches = list(token_batches(lengths, 80))
    assert sorted(itertools.chain(*batches)) == list(range(len(lengths)))
    sizes = [len(batch) * max(lengths[at] for at in batch) for batch in batches]
    assert [size for size in sizes if size > 80] == [90]  # one pair that is above it alone
    assert list(token_batches([], 80)) == []


def numpy_logits(session: Any, tokens: PairTokenizer, pair: Pair) -> float:
    batch = tokens.batch(tokens.encode([pair]))
    feed = {"input_ids": batch.ids, "attention_mask": batch.mask, "token_type_ids": batch.types}
    return float(session.run(None, feed)[0][0, 0])


def test_scores_come_back_in_order_and_padding_changes_nothing(onnx_folder: Path) -> None:
    import onnxruntime

    reranker = loaded(onnx_folder, precision="fp32", batch_tokens=64)
    session = onnxruntime.InferenceSession(str(onnx_folder / "model.onnx"))
    tokens = PairTokenizer(onnx_folder, RerankOptions(model=""))
    alone = [numpy_logits(session, tokens, pair) for pair in PAIRS]
    together = reranker.score(PAIRS)
    assert together.dtype == np.float32
    assert np.allclose(together, alone, atol=1e-5)
    assert np.ptp(together) > 0.1
    squeezed = loaded(onnx_folder, precision="fp32", sigmoid=True).score(PAIRS)
    assert np.allclose(squeezed, 1 / (1 + np.exp(-together)), atol=1e-6)
    assert np.array_equal(sigmoid(np.array([-1e4, 0, 1e4], dtype=np.float32)), [0, 0.5, 1])


def test_the_int8_score_of_a_pair_does_not_depend_on_who_else_asks(onnx_folder: Path) -> None:
    reranker = loaded(onnx_folder)
    assert reranker.identity.precision == "onnx int8"
    together = reranker.score(PAIRS)
    for at in range(0, len(PAIRS), 8):
        assert np.array_equal(reranker.score(PAIRS[at : at + 8]), together[at : at + 8])
    texts = [pair.passage for pair in PAIRS[:8]]
    halves = [Candidates(PAIRS[0].query, texts[:3]), Candidates(PAIRS[0].query, texts[3:])]
    for half, scores in zip(halves, reranker.score_lists(halves), strict=True):  # of two callers
        assert np.array_equal(scores, reranker.score([Pair(half.query, text) for text in half.passages]))
    assert reranker.score_lists([]) == []
    exact = loaded(onnx_folder, precision="fp32").score(PAIRS)
    assert np.corrcoef(together, exact)[0, 1] > 0.98


@pytest.mark.training
def test_onnx_and_torch_give_the_same_scores(hub: Path, onnx_folder: Path) -> None:
    torch_scores = loaded(hub, batch_tokens=64).score(PAIRS)
    assert loaded(hub).identity.precision == "torch fp32"
    assert np.allclose(torch_scores, loaded(onnx_folder, precision="fp32").score(PAIRS), atol=1e-4)


@pytest.mark.training
def test_torch_refuses_a_folder_without_a_head_or_with_two_labels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lacks the weights classifier"):
        loaded(cross_encoder_folder(tmp_path / "plain", head=False))
    with pytest.raises(UserError, match="has 2 labels, a reranker has one"):
        loaded(cross_encoder_folder(tmp_path / "two", labels=2))
    broken = cross_encoder_folder(tmp_path / "broken")
    (broken / "config.json").write_text('{"model_type": "no such model"}')
    with pytest.raises(UserError, match="not a sequence classifier"):
        loaded(broken)


@pytest.mark.training
def test_half_a_download_is_named(hub: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(hub, tmp_path / "half")
    for name, match in (
        ("model.safetensors", "not a sequence classifier"),
        ("tokenizer.json", "no.* usable tokenizer"),
    ):
        (folder / name).write_bytes((folder / name).read_bytes()[:100])
        with pytest.raises(UserError, match=match):
            loaded(folder)


def test_an_unusable_folder_or_type_is_named(onnx_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no type of reranker is called 'gpt'; there are: bi_encoder, cross"):
        loaded(onnx_folder, type="gpt")
    with pytest.raises(UserError, match="no reranker folder at"):
        loaded(tmp_path / "absent")
    with pytest.raises(UserError, match=r"no ONNX file of precision int8.*--cross-encoder"):
        loaded(cross_encoder_folder(tmp_path / "plain"), precision="int8")
    for name in ("tokenizer.json", "config.json"):
        copy = tmp_path / f"without {name}"
        copy.mkdir()
        for path in onnx_folder.iterdir():
            if path.name != name:
                (copy / path.name).write_bytes(path.read_bytes())
        with pytest.raises(UserError, match=name):
            loaded(copy)
    build_cross_encoder(cross_encoder_folder(tmp_path / "two", labels=2), tmp_path / "onnx2")
    with pytest.raises(UserError, match="gives 2 numbers per pair"):
        loaded(tmp_path / "onnx2").score(PAIRS[:3])


def test_the_identity_follows_the_weights_and_the_settings(onnx_folder: Path, tmp_path: Path) -> None:
    first = loaded(onnx_folder).identity
    build_cross_encoder(cross_encoder_folder(tmp_path / "other", seed=1), tmp_path / "onnx")
    assert loaded(tmp_path / "onnx").identity.sha256 != first.sha256
    assert loaded(onnx_folder, precision="fp32").identity.sha256 != first.sha256
    assert loaded(onnx_folder, max_length=20).identity != first
    assert loaded(onnx_folder).identity == first


def test_a_bi_encoder_scores_by_inner_product() -> None:
    reranker = load_reranker(RerankOptions(type="bi_encoder", model="toy:4096"))
    scores = reranker.score(
        [Pair("red apple", "a blue sky"), Pair("red apple", "the red apple"), Pair("blue sky", "a blue sky")]
    )
    assert scores.argmin() == 0
    assert scores[1] == pytest.approx(2 / 6**0.5, abs=1e-6)
    with pytest.raises(UserError, match="set it to int8 or fp32"):
        load_reranker(RerankOptions(type="bi_encoder", model="toy", precision=RerankPrecision.TORCH))


def test_the_command_converts_a_cross_encoder(hub: Path, onnx_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "src_models.encoders", str(hub), str(tmp_path / "made")]
    subprocess.run([*command, "--cross-encoder"], check=True, timeout=PATIENCE)
    expected = loaded(onnx_folder, precision="fp32").score(PAIRS[:5])
    assert np.allclose(loaded(tmp_path / "made", precision="fp32").score(PAIRS[:5]), expected)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("world")
    rows = [
        {"id": f"d{at}", "contents": f'"T{at}"\nabout thing{at % 60} and kind{at % 10} word{at * 7 % 60}'}
        for at in range(150)
    ]
    (made / "corpus.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    values = [f"corpus={made / 'corpus.jsonl'}", f"index_dir={made / 'index'}", "encoder=toy:1024"]
    build_index(load_config(BuildConfig, None, values), steps=Steps(Console(quiet=True)))
    return made


def opened(world: Path, *changes: str) -> OpenedIndex:
    values = [
        "retrieval_method=toy:1024",
        f"index_path={world / 'index'}",
        f"corpus_path={world / 'corpus.jsonl'}",
        *changes,
    ]
    return open_engine(load_config(EngineConfig, None, values))


def test_the_best_of_the_candidates_come_back_by_the_rerankers_score(world: Path, onnx_folder: Path) -> None:
    plain = opened(world).engine
    engine = opened(world, f"rerank.model={onnx_folder}", "rerank.top_n=12", "rerank.threads=1").engine
    reranker = engine.reranker
    assert reranker is not None
    query = "thing7 kind3"
    candidates = plain.search([query], [12])[0]
    pairs = [Pair(query, plain.corpus.row(each.row).contents) for each in candidates]
    scores = reranker.score(pairs)
    order = np.argsort(-scores, kind="stable")[:4]
    found = engine.search([query], [4])[0]
    assert [each.row for each in found] == [candidates[at].row for at in order]
    assert [each.rerank for each in found] == scores[order].tolist()
    assert [each.retrieval for each in found] == [candidates[at].retrieval for at in order]
    assert found[0].scores() == {"retrieval": found[0].retrieval, "rerank": found[0].rerank}
    assert [each.row for each in found] != [each.row for each in candidates[:4]]
    assert len(engine.search([query], [30])[0]) == 30  # more than top_n: as many as were asked for


@pytest.mark.parametrize("weight", [0.4, 1.0])
def test_the_retriever_may_have_a_share_in_the_order(world: Path, onnx_folder: Path, weight: float) -> None:
    plain = opened(world).engine
    own = opened(world, f"rerank.model={onnx_folder}", "rerank.top_n=12", "rerank.threads=1")
    shared = opened(
        world,
        f"rerank.model={onnx_folder}",
        "rerank.top_n=12",
        "rerank.threads=1",
        f"rerank.retrieval_weight={weight}",
    )
    query = "thing7 kind3"
    candidates = plain.search([query], [12])[0]
    judged = {each.row: each.rerank or 0.0 for each in own.engine.search([query], [12])[0]}
    low, high = min(judged.values()), max(judged.values())
    first, last = candidates[0].retrieval, candidates[-1].retrieval
    expected = {
        each.row: weight * (each.retrieval - last) / (first - last)
        + (1 - weight) * (judged[each.row] - low) / (high - low)
        for each in candidates
    }
    found = shared.engine.search([query], [12])[0]
    assert {each.row: each.rerank for each in found} == pytest.approx(expected)
    assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
    if weight == 1:
        assert [each.row for each in found] == [each.row for each in candidates]
    assert describe(shared)["identity"] != describe(own)["identity"]
    with closing(SearchPipeline(shared.engine, max_batch=4)) as pipeline:
        assert pipeline.run([query], 12, timeout=30)[0] == found
        texts = [plain.corpus.row(each.row).contents for each in candidates]
        sent = pipeline.rerank(query, texts, timeout=30)  # texts of a caller have no retriever's scores
        assert [each.rerank for each in sent.rows] == pytest.approx(sorted(judged.values(), reverse=True))


class Silent(Reranker):
    """Gives no number."""

    def __init__(self, identity: Any) -> None:
        self.identity = identity

    def score(self, pairs: Any) -> FloatArray:
        return np.full(len(pairs), np.nan, dtype=np.float32)


def test_scores_that_are_no_numbers_are_an_error(world: Path) -> None:
    engine = opened(world, "rerank.type=bi_encoder", "rerank.model=toy").engine
    assert engine.reranker is not None
    object.__setattr__(engine, "reranker", Silent(engine.reranker.identity))
    with pytest.raises(ArithmeticError, match="toy gave scores that are not numbers"):
        engine.search(["thing1"], [1])


def test_health_tells_rerankers_and_search_settings_apart(world: Path, onnx_folder: Path) -> None:
    rerank = (f"rerank.model={onnx_folder}", "rerank.threads=1")
    variants = [
        (),
        rerank,
        (*rerank, "rerank.top_n=5"),
        (*rerank, "rerank.max_length=32"),
        (*rerank, "rerank.precision=fp32"),
        ("hybrid_depth=20",),
        ("type=flat",),
        ("type=bm25",),
    ]
    facts = [describe(opened(world, *changes)) for changes in variants]
    assert len({each["identity"] for each in facts}) == len(variants)
    assert len({each["digest"] for each in facts[:6]}) == 1
    assert facts[0]["reranker"] is None
    assert facts[1]["reranker"]["sha256"] == loaded(onnx_folder).identity.sha256
    assert facts[1]["reranker"]["top_n"] == 20
    assert describe(opened(world, *rerank)) == facts[1]
