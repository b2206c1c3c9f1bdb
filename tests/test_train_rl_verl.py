"""The contract with verl: its agent loop gets our tokens, masks and rewards. Where verl is installed, its own
output class and settings are checked too.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.training

from src_core.chat_tokenizer import ChatTokenizer  # noqa: E402
from src_core.config import load_config  # noqa: E402
from src_core.errors import ModelError, UserError  # noqa: E402
from src_infer.rollout_record import Sample  # noqa: E402
from src_tasks.reward_rules import Scored  # noqa: E402
from src_tasks.rewards import Ending  # noqa: E402
from src_train.rl import verl_estimator  # noqa: E402
from src_train.rl.config import RlConfig  # noqa: E402
from src_train.rl.verl_data import main as write_data  # noqa: E402
from src_train.rl.verl_estimator import step_advantages  # noqa: E402
from src_train.rl.verl_loop import Shared, make_loop, output_fields  # noqa: E402
from src_train.rl.verl_settings import verl_settings  # noqa: E402
from tests.helpers_rl import letter_folder, rl_settings  # noqa: E402
from tests.test_train_rl_learner import SAMPLE  # noqa: E402


@dataclass
class Output:
    """As verl's `AgentLoopOutput`."""

    prompt_ids: list[int]
    response_ids: list[int]
    response_mask: list[int]
    response_logprobs: list[float]
    reward_score: float
    num_turns: int
    metrics: Any
    extra_fields: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {"response_mask": torch.tensor(self.response_mask), "rm_scores": None}


class Server:
    """As verl's client of its engines: it searches once, then answers."""

    def __init__(self, tokenizer: ChatTokenizer, replies: str) -> None:
        self._tokenizer, self._replies = tokenizer, replies
        self.asked: list[dict[str, Any]] = []

    async def generate(self, *, request_id: str, prompt_ids: Sequence[int], sampling_params: Any) -> Any:
        self.asked.append({"id": request_id, "prompt": list(prompt_ids), **sampling_params})
        if len(self.asked) > len(self._replies):
            raise ModelError("the engine is gone")
        ids = self._tokenizer.token_ids(self._replies[len(self.asked) - 1])
        return types.SimpleNamespace(token_ids=ids, log_probs=[-0.5] * len(ids))


@pytest.fixture
def output_class(monkeypatch: pytest.MonkeyPatch) -> None:
    """verl's output where it is installed, else one of the same fields."""
    try:
        import verl.experimental.agent_loop.agent_loop  # noqa: F401
    except ImportError:
        module = types.ModuleType("verl.experimental.agent_loop.agent_loop")
        module.AgentLoopMetrics = dict  # type: ignore[attr-defined]
        module.AgentLoopOutput = Output  # type: ignore[attr-defined]
        for name in ("verl", "verl.experimental", "verl.experimental.agent_loop"):
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        monkeypatch.setitem(sys.modules, module.__name__, module)


def written(tmp_path: Path, *more: str) -> tuple[Path, list[dict[str, Any]]]:
    """The files of a run, and its rows."""
    from pyarrow import parquet

    settings = rl_settings(tmp_path, letter_folder(tmp_path / "model"))
    assert write_data([str(settings), str(tmp_path / "verl"), *more]) == 0
    return tmp_path / "verl/rl.yaml", parquet.read_table(tmp_path / "verl/train.parquet").to_pylist()


def test_a_rollout_through_the_agent_loop(tmp_path: Path, output_class: None) -> None:
    settings, rows = written(tmp_path)
    row = rows[3]
    right = row["reward_model"]["ground_truth"][0]
    server = Server(ChatTokenizer(tmp_path / "model"), f"s{right}")
    loop = make_loop(settings=str(settings), server_manager=server, trainer_config=None)
    made = asyncio.run(loop.run({"temperature": 1.0}, **row, session_id=5))
    assert len(server.asked) == 2
    assert server.asked[1]["prompt"][: len(made.prompt_ids)] == made.prompt_ids
    whole = [*made.prompt_ids, *made.response_ids]
    assert whole[: len(server.asked[1]["prompt"])] == server.asked[1]["prompt"], "nothing is tokenised twice"
    sampled = [t for t, mask in zip(made.response_ids, made.response_mask, strict=True) if mask]
    assert ChatTokenizer(tmp_path / "model").decode(sampled) == f"s{right}"
    assert 0 in made.response_mask, "what the search found is not trained"
    assert made.reward_score == pytest.approx(sum(made.extra_fields["turn_scores"]))
    assert made.reward_score >= 1.0
    rewards = made.as_dict()["rm_scores"]
    assert rewards[made.extra_fields["step_ends"][-1]] == pytest.approx(made.extra_fields["turn_scores"][-1])
    assert rewards.sum() == pytest.approx(made.reward_score)
    assert {at for at, value in enumerate(rewards) if value} <= set(made.extra_fields["step_ends"])
    assert len(made.extra_fields["step_ends"]) == 2
    assert all(made.response_mask[at] for at in made.extra_fields["step_ends"])
    assert {asked["id"] for asked in server.asked} == {f"{json.loads(row['extra_info']['question'])['id']}-5"}


def test_masks_and_log_probabilities_of_a_sample() -> None:
    fields = output_fields(SAMPLE, Scored((0.25, 0.0, -0.2), 0.0, None, Ending.UNANSWERED), turns=3)
    assert fields["prompt_ids"] == [5]
    assert fields["response_ids"] == [6, 7, 8, 9, 10]
    assert fields["response_mask"] == [1, 1, 0, 1, 0], "the last one has no probability"
    assert fields["extra_fields"]["step_ends"] == [1, 3, 3], "the third step has no token"
    between = Sample(SAMPLE.spans, (1, 3))
    fields = output_fields(between, Scored((0.25, -0.2, 1.0), 1.0, None, Ending.CORRECT), turns=3)
    assert fields["extra_fields"]["step_ends"] == [1, 1, 3], "the second one has that of the step before"


@pytest.mark.parametrize("change", ["reward.rule=outcome", "reward={rule: r3rag, relevance: judge}"])
def test_a_rollout_that_failed_or_has_no_reward_is_left_out(
    tmp_path: Path, output_class: None, change: str
) -> None:
    settings, rows = written(tmp_path, change)
    server = Server(ChatTokenizer(tmp_path / "model"), "s" if "outcome" in change else "sa")
    loop = make_loop(settings=str(settings), server_manager=server)
    assert asyncio.run(loop.run({}, **rows[0])) == []


def test_credit_of_steps_is_that_of_our_own_loop() -> None:
    mask = torch.tensor([[1, 1, 0, 1, 1], [1, 1, 0, 1, 0], [1, 0, 0, 0, 0]])
    rewards = torch.tensor([[0, 0, 0, 0, 1.0], [0, 0.25, 0, 0, 0], [0.5, 0, 0, 0, 0]])
    made, _ = step_advantages(rewards, mask, ["a", "a", "b"], config={"gamma": 1.0})
    size = np.sqrt((2 * 0.75**2 + 2 * 1.0 + 0.5**2) / 5)
    wanted = [[0.75, 0.75, 0, 1, 1], [-0.75, -0.75, 0, -1, 0], [0.5, 0, 0, 0, 0]]
    assert made.numpy() == pytest.approx(np.asarray(wanted) / size)


def test_verl_gets_the_estimator_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, Any] = {}
    module = types.ModuleType("verl.trainer.ppo.core_algos")
    module.register_adv_est = lambda name: lambda made: known.update({name: made})  # type: ignore[attr-defined]
    for name in ("verl", "verl.trainer", "verl.trainer.ppo"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    importlib.reload(verl_estimator)
    assert list(known) == ["step"]


def test_a_format_with_a_prompt_per_step_is_refused(tmp_path: Path) -> None:
    settings, _ = written(tmp_path, "runtime.protocol=r3rag")
    with pytest.raises(UserError, match=r"set runtime\.protocol=r3rag_whole"):
        Shared(load_config(RlConfig, settings))


def test_settings_of_verl(tmp_path: Path) -> None:
    settings, _ = written(tmp_path, "advantage.name=ppo", "advantage.kl_coef=0.01", "learner.minibatches=2")
    found = dict(line.split("=", 1) for line in verl_settings(load_config(RlConfig, settings)))
    assert found["algorithm.adv_estimator"] == "gae"
    assert found["algorithm.use_kl_in_reward"] == "True"
    assert found["actor_rollout_ref.actor.ppo_mini_batch_size"] == "4"
    assert found["critic.model.path"] == str(tmp_path / "model"), "verl's default is some other model"
    assert found["trainer.logger"] == "[console]"
    for name, wanted in (
        ("step", verl_estimator.ESTIMATOR),
        ("reinforce_pp", "reinforce_plus_plus_baseline"),
    ):
        changed = load_config(RlConfig, settings, [f"advantage.name={name}", "advantage.kl_coef=0"])
        assert f"algorithm.adv_estimator={wanted}" in verl_settings(changed)


ALL_WEIGHTS = ("learner.lora=null", "learner.learning_rate=5e-7")


def test_what_verl_would_not_follow_is_refused() -> None:
    """The commands of docs/rl.md, and those without their settings."""
    run = Path("configs/systems/r3rag/rl.yaml")
    for more, message in (
        ((), "learner.lora=null"),
        (ALL_WEIGHTS, "advantage.across_steps=true"),
        ((*ALL_WEIGHTS, "advantage={name: step, trained_per_group: 2}"), "trained_per_group=0"),
    ):
        with pytest.raises(UserError, match=message):
            verl_settings(load_config(RlConfig, run, more))
    whole = verl_settings(load_config(RlConfig, run, [*ALL_WEIGHTS, "advantage.across_steps=true"]))
    assert "actor_rollout_ref.actor.optim.lr=5e-07" in whole
    documented = [
        line for line in Path("docs/rl.md").read_text().splitlines() if "rl_verl.sh configs" in line
    ]
    assert documented
    assert all(each in line for line in documented for each in (*ALL_WEIGHTS, "advantage.across_steps=true"))
