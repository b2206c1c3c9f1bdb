"""What training computes: packing, accumulation, devices and resumption change nothing but the speed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src_core.chat_tokenizer import ChatTokenizer, Encoded
from src_core.errors import UserError
from src_core.protocols.rearag import ReaRag
from src_core.protocols.records import PromptStyle
from src_train.packing import collate, join
from tests.helpers_train import (
    chains,
    killed_before_the_result,
    killed_run,
    logged,
    model_folder,
    python,
    train_settings,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.training

from torch.utils.checkpoint import checkpoint  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from src_train import logprobs as logprobs_module  # noqa: E402
from src_train.attention import PACKED, packed_attention, row_bounds  # noqa: E402
from src_train.logprobs import chunk_sizes, chunked_logprobs, return_logprobs, token_logprobs  # noqa: E402
from src_train.losses import weighted_nll  # noqa: E402
from src_train.objectives import Sft  # noqa: E402
from src_train.run import main  # noqa: E402

STYLE = PromptStyle(observation_role="user", observation_template="Observation {n}: {observation}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return model_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def encoded(folder: Path) -> list[Encoded]:
    encoder = ChatTokenizer(folder)
    return [encoder.encode(ReaRag(STYLE).lay_out(row)) for row in chains(6)]


@pytest.fixture(params=[PACKED, "sdpa"])
def plain(folder: Path, request: pytest.FixtureRequest) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation=request.param
    )


def tensors(batch: dict[str, Any]) -> dict[str, Any]:
    return {key: torch.from_numpy(value) for key, value in batch.items()}


def batch_of(rows: list[list[Encoded]], *, per_sequence: bool = False) -> dict[str, Any]:
    return tensors(collate([join(row, per_sequence=per_sequence) for row in rows], pad_id=1))


def gradient(model: Any) -> Any:
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


def loss_and_gradient(plain: Any, batches: list[dict[str, Any]], *, chunk: int = 0) -> tuple[float, Any]:
    """The summed loss of `batches` over their global weight, and its gradient."""
    model = copy.deepcopy(plain)
    return_logprobs(model, chunk=chunk)
    weight = sum(float(batch["weights"].sum()) for batch in batches)
    total = 0.0
    for batch in batches:
        loss = Sft().loss(token_logprobs(model, batch), batch).total / weight
        loss.backward()
        total += float(loss.detach())
    return total, gradient(model)


def cosine(left: Any, right: Any) -> float:
    return float(torch.nn.functional.cosine_similarity(left, right, dim=0))


def reference(folder: Path) -> Any:
    """The model with attention written out in plain torch."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def logits(model: Any, batch: dict[str, Any]) -> Any:
    """(sequences, longest, vocabulary), as `return_logprobs` calls the model."""
    return model(
        input_ids=batch["input_ids"],
        position_ids=batch["position_ids"],
        attention_mask=None,
        use_cache=False,
        rows=row_bounds(batch["position_ids"]),
    ).logits


def test_packed_logits_are_the_unpacked_ones(folder: Path, plain: Any, encoded: list[Encoded]) -> None:
    theirs = reference(folder)
    with torch.no_grad():
        packed = logits(plain, batch_of([encoded]))[0]
        at = 0
        for row in encoded:
            ids = torch.from_numpy(row.ids.astype(np.int64))[None]
            alone = theirs(input_ids=ids, use_cache=False).logits[0]
            assert float((packed[at : at + len(row.ids)] - alone).abs().max()) < 1e-5
            at += len(row.ids)


def test_sequences_with_different_rows_are_cut_each_at_its_own(plain: Any, encoded: list[Encoded]) -> None:
    batch = batch_of([encoded[:2], encoded[2:3], encoded[3:]])
    with torch.no_grad():
        together = logits(plain, batch)
        for at in range(3):
            alone = logits(plain, {key: value[at : at + 1] for key, value in batch.items()})
            assert float((together[at] - alone[0]).abs().max()) < 1e-5


def test_rows_longer_than_a_sliding_window_are_refused_by_packed_attention() -> None:
    one = torch.zeros(1, 2, 9, 4)
    rows = row_bounds(torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 3]]))
    assert rows == [[(0, 5), (5, 9)]]
    module = torch.nn.Module()
    seen, _ = packed_attention(module, one, one, one, None, rows=rows, sliding_window=5)
    assert seen.shape == (1, 9, 2, 4)
    with pytest.raises(UserError, match="take attention=sdpa"):
        packed_attention(module, one, one, one, None, rows=rows, sliding_window=4)


def test_packed_and_padded_training_have_one_gradient(plain: Any, encoded: list[Encoded]) -> None:
    alone = loss_and_gradient(plain, [batch_of([[row]]) for row in encoded])
    packed = loss_and_gradient(plain, [batch_of([encoded])])
    padded = loss_and_gradient(plain, [batch_of([[row] for row in encoded])])
    for other in (packed, padded):
        assert other[0] == pytest.approx(alone[0], rel=2e-6)
        assert cosine(other[1], alone[1]) > 0.99999
        assert float(other[1].norm() / alone[1].norm()) == pytest.approx(1, abs=1e-4)


def test_activations_computed_again_give_the_same_gradient(plain: Any, encoded: list[Encoded]) -> None:
    kept = loss_and_gradient(plain, [batch_of([encoded])])
    plain.gradient_checkpointing_enable()
    plain.train()
    again = loss_and_gradient(plain, [batch_of([encoded])])
    assert again[0] == kept[0]
    assert torch.equal(again[1], kept[1])


@pytest.mark.parametrize("per_sequence", [False, True])
def test_the_gradient_does_not_depend_on_how_a_step_is_cut(
    plain: Any, encoded: list[Encoded], per_sequence: bool
) -> None:
    rows = [[row] for row in (encoded + encoded)[:8]]

    def cut(size: int) -> list[dict[str, Any]]:
        return [batch_of(rows[at : at + size], per_sequence=per_sequence) for at in range(0, 8, size)]

    whole = loss_and_gradient(plain, cut(8))
    for size in (4, 1):
        parts = loss_and_gradient(plain, cut(size))
        assert parts[0] == pytest.approx(whole[0], rel=2e-6)
        assert float((parts[1] - whole[1]).abs().max()) < 1e-6


def test_a_sequence_weighs_one_with_longaligns_rule(encoded: list[Encoded]) -> None:
    assert float(batch_of([encoded], per_sequence=True)["weights"].sum()) == pytest.approx(len(encoded))
    assert float(batch_of([encoded])["weights"].sum()) == sum(int(row.trainable.sum()) for row in encoded)


def test_the_loss_is_the_librarys_own(folder: Path, plain: Any, encoded: list[Encoded]) -> None:
    ids = torch.from_numpy(encoded[0].ids.astype(np.int64))[None]
    labels = torch.where(torch.from_numpy(encoded[0].trainable)[None], ids, -100)
    theirs = float(reference(folder)(input_ids=ids, labels=labels).loss.detach())
    ours, _ = loss_and_gradient(plain, [batch_of([[encoded[0]]])])
    assert ours == pytest.approx(theirs, abs=1e-5)


@pytest.mark.parametrize("chunk", [1, 7, 64, 10_000])
def test_chunks_change_neither_loss_nor_gradient(plain: Any, encoded: list[Encoded], chunk: int) -> None:
    whole = loss_and_gradient(plain, [batch_of([encoded])])
    chunked = loss_and_gradient(plain, [batch_of([encoded])], chunk=chunk)
    assert chunked[0] == pytest.approx(whole[0], rel=2e-6)
    assert float((chunked[1] - whole[1]).abs().max()) < 1e-6


def test_one_chunk_is_not_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a chunk is. What is not has the gradient of what is, to the last bit."""
    head = torch.nn.Linear(8, 50, bias=False)
    ids = torch.arange(40)
    states = torch.randn(40, 8)
    passes, found = [], []
    plain = logprobs_module._logprobs
    twice = states.clone().requires_grad_()
    checkpoint(plain, twice, head, ids, use_reentrant=False).sum().backward()
    monkeypatch.setattr(logprobs_module, "_logprobs", lambda *given: passes.append(1) or plain(*given))
    for chunk in (40, 0, 39):
        passes.clear()
        own = states.clone().requires_grad_()
        chunked_logprobs(own, head, ids, chunk=chunk).sum().backward()
        found.append((len(passes), own.grad))
    parts = len(chunk_sizes(40, 39))
    assert [made for made, _ in found] == [1, 1, 2 * parts]
    assert all(torch.equal(gradient, twice.grad) for _, gradient in found[:2])
    assert torch.allclose(found[2][1], twice.grad, atol=1e-6)


def test_a_batch_without_trained_tokens_has_a_loss_of_zero_and_reaches_the_head() -> None:
    head = torch.nn.Linear(4, 9)
    states = torch.randn(0, 4, requires_grad=True)
    logprobs = chunked_logprobs(states, head, torch.zeros(0, dtype=torch.long), chunk=4)
    assert logprobs.shape == (0,)
    loss = weighted_nll(logprobs, torch.zeros(0))
    loss.backward()
    assert float(loss) == 0
    assert head.weight.grad is not None


def test_no_gradient_comes_from_predicting_an_observation(plain: Any, folder: Path) -> None:
    """The loss has no derivative by logits whose next token is not the model's to write."""
    encoder = ChatTokenizer(folder)
    row = encoder.encode(ReaRag(STYLE).lay_out(chains(1)[0]))
    batch = batch_of([[row]])
    seen = logits(plain, batch)
    seen.retain_grad()
    losses = torch.nn.functional.cross_entropy(seen[0, :-1], batch["labels"][0, 1:], reduction="sum")
    losses.backward()
    before_trained = torch.zeros(len(row.ids), dtype=torch.bool)
    before_trained[:-1] = torch.from_numpy(row.trainable[1:])
    reached = seen.grad[0].abs().sum(-1) > 0
    assert torch.equal(reached, before_trained)
    assert 0 < int(before_trained.sum()) < len(row.ids)


def losses(run: Path) -> dict[int, float]:
    return logged(run, "loss")


@pytest.mark.parametrize("pack_length", [600, 0])
def test_a_killed_run_goes_on_with_the_batch_that_was_next(
    tmp_path: Path, folder: Path, pack_length: int
) -> None:
    """Uninterrupted and resumed losses are equal to the last bit."""
    path = str(train_settings(tmp_path, folder, pack_length=pack_length))
    assert main([path, "run_name=whole"]) == 0
    killed_run(path, "run_name=killed")
    assert not (tmp_path / "runs/killed/model").exists()
    assert (tmp_path / "runs/killed/checkpoint-4/whole").exists()
    assert main([path, "run_name=killed"]) == 0
    assert losses(tmp_path / "runs/killed") == losses(tmp_path / "runs/whole")
    one, other = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "runs" / name / "model").state_dict()
        for name in ("whole", "killed")
    )
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert (tmp_path / "runs/whole/loss.png").stat().st_size > 1000
    said = json.loads((tmp_path / "runs/whole/model/training.json").read_text(encoding="utf-8"))
    assert (said["run"], said["prompt"]["observation_role"]) == ("whole", "user")


def test_a_run_that_was_killed_after_its_last_step_only_writes_its_result(
    tmp_path: Path, folder: Path
) -> None:
    path = str(train_settings(tmp_path, folder, max_steps=4, pack_length=0))
    killed_before_the_result(path)
    run = tmp_path / "runs/run"
    trained = losses(run)
    assert list(trained) == [1, 2, 3, 4]
    assert main([path]) == 0
    assert losses(run) == trained
    last, result = (
        AutoModelForCausalLM.from_pretrained(found).state_dict()
        for found in (run / "checkpoint-4", run / "model")
    )
    assert all(torch.equal(last[key], result[key]) for key in last)


def test_few_rows_are_trained_on_more_often(tmp_path: Path, folder: Path) -> None:
    settings = {"max_steps": 0, "epochs": 1, "accumulation": 20, "pack_length": 0}
    path = str(train_settings(tmp_path, folder, **settings))  # 24 rows are two steps
    assert main([path, "run_name=few"]) == 0
    assert main([path, "run_name=more", "min_steps=3"]) == 0
    assert [list(losses(tmp_path / f"runs/{run}")) for run in ("few", "more")] == [[1, 2], [1, 2, 3]]


def test_bf16_trains_without_a_gpu(tmp_path: Path, folder: Path) -> None:
    """The library's own check refuses bf16 where there is no GPU, unless it is told that this is meant."""
    path = str(train_settings(tmp_path, folder, max_steps=2, precision="bf16"))
    assert main([path]) == 0
    in_bf16 = losses(tmp_path / "runs/run")
    assert main([path, "precision=fp32", "run_name=full"]) == 0
    assert in_bf16[1] == pytest.approx(losses(tmp_path / "runs/full")[1], rel=0.02)


def test_two_processes_learn_what_one_does(tmp_path: Path, folder: Path) -> None:
    path = str(train_settings(tmp_path, folder, max_steps=3))
    assert main([path, "run_name=one", "accumulation=4"]) == 0
    launched = python(
        *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "src_train.run"),
        *(path, "run_name=two", "accumulation=2"),
    )
    assert launched.returncode == 0, launched.stderr[-3000:]
    one, two = losses(tmp_path / "runs/one"), losses(tmp_path / "runs/two")
    assert [two[step] for step in sorted(two)] == pytest.approx([one[step] for step in sorted(one)], abs=2e-4)
