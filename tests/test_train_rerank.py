"""The training of rerankers: rows, batches, loss, ranking, resume, and the folder that the server runs."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from src_core.errors import UserError
from tests.helpers_radio import Radio
from tests.helpers_rerank import cross_encoder_folder
from tests.helpers_train import killed_before_the_result, killed_run, logged, write_json_rows

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.training

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from src_retrieval.rerankers import load_reranker  # noqa: E402
from src_retrieval.rerankers.agreement import rank_correlation  # noqa: E402
from src_retrieval.rerankers.base import Pair, RerankOptions  # noqa: E402
from src_retrieval.rerankers.pair_tokens import PairTokenizer  # noqa: E402
from src_train.losses import group_loss  # noqa: E402
from src_train.rerank import main  # noqa: E402
from src_train.rerank_config import GroupFile  # noqa: E402
from src_train.rerank_model import load_cross_encoder  # noqa: E402
from src_train.rerank_rows import EpochOrder, Group, GroupDraws, group_collator, read_groups  # noqa: E402
from src_train.rerank_trainer import group_scores, row_metrics  # noqa: E402

SEVEN = torch.tensor([[1.0, 0, 0, 0, 0, 0, 0]])


def test_the_loss_of_equal_logits_is_ln_7() -> None:
    assert float(group_loss(torch.full((1, 7), 3.0), SEVEN)) == pytest.approx(math.log(7), abs=1e-6)
    assert float(group_loss(torch.zeros(3, 7), SEVEN.expand(3, 7))) == pytest.approx(3 * math.log(7))


@given(st.lists(st.floats(-20, 20), min_size=7, max_size=7))
@settings(deadline=None, max_examples=50)
def test_swapping_the_positive_with_a_lower_negative_raises_the_loss(values: list[float]) -> None:
    scores = torch.tensor([sorted(values, reverse=True)], dtype=torch.float64)
    swapped = scores[:, [6, 1, 2, 3, 4, 5, 0]]
    better, worse = float(group_loss(scores, SEVEN)), float(group_loss(swapped, SEVEN))
    assert worse - better == pytest.approx(float(scores[0, 0] - scores[0, 6]), abs=1e-9)


def test_the_soft_share_is_the_divergence_computed_by_hand() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.25, 0.25]]))
    teacher = torch.tensor([[0.2, 0.3, 0.5]])
    targets = torch.tensor([[1.0, 0, 0]])
    by_hand = 0.2 * math.log(0.2 / 0.5) + 0.3 * math.log(0.3 / 0.25) + 0.5 * math.log(0.5 / 0.25)
    soft = float(group_loss(scores, targets, soft_weight=1.0, soft_targets=teacher))
    assert soft == pytest.approx(by_hand, abs=1e-6)
    mixed = float(group_loss(scores, targets, soft_weight=0.25, soft_targets=teacher))
    assert mixed == pytest.approx(0.75 * math.log(2) + 0.25 * by_hand, abs=1e-6)
    itself = group_loss(scores, targets, soft_weight=1.0, soft_targets=torch.exp(scores))
    assert float(itself) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="soft_targets"):
        group_loss(scores, targets, soft_weight=0.5)


def test_missing_members_take_no_part_and_give_no_gradient_that_is_no_number() -> None:
    scores = torch.tensor([[1.0, 0.0, -torch.inf], [0.0, 2.0, 1.0]], requires_grad=True)
    targets = torch.tensor([[1.0, 0, 0], [1.0, 0, 0]])
    teacher = torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.2, 0.6]])
    loss = group_loss(scores, targets, soft_weight=0.5, soft_targets=teacher)
    alone = group_loss(scores[:1, :2], targets[:1, :2], soft_weight=0.5, soft_targets=teacher[:1, :2])
    rest = group_loss(scores[1:], targets[1:], soft_weight=0.5, soft_targets=teacher[1:])
    assert loss.item() == pytest.approx((alone + rest).item())
    loss.backward()
    assert torch.isfinite(scores.grad).all()
    assert float(scores.grad[0, 2]) == 0


def row(number: int, draw: random.Random, *, negatives: int = 6) -> dict[str, Any]:
    """A row whose positive is the passage with `kind1`."""
    texts = [" ".join(f"word{draw.randrange(60)}" for _ in range(draw.randrange(3, 20))) for _ in range(9)]
    made = {
        "query": f"about thing{number % 60}",
        "pos": [f"kind1 kind1 {texts[0]} kind1"],
        "neg": texts[1 : 1 + negatives],
    }
    return {**made, "pos_scores": [1.0], "neg_scores": [0.1 * at for at in range(negatives)]}


def rows_file(path: Path, count: int, *, seed: int = 1) -> Path:
    draw = random.Random(seed)
    return write_json_rows(path, [row(number, draw) for number in range(count)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return cross_encoder_folder(tmp_path_factory.mktemp("model"))


def config_file(tmp_path: Path, folder: Path, **more: Any) -> Path:
    values: dict[str, Any] = {
        "run_name": "run",
        "runs_dir": str(tmp_path / "runs"),
        "model": str(folder),
        "train": [{"path": str(rows_file(tmp_path / "train.jsonl", 40))}],
        "validation": [{"path": str(rows_file(tmp_path / "validation.jsonl", 12, seed=2))}],
        "batch_size": 4,
        "accumulation": 2,
        "precision": "fp32",
        "learning_rate": 1e-3,
        "max_steps": 6,
        "save_steps": 2,
        "log_steps": 1,
        "threads": 1,
        **more,
    }
    path = tmp_path / "rerank.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML
    return path


def test_a_run_learns_and_its_folder_is_served(tmp_path: Path, folder: Path) -> None:
    path = config_file(tmp_path, folder, max_steps=60, save_steps=20, learning_rate=2e-3)
    assert main([str(path)]) == 0
    run = tmp_path / "runs/run"
    manifest = json.loads((run / "manifest.json").read_text())
    curve = {point["step"]: point for point in manifest["validation"]}
    assert list(curve) == [0, 20, 40, 60]
    assert curve[60]["recall@2"] > 0.9 > curve[0]["recall@2"]
    assert manifest["best"]["ndcg@10"] == max(point["ndcg@10"] for point in curve.values())
    assert (run / "ranking.png").is_file()
    assert (run / "loss.png").is_file()
    record = json.loads((run / "model/export.json").read_text())
    assert record["pairs"] == 12 * 7
    assert record["fp32"]["max_difference"] < 1e-3
    assert record["int8"]["rank_correlation"] > 0.95
    served = load_reranker(RerankOptions(model=str(run / "model"), threads=1))
    assert served.identity.precision == "onnx int8"
    query = "about thing3"
    good, bad = served.score([Pair(query, "word1 word2 kind1"), Pair(query, "word1 word2 word3")])
    assert good > bad
    assert main([str(path)]) == 0  # nothing to do


def test_a_killed_run_goes_on_with_the_same_next_batch(tmp_path: Path, folder: Path) -> None:
    path = config_file(tmp_path, folder, train=[{"path": str(rows_file(tmp_path / "train.jsonl", 20))}])
    assert main([str(path), "run_name=whole", "export=false"]) == 0
    killed_run(str(path), "export=false", module="rerank")
    run, whole = tmp_path / "runs/run", tmp_path / "runs/whole"
    assert not (run / "model").exists()
    assert main([str(path), "export=false"]) == 0
    for name in ("loss", "eval_ndcg@10", "eval_loss"):
        expected = logged(whole, name)
        found = logged(run, name)
        assert {step: found[step] for step in expected} == expected
    ours, theirs = load_file(run / "model/model.safetensors"), load_file(whole / "model/model.safetensors")
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def weights(run: Path) -> dict[str, Any]:
    return load_file(run / "model/model.safetensors")


def steps_taken(run: Path) -> list[int]:
    """The steps in the log, as often as they were taken."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if "loss" in line]


def test_a_run_that_was_killed_after_its_last_step_only_writes_its_result(
    tmp_path: Path, folder: Path
) -> None:
    path = str(config_file(tmp_path, folder, export=False, learning_rate=3e-3, keep_checkpoints=1))
    assert main([path, "run_name=whole"]) == 0
    killed_before_the_result(path, module="rerank")
    run, whole = tmp_path / "runs/run", tmp_path / "runs/whole"
    assert not (run / "model").exists()
    assert main([path]) == 0
    assert steps_taken(run) == [1, 2, 3, 4, 5, 6]  # not the end of an epoch, which has 5 steps
    ours, theirs = weights(run), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    manifests = [json.loads((each / "manifest.json").read_text()) for each in (run, whole)]
    assert [made["steps"] for made in manifests] == [6, 6]
    best = [made["best"] for made in manifests]
    assert best[0] == best[1]
    assert best[0]["step"] < 6  # the last checkpoint is not the best one, and is kept nevertheless


def test_a_run_that_ended_early_and_was_killed_then_only_writes_its_result(
    tmp_path: Path, folder: Path
) -> None:
    """A learning rate of almost nothing: the second evaluation is not better than the first one."""
    path = str(config_file(tmp_path, folder, export=False, learning_rate=1e-12, patience=1))
    killed_before_the_result(path, module="rerank")
    run = tmp_path / "runs/run"
    assert main([path]) == 0
    assert steps_taken(run) == [1, 2, 3, 4]
    assert json.loads((run / "manifest.json").read_text())["steps"] == 4
    assert (run / "model/model.safetensors").is_file()


def test_the_evaluations_before_a_kill_count_for_the_patience(tmp_path: Path, folder: Path) -> None:
    more = {"max_steps": 20, "learning_rate": 1e-12, "patience": 3, "export": False}
    path = str(config_file(tmp_path, folder, **more))
    killed_run(path, module="rerank")  # after the second evaluation, the first without a better one
    assert main([path]) == 0
    assert json.loads((tmp_path / "runs/run/manifest.json").read_text())["steps"] == 8


def without_dropout(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    config = json.loads((target / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (target / "config.json").write_text(json.dumps(config))
    return target


def test_the_step_depends_neither_on_accumulation_nor_on_the_padding(tmp_path: Path, folder: Path) -> None:
    plain = without_dropout(folder, tmp_path / "plain")
    path = config_file(tmp_path, plain, validation=[], max_steps=3, export=False, soft_weight=0.3)
    # Adam would magnify the rounding of gradients that are 0 (those of the keys' biases)
    shapes = {"a": (8, 1, 65_536), "b": (2, 4, 65_536), "c": (8, 1, 60)}
    made = {}
    for name, (size, times, budget) in shapes.items():
        sizes = ["optimizer=sgd", f"batch_size={size}", f"accumulation={times}", f"batch_tokens={budget}"]
        assert main([str(path), f"run_name={name}", *sizes]) == 0
        made[name] = load_file(tmp_path / "runs" / name / "model/model.safetensors")
    for other in ("b", "c"):
        for name, value in made["a"].items():
            assert torch.allclose(value, made[other][name], atol=2e-5), (other, name)


def test_the_scores_of_a_batch_by_token_budget_are_those_of_single_pairs(folder: Path) -> None:
    model = load_cross_encoder(folder, frozen_layers=0).eval()
    tokens = PairTokenizer(folder, RerankOptions(model=""))
    draw = random.Random(3)
    groups = [
        Group("", made["query"], tuple(made["pos"]), tuple(made["neg"]))
        for made in (row(at, draw, negatives=3 + at) for at in range(3))
    ]
    drawn = GroupDraws(groups, size=7, seed=1)
    collate = group_collator(tokens, batch_tokens=60, in_batch_negatives=0, temperature=1.0)
    batch = collate([drawn[at] for at in range(3)])
    assert len(batch["forwards"]) > 3
    with torch.no_grad():
        scores = group_scores(model, batch)
    assert scores.shape == (3, 6)
    served = load_reranker(RerankOptions(model=str(folder), threads=1))
    for at in range(3):
        one = drawn[at]
        alone = [float(served.score([Pair(one.query, text)])[0]) for text in one.passages]
        assert torch.allclose(scores[at, : len(alone)], torch.tensor(alone), atol=1e-4)
        assert torch.isinf(scores[at, len(alone) :]).all()


def test_a_draw_depends_on_seed_row_and_epoch_alone() -> None:
    groups = [Group("", "q", ("p0", "p1"), tuple(f"n{at}" for at in range(9)), tuple(range(11)))] * 2
    one, again = GroupDraws(groups, size=7, seed=1), GroupDraws(groups, size=7, seed=1)
    assert [one[at] for at in range(20)] == [again[at] for at in (*range(10), *range(10, 20))]
    assert len({one[at].passages[0] for at in range(0, 20, 2)}) == 2
    assert len({tuple(one[at].passages) for at in range(0, 20, 2)}) > 5
    for at in range(20):
        drawn = one[at]
        assert drawn.passages[0] in ("p0", "p1")
        assert len(set(drawn.passages[1:])) == 6
        known = groups[0].passages
        assert drawn.scores == [float(known.index(text)) for text in drawn.passages]
    short = GroupDraws([Group("", "q", ("p",), ("n",))], size=7, seed=1)[0]
    assert short.passages == ["p", "n"]
    order = EpochOrder(5, seed=1)
    first = list(order)
    order.set_epoch(3)
    assert sorted(order) == [15, 16, 17, 18, 19]
    assert sorted(first) == [0, 1, 2, 3, 4]


def test_negatives_of_the_batch_are_other_positives_that_the_row_does_not_know(folder: Path) -> None:
    tokens = PairTokenizer(folder, RerankOptions(model=""))
    groups = [
        Group("", "thing1", ("word1",), ("word9",)),
        Group("", "thing2", ("word2",), ("word1",)),
        Group("", "thing3", ("word2",), ("word9",)),
    ]
    drawn = [GroupDraws(groups, size=2, seed=1)[at] for at in range(3)]
    without = group_collator(tokens, batch_tokens=999, in_batch_negatives=0, temperature=1.0)(drawn)
    assert without["held"].shape == (3, 2)
    batch = group_collator(tokens, batch_tokens=999, in_batch_negatives=2, temperature=1.0)(drawn)
    assert batch["held"].tolist() == [[True, True, True], [True, True, False], [True, True, True]]
    assert batch["targets"].tolist() == [[1, 0, 0]] * 3


def test_the_soft_labels_are_a_softmax_of_the_scores_of_the_drawn_passages(folder: Path) -> None:
    tokens = PairTokenizer(folder, RerankOptions(model=""))
    drawn = GroupDraws([Group("", "thing1", ("word1",), ("word2",), (1.0, 0.0))], size=2, seed=1)[0]
    collate = group_collator(tokens, batch_tokens=999, in_batch_negatives=0, temperature=0.5)
    share = 1 / (1 + math.exp(-2))
    assert collate([drawn])["soft"].tolist() == [pytest.approx([share, 1 - share])]


def test_the_ranking_of_a_row_by_hand() -> None:
    group = Group("", "q", ("a", "b"), ("c", "d", "e"))
    metrics = row_metrics(group, torch.tensor([0.5, 2.0, 1.0, 3.0, 0.0]))  # d b c a e
    assert metrics["recall@2"] == 0.5
    assert metrics["recall@5"] == 1.0
    assert metrics["mrr"] == 0.5
    gain = 1 / math.log2(3) + 1 / math.log2(5)
    assert metrics["ndcg@10"] == pytest.approx(gain / (1 + 1 / math.log2(3)))
    nothing = row_metrics(group, torch.zeros(5))
    assert nothing["recall@2"] == 0.0  # equal scores rank negatives first
    assert nothing["loss"] == pytest.approx(math.log(4))


def test_rank_correlation_by_hand() -> None:
    import numpy as np

    def of(left: list[float], right: list[float]) -> float:
        return rank_correlation(np.array(left, dtype=np.float32), np.array(right, dtype=np.float32))

    assert of([1, 2, 3], [10, 20, 25]) == pytest.approx(1)
    assert of([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert of([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(0.8)
    assert of([1, 1, 2], [1, 2, 2]) == pytest.approx(0.5)
    assert of([1, 1], [2, 2]) == 1.0
    assert of([1, 1], [1, 2]) == 0.0


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("{", "line 2"),
        ("[1]", "expected an object"),
        ({"query": " ", "pos": ["a"], "neg": ["b"]}, "'query' must be a text"),
        ({"query": "q", "pos": [], "neg": ["b"]}, "'pos' must be a list of at least one text"),
        ({"query": "q", "pos": "a", "neg": ["b"]}, "'pos' must be a list"),
        ({"query": "q", "pos": ["a"], "neg": [1]}, "'neg' must be a list"),
        (
            {"query": "q", "pos": ["a"], "neg": ["b"], "pos_scores": [1, 2]},
            "'pos_scores' must be a list of 1",
        ),
        (
            {"query": "q", "pos": ["a"], "neg": ["b"], "neg_scores": [True]},
            "'neg_scores' must be a list of 1",
        ),
        ({"question": "q", "golden_answers": ["a"], "reason": "r"}, "a file of rationales"),
    ],
)
def test_a_row_that_cannot_be_trained_on_is_named(tmp_path: Path, bad: Any, problem: str) -> None:
    fine = json.dumps({"query": "q", "pos": ["a"], "neg": ["b"]})
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{fine}\n{bad if isinstance(bad, str) else json.dumps(bad)}\n")
    with pytest.raises(
        UserError, match=rf"rows\.jsonl:line 2: .*{problem}" if problem != "line 2" else problem
    ):
        read_groups([GroupFile(path=str(path))], seed=1)


def test_rows_are_read_as_flagembedding_and_the_data_stages_write_them(tmp_path: Path) -> None:
    bare = {"query": "q", "pos": ["a"], "neg": ["b", "b"]}
    full = {
        **bare,
        "pos_scores": [1],
        "neg_scores": [0.5, 0],
        "pos_ids": ["1"],
        "question_id": "x",
        "prompt": "",
    }
    path = write_json_rows(tmp_path / "rows.jsonl", [bare, full])
    first, second = read_groups([GroupFile(path=str(path))], seed=1)
    assert (first.scores, second.scores) == ((), (1.0, 0.5, 0.0))
    assert second.passages == ("a", "b", "b")
    with pytest.raises(UserError, match=r"line 1: 'pos_scores' is missing, which soft_weight needs"):
        read_groups([GroupFile(path=str(path))], seed=1, need_scores=True)
    assert len(read_groups([GroupFile(path=str(path), n=1)], seed=1)) == 1
    with pytest.raises(UserError, match="there are no rows in train"):
        read_groups([], seed=1)


def test_the_rows_of_the_data_stages_train_with_soft_labels(tmp_path: Path, folder: Path) -> None:
    radio = Radio(tmp_path)
    radio.stages("rationales", "candidates", "scores", "blend")
    groups = [{"path": str(radio.run / "groups/w0.5.train.jsonl")}]
    read = read_groups([GroupFile(**groups[0])], seed=1, need_scores=True)
    assert {(len(group.pos), len(group.neg), len(group.scores)) for group in read} == {(1, 6, 7)}
    path = config_file(tmp_path, folder, train=groups, soft_weight=0.5, max_steps=1, export=False)
    assert main([str(path)]) == 0


@pytest.mark.published
def test_the_examples_of_flagembedding_are_rows() -> None:
    files = sorted(Path("../shared/data/flagembedding_examples").glob("*.jsonl"))
    assert len(files) == 3
    for file in files:
        groups = read_groups([GroupFile(path=str(file))], seed=1)
        assert len(groups) == 10
        assert all(len(GroupDraws(groups, size=7, seed=1)[at].passages) == 7 for at in range(10))


def test_an_encoder_gets_a_head_and_lower_layers_can_stay(tmp_path: Path) -> None:
    encoder = cross_encoder_folder(tmp_path / "encoder", head=False)
    path = config_file(tmp_path, encoder, max_steps=2, frozen_layers=1)
    assert main([str(path)]) == 0
    before = load_file(encoder / "model.safetensors")
    after = load_file(tmp_path / "runs/run/model/model.safetensors")
    assert after["classifier.weight"].shape == (1, 32)
    stays = "bert.encoder.layer.0.output.dense.weight"
    moves = "bert.encoder.layer.1.output.dense.weight"
    assert torch.equal(before[stays], after[stays])
    assert not torch.equal(before[moves], after[moves])
    with pytest.raises(UserError, match="frozen_layers is 3, the model has 2"):
        load_cross_encoder(encoder, frozen_layers=3)


def test_a_reranker_that_started_from_other_weights_is_not_taken_for_this_one(
    tmp_path: Path, folder: Path
) -> None:
    start = shutil.copytree(folder, tmp_path / "start")
    path = str(config_file(tmp_path, start, max_steps=1, save_steps=1, export=False))
    assert main([path]) == 0
    assert main([path]) == 0  # nothing to do
    cross_encoder_folder(start, seed=7)  # trained anew
    with pytest.raises(UserError, match="start_digest: other weights to start from"):
        main([path])


def test_what_cannot_be_a_reranker_is_named(tmp_path: Path, folder: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    del weights["bert.encoder.layer.1.output.dense.weight"]
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks the weights bert\.encoder\.layer\.1"):
        load_cross_encoder(broken, frozen_layers=0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"has no config\.json"):
        main([str(config_file(tmp_path, tmp_path / "empty"))])
    path = str(config_file(tmp_path, folder))
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        main([path, "precision=fp16"])
    with pytest.raises(UserError, match="patience needs validation"):
        main([path, "validation=[]", "patience=2"])
    with pytest.raises(UserError, match="usage: "):
        main([])


def test_a_loss_that_is_no_number_names_its_rows(tmp_path: Path, folder: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights["classifier.weight"][0, 0] = float("nan")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"not a number at step 1, on .*train\.jsonl:line \d+.* lower"):
        main([str(config_file(tmp_path, broken, validation=[]))])
