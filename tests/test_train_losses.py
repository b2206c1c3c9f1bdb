"""The losses against TRL's numbers and against plain references, packed and not."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src_core.chat_tokenizer import Encoded
from src_core.errors import UserError
from src_train.config import DpoConfig, PolicyConfig
from src_train.packing import ADVANTAGES, OLD_LOGPROBS, REF_LOGPROBS, collate, join
from tests.helpers_trl import (
    BETA,
    CHOSEN,
    LOSSES,
    PROMPTS,
    REJECTED,
    STORED,
    VOCABULARY,
    gradient_sums,
    tiny_model,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.training

from src_train.attention import PACKED  # noqa: E402
from src_train.logprobs import chunk_sizes, return_logprobs, token_logprobs  # noqa: E402
from src_train.losses import dpo_loss, policy_loss, weighted_nll  # noqa: E402
from src_train.objectives import Dpo, Policy, Sft  # noqa: E402

Batch = dict[str, Any]


def side(prompt: list[int], ids: list[int]) -> Encoded:
    trainable = [False] * len(prompt) + [True] * len(ids)
    return Encoded(np.asarray([*prompt, *ids], dtype=np.int32), np.asarray(trainable))


PAIRS = [
    (side(prompt, chosen), side(prompt, rejected))
    for prompt, chosen, rejected in zip(PROMPTS, CHOSEN, REJECTED, strict=True)
]


def ready(seed: int, *, chunk: int = 2, attention: str = PACKED) -> Any:
    model = tiny_model(seed, attention=attention)
    return_logprobs(model, chunk=chunk)
    return model


REFERENCE: list[Any] = []


def reference_values(encoded: Encoded) -> dict[str, Any]:
    """The reference's log-probabilities of a row, each row by itself."""
    if not REFERENCE:
        REFERENCE.append(ready(2, attention="eager"))
    batch = batch_of([[encoded]])
    values = np.zeros(len(encoded.ids), dtype=np.float32)
    with torch.no_grad():
        values[encoded.trainable] = token_logprobs(REFERENCE[0], batch).values.numpy()
    return {REF_LOGPROBS: values}


def batch_of(sequences: list[list[Encoded]], values: list[list[dict[str, Any]]] | None = None) -> Batch:
    packs = [
        join(rows, per_sequence=False, values=values[at] if values else ())
        for at, rows in enumerate(sequences)
    ]
    return {key: torch.from_numpy(value) for key, value in collate(packs, pad_id=0).items()}


def pairs_batch(sequences: list[list[Encoded]]) -> Batch:
    return batch_of(sequences, [[reference_values(row) for row in rows] for rows in sequences])


def rows_of(pairs: list[int]) -> list[Encoded]:
    return [row for at in pairs for row in PAIRS[at]]


WAYS = {
    "packed": lambda pairs: [pairs_batch([rows_of(pairs)])],
    "a pair per sequence": lambda pairs: [pairs_batch([rows_of([at]) for at in pairs])],
    "a side per sequence": lambda pairs: [pairs_batch([[row] for row in rows_of(pairs)])],
    "a pair per batch": lambda pairs: [pairs_batch([rows_of([at])]) for at in pairs],
}


def run(objective: Any, batches: list[Batch], *, chunk: int = 2) -> tuple[float, Any]:
    """The loss of an optimiser step over these batches, as the trainer divides it, and the model with its
    gradients.
    """
    model = ready(1, chunk=chunk)
    divisor = sum(float(objective.divisor(batch)) for batch in batches)
    total = 0.0
    for batch in batches:
        loss = objective.loss(token_logprobs(model, batch), batch).total / divisor
        loss.backward()
        total += float(loss.detach())
    return total, model


def gradient(model: Any) -> Any:
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("loss", LOSSES)
def test_dpo_is_trls(loss: str, way: str) -> None:
    """Loss and gradients of TRL 1.16 on the same ids (`tests/helpers_trl.py` made the numbers)."""
    for pairs, stored in json.loads(STORED.read_text())["values"][loss].items():
        objective = Dpo(DpoConfig(beta=BETA, **LOSSES[loss]))
        total, model = run(objective, WAYS[way](json.loads(pairs)))
        assert total == pytest.approx(stored["loss"], rel=1e-5)
        for name, sums in gradient_sums(model).items():
            assert sums == pytest.approx(stored["gradients"][name], rel=2e-4, abs=2e-5), name


def test_the_stored_numbers_tell_losses_apart() -> None:
    stored = json.loads(STORED.read_text())["values"]
    totals = [case["loss"] for cases in stored.values() for case in cases.values()]
    assert len({round(total, 3) for total in totals}) == len(totals) == 6


def test_dpo_metrics_count_pairs() -> None:
    batch = pairs_batch([rows_of([0, 1]), rows_of([2])])
    tokens = token_logprobs(ready(1), batch)
    made = Dpo(DpoConfig(beta=BETA)).loss(tokens, batch)
    assert float(made.items) == 3
    margins = []
    for at in range(3):
        sums = [
            float(
                (tokens.values.detach() - batch[REF_LOGPROBS][batch["labels"] != -100])[
                    tokens.rows == row
                ].sum()
            )
            for row in (2 * at, 2 * at + 1)
        ]
        margins.append(BETA * (sums[0] - sums[1]))
    rewards = made.metrics["chosen_reward"] - made.metrics["rejected_reward"]
    assert float(rewards) == pytest.approx(sum(margins), abs=1e-4)
    assert float(made.metrics["accuracy"]) == sum(margin > 0 for margin in margins)


def test_dpo_by_hand() -> None:
    one = dpo_loss(
        *(torch.tensor([value]) for value in (-1.0, -2.0, -1.5, -1.0)), beta=0.5, label_smoothing=0.25
    )
    x = 0.5 * ((-1.0 + 1.5) - (-2.0 + 1.0))
    wanted = 0.75 * math.log1p(math.exp(-x)) + 0.25 * math.log1p(math.exp(x))
    assert float(one.total) == pytest.approx(wanted)


def plain_policy(
    new: Any, old: Any, advantages: Any, ref: Any, *, low: float, high: float, kl_coef: float
) -> list[float]:
    """The clipped objective token by token in plain Python."""
    losses = []
    for at in range(len(new)):
        ratio = math.exp(new[at] - old[at])
        bounded = min(max(ratio, 1 - low), 1 + high)
        distance = ref[at] - new[at]
        k3 = math.exp(distance) - distance - 1
        losses.append(-min(ratio * advantages[at], bounded * advantages[at]) + kl_coef * k3)
    return losses


def test_the_policy_loss_is_the_plain_one_and_clips() -> None:
    draw = np.random.RandomState(0)
    new, old, ref = (-np.abs(draw.standard_normal(50)) for _ in range(3))
    advantages = draw.standard_normal(50)
    weights = draw.random_sample(50)
    wanted = plain_policy(new, old, advantages, ref, low=0.2, high=0.3, kl_coef=0.1)
    values = [torch.tensor(each, dtype=torch.float64) for each in (new, old, advantages, weights, ref)]
    made = policy_loss(
        *values[:3], weights=values[3], clip_low=0.2, clip_high=0.3, kl_coef=0.1, ref_logprobs=values[4]
    )
    assert float(made.total) == pytest.approx(float(weights @ wanted))
    ratio = np.exp(new - old)
    clipped = ((ratio > 1.3) & (advantages > 0)) | ((ratio < 0.8) & (advantages < 0))
    assert float(made.clipped) == clipped.sum() > 5
    assert float(made.ratio) == pytest.approx(ratio.sum())
    assert float(made.kl) == pytest.approx((np.exp(ref - new) - (ref - new) - 1).sum())


def test_a_clipped_token_has_no_gradient_and_a_wild_one_no_overflow() -> None:
    new = torch.tensor([-0.1, -0.1, -1.0, 500.0], requires_grad=True)
    old = torch.tensor([-1.0, -1.0, -1.0, -1.0])
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0])
    made = policy_loss(new, old, advantages, weights=torch.ones(4), clip_low=0.2, clip_high=0.2)
    made.total.backward()
    assert math.isfinite(float(made.total))
    assert new.grad is not None
    assert [bool(value) for value in new.grad != 0] == [False, True, True, False]


def test_a_kl_divergence_needs_a_reference_and_pulls_towards_it() -> None:
    one = torch.ones(1)
    with pytest.raises(ValueError, match="needs the reference"):
        policy_loss(-one, -one, one, weights=one, clip_low=0.2, clip_high=0.2, kl_coef=0.1)
    new = torch.tensor([-2.0], requires_grad=True)
    args = {"weights": one, "clip_low": 0.2, "clip_high": 0.2, "kl_coef": 1.0}
    policy_loss(new, new.detach(), 0 * one, ref_logprobs=-one, **args).total.backward()
    assert new.grad is not None
    assert float(new.grad) < 0  # a descent step raises the log-probability, towards the reference's -1


def rollout_batches(advantage: float, cut: int) -> tuple[list[Batch], list[Batch]]:
    """Rows with their own log-probabilities as the old ones: the ratio is 1."""
    rows = rows_of([0, 1, 2])
    model = ready(1)
    packs, plain = [], []
    for at in range(0, len(rows), cut):
        values = []
        for row in rows[at : at + cut]:
            old = np.zeros(len(row.ids), dtype=np.float32)
            with torch.no_grad():
                old[row.trainable] = token_logprobs(model, batch_of([[row]])).values.numpy()
            values.append({OLD_LOGPROBS: old, ADVANTAGES: np.full(len(row.ids), advantage, np.float32)})
        packs.append(batch_of([rows[at : at + cut]], [values]))
        plain.append(batch_of([rows[at : at + cut]]))
    return packs, plain


def test_the_policy_gradient_at_ratio_one_is_weighted_cross_entropy() -> None:
    policy, plain = rollout_batches(1.0, 6)
    ours, sft = run(Policy(PolicyConfig()), policy)[1], run(Sft(), plain)[1]
    assert float(gradient(sft).abs().max()) > 1e-3
    assert float((gradient(ours) - gradient(sft)).abs().max()) < 1e-6
    doubled = run(Policy(PolicyConfig()), rollout_batches(-2.0, 6)[0])[1]
    assert float((gradient(doubled) + 2 * gradient(sft)).abs().max()) < 1e-6


def test_the_policy_gradient_does_not_depend_on_how_a_step_is_cut() -> None:
    whole = gradient(run(Policy(PolicyConfig()), rollout_batches(0.7, 6)[0])[1])
    for cut in (3, 1):
        parts = gradient(run(Policy(PolicyConfig()), rollout_batches(0.7, cut)[0])[1])
        assert float((parts - whole).abs().max()) < 1e-6


@pytest.mark.parametrize("chunk", [0, 1, 1000])
def test_chunks_change_no_gradient_of_dpo(chunk: int) -> None:
    objective = Dpo(DpoConfig(beta=BETA))
    one, other = (run(objective, WAYS["packed"]([0, 1, 2]), chunk=size)[1] for size in (2, chunk))
    assert float((gradient(one) - gradient(other)).abs().max()) < 1e-6


@given(st.integers(0, 5000), st.integers(0, 1500))
def test_chunks_hold_every_token_in_a_few_sizes(total: int, chunk: int) -> None:
    sizes = chunk_sizes(total, chunk)
    assert sum(sizes) == total
    assert all(0 < size <= (chunk or total) for size in sizes) or total == 0
    if chunk == 1024:
        assert {size for size in sizes if size > 32} <= {64, 128, 256, 512, 1024}


def test_a_remainder_is_cut_into_halves() -> None:
    assert chunk_sizes(2500, 1024) == [1024, 1024, 256, 128, 64, 4]
    assert chunk_sizes(20, 1024) == [20]


def test_log_probabilities_come_in_order_with_their_rows() -> None:
    batch = batch_of([rows_of([0]), rows_of([2])])
    tokens = token_logprobs(ready(1), batch)
    counts = [len(ids) for at in (0, 2) for ids in (CHOSEN[at], REJECTED[at])]
    assert tokens.rows.tolist() == [row for row, count in enumerate(counts) for _ in range(count)]
    logits = tiny_model(1)(input_ids=torch.tensor([[*PROMPTS[2], *REJECTED[2]]])).logits[0]
    wanted = logits[len(PROMPTS[2]) - 1 : -1].log_softmax(-1)
    alone = wanted[torch.arange(len(REJECTED[2])), torch.tensor(REJECTED[2])]
    assert float((tokens.values[tokens.rows == 3] - alone).abs().max()) < 1e-5
    assert wanted.shape[1] == VOCABULARY


def test_weighted_cross_entropy_by_hand() -> None:
    assert float(weighted_nll(torch.tensor([-1.0, -2.0]), torch.tensor([0.5, 2.0]))) == 4.5


def test_a_model_that_changes_its_logits_is_refused() -> None:
    model = tiny_model(1)
    model.config.logit_scale = 2.0
    with pytest.raises(UserError, match=r"changes its logits \(logit_scale\)"):
        return_logprobs(model, chunk=0)
