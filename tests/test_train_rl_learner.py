"""The learner: TRL's loss and gradient, none at all from tokens of the environment, guards, credit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.training

from src_core.chat_tokenizer import Encoded  # noqa: E402
from src_core.errors import UserError  # noqa: E402
from src_core.types import Finish, Question, Search, Status, Step, Trajectory  # noqa: E402
from src_infer.rollout_record import Sample, Span, sample_row  # noqa: E402
from src_tasks.reward_rules import Scored  # noqa: E402
from src_tasks.rewards import Ending  # noqa: E402
from src_train.packing import ADVANTAGES, OLD_LOGPROBS, REF_LOGPROBS  # noqa: E402
from src_train.rl import learner as learner_module  # noqa: E402
from src_train.rl.attempts import Attempt, attempt_json, parse_attempt, read_attempts, train_rows  # noqa: E402
from src_train.rl.config import AdvantageConfig, LearnerConfig  # noqa: E402
from src_train.rl.credit import (  # noqa: E402
    OLD_VALUES,
    RETURNS,
    Played,
    kept_groups,
    spread_steps,
    trained_part,
    with_advantages,
)
from src_train.rl.learner import Learner  # noqa: E402
from src_train.rollouts import checked_row  # noqa: E402
from src_train.rows import TrainRow  # noqa: E402
from tests.helpers_trl import gradient_sums, tiny_model  # noqa: E402
from tests.helpers_trl_grpo import (  # noqa: E402
    ADVANTAGES as TRL_ADVANTAGES,
)
from tests.helpers_trl_grpo import (  # noqa: E402
    COMPLETIONS,
    KL,
    MASKS,
    PROMPTS,
    SHIFTS,
    STORED,
)

STORED_VALUES = json.loads(STORED.read_text())["values"]


class Still(Learner):
    """A learner whose weights stay, so that its gradients can be read."""

    def _step(self) -> float:
        return 0.0


def learner(folder: Path, *, seed: int = 1, kind: type[Learner] = Still, **more: Any) -> Learner:
    tiny_model(seed).save_pretrained(folder)
    values = {"model": str(folder), "lora": None, "precision": "fp32", "attention": "packed", **more}
    config = LearnerConfig(**values)
    return kind(config, AdvantageConfig(), folder, device=torch.device("cpu"), seed=1)


def logprobs(seed: int) -> list[np.ndarray]:
    """Of each rollout, those of all its ids under a tiny model; 0 for the first id."""
    model, made = tiny_model(seed), []
    for prompt, reply in zip(PROMPTS, COMPLETIONS, strict=True):
        ids = torch.tensor([[*prompt, *reply]])
        with torch.no_grad():
            found = torch.log_softmax(model(ids).logits[:, :-1].float(), -1).gather(-1, ids[:, 1:, None])
        made.append(np.concatenate([[0.0], found[0, :, 0].numpy()]).astype(np.float32))
    return made


def rollout_rows() -> list[TrainRow]:
    """The rollouts of the stored case."""
    made = []
    for at, (own, reference) in enumerate(zip(logprobs(1), logprobs(2), strict=True)):
        ids = np.asarray([*PROMPTS[at], *COMPLETIONS[at]], dtype=np.int32)
        mask = np.asarray([0] * len(PROMPTS[at]) + list(MASKS[at]), dtype=np.bool_)
        values = {
            OLD_LOGPROBS: own - np.float32(SHIFTS[at]),
            REF_LOGPROBS: reference,
            ADVANTAGES: np.full(len(ids), TRL_ADVANTAGES[at], dtype=np.float32),
        }
        made.append(TrainRow(f"rollout {at}", Encoded(ids, mask), values))
    return made


@pytest.mark.parametrize("pack_length", [1, 20, 200])
@pytest.mark.parametrize("kl", [0.0, KL])
@pytest.mark.parametrize(("loss", "trl"), [("sequence", "grpo"), ("token", "bnpo")])
def test_loss_and_gradient_are_trls(tmp_path: Path, loss: str, trl: str, kl: float, pack_length: int) -> None:
    """GRPO of TRL 1.16 on the same ids (`tests/helpers_trl_grpo.py`), however rows are packed."""
    still = learner(tmp_path, loss=loss, policy={"kl_coef": kl}, pack_length=pack_length)
    stored = STORED_VALUES[f"{trl}, KL {kl}"]
    rows = rollout_rows()
    found = still._optimise(rows, first=True)
    divisor = len(rows) if loss == "sequence" else found["tokens"]
    assert found["loss"] / divisor == pytest.approx(stored["loss"], rel=1e-5)
    for name, sums in gradient_sums(still.model).items():
        assert sums == pytest.approx(stored["gradients"][name], rel=2e-4, abs=2e-5), name


def test_the_stored_numbers_tell_losses_apart() -> None:
    assert len({round(case["loss"], 3) for case in STORED_VALUES.values()}) == 4


def test_tokens_of_the_environment_have_no_gradient_at_all(tmp_path: Path) -> None:
    """Whatever stands there as advantage or log-probability, the gradient is the same to the last bit."""
    plain = rollout_rows()
    wild = []
    for row in plain:
        values = {
            name: np.where(row.encoded.trainable, v, 1e4).astype(np.float32) for name, v in row.values.items()
        }
        wild.append(row._replace(values=values))
    found = []
    for number, rows in enumerate((plain, wild)):
        still = learner(tmp_path / str(number), policy={"kl_coef": KL})
        still._optimise(rows, first=True)
        found.append([weight.grad.clone() for weight in still.model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_a_missing_mask_is_an_error() -> None:
    row = dict(sample_row(SAMPLE, 1.0))
    assert checked_row(row, "here", 50).encoded.trainable.tolist() == [False, True, True, False, True, False]
    for fault in ({"trainable": None}, {"trainable": [0, 1]}, {}):
        broken = {**row, **fault} if fault else {k: v for k, v in row.items() if k != "trainable"}
        with pytest.raises(UserError, match=r"here cannot be trained on: trainable is not a list"):
            checked_row(broken, "here", 50)


def test_a_loss_that_is_no_number_stops_with_a_sentence(tmp_path: Path) -> None:
    rows = rollout_rows()
    rows[2].values[OLD_LOGPROBS][:] = np.nan
    with pytest.raises(UserError, match=r"not a number at update 1; lower learner\.learning_rate"):
        learner(tmp_path).update(rows)


def test_the_reference_is_the_start_and_leaves_the_weights_alone(tmp_path: Path) -> None:
    trained = learner(tmp_path, kind=Learner, policy={"kl_coef": KL}, learning_rate=0.05)
    first = trained.annotate(rollout_rows())
    for row in first:  # before the first update the reference is the model itself
        own = logprobs(1)[int(row.place[-1])]
        assert row.values[REF_LOGPROBS][row.encoded.trainable] == pytest.approx(
            own[row.encoded.trainable], abs=1e-4
        )
    trained.update(first)
    before = [weight.clone() for weight in trained.model.parameters()]
    again = trained.annotate(rollout_rows())
    assert all(torch.equal(a, b) for a, b in zip(before, trained.model.parameters(), strict=True))
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one.values[REF_LOGPROBS], other.values[REF_LOGPROBS])


def test_values_and_log_probabilities_before_an_update_take_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of PPO with the KL divergence in the reward: one pass of the model, one of the reference."""
    tiny_model(1).save_pretrained(tmp_path)
    made = LearnerConfig(
        model=str(tmp_path), lora=None, precision="fp32", old_logprobs="learner", pack_length=1000
    )
    device = torch.device("cpu")
    ppo = Learner(made, AdvantageConfig(name="ppo", kl_coef=0.01), tmp_path, device=device, seed=1)
    torch.nn.init.normal_(ppo.value_head.weight)
    passes: list[Any] = []
    one_pass = learner_module.token_logprobs
    monkeypatch.setattr(learner_module, "token_logprobs", lambda *given: passes.append(1) or one_pass(*given))
    rows = ppo.annotate(rollout_rows())
    assert len(passes) == 2
    for row, own in zip(rows, logprobs(1), strict=True):
        mask = row.encoded.trainable
        assert row.values[OLD_LOGPROBS][mask] == pytest.approx(own[mask], abs=1e-4)
        assert np.array_equal(row.values[OLD_LOGPROBS], row.values[REF_LOGPROBS]), "before the first update"
        assert np.all(row.values[OLD_VALUES][mask] != 0)
        assert not row.values[OLD_VALUES][~mask].any()
        with torch.no_grad():
            states = tiny_model(1).model(torch.tensor([row.encoded.ids.tolist()])).last_hidden_state[0]
            values = ppo.value_head(states).flatten().numpy()
        assert row.values[OLD_VALUES][1:][mask[1:]] == pytest.approx(values[:-1][mask[1:]], abs=1e-4)


def test_the_difference_to_the_server_is_corrected_within_a_bound(tmp_path: Path) -> None:
    """Old log-probabilities of the learner: the ratio is 1, and each token weighs as much as it was likelier
    there than at the server, at most `sampler_cap`.
    """
    still = learner(tmp_path, old_logprobs="learner", sampler_cap=1.2)
    rows = still.annotate(rollout_rows())
    found = still._optimise(rows, first=True)
    counts = [int(row.encoded.trainable.sum()) for row in rows]
    weights = [min(float(np.exp(shift)), 1.2) for shift in SHIFTS]
    wanted = -sum(w * a * n for w, a, n in zip(weights, TRL_ADVANTAGES, counts, strict=True))
    assert found["loss"] == pytest.approx(wanted, rel=1e-4)
    assert found["ratio"] == pytest.approx(found["tokens"])
    mean = sum(abs(shift) * n for shift, n in zip(SHIFTS, counts, strict=True)) / sum(counts)
    assert found["mismatch"] / found["compared"] == pytest.approx(mean, rel=1e-3)


SAMPLE = Sample(
    (
        Span((5,), False),
        Span((6, 7), True, (-0.1, -0.2), 3),
        Span((8,), False),
        Span((9, 10), True, (-0.3, None), 3),  # the server did not say the last one
    ),
    (1, 2),
)
STEPS = (Step(1, "t", Search("a"), "seen"), Step(2, "t", Finish("b")))


def played(rewards: tuple[float, ...], number: int = 0, sample: Sample = SAMPLE) -> Played:
    trajectory = Trajectory(Question("q", "Where?", ("b",)), STEPS, "b", Status.FINISHED)
    attempt = Attempt(number, 3, trajectory, (sample,))
    scored = Scored(rewards, 1.0, None, Ending.CORRECT)
    return Played(attempt, scored, train_rows(attempt, 50, file=Path("rollouts.jsonl")))


def test_each_token_has_the_advantage_of_its_step() -> None:
    spread = spread_steps(SAMPLE, {1: 0.5, 2: -2.0})
    assert spread.tolist() == [0, 0.5, 0.5, 0, -2.0, -2.0]
    with pytest.raises(KeyError):
        spread_steps(SAMPLE, {1: 0.5})


def test_credit_of_whole_rollouts_and_of_steps() -> None:
    group = [played((0.0, 1.0), 0), played((0.25, 0.0), 1)]
    whole = with_advantages([group], AdvantageConfig(name="dr_grpo"))
    assert whole[0].values[ADVANTAGES].tolist() == [0, 0.375, 0.375, 0, 0.375, 0.375]
    steps = with_advantages([group], AdvantageConfig(name="step", whiten=False))
    assert steps[0].values[ADVANTAGES].tolist() == [0, 0.75, 0.75, 0, 1.0, 1.0]
    assert steps[1].values[ADVANTAGES].tolist() == [0, -0.75, -0.75, 0, -1.0, -1.0]
    scaled = with_advantages([group], AdvantageConfig(name="step"))
    size = np.sqrt((0.75**2 + 1) / 2)
    assert scaled[0].values[ADVANTAGES][1] == pytest.approx(0.75 / size)


@pytest.mark.parametrize(
    ("across", "advantages", "returns"),
    [
        # values 0.5 each; the reward of a step stands at its last token (the last id has no probability)
        (False, [0, -0.5, -0.5, 0, 0.5], [0, 0, 0, 0, 1.0]),
        (True, [0, 0.5, 0.5, 0, 0.5], [0, 1.0, 1.0, 0, 1.0]),
    ],
)
def test_ppo_with_and_without_credit_across_steps(
    across: bool, advantages: list[float], returns: list[float]
) -> None:
    one = played((0.0, 1.0))
    values = {**one.rows[0].values, OLD_VALUES: np.full(6, 0.5, dtype=np.float32)}
    one = one._replace(rows=[one.rows[0]._replace(values=values)])
    config = AdvantageConfig(name="ppo", across_steps=across, whiten=False)
    row = with_advantages([[one]], config)[0]
    assert row.values[ADVANTAGES].tolist()[:5] == pytest.approx(advantages)
    assert row.values[RETURNS].tolist()[:5] == pytest.approx(returns)


def test_the_reward_of_a_step_without_a_token_reaches_the_tokens_before_it() -> None:
    """An empty reply is malformed; across steps its cost is that of the replies before it."""
    one = played((0.0, 1.0, -0.5))
    values = {**one.rows[0].values, OLD_VALUES: np.zeros(6, dtype=np.float32)}
    one = one._replace(rows=[one.rows[0]._replace(values=values)])
    for across, wanted in ((True, [0, 0.5, 0.5, 0, 0.5]), (False, [0, 0, 0, 0, 1.0])):
        config = AdvantageConfig(name="ppo", across_steps=across, whiten=False)
        row = with_advantages([[one]], config)[0]
        assert row.values[ADVANTAGES].tolist()[:5] == pytest.approx(wanted)


def test_the_kl_divergence_in_the_reward_lowers_what_drifted() -> None:
    one = played((0.0, 1.0))
    drift = np.asarray([0, 0.2, 0, 0, 0, 0], dtype=np.float32)
    old = one.rows[0].values[OLD_LOGPROBS]
    more = {OLD_VALUES: np.zeros(6, dtype=np.float32), REF_LOGPROBS: old - drift}
    one = one._replace(rows=[one.rows[0]._replace(values={**one.rows[0].values, **more})])
    config = AdvantageConfig(name="ppo", across_steps=False, kl_coef=0.5, whiten=False)
    row = with_advantages([[one]], config)[0]
    assert row.values[ADVANTAGES].tolist()[:5] == pytest.approx([0, -0.1, 0, 0, 1.0])


def test_equal_groups_are_left_out_except_for_a_value_head() -> None:
    equal, other = [played((0.0, 1.0)), played((0.0, 1.0))], [played((0.0, 1.0)), played((0.0, 0.0))]
    assert kept_groups([equal, other, []], AdvantageConfig()) == [other]
    assert kept_groups([equal, []], AdvantageConfig(name="ppo")) == [equal]
    assert kept_groups([equal], AdvantageConfig(drop_equal_groups=False)) == [equal]


def test_credit_of_steps_keeps_a_group_whose_sums_alone_are_equal() -> None:
    group = [played((0.5, 0.5), 0), played((0.0, 1.0), 1)]
    assert kept_groups([group], AdvantageConfig(name="step")) == [group]
    assert kept_groups([group], AdvantageConfig(name="rloo")) == []
    assert kept_groups([group[:1]], AdvantageConfig(name="step")) == [], "nothing to compare it with"
    same = [played((0.0, 1.0), 0), played((0.0, 1.0), 1)]
    assert kept_groups([same], AdvantageConfig(name="step")) == []


@pytest.mark.parametrize("name", ["dr_grpo", "step"])
def test_a_part_of_a_group_is_trained_on_against_the_baseline_of_all(name: str) -> None:
    group = [played((0.0, reward), number) for number, reward in enumerate((0.0, 0.5, 1.0, 0.4))]
    config = AdvantageConfig(name=name, whiten=False)
    whole = with_advantages([group], config)
    part = with_advantages([trained_part(group, 2)], config)
    assert [row.values[ADVANTAGES].tolist() for row in part] == [
        whole[number].values[ADVANTAGES].tolist() for number in (0, 2)
    ]
    assert trained_part(group, 0) == trained_part(group, 4) == group


def test_a_rollout_survives_its_file() -> None:
    attempt = played((0.0, 1.0)).attempt
    assert parse_attempt(json.loads(attempt_json(attempt))) == attempt
    assert parse_attempt({"number": 1}) is None


def test_a_rollout_that_cannot_be_trained_on_is_named_by_its_place_in_the_file(tmp_path: Path) -> None:
    good = played((1.0,), 0).attempt
    bad = replace(
        good, number=1, samples=(Sample((Span((1, 99), False), Span((2,), True, (-0.5,), 3)), (1,)),)
    )
    file = tmp_path / "step-000001.jsonl"
    file.write_bytes(attempt_json(good) + b"\n" + attempt_json(bad) + b"\n")
    found = read_attempts(file, policy_version=3)[bad.key]
    with pytest.raises(UserError) as refused:
        train_rows(found, 50, file=file)
    assert str(refused.value).startswith(
        f"{file}, line 2: rollout 1 of question q, sample 1 cannot be trained"
    )
    assert str(refused.value).endswith(
        "; correct or remove that row, then run the same command again, which plays it anew"
    )
    with pytest.raises(UserError, match=r"^other.jsonl: rollout 1 of"):
        train_rows(found, 50, file=Path("other.jsonl"))
